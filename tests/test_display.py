"""Names that people read: declared beside each plug-in, shown everywhere, never in files."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

from hlens import figures, lookup
from hlens.cli import show
from hlens.counting import count
from hlens.display import display_name, display_names, display_table
from hlens.drawing.figure import Figure
from hlens.errors import HlensError
from hlens.report.html_table import table
from hlens.types import NeuronSet

FAMILIES = ("domains", "behaviours", "baselines", "selectors", "judges")
KEYS = re.compile(r"[a-z]+_[a-z_]+")
HOSTILE = "<img src=x>_one"
# Nouns that follow a number in titles, legends and hover texts.
PLURAL = re.compile(
    r"(?<![\d.,])1 ((held-out|random|other|distinct|selected) )?"
    r"(neurons|layers|answers|sets|edits|doses|models|domains|tokens|pairs|passes|samples|rivals|"
    r"replies|patches|questions|repeats|experts|groups|covariates|places|values|ways|studies)\b"
)


def texts_of(figure: Figure) -> Iterator[str]:
    """All that a figure shows or says when it is hovered over."""

    def inside(value: Any, name: str = "") -> Iterator[str]:
        if isinstance(value, dict):
            for key, part in value.items():
                if key not in ("template", "bdata", "legendgroup"):
                    yield from inside(part, key)
        elif isinstance(value, list):
            for part in value:
                yield from inside(part, name)
        elif isinstance(value, str) and name not in ("xref", "yref", "xaxis", "yaxis", "anchor"):
            yield value

    yield from inside(json.loads(figure.to_json()))


@pytest.mark.parametrize("family", FAMILIES)
def test_names_of_a_family_are_words_and_tell_its_members_apart(family: str) -> None:
    keys = lookup.names(family)
    names = {key: display_name(family, key) for key in keys}
    for key, name in names.items():
        file = f"DISPLAY in src/hlens/{family}/{key}.py"
        assert 0 < len(name) <= 32, f"{file}: a name of 32 characters at most"
        assert "_" not in name, f"{file}: words, not a key"
        assert name == name.strip(), file
    assert len(set(names.values())) == len(keys), f"two of {family} declare one DISPLAY"


def test_a_users_own_key_is_read_as_words() -> None:
    assert display_name("domains", "my_own_towns") == "my own towns"
    assert display_name("domains", "toy_towns △ my_own") == "toy towns △ my own"
    assert display_name("judges", "llm:my_model@http://x/v1") == "llm:my_model@http://x/v1"
    assert display_names("domains", ["a_b", "a b"]) == {"a_b": "a_b", "a b": "a b"}
    assert display_name("domains", "") == ""


def test_tables_are_shown_with_names_and_kept_with_keys(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame({"detector": ["min_logprob", "my_own"], "auroc": [0.8, 0.7]})
    before = frame.copy()
    shown = table(frame, "caption").markup
    assert "least likely token" in shown
    assert "my own" in shown
    assert "min_logprob" not in shown
    show.table("rivals", frame)
    assert "least likely token" in capsys.readouterr().out
    show.write({"rivals": frame})
    written = json.loads(capsys.readouterr().out)
    assert [row["detector"] for row in written["rivals"]] == ["min_logprob", "my_own"]
    pd.testing.assert_frame_equal(frame, before)
    numbers = pd.DataFrame({"a": [1, 2], "test": [True, False]})
    pd.testing.assert_frame_equal(display_table(numbers), numbers)


def test_a_hostile_name_stays_text() -> None:
    frame = pd.DataFrame({"domain": [HOSTILE]})
    assert "<img" not in table(frame, "caption").markup
    sets = [NeuronSet(frozenset({(0, i)}), 1, 4, name=f"{HOSTILE}{i}") for i in range(2)]
    assert not any("<img" in text for text in texts_of(figures.upset(sets)))


def drawn(name: str, **changed: Any) -> Figure:
    module = lookup.member("figures", name)
    return module.draw(**{**module.example(), **changed})


@pytest.mark.parametrize(
    ("name", "column", "key", "shown"),
    [
        ("leaderboard", "detector", "min_logprob", "least likely token"),
        ("selectors", "selector", "my_way", "my way"),
        ("transfer", "test", "nq_open", "NQ-Open"),
        ("overlap", "a", "toy_towns", "toy towns"),
        ("reliability", "a", "code_vulnerability", "code vulnerability"),
        ("flips", "behaviour", "plain_qa", "Right answers to plain questions"),
        ("by_layer", "behaviour", "plain_qa", "Right answers to plain questions"),
    ],
)
def test_figures_show_names(name: str, column: str, key: str, shown: str) -> None:
    frame = lookup.member("figures", name).example()["table"].copy()
    old = frame[column].iloc[-1]
    frame = frame.replace(old, key)
    more = {"labels": None} if name in ("flips", "by_layer") else {}
    if name == "leaderboard":
        more["added"] = None
    texts = list(texts_of(drawn(name, table=frame, **more)))
    assert any(shown.lower() in text.lower() for text in texts)
    assert not any(re.search(rf"\b{key}\b", text) for text in texts)


def tables() -> Iterator[tuple[str, str]]:
    for name in lookup.names("figures"):
        example = getattr(lookup.member("figures", name), "example", dict)()
        yield from (
            (name, key) for key, value in example.items() if isinstance(value, pd.DataFrame)
        )


@pytest.mark.parametrize(("name", "argument"), list(tables()))
@pytest.mark.parametrize("rows", [1, 2, 5, None])
def test_one_is_singular(name: str, argument: str, rows: int | None) -> None:
    """Whatever a table counts as one is one neuron, one layer, one answer."""
    frame = lookup.member("figures", name).example()[argument].head(rows)
    places = ("layer", "neuron", "k", "pos", "token")
    counts = ("n", "neurons", "repeats", "n_a", "n_b", "n_random")
    kinds = {column: frame[column].dtype.kind for column in frame}
    numbers = [c for c in kinds if kinds[c] in "iu" and c not in places]
    numbers += [c for c in counts if kinds.get(c) == "f"]
    frame = frame.assign(**dict.fromkeys(numbers, 1))
    try:
        figure = drawn(name, **{argument: frame})
    except (HlensError, IndexError, KeyError):
        assert rows is not None  # there is no figure of so few rows
        return
    if isinstance(figure, Figure):
        assert [text for text in texts_of(figure) if PLURAL.search(text)] == []


def test_sets_of_one_neuron_are_singular() -> None:
    one = NeuronSet(frozenset({(0, 1)}), 1, 4, {(0, 1): 1.0}, name="a")
    figures_of_one = [
        figures.upset([one, one.renamed("b")]),
        figures.neuron_map(one),
        figures.neuron_maps([one, one.renamed("b")]),
    ]
    for figure in figures_of_one:
        assert [text for text in texts_of(figure) if PLURAL.search(text)] == []
    assert repr(one) == "NeuronSet('a': 1 of 4 neurons (250 ‰) in 1 layer)"


def test_a_number_and_its_noun() -> None:
    assert [count(n, "pass", "passes") for n in (0, 1, 2)] == ["0 passes", "1 pass", "2 passes"]


def test_what_tells_best_lies_farthest_from_chance() -> None:
    """An AUROC of 0.2 tells more than one of 0.6, the other way round, and that is said."""
    rows = [("H-neurons", 0.7, 0.65, 0.75, 200), ("perplexity", 0.6, 0.55, 0.65, 200),
            ("min_logprob", 0.2, 0.15, 0.25, 200)]  # fmt: skip
    board = pd.DataFrame(rows, columns=["detector", "auroc", "low", "high", "n"])
    assert drawn("leaderboard", table=board, added=None).layout.meta["title"].endswith("2 of 3")
    alone = drawn("leaderboard", table=board.iloc[1:], added=None).layout.meta["title"]
    assert alone == "Least likely token reads best: AUROC 0.20 (inverse)"
    controls = board.rename(columns={"detector": "control"}).replace(
        {"H-neurons": "probe", "min_logprob": "answer length"}
    )
    title = drawn("scores", table=controls).layout.meta["title"]
    assert title.endswith("its best control 0.20 (answer length, inverse)")
    alone = lookup.member("figures", "volcano").example()["table"]
    alone = alone.assign(auroc=1 - alone["auroc"])
    assert re.search(
        r"clearest: 0\.[0-4]\d, for truth$", drawn("volcano", table=alone).layout.meta["title"]
    )
