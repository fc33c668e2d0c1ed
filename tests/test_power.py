"""Power: the slope that a run is said to show is shown as often as it is said, and no more."""

import json
import shutil
from dataclasses import replace
from functools import partial
from math import inf, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, norm
from typer.testing import CliRunner

import hlens
from hlens import effects
from hlens.claims.slopes import SlopeVerdict, judge_slope
from hlens.cli import app
from hlens.effects.power import (
    PairedValues,
    SlopeNoise,
    detectable_slope,
    draw_noises,
    interval_over,
    measure_noise,
    questions_needed,
)
from hlens.effects.slopes import read_paired
from hlens.steps import planning
from hlens.steps.effects import outcomes
from hlens.study import Study
from tiny_study import question_file, saved_model, tiny_recipe

ALPHAS = np.array([0.0, 1.0, 3.0])
RUN = {"level": 0.95, "n_random": 8}
RUNS = 80


def world(
    draw: np.random.Generator,
    slope: float = 0.0,
    *,
    n: int = 40,
    sets: int = 8,
    between: float = 0.0,
    unit: str = "degree",
) -> np.ndarray:
    """Values ``[set, question, alpha]``: slopes of questions and sets differ, the target's is set.

    Questions share half of what they do with all sets. A share is whether a level is passed.
    """
    true = np.r_[slope, between * draw.standard_normal(sets)][:, None, None]
    if unit == "degree":
        own = 0.1 * draw.standard_normal((sets + 1, n, 1)) + 0.1 * draw.standard_normal((1, n, 1))
        return 0.5 + (true + own) * (ALPHAS - 1)
    level = draw.random((1, n, 1))
    fresh = draw.random((sets + 1, n, 3)) < 0.1  # so often a reply is another one by chance
    level = np.where(fresh, draw.random(fresh.shape), level)
    level[:, :, 1] = level[0, :, 1]  # unedited, all are the same model
    return (level < 0.5 + true * (ALPHAS - 1)).astype(float)


def rows(values: np.ndarray, *, unit: str = "degree", behaviour: str = "b") -> pd.DataFrame:
    """The same as outcomes."""
    at = np.indices(values.shape).reshape(3, -1)
    names = np.array(["t", *(f"random {i}" for i in range(len(values) - 1))])
    kinds = np.array(["target", *("random" for _ in values[1:])])
    return pd.DataFrame(
        {
            "behaviour": behaviour, "grader": "rules", "set": names[at[0]], "kind": kinds[at[0]],
            "alpha": ALPHAS[at[2]], "question_id": at[1].astype(str), "group": at[1].astype(str),
            "value": values.ravel(), "unit": unit, "applies": True, "seconds": 1.0,
        }
    )  # fmt: skip


def paired(values: np.ndarray, unit: str = "degree") -> PairedValues:
    return PairedValues(values, np.arange(values.shape[1]), ALPHAS, unit, values.shape[1])


def found(draw: np.random.Generator, slope: float, between: float, unit: str) -> int:
    """Of so many runs, those that find the slope by the rule of the card."""
    runs = [
        rows(world(draw, slope, between=between, unit=unit), unit=unit, behaviour=str(run))
        for run in range(RUNS)
    ]
    table = effects.slopes(pd.concat(runs), n_boot=200, level=RUN["level"])
    target = table.loc[table["kind"] == "target"].to_dict("records")
    return sum(judge_slope(row) is SlopeVerdict.BEYOND for row in target)


@pytest.mark.parametrize(
    ("unit", "between"), [("degree", 0.0), ("degree", 0.03), ("share", 0.0), ("share", 0.03)]
)
def test_the_said_slope_is_found_in_four_runs_of_five_and_none_is_where_there_is_none(
    unit: str, between: float
) -> None:
    draw = np.random.default_rng(3)
    large = world(draw, n=3000, sets=60, between=between, unit=unit)
    slope = detectable_slope(measure_noise(paired(large, unit)), asked=40, **RUN)
    assert 0.02 < slope < 0.2
    assert binomtest(found(draw, slope, between, unit), RUNS, 0.8).pvalue > 0.01
    falsely = found(draw, 0.0, between, unit)
    assert binomtest(falsely, RUNS, 0.05, alternative="greater").pvalue > 0.01


def test_without_random_movement_it_is_the_power_of_a_z_test() -> None:
    noise = SlopeNoise(0.01, 0.0, 0.0, 0.0, 0.0, 0.0, largest=inf, scored=40, asked=40, lumpy=False)
    expected = float(norm.ppf(0.975) + norm.ppf(0.8)) * 0.1
    assert detectable_slope(noise, **RUN) == pytest.approx(expected, rel=0.03)
    four = detectable_slope(noise, asked=160, **RUN)
    assert four == pytest.approx(expected / 2, rel=0.03)
    assert questions_needed(noise, expected / 2, **RUN) == pytest.approx(160, rel=0.07)
    assert questions_needed(noise, 10.0, **RUN) == 12


def test_what_random_sets_do_is_no_matter_of_questions() -> None:
    noise = SlopeNoise(
        1e-4, 1e-4, 0.0, 0.0, 0.05**2, 0.0, largest=1.0, scored=40, asked=40, lumpy=False
    )
    assert questions_needed(noise, 0.05, **RUN) == inf
    many = detectable_slope(noise, asked=10**6, **RUN)
    draws = np.abs(0.05 * np.random.default_rng(0).standard_normal((20_000, 8))).max(axis=1)
    assert many == pytest.approx(np.quantile(draws, 0.8), rel=0.03)
    assert detectable_slope(replace(noise, between=1.0), **RUN) == inf  # beyond any slope there is
    # Random sets that all move it one way hide an effect that goes the other way.
    drifted = replace(noise, between=0.0, drift=0.05**2)
    assert detectable_slope(drifted, asked=10**6, **RUN) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("between", [0.0, 0.05])
def test_the_two_variances_are_told_apart(between: float) -> None:
    values = world(np.random.default_rng(0), 0.1, n=400, sets=400, between=between)
    noise = measure_noise(paired(values))
    assert noise.target == pytest.approx(0.02 / 400, rel=0.2)
    assert noise.random == pytest.approx(0.02 / 400, rel=0.2)
    assert noise.shared == pytest.approx(0.01 / 400, rel=0.25)
    assert noise.paired == pytest.approx(0.01 / 400, rel=0.3)
    assert sqrt(noise.between) == pytest.approx(between, abs=0.005)
    assert sqrt(noise.drift) < 0.012
    assert noise.largest == pytest.approx(5 / 14)  # of a reply that is a hit at α = 3 alone


def test_replies_that_cannot_be_read_and_groups_are_reckoned_with() -> None:
    values = world(np.random.default_rng(1), n=60)
    grouped = replace(paired(values), groups=np.arange(60) // 2)
    twice = np.repeat(values, 2, axis=1)
    doubled = replace(paired(twice), groups=np.arange(120) // 2)
    assert measure_noise(doubled).target == pytest.approx(measure_noise(paired(values)).target)
    assert measure_noise(grouped).target != measure_noise(paired(values)).target
    values[0, :30] = np.nan
    half = measure_noise(paired(values)).target
    assert half == pytest.approx(values[0, 30:, 2].var() * (0.5 * 6 / 14) ** 2, rel=5)
    values[0, :, 0] = np.nan  # no slope without a dose
    assert np.isnan(detectable_slope(measure_noise(paired(values)), **RUN))
    one_group = replace(paired(world(np.random.default_rng(1))), groups=np.zeros(40, int))
    assert np.isnan(detectable_slope(measure_noise(one_group), **RUN))


def test_the_interval_of_a_pilot_holds_what_a_large_one_says() -> None:
    draw = np.random.default_rng(5)
    large = world(draw, n=3000, sets=100, between=0.03)
    true = detectable_slope(measure_noise(paired(large)), asked=40, **RUN)
    rule = partial(detectable_slope, asked=40, **RUN)
    ends = [
        interval_over(draw_noises(paired(world(draw, n=16, between=0.03)), n_boot=60), rule)
        for _ in range(20)
    ]
    held = sum(low <= true <= high for low, high in ends)
    assert held >= 17
    assert all(high < 6 * low for low, high in ends)


def test_questions_that_were_not_read_bound_nothing() -> None:
    values = np.ones((9, 100, 3))
    values[:, 3:] = np.nan
    largest = paired(values).largest
    assert paired(values).most_unseen == pytest.approx(largest * (1 - 0.05 ** (1 / 3)))
    values[:, :, 2] = np.nan
    values[:, 0, 2] = 1.0  # read at the highest dose once
    assert paired(values).most_unseen == pytest.approx(largest * 0.95)
    values[:, 0, 0] = np.nan
    assert np.isnan(paired(values).most_unseen)


def plan(values: np.ndarray, **changed: Any) -> tuple[pd.Series, str]:
    unit = "share" if set(np.unique(values)) <= {0.0, 1.0} else "degree"
    asked = {"questions": {"b": 40}, "available": {"b": 60}, "n_boot": 20} | changed
    table = effects.plan_slopes(rows(values, unit=unit), **asked)
    return table.iloc[0], effects.describe_plan(table, {"b": "Share of x (a note)"})[0]


def test_a_plan_says_what_is_shown_and_what_is_needed() -> None:
    values = world(np.random.default_rng(2), n=12)
    row, said = plan(values)
    assert row.low <= row.detectable <= row.high
    assert row.pilot == 12
    assert row.detectable_at_most < row.detectable
    assert row.needed > 60
    size = f"{100 * row.detectable:.1f} hundredths of the scale per α"
    assert said.startswith(f"Share of x (by rules): 40 questions and 8 random sets show {size} [")
    most = f"{100 * row.detectable_at_most:.1f}."
    assert row.needed_low <= row.needed <= row.needed_high
    assert f"; 3.0 needs {row.needed:.0f} questions [{row.needed_low:.0f}, " in said
    assert said.endswith(f"; the 60 that there are show {most}")
    row, said = plan(values, slope=0.2)
    between = f"[{row.needed_low:.0f}, {row.needed_high:.0f}]"
    assert said.endswith(f"20.0 needs {row.needed:.0f} questions {between}.")
    row, said = plan(world(np.random.default_rng(2), n=12, between=0.3))
    assert row.needed == inf
    within = f"is within what random sets do (±{100 * row.spread:.1f})"
    assert within in said
    sure = row.needed_low == inf  # so few sets hardly tell how far they move it
    assert said.endswith("no number of questions shows it." if sure else "or no number.")
    assert effects.plan_table(pd.DataFrame([row])).needed.tolist() == ["no number"]


def test_a_pilot_in_which_nothing_changed_gives_a_bound_and_no_plan() -> None:
    row, said = plan(np.ones((9, 12, 3)))
    assert np.isnan([row.detectable, row.needed]).all()
    assert row.most == pytest.approx(5 / 14 * (1 - 0.05 ** (1 / 12)))
    assert "no reply changed in 12 questions" in said
    assert "at most 7.9 points per α" in said
    # Where random sets move it, the target's own replies may have been still by luck.
    values = np.ones((9, 12, 3))
    values[1:3, :2, 2] = 0.0
    row, said = plan(values)
    assert row.most > 0
    assert row.detectable > 0.05
    assert "four runs of five" in said
    unread = np.full((9, 12, 3), np.nan)
    unread[:, :, 1] = 1.0
    assert "too few of its 12 questions could be read" in plan(unread)[1]


# --- in a study ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planned")
    doses = {"behaviours": ["plain_qa"], "items": 14, "alphas": [0, 1, 2], "capability": False}
    recipe = tiny_recipe(
        question_file(folder / "a.jsonl"), str(saved_model(folder / "model")), intervene=doses
    )
    Study(folder / "study", recipe).detector()
    return folder / "study"


def command(*words: object) -> str:
    done = CliRunner().invoke(app, ["intervene", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_whole_run_takes_the_pilots_replies(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = shutil.copytree(home, tmp_path / "study")
    told = json.loads(command(study, "--plan", "--json"))
    assert told["from"] == "pilot"
    assert {row["pilot"] for row in told["plan"]} == {12}
    assert all(row["hours"] > 0 and row["questions"] == 14 for row in told["plan"])
    opened = Study(study)
    assert opened.recipe.plan.items == 12
    asked: list[int] = []
    ask = hlens.behaviours.Behaviour.run

    def counted(self: Any, model: Any) -> Any:
        asked.append(len(self.questions))
        return ask(self, model)

    monkeypatch.setattr(hlens.behaviours.Behaviour, "run", counted)
    whole = opened.outcomes()
    n_sets = whole["set"].nunique()
    # The pilot asked 12 at doses 0, 1 and 2; here are truth neurons and the push, and 2 questions.
    assert asked.count(2) == 1 + 2 * n_sets
    assert asked.count(12) == 2 * (n_sets - 9)
    assert len({*whole["question_id"]}) == 14
    pilot = opened.pilot()
    pilot = pilot.loc[pilot["kind"] == "target"].merge(
        whole, on=["set", "alpha", "grader", "question_id"], suffixes=("", "_whole")
    )
    assert len(pilot) == 3 * 2 * 12
    assert (pilot["text"] == pilot["text_whole"]).all()
    edited = whole.loc[(whole["kind"] == "target") & (whole["alpha"] == 0.0)]
    assert edited["touched"].nunique() == 1  # one receipt of both parts
    assert (edited["touched"].iloc[0] > pilot.loc[pilot["alpha"] == 0.0, "touched"]).all()
    asked.clear()
    again = json.loads(command(study, "--plan", "--items", 60, "--json"))
    assert again["from"] == "outcomes"
    assert not asked
    assert {row["questions"] for row in again["plan"]} == {60}
    kept = Study(study)
    assert kept.recipe.intervene.items == 14  # a plan changes nothing
    assert kept.has(outcomes)


def test_the_plan_is_told_in_words(home: Path, tmp_path: Path) -> None:
    study = shutil.copytree(home, tmp_path / "study")
    told = command(study, "--plan", "--pilot", 13, "--slope", 5)
    assert "Planned from a pilot, 13 questions" in told
    assert "questions needed for 5" in told
    assert "• Right answers to plain questions (by likelihood):" in told
    assert "All sets and doses take about" in told
    assert Study(study).plan(0.05)["slope"].tolist() == [0.05, 0.05]
    assert planning.pilot.name in Study(study).steps()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--plan", "--slope", "0"], "slope=0"),
        (["--plan", "--pilot", "3"], "from 12"),
        (["--plan", "--gate-alpha", "0"], "--gate-alpha goes with"),
        (["--slope", "3"], "--slope goes with --plan"),
        (["--pilot", "12"], "--pilot goes with --plan"),
    ],
)
def test_what_cannot_be_planned_is_one_line(home: Path, words: list[str], said: str) -> None:
    before = (home / "recipe.toml").read_text()
    done = CliRunner().invoke(app, ["intervene", str(home), *words])
    assert done.exit_code != 0
    assert said in str(done.exception)
    assert (home / "recipe.toml").read_text() == before


def test_read_paired_is_of_the_questions_that_apply() -> None:
    values = world(np.random.default_rng(0), n=5)
    one = read_paired(rows(values), asked=9)
    assert one.asked == 9
    np.testing.assert_array_equal(one.values, values)
