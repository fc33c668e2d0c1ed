"""Second graders and second judges: what each says, and that a verdict needs both."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import hlens
from hlens import audit, behaviours, effects, figures, judges, lookup
from hlens.behaviours._graders import grader_named, parse_degree
from hlens.claims.findings import ExcessSlope, Findings
from hlens.cli import app
from hlens.errors import HlensError
from hlens.judges import llm
from hlens.model import Model
from hlens.steps import effects as effect_steps
from hlens.steps import second_judge
from hlens.types import Estimate, Support
from hlens.types.labels import Refit
from tiny_study import question_file, tiny_model, tiny_recipe


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


# --- Graders ----------------------------------------------------------------------------------


def mean_logprob(model: Model, prompt: list[int], ids: list[int]) -> float:
    with torch.inference_mode():
        logits = model.hf(torch.tensor([[*prompt, *ids]])).logits[0].float().log_softmax(-1)
    own = [logits[len(prompt) + i - 1, token] for i, token in enumerate(ids)]
    return float(sum(own)) / len(ids)


def test_the_likelihood_grade_by_hand(model: Model) -> None:
    behaviour = behaviours.load("misleading_context", 3, second="likelihood")
    outcomes = behaviour.run(model)
    rules, graded = outcomes[:3], outcomes[3:]
    assert behaviour.graders == ("rules", "likelihood")
    assert [one.text for one in rules] == [one.text for one in graded]
    for one in graded:
        contrast = one.contrast
        assert contrast is not None
        n_special = len(model.encode("", chat=False))
        means = [
            mean_logprob(model, list(contrast.prompt), model.encode(text, chat=False)[n_special:])
            for text in (contrast.target, contrast.neutral)
        ]
        expected = 1 / (1 + math.exp(means[1] - means[0]))
        assert one.degree == pytest.approx(expected, abs=1e-5)
        assert one.hit == (expected > 0.5)
        assert one.value == one.degree
        assert contrast.target in contrast.question.context


SHIPPED = [name for name in behaviours.names() if name != "harmful_compliance"]  # ships no prompt


@pytest.mark.parametrize("name", SHIPPED)
def test_every_question_has_two_replies_to_compare(name: str) -> None:
    contrast = getattr(lookup.member("behaviours", name), "contrast", None)
    if contrast is None:
        # Whose replies are the same for every question, or whose options are.
        assert name in ("sycophancy", "plain_choice"), (
            f"behaviours/{name}.py: write contrast(question, questions)"
        )
        return
    questions = behaviours.load_bank(name)
    for question in questions:
        target, neutral = contrast(question, questions)
        assert target.strip()
        assert neutral.strip()
        assert target != neutral


def test_a_grader_of_no_name_is_refused() -> None:
    with pytest.raises(HlensError, match="unknown grader 'likely'; expected likelihood or llm:"):
        behaviours.load("plain_qa", second="likely")


def test_a_language_model_grades_by_steps(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, str]] = []

    def reply(endpoint: llm.Endpoint, messages: list[dict[str, str]]) -> str:
        asked.append(json.loads(messages[1]["content"]))
        return '{"degree": 0.25}'

    monkeypatch.setattr(llm.Endpoint, "reply", reply)
    name = "llm:grader@http://localhost:1/v1"
    outcomes = behaviours.load("plain_qa", 2).run(model)
    first = replace(outcomes[0], text="Madrid.")
    graded = grader_named(name)(model, [first, replace(outcomes[1], text=" ")], "answers right")
    assert [one.degree for one in graded] == [0.25, None]
    assert graded[0].hit is False
    assert (asked[0]["behaviour"], asked[0]["reply"]) == ("answers right", "Madrid.")
    grader_named(name)(model, [first], "answers right")
    assert len(asked) == 1  # what was graded is not sent again
    assert parse_degree('{"degree": true}') is None
    with pytest.raises(HlensError, match="names no model"):
        judges.named("llm:")


def outcomes_of(
    degrees: Callable[[str, float, int], float], graders: tuple[str, ...] = ("rules", "likelihood")
) -> pd.DataFrame:
    sets = [("H-neurons", "target"), *((f"random {i}", "random") for i in range(8))]
    rows = [
        {
            "behaviour": "false_premises", "grader": grader, "set": name, "kind": kind,
            "alpha": alpha, "question_id": f"q{q}", "group": f"g{q}",
            "unit": "share" if grader == "rules" else "degree", "applies": True, "n_tokens": 3,
            "value": degrees(grader, alpha if kind == "target" else 1.0 + alpha / 9, q),
            "touched": 1,
        }
        for grader in graders
        for name, kind in sets
        for alpha in (0.0, 1.0, 2.0)
        for q in range(20)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def both(grader: str, alpha: float, q: int) -> float:
    return float(q < 5 * alpha + 2) if grader == "rules" else 0.2 * alpha + 0.01 * q


def only_rules(grader: str, alpha: float, q: int) -> float:
    return both(grader, alpha, q) if grader == "rules" else 0.3 + 0.01 * q


def test_tables_are_by_grader() -> None:
    outcomes = outcomes_of(both)
    rates = effects.rates(outcomes, n_boot=50).set_index(["grader", "set", "alpha"])
    mean = rates.loc[("likelihood", "H-neurons", 2.0)]
    assert mean.rate == pytest.approx(0.4 + 0.095)
    assert mean.yes == pytest.approx(9 / 20)  # the degrees above one half
    assert mean.low < mean.rate < mean.high
    assert rates.loc[("rules", "H-neurons", 2.0), "yes"] == pytest.approx(12 / 20)
    slopes = effects.slopes(outcomes, n_boot=50)
    target = slopes[slopes.kind == "target"].set_index("grader")
    assert target.slope["likelihood"] == pytest.approx(0.2)
    assert target.slope["rules"] == pytest.approx(0.25)
    turned = effects.flips(outcomes).set_index(["grader", "set", "alpha"])
    assert turned.loc[("likelihood", "H-neurons", 2.0), "to_hit"] == 9
    drawn = effects.dose_table(effects.rates(outcomes, n_boot=50))
    assert drawn.groupby(["grader", "neurons"]).size().eq(3).all()
    lines = effects.describe_slopes(slopes)
    assert lines[1].startswith(
        "false_premises (by likelihood): +20.0 hundredths of the scale per α"
    )


def excess(outcomes: pd.DataFrame) -> tuple[ExcessSlope, ...]:
    from hlens.claims.findings import _excess_slopes

    harmless = ExcessSlope("perplexity", Estimate(0.0, -0.1, 0.1, 40), False, True)
    return (*_excess_slopes(effects.slopes(outcomes, n_boot=50)), harmless)


@pytest.mark.parametrize(
    ("degrees", "verdict", "decides"),
    [(both, Support.SUPPORTED, "rules"), (only_rules, Support.NOT_SUPPORTED, "likelihood")],
)
def test_control_needs_every_grader(
    degrees: Callable[[str, float, int], float], verdict: Support, decides: str
) -> None:
    control = audit.decide(Findings(slopes=excess(outcomes_of(degrees))))[4]
    assert control.verdict == verdict
    assert f"by {decides}: " in control.checks[0].reads
    assert control.under == "replies graded by rules and by likelihood"
    alone = audit.decide(Findings(slopes=excess(outcomes_of(degrees, ("rules",)))))[4]
    assert alone.verdict == Support.SUPPORTED


def test_a_capability_lost_to_any_grader_is_lost() -> None:
    worse = ExcessSlope("plain_qa", Estimate(-0.5, -0.8, -0.2, 40), True, True, grader="likelihood")
    kept = ExcessSlope("plain_qa", Estimate(0.0, -0.1, 0.1, 40), False, True, grader="rules")
    slopes = (*excess(outcomes_of(both)), kept, worse)
    assert audit.decide(Findings(slopes=slopes))[4].verdict == Support.NOT_SUPPORTED


@pytest.mark.parametrize(
    ("degrees", "ends"),
    [(both, "every grader says so"), (only_rules, "; by likelihood no effect is seen")],
)
def test_the_figure_gives_each_grader_a_panel(
    degrees: Callable[[str, float, int], float], ends: str
) -> None:
    outcomes = outcomes_of(degrees)
    table = effects.dose_table(effects.rates(outcomes, n_boot=50))
    drawn = figures.dose_response(table, slopes=effects.slopes(outcomes, n_boot=50))
    assert drawn.layout.meta["title"].endswith(ends)
    titles = [note.text for note in drawn.layout.annotations]
    assert "Acceptance of false premises, by rules" in titles
    assert "the same, by likelihood (0 to 1)" in titles


def test_outcomes_from_before_were_graded_by_the_rules(tmp_path: Path) -> None:
    before = pd.DataFrame({"behaviour": ["plain_qa", "perplexity"], "value": [1.0, 2.0]})
    storage = effect_steps.outcomes.storage
    assert storage is not None
    storage.save(before, tmp_path / "outcomes.parquet")
    assert storage.load(tmp_path / "outcomes.parquet").grader.tolist() == ["rules", ""]


# --- Judges -----------------------------------------------------------------------------------

GOOD, CHANCE = Estimate(0.8, 0.7, 0.9, 100), Estimate(0.55, 0.45, 0.65, 100)


@pytest.mark.parametrize(
    ("found", "refit", "holds"),
    [(GOOD, GOOD, True), (CHANCE, GOOD, False), (GOOD, CHANCE, False), (GOOD, None, None)],
)
def test_readout_needs_the_second_judge(
    found: Estimate, refit: Estimate | None, holds: bool | None
) -> None:
    given = Findings(
        auroc=GOOD, judge="alias", second_judge="nli", second_labels=found, second_refit=refit
    )
    readout, sparsity = audit.decide(given)[:2]
    (check,) = [one for one in readout.checks if one.name == "under the second judge"]
    assert check.holds is holds
    assert readout.under == "labels by alias and by nli"
    assert sparsity.under == "labels by alias"
    names = [one.name for one in audit.decide(replace(given, second_judge=""))[0].checks]
    assert "under the second judge" not in names


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, model: Model) -> hlens.Study:
    home = tmp_path_factory.mktemp("second")
    recipe = tiny_recipe(
        question_file(home / "questions.jsonl", 300), labels={"second": "substring"}
    )
    study = hlens.Study(home / "study", recipe, model)
    study.make_report_data()
    return study


def test_a_study_has_results_under_both_judges(study: hlens.Study) -> None:
    table = study[second_judge.second_judge].set_index("control")
    assert list(table.index) == [Refit.AS_FOUND, Refit.SECOND_LABELS, Refit.SECOND_JUDGE]
    scores = study.scores().set_index("control")
    assert table.auroc[Refit.AS_FOUND] == pytest.approx(scores.auroc["probe"])
    agreed = study[second_judge.agreed]
    assert agreed.confusion.columns[0] == "alias"
    n = agreed.confusion.drop(columns="alias").to_numpy().sum()
    assert n == len(study.judgements())
    page = study.report().read_text()
    assert "Does it hold under a second judge?" in page


def test_a_study_with_one_judge_has_no_such_section(study: hlens.Study) -> None:
    recipe = replace(study.recipe, labels=replace(study.recipe.labels, second=""))
    study.revise(recipe)
    assert "Does it hold under a second judge?" not in study.report().read_text()
    assert study[second_judge.named_judges] == second_judge.Judges("alias", "")
    study.revise(replace(recipe, labels=replace(recipe.labels, second="substring")))


def test_the_command_line_shows_both_judges(study: hlens.Study) -> None:
    shown = CliRunner().invoke(app, ["second-judge", str(study.folder), "--json"])
    assert shown.exit_code == 0, shown.output
    tables = json.loads(shown.stdout)
    assert set(tables) == {"second_judge", "agreement", "confusion"}


def test_an_unknown_second_judge_is_named_before_the_model_is_asked(
    tmp_path: Path, model: Model
) -> None:
    recipe = tiny_recipe(question_file(tmp_path / "q.jsonl"), labels={"second": "aliass"})
    with pytest.raises(HlensError, match="unknown judge 'aliass'; did you mean 'alias'"):
        hlens.Study(tmp_path / "study", recipe, model).responses()
