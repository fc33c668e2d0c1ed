"""Long answers at three levels: right values by hand, and intervals that know groups."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_curve

from hlens.errors import HlensError
from hlens.evaluation import (
    detections,
    estimate_average_precision,
    estimate_recall,
    evaluate_levels,
)
from hlens.evaluation.levels import any_span
from hlens.types import Calibration, Estimate, MarkedSpan, ScoredAnswer
from hlens.types.labels import Level, LevelScore


def answer(
    scores: list[float], *spans: tuple[int, int, bool], hallucinated: bool | None = None, name="1"
) -> ScoredAnswer:
    """An answer of one letter a token."""
    tokens = tuple("abcdefghijklmnopqrstuvwxyz"[i % 26] for i in range(len(scores)))
    marked = tuple(MarkedSpan(*span) for span in spans)
    return ScoredAnswer(name, "d", f"g{name}", tokens, np.array(scores), marked, hallucinated)


def row(table, level: Level, score: LevelScore):
    (found,) = table.loc[(table.level == level) & (table.score == score)].to_dict("records")
    return found


# Two answers. By hand: spans score 4 and -1 (wrong), -2 and 1 (true); means are 0.5 and -0.5.
WRONG = answer([-2.0, 4.0, -1.0, -1.0, 2.5], (1, 2, True), (2, 4, True), (0, 1, False),
               hallucinated=True, name="wrong")  # fmt: skip
RIGHT = answer([-2.0, 1.0], (1, 2, False), hallucinated=False, name="right")


def test_values_by_hand() -> None:
    table = evaluate_levels([WRONG, RIGHT], n_boot=20)
    span = row(table, Level.SPAN, LevelScore.DETECTOR)
    # Wrong 4 and -1 against true -2 and 1: 4 beats both, -1 beats one of two.
    assert span["auroc"] == pytest.approx(3 / 4)
    # Alarms in order: 4 (right), 1 (false), -1 (right), -2: precision 1 and 2/3.
    assert span["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert span["recall"] == pytest.approx(1 / 2)  # no false alarm is allowed of two
    assert (span["n"], span["hallucinated"], span["groups"]) == (4, 2, 2)
    token = row(table, Level.TOKEN, LevelScore.DETECTOR)
    # Wrong 4, -1, -1 against true -2 and 1; the last token of the first answer has no label.
    assert (token["n"], token["hallucinated"]) == (5, 3)
    assert token["auroc"] == pytest.approx((2 + 1 + 1) / 6)
    response = row(table, Level.RESPONSE, LevelScore.MEAN)
    assert (response["n"], response["auroc"]) == (2, 1.0)
    assert row(table, Level.RESPONSE, LevelScore.MAXIMUM)["auroc"] == 1.0


def test_the_labels_of_responses_are_given_and_not_read_off_spans() -> None:
    unknown = answer([3.0, 1.0], (0, 1, True), name="unknown")
    table = evaluate_levels([WRONG, RIGHT, unknown], n_boot=20)
    assert row(table, Level.RESPONSE, LevelScore.MEAN)["n"] == 2
    assert row(table, Level.SPAN, LevelScore.DETECTOR)["n"] == 5


def test_any_span_is_the_chance_of_at_least_one() -> None:
    two = answer([0.0, np.log(3.0)], (0, 1, False), (1, 2, True))
    assert any_span(two) == pytest.approx(1 - 0.5 * 0.25)
    flat = Calibration((-10.0, 10.0), (0.1, 0.1), "isotonic", 0.0)
    assert any_span(two, flat) == pytest.approx(1 - 0.9**2)
    assert any_span(answer([0.0, 0.0])) == pytest.approx(0.5)  # unmarked: one span


def test_a_token_in_spans_of_both_labels_is_hallucinated() -> None:
    both = answer([1.0, 2.0, 3.0], (0, 3, False), (1, 2, True), hallucinated=True)
    table = evaluate_levels([both, RIGHT], n_boot=20)
    assert row(table, Level.TOKEN, LevelScore.DETECTOR)["hallucinated"] == 1


def test_controls_are_turned_to_their_better_side_and_say_so() -> None:
    # Wrong spans are early and short.
    answers = [
        answer([0.0] * 9, (i % 3, 1 + i % 3, True), (4, 8, False), name=str(i)) for i in range(6)
    ]
    table = evaluate_levels(answers, n_boot=20)
    length, position = (
        row(table, Level.SPAN, control) for control in (LevelScore.LENGTH, LevelScore.POSITION)
    )
    assert (length["auroc"], length["note"]) == (1.0, "shorter is worse")
    assert (position["auroc"], position["note"]) == (1.0, "earlier is worse")
    detector = row(table, Level.SPAN, LevelScore.DETECTOR)
    assert (detector["auroc"], detector["recall"], detector["note"]) == (0.5, 0.0, "")
    assert detector["average_precision"] == pytest.approx(0.5)  # their share


def test_the_span_is_found_where_the_mean_of_the_response_drowns_it() -> None:
    """Every response has the same mean; the wrong span of each wrong one stands out."""
    draw = np.random.default_rng(0)
    answers = []
    for i in range(60):
        wrong = bool(i % 2)
        scores = draw.normal(-2, 0.3, 100)
        start = int(draw.integers(0, 90))
        scores[start : start + 5] += 4.0 * wrong
        scores += -2.0 - scores.mean()  # the rest makes up for it
        other = (start + 40) % 90
        spans = sorted([(start, start + 5, wrong), (other, other + 5, False)])
        answers.append(answer(list(scores), *spans, hallucinated=wrong, name=str(i)))
    table = evaluate_levels(answers, n_boot=50)
    assert row(table, Level.SPAN, LevelScore.DETECTOR)["auroc"] > 0.99
    assert row(table, Level.TOKEN, LevelScore.DETECTOR)["auroc"] > 0.99
    mean = row(table, Level.RESPONSE, LevelScore.MEAN)
    assert mean["low"] < 0.5 < mean["high"]
    assert row(table, Level.RESPONSE, LevelScore.MAXIMUM)["auroc"] > 0.99
    assert row(table, Level.RESPONSE, LevelScore.CALIBRATED)["auroc"] > 0.99
    for control in (LevelScore.LENGTH, LevelScore.SPANS):  # the same for all
        assert row(table, Level.RESPONSE, control)["auroc"] == 0.5


def test_one_label_is_a_note_and_no_number() -> None:
    table = evaluate_levels([WRONG], n_boot=20)
    response = row(table, Level.RESPONSE, LevelScore.MEAN)
    assert np.isnan(response["auroc"])
    assert "all 1 examples are hallucinated" in response["note"]
    unlabelled = evaluate_levels([answer([0.0])])
    assert unlabelled.auroc.isna().all()
    assert set(unlabelled.n) == {0}
    with pytest.raises(HlensError, match="no scored answers"):
        evaluate_levels([answer([])])


def test_precision_and_recall_are_those_of_scikit_learn() -> None:
    draw = np.random.default_rng(3)
    for _ in range(20):
        label = draw.random(80) < 0.3
        score = np.round(draw.normal(size=80) + label, 1)  # with ties
        precision = estimate_average_precision(score, label, n_boot=10).value
        assert precision == pytest.approx(average_precision_score(label, score))
        false, found, _ = roc_curve(label, score, drop_intermediate=False)
        expected = found[false <= 0.1 + 1e-12].max()
        assert estimate_recall(score, label, n_boot=10).value == pytest.approx(expected)


def test_resamples_are_those_of_repeated_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight of two is the same as an example that is there twice."""
    score, label = np.array([3.0, 2.0, 2.0, 1.0, 0.0]), np.array([1, 0, 1, 0, 1], dtype=bool)
    caught = []

    def statistic_only(statistic, n, **options):
        weights = np.array([[1.0, 2.0, 0.0, 3.0, 1.0]])
        caught.append(float(statistic(weights)[0]))
        return Estimate.missing(n)

    monkeypatch.setattr(detections, "estimate_statistic", statistic_only)
    estimate_average_precision(score, label)
    estimate_recall(score, label, false_alarms=0.4)
    repeated = np.repeat(np.arange(5), [1, 2, 0, 3, 1])
    assert caught[0] == pytest.approx(average_precision_score(label[repeated], score[repeated]))
    assert caught[1] == pytest.approx(0.5)  # two of five false alarms are allowed: 3.0 alone


def test_intervals_are_of_groups() -> None:
    """Ten answers of one group each twenty times are worth ten."""
    draw = np.random.default_rng(1)
    label = np.repeat(np.arange(20) % 2 == 0, 20)
    score = np.repeat(draw.normal(size=20), 20) + label
    groups = np.repeat([f"g{i}" for i in range(20)], 20)
    for estimate in (estimate_average_precision, estimate_recall):
        wide = estimate(score, label, groups=groups, n_boot=200)
        narrow = estimate(score, label, n_boot=200)
        assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_spans_beyond_the_tokens_are_one_line() -> None:
    with pytest.raises(HlensError, match=r"span \[1, 3\) does not fit 2 tokens"):
        answer([0.0, 1.0], (1, 3, True))
    with pytest.raises(HlensError, match="1 scores for 2 tokens"):
        ScoredAnswer("1", "d", "g", ("a", "b"), np.zeros(1))
    with pytest.raises(HlensError, match="false_alarms=2"):
        estimate_recall([1, 0], [1, 0], false_alarms=2.0)
