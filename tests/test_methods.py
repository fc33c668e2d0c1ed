"""The paragraph on methods: true of every recipe, and silent about what was not done."""

import re
import tomllib
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from command_line import call
from hlens import domains
from hlens.errors import HlensError
from hlens.recipe import Recipe
from hlens.report.methods import FURTHER, Held, describe_methods, describe_tools
from hlens.report.works import AUTHORS, H_NEURONS, TITLE, works_of_domain, works_of_layout
from hlens.study import Study
from hlens.types import Detector, Provenance
from hlens.types.labels import Control
from test_latex import HOSTILE, compile_latex
from tiny_study import question_file, saved_model, tiny_recipe

ROOT = Path(__file__).parents[1]
# A value of every option that is not its default; those of labelled answers are tried on a recipe
# that has some.
OTHER: dict[str, Any] = {
    "model": "gemma3-270m", "domains": ["triviaqa"], "questions": 77, "seed": 12345,
    "dtype": "bfloat16", "quantization": "bnb-nf4", "adapter": "my-adapter", "device_map": "auto",
    "base": "my-base", "engine.name": "vllm", "engine.options": {"tensor_parallel_size": 2},
    "labelled.file": "answers.csv", "labelled.content": "abcdef", "labelled.layout": "ragtruth",
    "labelled.columns": {"response": "output"}, "labelled.labels": {"bad": "hallucinated"},
    "labelled.unit": "token", "labelled.rest": "correct", "labelled.domain": "medicine",
    "labelled.instruction": "Be brief.", "labelled.style": "completion",
    "sampling.n": 9, "sampling.max_new_tokens": 33, "sampling.temperature": 0.0,
    "sampling.top_k": 0, "sampling.top_p": 0.5, "sampling.instruction": "Be brief.",
    "sampling.style": "completion", "sampling.shots": 3,
    "sampling.template": {"enable_thinking": False}, "sampling.rows": 7,
    "sampling.precision": "model",
    "labels.judge": "alias", "labels.second": "substring", "labels.keep": "consistent",
    "labels.span": "response", "labels.per_question": 0, "labels.per_class": 44,
    "labels.design": "3-vs-1", "measure.compat": "thunlp", "probe.beside": "paper",
    "evaluation.test_domains": ["science"], "evaluation.test_questions": 21,
    "stand_in": {"triviaqa": "general"},
    "measure.metric": "cett", "measure.region": "response", "measure.reduce": "max",
    "measure.position": "predicted", "measure.dtype": "float16",
    "probe.way": "paper", "probe.C": 0.5, "probe.rule": "best", "probe.l1_ratio": 0.5,
    "probe.scale": "layer", "probe.class_weight": "none", "probe.calibration": "isotonic",
    "evaluation.test": 0.4, "evaluation.n_boot": 50, "evaluation.shuffles": 7,
    "evaluation.random_sets": 30, "evaluation.stability_pairs": 3, "evaluation.folds": 3,
    "evaluation.halves": 4, "audit.sae": "my-sae",
    "intervene.neurons": "both", "intervene.behaviours": ["plain_qa"],
    "intervene.second_grader": "", "intervene.items": 0, "intervene.alphas": [0.0, 1.0],
    "intervene.random_sets": 9, "intervene.matched_sets": 8, "intervene.perturbations": 2,
    "intervene.capability": False, "plan.items": 13, "selectors.beside": ["cna"],
    "layers.edits": "both", "gates.alphas": [0.0], "gates.false_alarms": 0.05,
    "gates.questions": 99, "gates.random_gates": 9,
}  # fmt: skip
# What is said only beside another option.
GOES_WITH = {
    "engine.options": "engine.name", "evaluation.test_questions": "evaluation.test_domains",
    "labels.second": "labels.judge",
    **{name: "gates.alphas" for name in OTHER if name.startswith("gates.")},
}  # fmt: skip


def detector() -> Detector:
    versions = (("hlens", "0.1.0"), ("torch", "2.9"))
    provenance = Provenance("my/model", "f" * 72, "main", versions=versions)
    weights = torch.zeros(2, 8)
    weights[0, 1], weights[1, 3] = 1.0, -0.5
    fit = {"C": 0.25, "folds": 4, "n": 700}
    return Detector(weights, 0.0, fit=fit, provenance=provenance)


EVERYTHING = Held({}, "", (1000, 400), detector(), 300, [*Control], [*FURTHER])


def with_options(names: list[str], *, start: Recipe | None = None) -> Recipe:
    table = (start or Recipe()).to_dict()
    for name in names:
        section, _, option = name.rpartition(".")
        (table[section] if section else table)[option] = OTHER[name]
    if {"probe.way", "measure.compat"} & {*names} and "measure.metric" not in names:
        table["measure"]["metric"] = "auto"
    return Recipe.from_dict(table)


def said(recipe: Recipe, held: Held = EVERYTHING) -> str:
    """The paragraph but for the hash of the recipe, which every option changes."""
    return str(describe_methods(recipe, held)).replace(recipe.hash, "")


def test_every_option_has_a_value_to_try() -> None:
    recipe = Recipe()
    options = set()
    for one in fields(recipe):
        value = getattr(recipe, one.name)
        inner = [f"{one.name}.{own.name}" for own in fields(value)] if is_dataclass(value) else []
        options |= {*inner} if is_dataclass(value) else {one.name}
    missing = options - set(OTHER)
    assert not missing, f"say {missing} in report/methods.py, and give OTHER a value of each"


@pytest.mark.parametrize("name", OTHER)
def test_every_choice_is_said(name: str) -> None:
    beside = [GOES_WITH[name]] if name in GOES_WITH and GOES_WITH[name] != name else []
    beside += ["labelled.content"] if name.startswith("labelled.") and name[9:] != "content" else []
    before, after = with_options(beside), with_options([*beside, name])
    held = replace(EVERYTHING, detector=None) if name == "model" else EVERYTHING
    assert said(before, held) != said(after, held), f"{name} is not said in report/methods.py"


@given(st.sets(st.sampled_from(sorted(OTHER)), max_size=25))
@settings(max_examples=300, deadline=None)
def test_any_recipe_has_methods(names: set[str]) -> None:
    try:
        recipe = with_options(sorted(names))
    except HlensError:  # options that no recipe takes together
        return
    for held in (Held(), EVERYTHING):
        methods = describe_methods(recipe, held)
        assert H_NEURONS in methods.works
        for text in (str(methods), methods.latex()):
            assert "None" not in text.replace("None,", "")
            assert "  " not in text
            assert " ." not in text
            assert "()" not in text
        assert methods.latex().isascii()
        keys = {key for group in re.findall(r"\\cite{([^}]*)}", methods.latex()) for key in [group]}
        assert keys == set(re.findall(r"^@\w+{([^,]*),", methods.bibtex(), re.MULTILINE))


def test_what_was_not_done_is_not_said() -> None:
    text = said(Recipe(), Held())
    for word in ("beside", "audit", "multiplied", "Transfer", "overlap", "reported", "Versions"):
        assert word not in text
    assert "The answers were not sampled" not in text
    given_answers = said(with_options(["labelled.content"]), Held())
    assert "temperature" not in given_answers
    assert "Each question was put" not in given_answers
    assert "C was chosen" not in said(with_options(["probe.way"]))
    assert "Gao" in said(Recipe(), Held())
    assert "2604.19765" not in said(Recipe(), Held())


def test_hostile_names_are_set_as_they_are_read(tmp_path: Path) -> None:
    named = "".join(HOSTILE[:-3]).replace("\ud800", "").replace("\x00", "")
    recipe = replace(Recipe(), model=named, domains=(named,))
    recipe = replace(recipe, sampling=replace(recipe.sampling, instruction=named))
    latex = describe_methods(recipe, Held(asked={named: 3})).latex()
    assert latex.isascii()
    compile_latex(latex, tmp_path)


def test_hlens_is_cited_as_its_file_says() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    (own,) = [work for work in describe_tools().works if work.key == "hlens"]
    assert f'title: "{TITLE}"' in text
    assert f'name: "{AUTHORS}"' in text
    assert H_NEURONS.fields["title"].replace("{", "").replace("}", "") in text
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"version: {version}" in text
    assert own.fields["note"] == f"Version {version}"


def test_data_sets_are_cited_where_their_docstrings_say_how() -> None:
    assert {work.fields["eprint"] for work in works_of_domain("arc")} == {"1803.05457"}
    assert {work.fields["eprint"] for work in works_of_layout("ragtruth")} == {"2401.00396"}
    assert works_of_domain("general") == works_of_domain("jsonl:x.jsonl") == []
    assert works_of_domain("no such domain") == works_of_layout("") == []
    for name in domains.names():
        for work in works_of_domain(name):
            assert re.fullmatch(r"[a-z0-9-]+", work.key)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("methods")
    model = str(saved_model(home / "model_1"))
    recipe = tiny_recipe(question_file(home / "questions.jsonl"), model)
    (home / "tiny.toml").write_text(recipe.to_toml())
    return home


def test_a_study_says_what_it_holds_and_no_more(study: Path) -> None:
    alone = call("cite", str(study / "tiny.toml"))
    assert alone.code == 0, alone.err
    assert "It is asked all questions of the domain jsonl:" in alone.out
    assert not (study / "study").exists()  # a recipe alone makes no study
    made = call("evaluate", str(study / "tiny.toml"), "--out", str(study / "study"))
    assert made.code == 0, made.err
    before = {path: path.stat().st_mtime_ns for path in (study / "study").rglob("*")}
    done = call("cite", str(study / "study"))
    assert {path: path.stat().st_mtime_ns for path in (study / "study").rglob("*")} == before
    opened = Study(study / "study")
    assert done.out == f"{opened.methods()}\n"
    assert "in model_1 (SHA-256 fingerprint of its weights" in done.out
    assert "It was asked 60 questions of the domain questions (60)." in done.out
    assert f"This gave {len(opened.examples())} examples" in done.out
    assert "random neurons" in done.out
    assert f"scikit-learn {dict(opened.detector().provenance.versions)['scikit-learn']}" in done.out
    assert "audited" not in done.out
    changed = replace(opened.recipe, probe=replace(opened.recipe.probe, C=0.5))
    opened.revise(changed)
    assert "C was fixed at 0.5." in str(opened.methods())
    assert "Held-out AUROC is reported" not in str(opened.methods())  # not under these options


def test_the_forms_of_a_citation() -> None:
    plain, bibtex = call("cite"), call("cite", "--bibtex")
    assert plain.code == bibtex.code == 0
    assert plain.out.endswith(bibtex.out)
    assert bibtex.out.startswith("@misc{hlens,\n  author = {{The hlens developers}},")
    latex = call("cite", "--latex").out
    assert latex.startswith("% By: hlens cite --latex\nWe used hlens~\\cite{hlens}")
    both = call("cite", "--latex", "--bibtex")
    assert (both.code, both.out, both.err.count("\n")) == (2, "", 1)
    missing = call("cite", "nowhere")
    assert missing.code == 2
    assert missing.err.count("\n") == 1
