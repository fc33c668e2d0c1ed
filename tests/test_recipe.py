"""Recipes: every option goes round, every typo is an error."""

import dataclasses
import random
import re
import tomllib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from hlens.errors import HlensError
from hlens.probe import SparseProbe
from hlens.recipe import Recipe, SamplingRecipe
from hlens.recipe.tables import toml
from scripts import script


def test_a_recipe_goes_round_through_toml(tmp_path) -> None:
    table = {"model": "x/y", "domains": ["law"], "sampling": {"n": 3}, "probe": {"C": 1}}
    recipe = Recipe.from_dict(table)
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.to_toml())
    assert Recipe.read(path) == recipe
    assert Recipe.read(path).hash == recipe.hash != Recipe().hash
    assert recipe.probe.C == 1.0


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"modle": "x"}, "unknown key in recipe 'modle'; did you mean 'model'"),
        ({"sampling": {"temprature": 1}}, "did you mean 'temperature'"),
        ({"sampling": 3}, r"\[sampling\] is a section"),
        ({"seed": "one"}, "seed='one'; expected a whole number"),
        ({"seed": True}, "expected a whole number"),
        ({"domains": "general"}, "expected a list"),
        ({"domains": []}, "at least one domain"),
        ({"labels": {"keep": "some"}}, "expected one of all, consistent"),
        ({"evaluation": {"random_sets": 3}}, "from 20 to"),
        ({"evaluation": {"test": 1.5}}, "between 0 and 1"),
    ],
)
def test_what_is_wrong_is_said(table: dict, words: str) -> None:
    with pytest.raises(HlensError, match=words):
        Recipe.from_dict(table)


def test_a_file_that_is_no_recipe(tmp_path) -> None:
    with pytest.raises(HlensError, match="no recipe at"):
        Recipe.read(tmp_path / "none.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("model = ")
    with pytest.raises(HlensError, match="not TOML"):
        Recipe.read(bad)
    for data in (b"\xff", "a = 1".encode("utf-16"), b"a = " + b"[" * 5000, b"a = " + b"1" * 5000):
        bad.write_bytes(data)
        with pytest.raises(HlensError) as error:
            Recipe.read(bad)
        assert "\n" not in str(error.value)
    bad.write_bytes(b"\xef\xbb\xbfseed = 3\r\n")
    assert Recipe.read(bad) == Recipe(seed=3)
    bad.write_bytes(b"")
    assert Recipe.read(bad) == Recipe()


SECTIONS = {
    f.name: type(getattr(Recipe(), f.name))
    for f in dataclasses.fields(Recipe)
    if dataclasses.is_dataclass(getattr(Recipe(), f.name))
}
TEXTS = [
    "",
    "a",
    'a"b',
    "a\\b",
    "\n\t\r\x01\x1f\x7f\x85",
    "\u2028é🎉",
    "a 'b' 'c'",
    "# = [x]",
    "a\ufeffb",
]


def draw_value(hint: Any, rng: random.Random) -> Any:
    """Any value that a field takes, of its type."""
    if get_origin(hint) is Annotated:
        kind, check = get_args(hint)
        limits = getattr(check, "keywords", {})
        low = max(limits.get("above", limits.get("least", 0)), -1e6)
        high = min(limits.get("below", limits.get("most", 10**6)), 10**6)
        number = rng.randint(int(low), int(high)) if kind is int else rng.uniform(low, high)
        ends = [] if "above" in limits else [low, high]
        return rng.choice([number, *ends])
    if get_origin(hint) is Literal:
        return rng.choice(get_args(hint))
    if get_origin(hint) is tuple:
        kind = get_args(hint)[0]
        return [*{draw_value(kind, rng): None for _ in range(rng.randint(1, 4))}]
    if get_origin(hint) is Mapping:
        keys = rng.sample(TEXTS, 4)
        return {k: rng.choice([True, 0, 1e22, -0.0, *TEXTS, [1, ["x"]], {"k": {}}]) for k in keys}
    return rng.choice([True, False]) if hint is bool else rng.choice(TEXTS)


@pytest.mark.parametrize("seed", range(40))
def test_every_recipe_goes_round(seed: int, tmp_path) -> None:
    rng = random.Random(seed)

    def draw(kind: type) -> dict[str, Any]:
        hints = get_type_hints(kind, include_extras=True)
        # An engine takes no options but its own; see test_engines.
        chosen = [name for name in hints if name != "engine" and rng.random() < 0.5]
        return {
            name: draw(SECTIONS[name]) if name in SECTIONS else draw_value(hints[name], rng)
            for name in chosen
        }

    try:
        recipe = Recipe.from_dict(draw(Recipe))
    except HlensError:
        return  # names of nothing, and doses of which none changes anything
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8", newline="")
    again = Recipe.read(path)
    assert (again, again.hash) == (recipe, recipe.hash)


def test_most_of_the_drawn_recipes_are_recipes() -> None:
    hints = get_type_hints(SamplingRecipe, include_extras=True)
    for seed in range(40):
        rng = random.Random(seed)
        table = {name: draw_value(hint, rng) for name, hint in hints.items()}
        Recipe.from_dict({"sampling": table})


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_is_written_as_toml_reads_it(text: str) -> None:
    assert tomllib.loads(f"a = {toml(text)}\nb = {toml({text: 1})}") == {"a": text, "b": {text: 1}}


OUT_OF_RANGE: list[tuple[dict[str, Any], str]] = [
    ({"seed": -1}, "recipe: seed=-1; expected a whole number from 0 to 4294967295"),
    ({"questions": -1}, "from 0 to"),
    ({"model": " "}, "model is ' '"),
    ({"domains": [""]}, "at least one domain"),
    ({"base": "a\0"}, "expected str"),
    ({"dtype": "\ud800"}, "expected str"),
    (
        {"sampling": {"n": 10**30}},
        "sampling.n=10{30}; expected a whole number from 1 to 1000",
    ),
    ({"sampling": {"n": 10**6000}}, "sampling.n=about 1e6000; expected a whole number"),
    ({"sampling": {"n": True}}, "sampling.n=True; expected a whole number"),
    ({"sampling": {"n": 2.0}}, "sampling.n=2.0; expected a whole number"),
    ({"sampling": {"top_p": 0}}, "above 0, at most 1"),
    ({"sampling": {"temperature": float("nan")}}, "sampling.temperature=nan; expected a number"),
    ({"sampling": {"temperature": -0.1}}, "from 0 to 100"),
    ({"sampling": {"rows": 0}}, "from 1 to"),
    ({"sampling": {"style": "chats"}}, "expected one of chat, completion"),
    ({"sampling": {"template": {"a": None}}}, "template is no table of plain values"),
    ({"sampling": {"template": {"a": float("inf")}}}, "template is no table of plain values"),
    ({"sampling": {"template": {"a": 2**70}}}, "template is no table of plain values"),
    ({"labels": {"judge": "alias", "second": "alias"}}, "labels.second is 'alias', the first"),
    ({"labels": {"per_question": -1}}, "from 0 to"),
    ({"probe": {"C": 1e308}}, "probe.C=1e\\+308; expected a number"),
    ({"probe": {"C": 1e10}}, "from 1e-09 to 1e\\+09, or 0 \\(cross-validated\\)"),
    ({"probe": {"C": -1}}, "from 1e-09 to"),
    ({"probe": {"l1_ratio": 1.1}}, "from 0 to 1"),
    ({"evaluation": {"n_boot": 0}}, "from 20 to 1000000"),
    ({"evaluation": {"n_boot": 1}}, "from 20 to"),
    ({"evaluation": {"test": 0}}, "between 0 and 1"),
    ({"evaluation": {"folds": 1}}, "from 2 to"),
    ({"evaluation": {"shuffles": 0}}, "from 1 to"),
    ({"intervene": {"behaviours": []}}, "at least one, and none twice"),
    ({"intervene": {"behaviours": ["a", "a"]}}, "at least one, and none twice"),
    ({"intervene": {"alphas": []}}, "at least one, and none twice"),
    ({"intervene": {"alphas": [1]}}, "one that is not 1"),
    ({"intervene": {"alphas": [float("inf")]}}, "expected a number"),
    ({"intervene": {"alphas": [True]}}, "expected a number"),
    ({"gates": {"alphas": [1]}}, "none twice, and not 1"),
    ({"measure": {"compat": "official"}}, "expected one of , thunlp"),
    ({"measure": {"compat": "thunlp", "metric": "act"}}, "measures cett where tokens are read"),
    ({"measure": {"compat": "thunlp", "position": "predicted"}}, "where tokens are read"),
    ({"measure": {"compat": "thunlp", "region": "last_prompt"}}, "knows the regions prompt, resp"),
    ({"labels": {"design": "2-vs-1"}}, "expected one of 1-vs-1, 3-vs-1, 3-vs-1-response"),
    ({"labels": {"design": "3-vs-1"}, "measure": {"region": "response"}}, "contrasts answer token"),
    ({"labels": {"design": "3-vs-1-response", "span": "response"}}, "leaves no rest"),
    (
        {"labels": {"design": "3-vs-1-response"}, "measure": {"compat": "thunlp"}},
        "is not of the official code",
    ),
    ({"probe": {"beside": "hlens"}}, "the probe's own way; name the other"),
    ({"evaluation": {"test_domains": ["a", "a"]}}, "none twice, none empty"),
    ({"stand_in": {"triviaqa": 1}}, "stand_in.triviaqa is 1; name one domain"),
    ({"gates": {"random_gates": 7}}, "from 8 to 1000"),
    ({"intervene": {"matched_sets": 7}}, "from 8 to 1000, or 0 \\(none\\)"),
    ({"intervene": {"capability": 1}}, "capability = 1; expected bool"),
]


@pytest.mark.parametrize(("table", "said"), OUT_OF_RANGE)
def test_a_section_checks_itself(table: dict, said: str) -> None:
    with pytest.raises(HlensError, match=said) as error:
        Recipe.from_dict(table)
    assert "\n" not in str(error.value)


def test_numpys_numbers_are_numbers() -> None:
    probe = {"C": np.int64(1), "l1_ratio": np.float32(0.5)}
    given = {"probe": probe, "seed": np.int32(3), "intervene": {"alphas": [*np.array([0.0, 2.0])]}}
    recipe = Recipe.from_dict(given)
    values = (recipe.probe.C, recipe.probe.l1_ratio, recipe.seed, *recipe.intervene.alphas)
    assert values == (1.0, 0.5, 3, 0.0, 2.0)
    assert [type(value) for value in values] == [float, float, int, float, float]


def test_a_section_made_in_python_checks_itself_too() -> None:
    with pytest.raises(HlensError, match=r"sampling.n=0; expected a whole number from 1"):
        SamplingRecipe(n=0)
    with pytest.raises(HlensError, match=r"sampling.n=0; expected a whole number from 1"):
        dataclasses.replace(Recipe().sampling, n=0)


def test_numpys_numbers_are_numbers_of_a_probe_too() -> None:
    X = np.random.default_rng(0).normal(size=(40, 3))
    y = X[:, 0] > 0
    plain, given = (SparseProbe(C=C).fit(X, y) for C in (1, np.int64(1)))
    assert (plain.coef_ == given.coef_).all()
    for C in (0, True, float("nan"), 1e308, "auto"):
        with pytest.raises(HlensError, match=r"^C="):
            SparseProbe(C=C).fit(X, y)


def test_the_reference_page_holds_every_option_at_its_default(tmp_path) -> None:
    written = script("docs/reference/hlens_recipe.py", "hlens_recipe").annotated()
    path = tmp_path / "recipe.toml"
    path.write_text(written, encoding="utf-8")
    assert Recipe.read(path) == Recipe()
    table = tomllib.loads(written)
    known = Recipe().to_dict()
    assert {*table} == {*known}
    for name in SECTIONS:
        assert {*table[name]} == {*known[name]}, name


def test_the_reference_page_says_what_each_option_means_and_may_be() -> None:
    lines = script("docs/reference/hlens_recipe.py", "hlens_recipe").annotated().splitlines()
    keys = [n for n, line in enumerate(lines) if re.match(r"\w+ = ", line)]
    assert len(keys) > 70
    assert [lines[n] for n in keys if not lines[n - 1].startswith("# ")] == []
    assert max(map(len, lines)) <= 100
    for kind in SECTIONS.values():
        for name, hint in get_type_hints(kind, include_extras=True).items():
            if get_origin(hint) is Literal:
                choices = ", ".join(f'"{one}"' for one in get_args(hint))
                after = [lines[n - 1] for n in keys if lines[n].startswith(f"{name} = ")]
                assert f"# One of {choices}." in after, name
