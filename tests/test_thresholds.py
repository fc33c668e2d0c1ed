"""Thresholds keep what they promise on answers that had no part in them, grouped or not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hlens.cli import app
from hlens.errors import HlensError
from hlens.evaluation import answers_needed, find_thresholds
from hlens.monitor import recalibrate, threshold_of
from hlens.store import load_detector, save_detector
from hlens.study import Study
from hlens.types import Detector, ScoredAnswer
from tiny_study import question_file, saved_model, tiny_recipe


def drawn(
    draw: np.random.Generator, n_groups: int, each: int, shift: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of answers of which those of one group are alike, and their groups."""
    own = draw.normal(size=(n_groups, 1)) * (each > 1)
    scores = own + draw.normal(size=(n_groups, each)) + shift
    return scores.ravel(), np.repeat(np.arange(n_groups), each)


@pytest.mark.parametrize(("n_groups", "each"), [(120, 1), (300, 1), (100, 3), (60, 10)])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1])
def test_the_rate_of_false_alarms_lies_in_its_interval(
    n_groups: int, each: int, rate: float
) -> None:
    draw, held, rates = np.random.default_rng(1), [], []
    for _ in range(200):
        true, groups = drawn(draw, n_groups, each)
        wrong, _ = drawn(draw, n_groups, each, shift=1.5)
        found = find_thresholds(
            np.r_[true, wrong],
            np.r_[np.zeros(len(true)), np.ones(len(wrong))],
            groups=np.r_[groups, groups + n_groups],
            rates=(rate,),
        )
        unseen, _ = drawn(draw, 20_000 // each, each)
        rates.append(float((unseen >= found[0].score).mean()))
        held.append(found[0].alarm_rate.low <= rates[-1] <= found[0].alarm_rate.high)
    assert np.mean(held) >= 0.91  # 95 % promised, of 200 tries
    assert np.mean(rates) <= rate * 1.2


def test_no_threshold_is_promised_from_too_few_answers() -> None:
    labels = np.arange(80) % 2 == 1
    found = find_thresholds(np.arange(80), labels)
    assert [one.false_alarms for one in found] == [0.05, 0.1]
    assert answers_needed(0.01) == 99
    # Equal scores are flagged together, and all of them are too many.
    assert find_thresholds(np.zeros(80), labels) == []


def test_recall_and_precision_are_those_of_the_answers() -> None:
    scores = np.r_[np.arange(100.0), np.arange(50.0, 150.0)]
    (found,) = find_thresholds(scores, np.arange(200) >= 100, rates=(0.1,))
    assert found.score == 90.0
    assert found.alarm_rate.value == pytest.approx(10 / 101)
    assert found.recall.value == pytest.approx(0.6)
    assert found.precision.value == pytest.approx(60 / 70)
    assert found.recall.low < 0.6 < found.recall.high


def answers(draw: np.random.Generator, n: int, domain: str, shift: float) -> list[ScoredAnswer]:
    def one(i: int) -> ScoredAnswer:
        wrong = i % 2 == 1
        scores = draw.normal(size=4) + shift + 1.5 * wrong
        key = f"{domain}/{i}"
        return ScoredAnswer(key, domain, key, tuple("abcd"), scores, hallucinated=wrong)

    return [one(i) for i in range(n)]


def test_neurons_are_kept_and_probabilities_are_new(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    detector = Detector(torch.tensor([[0.0, 1.0], [-2.0, 0.0]]), 0.0)
    given = [*answers(draw, 400, "law", -3.0), *answers(draw, 30, "art", -3.0)]
    found = recalibrate(detector, given)
    assert found.selected.members == detector.selected.members
    assert torch.equal(found.weights, detector.weights)
    assert (detector.calibration, found.calibrated_on) == (None, "response")
    halfway = torch.tensor(-2.25)
    assert float(detector.probability_of(halfway)) < 0.1
    assert 0.4 < float(found.probability_of(halfway)) < 0.6
    assert {(t.domain, t.false_alarms) for t in found.thresholds} == {
        ("", 0.01), ("", 0.05), ("", 0.1), ("law", 0.01), ("law", 0.05), ("law", 0.1), ("art", 0.1),
    }  # fmt: skip
    assert threshold_of(found, 0.05, "law").domain == "law"
    assert threshold_of(found, 0.05, "art").domain == ""  # too few answers of its own
    with pytest.raises(HlensError, match=r"0\.02 false alarms; it has some for 0\.01, 0\.05, 0\.1"):
        threshold_of(found, 0.02)
    with pytest.raises(HlensError, match="recalibrate it first"):
        threshold_of(detector, 0.05)
    read = load_detector(save_detector(found, tmp_path / "new"))
    assert read.thresholds == found.thresholds
    assert (read.calibrated_on, read.calibration) == ("response", found.calibration)


def test_too_few_labels_are_refused() -> None:
    few = answers(np.random.default_rng(0), 12, "law", 0.0)
    with pytest.raises(HlensError, match="6 groups of questions with hallucinated answers"):
        recalibrate(Detector(torch.ones(1, 2), 0.0), few)
    unlabelled = [replace(one, hallucinated=None) for one in few]
    with pytest.raises(HlensError, match="0 groups"):
        recalibrate(Detector(torch.ones(1, 2), 0.0), unlabelled)


def test_a_study_is_recalibrated_and_watched_by_a_rate(tmp_path: Path) -> None:
    recipe = tiny_recipe(question_file(tmp_path / "q.jsonl", 160), str(saved_model(tmp_path / "m")))
    study = Study(tmp_path / "s", recipe)
    study.scores()
    to = tmp_path / "live.safetensors"
    run = CliRunner().invoke(app, ["recalibrate", str(study.folder), "--to", str(to), "--json"])
    assert run.exit_code == 0, run.output
    told = json.loads(run.stdout)["thresholds"]
    assert {one["false_alarms"] for one in told} <= {0.01, 0.05, 0.1}
    live = load_detector(to)
    assert live.calibrated_on == "response"
    assert live.selected.members == study.detector().selected.members
    assert [one.score for one in live.thresholds] == [one["score"] for one in told]
    table = CliRunner().invoke(app, ["recalibrate", str(study.folder)]).output
    assert "1%" in table
    assert "needs 99 true answers" in table
    asked = ["monitor", str(study.folder), "Number 3?", "--threshold", "false-alarms=0.1"]
    watched = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)["answers"][0]
    assert watched["flagged"] in (True, False)
    for wrong in ("false-alarms=x", "0.1", "false-alarms=2"):
        with pytest.raises(HlensError, match="expected a share of true answers"):
            CliRunner().invoke(app, [*asked[:-1], wrong], catch_exceptions=False)
    with pytest.raises(HlensError, match="is no study"):
        CliRunner().invoke(app, ["recalibrate", str(to)], catch_exceptions=False)
