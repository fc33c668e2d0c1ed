"""The protocols of the papers as recipe keys: each changes what it says, and nothing else."""

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import hlens
from command_line import call
from hlens.cli.studies import with_settings
from hlens.domains import _hub
from hlens.errors import HlensError
from hlens.evaluation import published_rows, three_vs_one
from hlens.evaluation.controls import shuffled_aurocs
from hlens.model import Model
from hlens.recipe import NEWER, Recipe
from hlens.recipe.shipped import shipped_recipes
from hlens.spans import draw_of_each_label
from hlens.steps import answers, designs, detection, tested
from synthetic import made
from tiny_study import FEW, question_file, tiny_model, tiny_recipe

LABELS = {"judge": "substring"}


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("protocols")
    question_file(folder / "trained.jsonl")
    # Half of these are asked while training, word for word.
    question_file(folder / "other.jsonl", n=120)
    return folder


@pytest.fixture(scope="module")
def study(home: Path, model: Model) -> hlens.Study:
    """Trained on some questions, tested on others of the same file and on another file."""
    recipe = tiny_recipe(
        home / "trained.jsonl",
        evaluation={
            **FEW,
            "test_domains": [f"jsonl:{home / name}.jsonl" for name in ("trained", "other")],
            "test_questions": 30,
        },
        probe={"way": "paper", "beside": "hlens"},
        stand_in={"triviaqa": "trained", "nq_open": f"jsonl:{home / 'other'}.jsonl"},
    )
    return hlens.Study(home / "study", replace(recipe, questions=40), model)


def test_the_table_has_a_row_for_each_test_set_and_way(study: hlens.Study) -> None:
    table = study.published()
    assert list(zip(table["way"], table["test"], strict=True)) == [
        (way, test) for way in ("paper", "hlens") for test in ("held out", "trained", "other")
    ]
    assert set(table["n"]) - {0} == {*table["n"]}
    # As many samples as questions: each is asked once, and all that were judged count.
    asked = study[tested.tested_questions]
    assert (
        len(study[tested.tested_responses]) == len(asked) == 20 + 30
    )  # 40 of 60 were asked already
    own = table.loc[table["test"] != "held out"]
    assert (own["n"] <= 30).all()
    kept = hlens.Study(study.folder)  # which opens no model
    pd.testing.assert_frame_equal(kept.published(), table)


def test_what_is_tested_on_never_comes_near_a_fit(study: hlens.Study) -> None:
    asked = study.questions()
    other = study[tested.tested_questions]
    assert not {q.group for q in asked} & {q.group for q in other}
    assert not {q.text for q in asked} & {q.text for q in other}
    train = study.split().train
    tests = study[tested.tested_measured].contributions
    assert not set(train.groups) & set(tests.groups)
    assert set(train.domains) == {"trained"}
    with pytest.raises(HlensError, match="in the training and in the test part"):
        published_rows(train, {"itself": train}, study.detector())


def test_the_other_way_reads_the_same_answers(study: hlens.Study) -> None:
    own, beside = study.split(), study[tested.split_beside]
    assert own.train.question_ids == beside.train.question_ids
    assert own.test.question_ids == beside.test.question_ids
    assert (own.test.metric, beside.test.metric) == ("cett", "signed_cett")
    fits = study.detector().fit, study[tested.detector_beside].fit
    assert [fit["solver"] for fit in fits] == ["liblinear", "exact"]


def test_a_set_of_one_label_says_so_in_place_of_an_accuracy() -> None:
    data = made(200, planted={(0, 3): 3.0})
    train, test = hlens.evaluation.split_by_group(data)
    tests = {
        "both": test,
        "one": test.select(test.labels),
        "none": test.select(torch.zeros(len(test), dtype=torch.bool)),
    }
    table = published_rows(train, tests, hlens.find(train), draws=20, n_boot=20).set_index("test")
    assert table.loc["both", "h_neurons"] > 70
    assert table.loc["both", "h_neurons"] > table.loc["both", "random"]
    assert table.loc["one", "note"] == f"all {int(test.labels.sum())} answers are hallucinated"
    assert table.loc["none", "note"] == "no answer could be judged"
    assert table["h_neurons"].isna().tolist() == [False, True, True]


# --- What stands in ---------------------------------------------------------------------------


def test_what_stands_in_is_said_in_table_words_and_report(
    home: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(
        home / "trained.jsonl",
        domains=["triviaqa"],
        evaluation={**FEW, "test_domains": ["nonexist"], "test_questions": 12},
        stand_in={"triviaqa": "general", "NonExist": "nonexist"},
    )
    monkeypatch.setattr(_hub, "_download", lambda *_: refuse("no hub here"))
    with pytest.raises(HlensError, match=r"let 'general' stand in for it, .*: --stand-in") as error:
        hlens.Study(home / "hub", recipe, model).questions()
    assert "\n" not in str(error.value)
    assert recipe.stood_in == {"nonexist": "NonExist"}
    stood = recipe.with_stand_ins()
    assert stood.domains == ("general",)
    # What was asked of nobody: the words need a study, and not this noise's answers.
    own = replace(stood, domains=(f"jsonl:{home / 'trained'}.jsonl",), questions=40)
    own = replace(own, stand_in={"triviaqa": own.domains[0], "NonExist": "nonexist"})
    study = hlens.Study(home / "stood", own, model)
    study.make_report_data()
    table = study.published()
    assert table["test"].tolist() == ["held out", "nonexist (in place of NonExist)"]
    said = f"Not the published data: {own.domains[0]} in place of TriviaQA, "
    assert study.in_words()[-1] == f"{said}invented things in place of NonExist."
    page = study.report().read_text(encoding="utf-8")
    assert "invented things (in place of NonExist)" in page
    assert "Not the published data" in page
    with pytest.raises(HlensError, match="names no stand-in for general"):
        Recipe(domains=("general",)).with_stand_ins()


def refuse(words: str) -> None:
    raise HlensError(words)


def test_every_shipped_recipe_loads_and_its_stand_ins_ship(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_hub, "_download", lambda *_: refuse("a hub was asked"))
    folder = Path(hlens.__file__).parent / "recipes"
    assert {"demo", "domains", "h_neurons", "cross_domain"} <= {*shipped_recipes()}
    for name in shipped_recipes():
        recipe = Recipe.read(folder / f"{name}.toml")
        if {*recipe.asks_about} & {*recipe.stand_in}:
            recipe = recipe.with_stand_ins()
        for domain in recipe.asks_about:
            assert hlens.domains.load(domain, 20)


def test_the_recipe_of_the_paper_is_its_protocol() -> None:
    recipe = Recipe.read(Path(hlens.__file__).parent / "recipes" / "h_neurons.toml")
    sampling, trained = recipe.sampling, recipe.labels.per_class * (1 - recipe.evaluation.test)
    assert (sampling.n, sampling.temperature, sampling.top_k, sampling.top_p) == (10, 1.0, 50, 0.9)
    assert (sampling.max_new_tokens, round(trained), recipe.labels.keep) == (50, 1000, "consistent")
    assert (recipe.probe.way, recipe.measure.metric, recipe.measure.compat) == (
        "paper", "cett", "thunlp",
    )  # fmt: skip
    assert set(recipe.stood_in) == {"nonexist"}  # which the paper never released
    assert set(recipe.with_stand_ins().stood_in) == {"general", "financial", "science", "nonexist"}


# --- What is trained on -----------------------------------------------------------------------


@pytest.mark.parametrize("design", designs.REGION_OF)
def test_a_design_adds_true_rows_to_the_training_part_alone(
    home: Path, model: Model, design: str
) -> None:
    probe = {"C": 3.0, "scale": "none"}
    recipe = tiny_recipe(home / "trained.jsonl", probe=probe)
    recipe = replace(recipe, sampling=replace(recipe.sampling, max_new_tokens=24))
    study = hlens.Study(home / design, recipe, model)
    plain, held_out = study.detector(), study.split().test
    designed = replace(recipe, labels=replace(recipe.labels, design=design))
    study.revise(designed)
    assert study.has(detection.measured)
    train, others = study.split().train, study[designs.other_tokens].contributions
    assert torch.equal(study.split().test.values, held_out.values)
    region = designs.REGION_OF[design]
    by_id = {(e.question_id, e.sample): e for e in study.examples()}
    told = hlens.measure(model, [by_id[key] for key in by_id], region=region, drop_empty=True)
    assert {*others.question_ids} <= {*told.question_ids}
    assert set(others.groups) <= set(train.groups)
    found = study.detector()
    assert found.fit["n"] == len(train) + len(others) == plain.fit["n"] + len(others)
    again = hlens.find(three_vs_one(train, others), study.probe(), calibration="platt")
    assert torch.equal(found.weights, again.weights)
    assert not torch.equal(found.weights, plain.weights)
    assert study.scores()["n"].max() == len(held_out)
    study.revise(recipe)
    assert not study.has(detection.detector)
    assert torch.equal(study.detector().weights, plain.weights)


def test_the_null_of_a_design_keeps_its_negatives_true() -> None:
    train, test = hlens.evaluation.split_by_group(made(120, planted={(0, 3): 3.0}))
    fitted = three_vs_one(train, replace(train, region="other"))
    probe = hlens.SparseProbe(C=1.0)
    areas, errors = shuffled_aurocs(train, test, probe=probe, repeats=3, fitted=fitted)
    assert len(areas) == 3
    assert not errors
    alone, _ = shuffled_aurocs(train, test, probe=probe, repeats=3)
    assert not np.allclose(areas, alone)


@pytest.mark.parametrize("region", ["answer", "response", "other"])
def test_the_official_regions_are_those_of_measure(home: Path, model: Model, region: str) -> None:
    measure = {"metric": "cett", "region": region}
    folder = home / f"compat-{region}"
    recipe = tiny_recipe(home / "trained.jsonl", measure={**measure, "compat": "thunlp"})
    study = hlens.Study(folder, recipe, model)
    own = study.contributions()
    theirs = hlens.measure(model, study.examples(), region=region, compat="thunlp")
    torch.testing.assert_close(own.values, theirs.values, rtol=1e-5, atol=1e-7)
    assert (own.metric, own.region) == ("cett", region)  # so that a detector of it can be watched
    before = study[detection.measured].contributions
    study.revise(replace(recipe, measure=replace(recipe.measure, compat="")))
    assert not study.has(detection.measured)
    if region != "answer":
        assert not torch.allclose(study.contributions().values, before.values)


def test_a_detector_of_the_official_measure_is_watched_and_reported(
    home: Path, model: Model
) -> None:
    recipe = tiny_recipe(
        home / "trained.jsonl", probe={"way": "paper"}, measure={"compat": "thunlp"}
    )
    study = hlens.Study(home / "watched", recipe, model)
    study.make_report_data()
    assert study.report().is_file()


def test_so_many_examples_of_each_label_are_drawn(home: Path, model: Model) -> None:
    recipe = tiny_recipe(home / "trained.jsonl")
    study = hlens.Study(home / "classes", recipe, model)
    every = study.examples()
    drawn = [draw_of_each_label(every, n) for n in (5, 9)]
    for n, some in zip((5, 9), drawn, strict=True):
        labels = [example.hallucinated for example in some]
        assert [labels.count(label) for label in (True, False)] == [n, n]
    ids = [{(e.question_id, e.sample) for e in some} for some in (*drawn, every)]
    assert ids[0] < ids[1] < ids[2]
    assert draw_of_each_label(every, 0) == every
    study.revise(replace(recipe, labels=replace(recipe.labels, per_class=5)))
    assert study.has(answers.judgements)
    assert [e.question_id for e in study.examples()] == [e.question_id for e in drawn[0]]


# --- Recipes of before, and the command line --------------------------------------------------


def test_a_study_of_before_these_options_stays_current(home: Path, model: Model) -> None:
    recipe = tiny_recipe(home / "trained.jsonl").with_options({"sampling": {"precision": "model"}})
    study = hlens.Study(home / "before", recipe, model)
    study.scores()
    path = study.folder / "recipe.toml"
    table = tomllib.loads(path.read_text())
    new = {name.rpartition(".")[2] for name in NEWER}
    new |= {"beside", "test_domains", "test_questions"}
    lines = [
        line
        for line in path.read_text().splitlines()
        if line.partition(" = ")[0] not in new and line != "[stand_in]"
    ]
    path.write_text("\n".join(lines) + "\n")
    assert set(table) - set(tomllib.loads(path.read_text())) == {"stand_in"}
    opened = hlens.Study(study.folder)
    for one in (answers.located, detection.measured, detection.detector, detection.scores):
        assert opened.has(one), one.name


def test_an_option_of_a_recipe_is_set_on_the_command_line() -> None:
    recipe = with_settings(
        Recipe(),
        ["sampling.n=3", "probe.way=paper", 'domains=["legal"]', "stand_in.x=science", "base=b/c"],
    )
    assert (recipe.sampling.n, recipe.domains, recipe.base) == (3, ("legal",), "b/c")
    assert (recipe.probe.way, recipe.measure.metric) == ("paper", "cett")
    assert recipe.stand_in == {"x": "science"}
    back = with_settings(recipe, ["probe.way=hlens"])
    assert back.measure.metric == "signed_cett"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "n"], "expected KEY=VALUE, as in sampling.n=3"),
        (["--set", "sampling.m=3"], "unknown key in recipe"),
        (["--set", "domains.m=3"], "domains is no section of a recipe"),
        (["--set", "sampling.n=many"], "expected a whole number"),
        (["--stand-in"], "names no stand-in for general, science"),
    ],
)
def test_a_wrong_setting_is_one_line(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("run", "demo", *words)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
