"""Steps: an option that a step reads makes it run again, and no other; nothing stale is shown."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import hlens
from hlens.cli import app
from hlens.cli.families import listed
from hlens.errors import HlensError
from hlens.recipe import MeasureRecipe, Recipe
from hlens.steps import (
    TABLE,
    Each,
    Given,
    NotMadeError,
    Runner,
    Source,
    all_steps,
    answers,
    audit,
    detection,
    domains,
    effects,
    step,
)
from hlens.steps.adoption import SECTIONS
from hlens.steps.step import keyword_of
from hlens.store import write_text
from hlens.types import Question
from report_pages import unpacked
from tiny_study import question_file, tiny_model, tiny_recipe

# --- Keys follow from declarations -----------------------------------------------------------


def options_of(recipe: Recipe) -> Iterator[str]:
    """Dotted names of all options."""
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if dataclasses.is_dataclass(value):
            yield from (f"{field.name}.{inner.name}" for inner in dataclasses.fields(value))
        else:
            yield field.name


OTHER: dict[str, Any] = {  # values that differ from the default where the type alone gives none
    "engine.name": "ray",  # whose numbers are the local engine's, so that nothing is made anew
    "labelled.columns": {"response": "output"},
    "labelled.labels": {"wrong": "hallucinated"},
    "labelled.unit": "token",
    "labelled.rest": "correct",
    "labelled.style": "completion",
    "sampling.top_p": 0.8,
    "sampling.style": "completion",
    "sampling.precision": "model",
    "sampling.template": {"enable_thinking": False},
    "labels.keep": "consistent",
    "labels.span": "response",
    "labels.judge": "alias",
    "measure.metric": "activation",
    "measure.region": "response",
    "measure.reduce": "max",
    "measure.position": "predicted",
    "measure.dtype": "float16",
    "measure.compat": "thunlp",
    "labels.design": "3-vs-1",
    "probe.beside": "paper",
    "evaluation.test_domains": ("science",),
    "stand_in": {"triviaqa": "general"},
    "probe.way": "paper",
    "probe.l1_ratio": 0.5,
    "probe.rule": "best",
    "probe.scale": "none",
    "probe.class_weight": "none",
    "probe.calibration": "none",
    "evaluation.test": 0.4,
    "domains": ("general",),
    "intervene.matched_sets": 8,
    "plan.items": 12,
    "layers.edits": "both",
    "selectors.beside": ("cna",),
    "gates.alphas": (0.0,),
    "gates.false_alarms": 0.05,
}


def changed(recipe: Recipe, name: str) -> Recipe:
    """The recipe with another value of one option."""
    section, _, option = name.rpartition(".")
    holder = getattr(recipe, section) if section else recipe
    value = getattr(holder, option)
    other = OTHER.get(name)
    if other is None:
        kinds = {bool: lambda v: not v, int: lambda v: v + 1, float: lambda v: v + 1.0}
        kinds |= {str: lambda v: f"{v} other", tuple: lambda v: v[:-1]}
        kinds |= {dict: lambda v: {**v, "enable_thinking": False}}
        other = kinds[type(value)](value)
    assert other != value, name
    holder = replace(holder, **{option: other})
    return replace(recipe, **{section: holder}) if section else holder


def declared(node: Any) -> set[str]:
    """Options that an artefact depends on, by its declaration and those of what it needs."""
    if isinstance(node, Source):
        return {*node.options, *node.later}
    if isinstance(node, Each):
        return declared(node.over) | declared(node.of("general"))
    own = {option.rpartition("=")[2] for option in (*node.options, *node.later)}
    return own.union(*map(declared, node.needs))


def covers(names: set[str], option: str) -> bool:
    return option in names or option.rpartition(".")[0] in names


# Of CETT, which the paper's way asks for.
RECIPE = Recipe(base="a base model", measure=MeasureRecipe(metric="cett"))
ASKED = [Question("q", "general", "Why?", ("because",))]
STEPS = {step.name: step for step in all_steps()}
# An engine's options are its own, and it alone knows them: see test_engines.
OPTIONS = [option for option in options_of(RECIPE) if option != "engine.options"]


@pytest.mark.parametrize("name", STEPS)
def test_a_step_depends_on_the_options_that_it_declares_and_on_no_other(
    name: str, tmp_path: Path
) -> None:
    def key(recipe: Recipe) -> str:
        return Runner(tmp_path, recipe, Given(questions=ASKED)).key(STEPS[name])

    names, before = declared(STEPS[name]), key(RECIPE)
    for option in OPTIONS:
        reads = covers(names, option)
        assert (key(changed(RECIPE, option)) != before) == reads, option


@pytest.mark.parametrize("name", STEPS)
def test_the_function_of_a_step_takes_what_is_declared(name: str) -> None:
    one = STEPS[name]
    for option in (*one.options, *one.later):
        path = option.rpartition("=")[2]
        sections = {known.partition(".")[0] for known in OPTIONS}
        assert path in OPTIONS or path in sections, f"{name}: the recipe has no option {path!r}"
    keywords = {keyword_of(option) for option in (*one.options, *one.later)}
    keywords |= {o.name for o in one.optional}
    keywords |= {word for word in ("progress", "report", "parts", "earlier") if one.takes(word)}
    try:
        signature(one.make).bind(*one.needs, **dict.fromkeys(keywords))
    except TypeError as error:
        pytest.fail(f"{name}: the declaration and the function do not agree: {error}")
    assert one.help.endswith((".", "?")), f"{name} needs a docstring: it is the command's help"


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_listed_and_its_verb_is_a_command(name: str) -> None:
    one = STEPS[name]
    assert (one.label in listed("steps")["steps"]) == (one.storage is not None)
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert not one.verb or one.verb in commands, (
        f"{name}: {one.verb} is no command; write app.command({one.verb!r}) into cli/app.py"
    )


def test_a_function_receives_what_its_step_declares(tmp_path: Path) -> None:
    received: dict[str, Any] = {}

    @step(options=("evaluation.folds", "seed"))
    def reading(**options: Any) -> None:
        received.update(options)

    Runner(tmp_path, Recipe(seed=7)).value(reading)
    assert received == {"folds": 5, "seed": 7}


def test_every_step_has_a_name_of_its_own() -> None:
    assert len({one.name for one in all_steps()}) == len(all_steps()) >= 50


# --- What is current, and what a kill leaves -------------------------------------------------


@step(options=("seed",), storage=TABLE)
def drawn(*, seed: int) -> pd.DataFrame:
    """A table of the seed."""
    return pd.DataFrame({"seed": [seed]})


@step(needs=(drawn,), options=("evaluation.folds",), storage=TABLE)
def doubled(drawn: pd.DataFrame, *, folds: int) -> pd.DataFrame:
    """Twice the seed, and the folds."""
    return drawn.assign(seed=2 * drawn["seed"], folds=folds)


def of_seed(folder: Path, seed: int) -> Runner:
    return Runner(folder, Recipe(seed=seed))


def test_a_kill_after_saving_leaves_nothing_under_the_stamp_of_another_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert of_seed(tmp_path, 1).value(drawn)["seed"].item() == 1

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    changed_run = of_seed(tmp_path, 2)
    monkeypatch.setattr(changed_run.stamps, "set", kill)
    with pytest.raises(KeyboardInterrupt):
        changed_run.value(drawn)
    restored = of_seed(tmp_path, 1)
    assert not restored.is_current(drawn)
    assert restored.value(drawn)["seed"].item() == 1


def test_a_kill_while_it_is_made_keeps_what_was_there(tmp_path: Path) -> None:
    before = of_seed(tmp_path, 1)
    before.value(doubled)

    def kill(label: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Runner(tmp_path, Recipe(seed=2), progress=kill).value(doubled)
    assert of_seed(tmp_path, 1).is_current(doubled)


def test_an_artefact_that_is_gone_is_not_current(tmp_path: Path) -> None:
    run = of_seed(tmp_path, 1)
    run.value(doubled)
    (tmp_path / "drawn.parquet").unlink()
    assert not run.is_current(drawn)
    assert run.is_current(doubled)  # it was made from what is asked for now
    assert of_seed(tmp_path, 1).value(drawn)["seed"].item() == 1


@step(needs=(), optional=(doubled,), storage=TABLE)
def told(*, doubled: pd.DataFrame | None) -> pd.DataFrame:
    """Whether the other table was made."""
    return pd.DataFrame({"known": [doubled is not None]})


def test_what_was_made_and_is_gone_is_not_left_out_in_silence(tmp_path: Path) -> None:
    run = of_seed(tmp_path, 1)
    assert not run.value(told)["known"].item()
    run.value(doubled)
    assert run.value(told)["known"].item()
    (tmp_path / "doubled.parquet").unlink()
    with pytest.raises(HlensError, match=r"doubled\.parquet is gone"):
        of_seed(tmp_path, 1).value(told)
    assert not of_seed(tmp_path, 2).value(told)["known"].item()  # it was made for another seed
    of_seed(tmp_path, 1).value(doubled)
    assert of_seed(tmp_path, 1).value(told)["known"].item()


def test_damaged_stamps_are_one_line(tmp_path: Path) -> None:
    write_text(tmp_path / "stamps.json", "{not json")
    with pytest.raises(HlensError, match=r"stamps\.json is damaged"):
        of_seed(tmp_path, 1).value(drawn)


# --- A report and a quick audit run no model -------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> hlens.Study:
    home = tmp_path_factory.mktemp("steps")
    questions = question_file(home / "questions.jsonl")
    recipe = tiny_recipe(
        questions,
        intervene={"behaviours": ["plain_qa"], "items": 2, "alphas": [0, 1], "capability": False},
    )
    study = hlens.Study(home / "study", recipe, tiny_model())
    study.make_report_data()
    return study


def copied(study: hlens.Study, to: Path, **recipe: Any) -> hlens.Study:
    """A copy that no model can be loaded for, with another recipe."""
    folder = Path(shutil.copytree(study.folder, to))
    return hlens.Study(folder, replace(study.recipe, **recipe)) if recipe else hlens.Study(folder)


def test_a_table_of_other_options_is_not_shown_as_current(
    study: hlens.Study, tmp_path: Path
) -> None:
    study.outcomes()
    heading = "Does editing them change behaviour?"
    assert f"{heading}</h2>" in study.report().read_text()
    other = copied(study, tmp_path / "other", intervene=replace(study.recipe.intervene, items=3))
    assert not other.has(effects.outcomes)
    page = other.report().read_text()
    assert f"{heading}</h2>" not in page
    assert f"<code>hlens intervene {other.folder}</code>: {heading}" in page
    assert "no neuron was edited here" in page


def test_a_report_makes_tables_and_no_answers(study: hlens.Study, tmp_path: Path) -> None:
    """A report under other options of the evaluation: what needs no model is made anew."""
    other = copied(study, tmp_path / "a", evaluation=replace(study.recipe.evaluation, test=0.4))
    page = other.report().read_text()
    assert "Does it tell wrong from right?</h2>" in page
    # The detector is another one now, and its reading of tokens would take the model.
    assert f"<code>hlens run {other.folder}</code>: Answers, token by token" in page
    unread = copied(study, tmp_path / "b", seed=study.recipe.seed + 1)
    with pytest.raises(NotMadeError, match="responses was made under other options"):
        unread.report()
    with pytest.raises(NotMadeError, match="responses was made under other options"):
        unread.audit(quick=True)


def test_an_opened_study_whose_questions_are_others_asks_anew(
    study: hlens.Study, tmp_path: Path
) -> None:
    other = copied(study, tmp_path / "x")
    assert other.has(answers.responses)
    other.revise(replace(other.recipe, questions=8))
    assert not other.has(answers.responses)
    assert len(other.questions()) == 8


def test_another_precision_of_the_model_is_another_detector_of_a_domain(
    study: hlens.Study, tmp_path: Path
) -> None:
    other = copied(study, tmp_path / "x")
    (name,) = dict.fromkeys(other.contributions().domains)
    before = other.runner.key(domains.detector_of(name))
    other.revise(replace(other.recipe, dtype="bfloat16"))
    assert other.runner.key(domains.detector_of(name)) != before


def test_a_quick_audit_refuses_to_make_what_is_gone(study: hlens.Study, tmp_path: Path) -> None:
    other = copied(study, tmp_path / "x")
    (other.folder / "responses.jsonl").unlink()
    with pytest.raises(NotMadeError, match="responses"):
        other.audit(quick=True)


def test_a_report_leaves_out_an_audit_whose_answers_are_gone(
    study: hlens.Study, tmp_path: Path
) -> None:
    study.audit(quick=True)
    other = copied(study, tmp_path / "x", evaluation=replace(study.recipe.evaluation, n_boot=30))
    (other.folder / "responses.jsonl").unlink()
    page = other.report().read_text()  # no model can be loaded for it
    assert "No audit was made" in page
    assert "<code>hlens sample " in page


def test_a_table_is_the_callers_own(study: hlens.Study) -> None:
    table = study.scores()
    table["auroc"] = 0.0
    assert (study.scores()["auroc"] > 0).all()


def test_a_noun_of_a_study_is_a_method_with_its_steps_words(study: hlens.Study) -> None:
    assert study.scores.__name__ == "scores"
    assert study.scores.__doc__ == hlens.Study.scores.__doc__ == detection.scores.help
    pd.testing.assert_frame_equal(hlens.Study.scores(study), study.scores())


def test_every_step_that_runs_a_model_names_the_command_that_makes_it() -> None:
    for one in all_steps():
        if any(isinstance(need, Source) and need.is_model for need in one.needs):
            assert one.verb, f"{one.name} needs verb=: the report names the command that makes it"


def test_an_option_of_folds_leaves_an_audit_current(study: hlens.Study, tmp_path: Path) -> None:
    study.audit(quick=True)
    folds = study.recipe.evaluation.folds + 1
    other = copied(study, tmp_path / "x", evaluation=replace(study.recipe.evaluation, folds=folds))
    assert other.has_audit(quick=True)


def test_more_resamples_leave_what_is_not_resampled_current(
    study: hlens.Study, tmp_path: Path
) -> None:
    study.audit(quick=True)
    more = replace(study.recipe.evaluation, n_boot=study.recipe.evaluation.n_boot + 1)
    other = copied(study, tmp_path / "x", evaluation=more)
    resampled = (detection.scores, audit.INSTEAD[audit.added])  # accuracies, added likelihood
    tables = (audit.leaderboard, audit.confounds, audit.refits)
    kept = (detection.sparsity, *(audit.INSTEAD[table] for table in tables))
    assert all(study.has(one) for one in (*resampled, *kept))
    assert [one.name for one in (*resampled, *kept) if other.has(one)] == [o.name for o in kept]


# --- A folder from before ---------------------------------------------------------------------

OLD = Path(__file__).parent / "old_study"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A study of the earlier code: two domains, an audit, edits and patches, a base model."""
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def test_a_folder_from_before_is_read(old: Path) -> None:
    files = {p: p.read_bytes() for p in old.rglob("*") if p.is_file()}
    study = hlens.Study(old)  # whose recipe names a model that nobody can load
    scores = pd.read_parquet(old / "scores.parquet")
    pd.testing.assert_frame_equal(study.scores(), scores)
    for one in (answers.responses, answers.located, detection.measured, detection.path):
        assert study.has(one), one.name
    assert study.domains() == ["a", "b"]
    study.transfer()
    study.overlap()
    study.halves()
    assert len(study.outcomes())
    assert len(study.patching_map())
    assert len(study.origin())
    study.audit()  # what it reads is there; its tables have one rival more today
    page = study.report(old / "new.html").read_text()
    # What needs the model is missing; the sets, their groups and the stored numbers are there.
    explored = json.loads(unpacked(page, "overlap-json"))
    assert explored["names"] == ["a", "b"]
    assert {"groups", "marks", "alone"} <= set(explored)
    assert "pages" not in explored
    changed = {path for path, content in files.items() if path.read_bytes() != content}
    assert {path.parent.name for path in changed} <= {"audit"}


def test_what_old_stamps_do_not_vouch_for_is_said_and_not_read(
    old: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = (old / "recipe.toml").read_text().replace("stability_pairs = 2", "stability_pairs = 3")
    (old / "recipe.toml").write_text(recipe)
    study = hlens.Study(old)
    assert not study.has(detection.stability)
    assert study.has(detection.scores)
    # The old audit depended on every option of the evaluation.
    lost = caplog.text.strip().rpartition("do not vouch for them: ")[2].split(", ")
    assert [name for name in lost if not name.startswith("audit ")] == ["stability"]
    stamps = json.loads((old / "steps.json").read_text())
    assert "stability" in stamps  # nothing of the old folder is deleted


# Step of today -> options that the old code put into its key, or into that of what it rests on.
ANSWERS = ("model", "seed", "sampling.n", "labels.judge", "labels.keep", "measure.metric")
PROBE = (*ANSWERS, "probe.C", "probe.class_weight", "evaluation.test")


@pytest.mark.parametrize("option", [*PROBE, "evaluation.n_boot", "evaluation.folds"])
def test_nothing_is_vouched_for_below_a_step_that_is_not(old: Path, option: str) -> None:
    recipe = changed(Recipe.read(old / "recipe.toml"), option)
    (old / "recipe.toml").write_text(recipe.to_toml())
    study = hlens.Study(old, model=tiny_model())
    assert study.has(detection.measured) == (option not in ANSWERS)
    assert study.has(detection.detector) == (option not in PROBE)
    assert study.has(detection.path) == (option not in PROBE)
    assert study.has(effects.outcomes) == (option not in PROBE)
    assert study.has(detection.scores) == (option not in (*PROBE, "evaluation.n_boot"))
    assert study.has(detection.sparsity) == study.has(detection.scores)
    others = (*ANSWERS, "probe.C", "probe.class_weight", "evaluation.folds")
    assert study.has(domains.transfer) == (option not in others)


def test_a_folder_from_before_under_other_questions_is_asked_anew(old: Path) -> None:
    questions = question_file(old.parent / "others.jsonl")
    recipe = replace(Recipe.read(old / "recipe.toml"), domains=(f"jsonl:{questions}",))
    study = hlens.Study(old, recipe, tiny_model())
    assert len(study.questions()) == 60
    assert not study.has(answers.responses)


@pytest.mark.parametrize("file", ["steps.json", "patching.parquet", "contributions.safetensors"])
def test_a_damaged_folder_from_before_is_one_line_or_a_loss_that_is_said(
    old: Path, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    (old / file).write_bytes(b"{damaged")
    if file == "steps.json":
        with pytest.raises(HlensError, match=r"steps\.json is damaged"):
            hlens.Study(old)
        return
    study = hlens.Study(old)
    assert study.has(answers.responses)
    assert f"{old / file.partition('.')[0]} cannot be read" in caplog.text
    assert "do not vouch for them" in caplog.text


def test_the_options_of_before_are_listed_whole() -> None:
    assert set(SECTIONS) <= {field.name for field in dataclasses.fields(Recipe)}
    for section, names in SECTIONS.items():
        assert set(names) <= {f.name for f in dataclasses.fields(getattr(Recipe(), section))}
