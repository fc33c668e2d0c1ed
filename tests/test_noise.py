"""What the statistics promise where there is little, or nothing; the long form is a campaign."""

import numpy as np
import pytest
import torch

from campaign import noise
from hlens.audit import Findings, leaderboard, score_all
from hlens.audit.views import alike_pairs, estimate_over_pairs
from hlens.baselines import Rival
from hlens.claims.findings import HeldFixed
from hlens.claims.rules import check_held_fixed, identity, is_above_chance
from hlens.errors import HlensError
from hlens.evaluation import auroc, estimate_auroc
from hlens.evaluation.bootstrap import estimate_statistic
from hlens.evaluation.fitting import fit_detector
from hlens.evaluation.intervals import Sizes, auroc_interval, chance_p, difference_interval
from hlens.evaluation.scores import estimate_accuracy
from hlens.probe import SparseProbe
from hlens.types import Estimate, Support
from planted import evidence

GOOD, LOW = Estimate(0.8, 0.7, 0.9, 100), Estimate(0.55, 0.45, 0.65, 100)


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("rate", [0.5, 0.2])
@pytest.mark.parametrize("area", [0.5, 0.8, 0.95])
def test_an_interval_from_forty_answers_keeps_its_level(
    size: int, rate: float, area: float
) -> None:
    draw, missed = np.random.default_rng([3, size, int(100 * area)]), []
    for _ in range(150):
        score, label, group = noise.draw_answers(draw, 40, rate, size=size, area=area, spread=1)
        if 0 < label.sum() < 40:
            found = estimate_auroc(score, label, groups=group)
            assert found.value == auroc(score, label)
            missed.append(not found.low <= area <= found.high)
    assert np.mean(missed) <= 0.05 + 2.5 * (0.05 * 0.95 / len(missed)) ** 0.5


def test_p_against_chance_and_interval_say_the_same() -> None:
    draw = np.random.default_rng(4)
    for _ in range(50):
        sizes = Sizes.of(draw.random(40) < 0.4)
        area, variance = draw.uniform(0.3, 0.8), draw.uniform(0.002, 0.02)
        found = auroc_interval(area, variance, sizes=sizes)
        assert (chance_p(area, variance, sizes=sizes) <= 0.05) == (
            not found.low <= 0.5 <= found.high
        )


def test_pairs_of_all_have_the_interval_of_the_auroc() -> None:
    draw = np.random.default_rng(5)
    label = np.arange(60) % 2 == 0
    score = draw.normal(size=60) + label
    every = np.ones((30, 30), dtype=bool)
    pairs, whole = estimate_over_pairs(score, label, alike=every), estimate_auroc(score, label)
    assert pairs.value == pytest.approx(whole.value)
    assert (pairs.low, pairs.high) == pytest.approx((whole.low, whole.high), abs=0.01)


def test_separated_scores_are_not_sure_and_one_score_for_all_tells_nothing() -> None:
    label = np.arange(20) >= 10
    found = estimate_auroc(label * 1.0, label)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.746, abs=0.001)
    copies = estimate_auroc(label.repeat(5), label.repeat(5), groups=np.arange(20).repeat(5))
    assert copies.low == pytest.approx(found.low, abs=0.03)
    tied = estimate_auroc(np.ones(20), label)
    assert (tied.value, tied.low, tied.high) == (0.5, 0.5, 0.5)


def test_one_group_tells_nothing_of_others() -> None:
    label = np.array([True, True, False, False])
    one = estimate_auroc([2, 3, 1, 0], label, groups=["a"] * 4)
    assert (one.value, one.low, one.high) == (1.0, 0.0, 1.0)
    right = estimate_accuracy(label, label, groups=["a"] * 4)
    assert str(right) == "1.000 [interval not known] (n=4)"
    gap, p = difference_interval(0.5, 0.01, sizes=Sizes(5, 5, 1, 5))
    assert (gap.low, gap.high, p) == (-1.0, 1.0, 1.0)


@pytest.mark.parametrize("n_boot", [0, 1])
def test_too_few_resamples_are_refused(n_boot: int) -> None:
    with pytest.raises(HlensError, match="takes 10 resamples or more"):
        estimate_statistic(lambda weights: weights[:, 0], 5, n_boot=n_boot)


def test_a_score_that_is_not_a_number_is_named() -> None:
    with pytest.raises(HlensError, match="score of example 1 is nan"):
        estimate_auroc([0.0, float("nan")], [True, False])


def test_what_cannot_be_held_fixed_is_not_supported() -> None:
    none = Estimate.missing()
    apart = check_held_fixed(HeldFixed("format", none, none, GOOD, 0), reads_at_all=True)
    assert apart.holds is False
    assert apart.reads == (
        "at equal format: no two answers are alike in it (format alone 0.80): format may explain it"
    )
    traces = Estimate(0.75, 0.6, 0.9, 100)
    assert check_held_fixed(HeldFixed("length", GOOD, traces, GOOD, 3), True).holds is False
    # A covariate that tells little leaves the adjustment to decide.
    assert check_held_fixed(HeldFixed("length", none, traces, LOW, 3), True).holds is True


def test_above_chance_asks_interval_and_p() -> None:
    assert is_above_chance(GOOD, 0.05)
    assert is_above_chance(GOOD, None)
    assert not is_above_chance(GOOD, 0.06)
    assert not is_above_chance(LOW, 0.01)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (Estimate(0.07, -0.02, 0.16, 9), "without them the AUROC falls by 0.07 [−0.02, +0.16]"),
        (Estimate(-0.07, -0.16, 0.02, 9), "without them the AUROC rises by 0.07 [−0.02, +0.16]"),
    ],
)
def test_words_agree_with_their_number(loss: Estimate, words: str) -> None:
    needed = identity(Findings(over_without=loss)).checks[-1]
    assert needed.reads == words


def test_a_rival_that_fails_is_left_out_with_its_reason() -> None:
    def fail(*_: object) -> torch.Tensor:
        raise HlensError("its tokenizer begins 'True' and 'False' with one token")

    given = evidence(n=80, signal="contributions")
    in_test = np.arange(80) % 4 < 2
    data = given.contributions
    detector = fit_detector(data.select(torch.from_numpy(~in_test)), SparseProbe(C=1.0))
    broken = Rival("broken", frozenset({"text"}), fail, learns=False, says="nothing")
    table = score_all(given, in_test, probe=SparseProbe(C=1.0), detector=detector, rivals=[broken])
    row = table.loc[table.detector == "broken"].iloc[0]
    assert "begins 'True' and 'False'" in row["note"]
    own = table.loc[(table.detector == "H-neurons") & (table.part == "test"), "score"]
    board = leaderboard(
        {"H-neurons": own.to_numpy()},
        data.labels.numpy()[in_test],
        groups=list(np.asarray(data.groups)[in_test]),
        missing={"broken": row["note"]},
    ).set_index("detector")
    assert board.note["broken"].endswith("with one token")


def test_a_pure_confound_is_named_and_a_signal_is_supported() -> None:
    signal = noise.judge_world("signal", 0)
    assert signal.verdict is Support.SUPPORTED, signal.because
    for kind in ("length", "format"):
        claim = noise.judge_world(kind, 0)
        assert claim.verdict is Support.NOT_SUPPORTED
        assert f"{kind} may explain it" in claim.because
    assert noise.judge_world("noise", 0).verdict is not Support.SUPPORTED


def test_alike_pairs_of_a_constant_are_all_pairs() -> None:
    assert alike_pairs([1, 1, 1], [True, False, False]).all()
