"""Thresholds keep what they promise on answers that had no part in them, grouped or not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hlens.cli import app
from hlens.cli.forms import Form
from hlens.cli.recalibrating import Recalibrated, show_recalibrated
from hlens.errors import HlensError
from hlens.evaluation import answers_needed, find_thresholds
from hlens.monitor import (
    describe_labels,
    fallback_domains,
    in_domain,
    recalibrate,
    save_scores,
    tabulate_scores,
    threshold_of,
)
from hlens.steps import levels
from hlens.store import check_detector_file, load_detector, save_detector
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
    with pytest.raises(
        HlensError, match="6 groups of questions with correct and 6 with hallucinated"
    ):
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
    assert "probabilities, by groups of questions with labels" in table
    asked = ["monitor", str(study.folder), "Number 3?", "--threshold", "false-alarms=0.1"]
    watched = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)["answers"][0]
    assert watched["flagged"] in (True, False)
    for wrong in ("false-alarms=x", "0.1", "false-alarms=2"):
        with pytest.raises(HlensError, match="expected a share of true answers"):
            CliRunner().invoke(app, [*asked[:-1], wrong], catch_exceptions=False)
    with pytest.raises(HlensError, match="is no study"):
        CliRunner().invoke(app, ["recalibrate", str(to)], catch_exceptions=False)
    with pytest.raises(HlensError, match=r"unknown domain 'law'\. Known: q"):
        CliRunner().invoke(app, [*asked, "--domain", "law"], catch_exceptions=False)
    with pytest.raises(HlensError, match="--after goes with --flag-at or --stop-at"):
        CliRunner().invoke(app, [*asked, "--after", "2"], catch_exceptions=False)
    # The study knows its home, neurons included, and so does the file that it wrote.
    own = study[levels.live_detector]
    assert own.home is not None
    assert own.home.neurons is not None
    assert own.home.neurons.shape == (len(study[levels.scored_answers]), len(own.selected))
    for source in (study.folder, to):
        scores = save_scores(
            tabulate_scores(study[levels.scored_answers], own), tmp_path / "scores.jsonl"
        )
        told = CliRunner().invoke(app, ["drift", str(source), str(scores), "--json"])
        assert told.exit_code == 0
        assert json.loads(told.stdout)["scores"][0]["shift"] == pytest.approx(0, abs=1e-6)


def test_what_a_recalibrated_study_would_ignore_is_refused(tmp_path: Path) -> None:
    """Without a file of answers nothing is read, so that no option may say how."""
    (tmp_path / "recipe.toml").write_text('model = "toy"\n')
    for given in (
        ["--model", "toy"], ["--dtype", "float16"], ["--device-map", "auto"], ["--adapter", "x"],
        ["--quantization", "nf4"], ["--layout", "ragtruth"], ["--judge", "alias"],
        ["--label", "wrong=hallucinated"], ["--instruction", "Be brief."], ["--style", "chat"],
        ["--question", "prompt"],
    ):  # fmt: skip
        with pytest.raises(HlensError, match=f"^{given[0]} goes with a file of labelled answers"):
            CliRunner().invoke(app, ["recalibrate", str(tmp_path), *given], catch_exceptions=False)
    with pytest.raises(HlensError, match="--model goes with a recipe"):
        CliRunner().invoke(app, ["run", str(tmp_path), "--model", "toy"], catch_exceptions=False)


def test_what_is_written_is_what_was_checked(tmp_path: Path) -> None:
    """A name with a dot is no suffix; both files of the detector are checked before the work."""
    for mine in ("live.v2.safetensors", "live.v2.json"):
        (tmp_path / mine).write_text("of my own")
        with pytest.raises(HlensError, match=rf"{mine} .*hlens did not write"):
            CliRunner().invoke(
                app,
                ["recalibrate", "no such study", "--to", str(tmp_path / "live.v2")],
                catch_exceptions=False,
            )
        assert (tmp_path / mine).read_text() == "of my own"
        (tmp_path / mine).unlink()
    detector = Detector(torch.tensor([[0.0, 1.0], [-2.0, 0.0]]), 0.0)
    path = check_detector_file(tmp_path / "live.v2")
    assert save_detector(detector, tmp_path / "live.v2") == path
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "live.v2.json", "live.v2.safetensors",
    ]  # fmt: skip
    assert load_detector(tmp_path / "live.v2").selected == detector.selected


def test_a_domain_has_probabilities_of_its_own_or_falls_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Answers of law score far higher than others: one map for both would be wrong of both."""
    draw = np.random.default_rng(0)
    detector = Detector(torch.tensor([[0.0, 1.0], [-2.0, 0.0]]), 0.0)
    few = answers(draw, 12, "art", 0.0)
    given = [*answers(draw, 300, "law", 3.0), *answers(draw, 300, "tax", -3.0), *few]
    found = recalibrate(detector, given)
    assert [one.domain for one in found.calibrations] == ["law", "tax"]
    score = torch.tensor(0.0)
    law, tax, both = (float(found.probability_of(score, name)) for name in ("law", "tax", ""))
    assert law < 0.1 < both < 0.9 < tax
    for name in ("law", "tax"):  # halfway between its own true and wrong answers
        middle = torch.tensor({"law": 3.75, "tax": -2.25}[name])
        assert float(found.probability_of(middle, name)) == pytest.approx(0.5, abs=0.1)
    assert float(found.probability_of(score, "art")) == both
    assert in_domain(found, "law").calibration == found.calibration_of("law")
    assert not caplog.records
    assert in_domain(found, "art").calibration == found.calibration
    assert "no probabilities of art alone; those of all domains together" in caplog.text
    assert fallback_domains(found, ["law", "art", "med"]) == ["art", "med"]
    assert fallback_domains(detector, ["law", "art"]) == []
    alone = recalibrate(detector, answers(draw, 100, "law", 0.0))
    assert fallback_domains(alone, ["law", "art"]) == ["art"]
    labels = describe_labels(found, given).set_index("domain")
    assert labels["own"].to_dict() == {"": True, "art": False, "law": True, "tax": True}
    assert labels.loc["art", ["correct", "hallucinated", "true_answers"]].tolist() == [6, 6, 6]
    assert labels.loc["art", "rates"] == []
    assert labels.loc["law", "rates"] == [0.01, 0.05, 0.1]
    read = load_detector(save_detector(found, tmp_path / "new"))
    assert read.calibrations == found.calibrations
    table = tabulate_scores([*few[:1], *given[:1]], read)
    risks = table.loc[table["level"] == "response", "risk"].tolist()
    for risk, one in zip(risks, (few[0], given[0]), strict=True):
        known = read.probability_of(torch.tensor(one.score), one.domain)
        assert risk == pytest.approx(float(known), abs=1e-5)


def test_enough_labels_are_said_by_domain(capsys: pytest.CaptureFixture[str]) -> None:
    draw = np.random.default_rng(0)
    given = [*answers(draw, 300, "law", 0.0), *answers(draw, 12, "art", 0.0)]
    found = recalibrate(Detector(torch.ones(1, 2), 0.0), given)
    show_recalibrated(Recalibrated(found, describe_labels(found, given), None), Form.PLAIN)
    said = capsys.readouterr().out
    assert "art, 5%: needs 19 true answers of unequal score; it has 6" in said
    assert (
        "art: probabilities of its own need 10 groups of questions with correct and as many with "
        "hallucinated answers; it has 6 and 6"
    ) in said
    assert "law" in said
    assert "law, 5%" not in said
