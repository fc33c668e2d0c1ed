"""The audit's parts: how often they err, what they agree with, and every rule of the card."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import hlens
from hlens import audit
from hlens.audit.added import normal_scores, powers
from hlens.audit.covariates import answer_type, gold_in_prompt
from hlens.audit.halves import estimate_shared
from hlens.audit.views import adjust_scores, alike_pairs, estimate_over_pairs, name_strata
from hlens.claims.findings import (
    ExcessSlope,
    HeldFixed,
    OverOutput,
    RivalGap,
    TransferPair,
)
from hlens.errors import HlensError
from hlens.evaluation import auroc, delong_test, split_by_group
from hlens.judges import substring
from hlens.probe import SparseProbe
from hlens.types import (
    AuditCard,
    Check,
    Claim,
    Estimate,
    Example,
    Judgement,
    NeuronSet,
    Question,
    Response,
    Support,
    Verdict,
)
from hlens.types.labels import View
from synthetic import made

YES, NO, OPEN = Support.SUPPORTED, Support.NOT_SUPPORTED, Support.NOT_TESTED


# How often the tests err where nothing is there


def noise(n: int, seed: int) -> tuple[np.random.Generator, np.ndarray, list[str]]:
    draw = np.random.default_rng(seed)
    groups = [f"g{i // 2}" for i in range(n)]
    return draw, np.repeat(draw.random(n // 2) < 0.4, 2), groups


def test_what_repeats_a_rival_rarely_seems_to_add_to_it() -> None:
    alarms = []
    for seed in range(60):
        draw, label, groups = noise(300, seed)
        base = draw.normal(size=(2, 300)) + 1.2 * label
        same = base + draw.normal(size=(2, 300))  # reads the base, not the label
        found, p = audit.gain(
            (base[0], base[1]),
            (same[0], same[1]),
            labels=(label, label),
            groups=(groups, groups),
            permutations=39,
            n_boot=100,
        )
        alarms.append([p <= 0.05, found.low > 0 and p <= 0.05])
    by_p, by_rule = np.mean(alarms, axis=0)
    assert by_p <= 0.12  # 5 % and twice the error of 60 draws, groups of two included
    assert by_rule <= 0.08


def test_a_score_that_follows_length_is_rarely_above_chance_at_equal_length() -> None:
    alarms = []
    for seed in range(60):
        draw = np.random.default_rng(seed)
        length = draw.integers(1, 9, 300)
        label = draw.random(300) < 1 / (1 + np.exp(4.5 - length))
        score = length + draw.normal(size=300)
        found = estimate_over_pairs(score, label, alike=alike_pairs(length, label))
        assert roc_auc_score(label, score) > 0.7
        alarms.append(found.low > 0.5)
    assert np.mean(alarms) <= 0.08


# The parts


def test_all_pairs_are_the_auroc_and_strata_are_the_stratified_one() -> None:
    draw, label, groups = noise(200, 1)
    score, stratum = draw.normal(size=200).round(1) + label, draw.integers(0, 3, 200)
    every = np.ones((int(label.sum()), int((~label).sum())), dtype=bool)
    whole = estimate_over_pairs(score, label, alike=every, groups=groups)
    assert whole.value == pytest.approx(auroc(score, label))
    assert whole.n == 200
    own = [(auroc(score[s], label[s]), label[s].sum() * (~label[s]).sum())
           for s in (stratum == k for k in range(3))]  # fmt: skip
    expected = sum(a * pairs for a, pairs in own) / sum(pairs for _, pairs in own)
    found = estimate_over_pairs(
        score, label, alike=alike_pairs(stratum.astype(str), label), groups=groups
    )
    assert found.value == pytest.approx(expected)


def test_matching_is_alike_balanced_and_the_largest() -> None:
    label = np.array([True, True, True, False, False])
    alike = np.array([[True, True], [True, False], [False, False]])
    kept = audit.match_alike(alike, label)
    # Greedy could take (0, 0) and leave (1, ·) alone; two pairs are possible.
    assert kept.tolist() == [True, True, False, True, True]


def test_gain_is_that_of_scikit_learn() -> None:
    draw, label, groups = noise(400, 2)
    base, extra = draw.normal(size=(2, 400)) + label, draw.normal(size=(2, 400)) + 0.7 * label
    found, _ = audit.gain(
        (base[0], base[1]),
        (extra[0], extra[1]),
        labels=(label, label),
        groups=(groups, groups),
        permutations=0,
        n_boot=10,
    )
    parts = [
        [powers(part) for part in normal_scores(*pair)]
        for pair in ((base[0], base[1]), (extra[0], extra[1]))
    ]

    def likelihood(train: np.ndarray, test: np.ndarray) -> float:
        model = LogisticRegression(C=10.0, tol=1e-10, max_iter=1000).fit(train, label)
        return float(model.predict_log_proba(test)[np.arange(400), label.astype(int)].mean())

    both = [np.hstack([a, b]) for a, b in zip(*parts, strict=True)]
    expected = 1000 * (likelihood(*both) - likelihood(*parts[0]))
    assert found.value == pytest.approx(expected, abs=1e-3)
    assert found.value > 10
    bent, _ = audit.gain(
        (np.exp(3 * base[0]), np.exp(3 * base[1])), (extra[0] ** 3, extra[1] ** 3),
        labels=(label, label), groups=(groups, groups), permutations=0, n_boot=10,
    )  # fmt: skip
    assert bent.value == pytest.approx(found.value)  # a rival's units are no advantage to us


def test_the_leaderboard_pairs_and_corrects() -> None:
    draw, label, groups = noise(200, 3)
    scores = {name: draw.normal(size=200) + shift * label
              for name, shift in (("H-neurons", 1.5), ("good", 1.4), ("poor", 0.0))}  # fmt: skip
    table = audit.leaderboard(
        scores,
        label,
        groups=groups,
        costs={"poor": (0, 4)},
        missing={"gone": "no context"},
    )
    row = table.set_index("detector").loc["poor"]
    difference, p = delong_test(scores["H-neurons"], scores["poor"], labels=label, groups=groups)
    assert (row.difference, row.p) == (pytest.approx(difference), pytest.approx(p))
    assert row.difference_low < difference < row.difference_high
    assert row.p_corrected == pytest.approx(2 * p)
    assert (row.passes, row.samples) == (0, 4)
    assert table.iloc[-1].note == "not available: no context"
    with pytest.raises(HlensError, match="no scores of 'H-neurons'"):
        audit.leaderboard({"good": scores["good"]}, label, groups=groups)


def test_a_constant_covariate_is_said_and_not_judged() -> None:
    draw, label, groups = noise(120, 4)
    table = pd.DataFrame({"length": draw.integers(1, 5, 120), "domain": "one"})
    part = audit.Scored(draw.normal(size=120) + label, label, groups, table)
    found = audit.confounds(part, part)
    domain = found[found.covariate == "domain"]
    assert domain.note.tolist() == ["has one value only"]
    assert domain.auroc.isna().all()
    views = set(found[found.covariate == "length"]["view"])
    assert set(View) - {View.STRATUM} <= views


def test_what_no_true_answer_is_like_is_not_adjusted_but_left_out() -> None:
    draw, label, groups = noise(200, 6)
    kind = np.where(label & (np.arange(200) % 4 < 2), "no", "yes")
    part = audit.Scored(draw.normal(size=200), label, groups, pd.DataFrame({"attempted": kind}))
    left = adjust_scores(part, part, columns=["attempted"])
    assert (np.isnan(left) == (kind == "no")).all()
    found = audit.confounds(part, part).set_index("view")
    adjusted = found[found.covariate == "attempted"].loc["adjusted"]
    assert (adjusted.n, adjusted.hallucinated) == (
        200 - (kind == "no").sum(),
        (label & (kind == "yes")).sum(),
    )


def test_strata_hold_every_example_once() -> None:
    numbers = pd.Series([1.0, 1.0, 1.0, 1.0, 2.0, 9.0])
    assert set(name_strata(numbers)) == {"1", "2 to 9"} or len(set(name_strata(numbers))) <= 3
    many = pd.Series([f"r{i % 30}" for i in range(90)])
    assert len(set(name_strata(many))) == 8
    assert "others" in name_strata(many)


def test_truth_by_length_tells_the_two_effects_apart() -> None:
    draw, label, groups = noise(400, 5)
    length = draw.integers(1, 9, 400)
    for score, strong, weak in (
        (3.0 * label, "truth", "length"),
        (1.0 * length, "length", "truth"),
    ):
        noisy = score + draw.normal(size=400)
        table = audit.truth_by_length(
            noisy, label, lengths=length, groups=groups, n_boot=100
        ).set_index("what")
        assert table.loc[strong, "low"] > 0.5
        assert table.loc[weak, "low"] < 0 < table.loc[weak, "high"]
        assert table.n.iloc[:4].sum() == 400


def test_without_its_neuron_nothing_is_left_and_flips_cost() -> None:
    data = made(500, d_mlp=24, planted={(1, 3): 3.0}, per_group=2)
    train, test = split_by_group(data, 0.4)
    probe = SparseProbe(C="cv", n_points=8, cv=3)
    detector = hlens.find(train, probe, calibration=None)
    given = [(part.labels.long(), part) for part in (train, test)]
    given[1][0][:4] = -1
    table = audit.refits(
        train, test, probe=probe, detector=detector, others={"measured again": data},
        second=(given[0][0], given[1][0]), draws=3, flip_draws=1,
    ).set_index("control")  # fmt: skip
    assert table.loc["as found", "shared"] == 1
    assert table.loc["without its neurons", "difference_low"] > 0.2
    assert table.loc["measured again", "shared"] == 1
    assert table.loc["measured again", "p"] == pytest.approx(1.0, abs=0.9)
    assert table.loc["second judge", "note"] == "0 labels differ, 4 are left open"
    left = test.select(range(4, len(test)))  # all others have one label by both judges
    found = table.loc["as found, by the second judge's labels", "auroc"]
    assert found == pytest.approx(auroc(detector(left).numpy(), left.labels.numpy()))
    assert table.loc["20 % of labels flipped", "auroc"] <= table.loc["as found", "auroc"]


def test_a_half_is_fitted_at_the_penalty_of_the_whole() -> None:
    data = made(400, d_mlp=24, planted={(1, 3): 3.0}, per_group=2)
    X, y = data.neuron_major.T, data.labels.numpy()
    first = (
        SparseProbe(class_weight="balanced").training_set(X, y).grid(2, 0.5)[0][0]
    )  # none is selected
    probe = SparseProbe(C=1.5 * float(first), class_weight="balanced")
    table = audit.set_agreement(data, probe, repeats=3).set_index("what")
    assert table.loc["halves", "low"] == 1  # at the same C both sets would be empty
    assert table.loc["halves", "neurons"] == 1


def test_covariates_come_from_the_question_and_the_response() -> None:
    question = Question(
        "1", "general", "Is Mars or Venus larger?", ("Venus",), meta={"relation": "size"}
    )
    answers = [("It is Venus", Verdict.CORRECT), ("Mars", Verdict.HALLUCINATED),
               ("What would you like to know?", Verdict.HALLUCINATED)]  # fmt: skip
    said = [Response(question, text, (1,) * 7, 4, (-0.5, -1.5, -4.0), sample=i)
            for i, (text, _) in enumerate(answers)]  # fmt: skip
    said[1] = replace(said[1], finish_reason="length")
    judged = [Judgement(r, verdict) for r, (_, verdict) in zip(said, answers, strict=True)]
    example = Example(torch.ones(7, dtype=torch.long), 4, 5, 7, True, "1", "g", "general", 1)
    row = audit.covariates([example], judged).iloc[0]
    assert (row.length, row.position, row["log-probability"]) == (2, 1, -2.75)
    assert (row["answer type"], row.topic, row["gold in prompt"]) == ("yes or no", "size", 1.0)
    assert (row.consistency, row["sample"]) == ("mixed", "later")
    assert (row["cut off"], row.attempted) == ("yes", "yes")
    row = audit.covariates([replace(example, sample=2)], judged).iloc[0]
    assert (row["cut off"], row.attempted) == ("no", "no")
    assert answer_type("In which country is Oslo?") == "place"
    assert gold_in_prompt(replace(question, answers=("Pluto",))) == 0
    with pytest.raises(HlensError, match="no judgement of sample 3"):
        audit.covariates([replace(example, sample=3)], judged)


def test_the_second_judge_is_loose_and_its_labels_keep_their_rows() -> None:
    question = Question("1", "general", "What is it?", ("art",))
    texts = ("He was Mozart.", "It is music.", "")
    responses = [Response(question, t, (), 0, sample=i) for i, t in enumerate(texts)]
    found = [substring.judge(response) for response in responses]
    assert [j.verdict for j in found] == [
        Verdict.CORRECT, Verdict.HALLUCINATED, Verdict.UNSCORED
    ]  # fmt: skip
    rows = [
        Example(torch.ones(2, dtype=torch.long), 1, 1, 2, True, "1", "g", "general", i)
        for i in (2, 0, 1)
    ]
    assert audit.second_labels(rows, found).tolist() == [-1, 0, 1]


# The rules: every condition decides its claim, alone

GOOD, CHANCE = Estimate(0.84, 0.80, 0.88, 400), Estimate(0.52, 0.46, 0.58, 400)
OVER = OverOutput(GOOD, GOOD, Estimate(0.03, 0.01, 0.05, 400), Estimate(9.0, 1.0, 20.0, 400), 0.002)
PASSING = audit.Findings(
    auroc=GOOD, shuffled=CHANCE, shuffled_p=0.05,
    held_fixed=(HeldFixed("length", GOOD, GOOD, CHANCE, 100),),
    confidence=(RivalGap("perplexity", Estimate(40.0, 20.0, 60.0, 400), 0.005),),
    text=(RivalGap("text", Estimate(30.0, 10.0, 50.0, 400), 0.02),),
    n_selected=80, n_neurons=46_080, over_dense=Estimate(-0.01, -0.03, 0.02, 400),
    refit=GOOD, random=CHANCE, random_p=1 / 21,
    halves=Estimate(0.6, 0.5, 0.7, 400), chance=Estimate(0.02, 0.0, 0.1, 400),
    other_split=Estimate(0.7, 0.7, 0.7, 400), over_without=Estimate(0.1, 0.05, 0.15, 400),
    transfers=(TransferPair("a", "b", GOOD, 0.88, 0.001),
               TransferPair("b", "a", GOOD, 0.86, 0.001)),
    slopes=(ExcessSlope("false_premises", Estimate(0.1, 0.05, 0.15, 40), True, False),
           ExcessSlope("perplexity", Estimate(0.0, -0.1, 0.1, 40), False, True)),
    cheap_rivals=(RivalGap("perplexity", Estimate(0.1, 0.05, 0.15, 400), 0.01),),
    over_output=OVER,
)  # fmt: skip
WIDE = Estimate(0.6, 0.49, 0.7, 400)
KEEPS_LITTLE = Estimate(0.6, 0.55, 0.65, 400)
RULES = [
    # claim, what is changed, verdict, the condition that fails or was not tested
    ("Readout", {"auroc": WIDE}, NO, "above chance"),
    ("Readout", {"shuffled_p": 0.0501}, NO, "beyond shuffled labels"),
    ("Readout", {"held_fixed": (HeldFixed("length", WIDE, GOOD, GOOD, 20),)}, NO,
     "at equal length"),
    ("Readout", {"held_fixed": (HeldFixed("length", GOOD, WIDE, GOOD, 20),)}, NO,
     "at equal length"),
    ("Readout", {"held_fixed": (HeldFixed("length", WIDE, GOOD, GOOD, 19),)}, YES, ""),
    ("Readout", {"held_fixed": ()}, OPEN, "at equal surface"),
    ("Readout", {"confidence": (RivalGap("p", Estimate(9.0, -1.0, 20.0, 400), 0.01),)}, NO,
     "beyond confidence"),
    ("Readout", {"confidence": (RivalGap("p", Estimate(9.0, 1.0, 20.0, 400), 0.06),)}, NO,
     "beyond confidence"),
    ("Readout", {"confidence": ()}, OPEN, "beyond confidence"),
    ("Readout", {"text": ()}, OPEN, "beyond the text"),
    ("Sparsity", {"n_selected": 461}, NO, "few"),
    ("Sparsity", {"n_selected": 0}, NO, "few"),
    ("Sparsity", {"over_dense": Estimate(0.0, -0.06, 0.06, 400)}, NO, "enough"),
    ("Sparsity", {"over_dense": None}, OPEN, "enough"),
    ("Sparsity", {"random_p": 2 / 21}, NO, "better than any few"),
    ("Identity", {"halves": Estimate(0.4, 0.3, 0.5, 400)}, NO, "comes back"),
    ("Identity", {"chance": Estimate(0.4, 0.3, 0.55, 400)}, NO, "comes back"),
    ("Identity", {"other_split": Estimate(0.4, 0.4, 0.4, 400)}, NO, "another split"),
    ("Identity", {"over_without": Estimate(0.02, -0.01, 0.05, 400)}, NO, "needed"),
    ("Identity", {"over_without": None}, OPEN, "needed"),
    ("Transfer", {"transfers": ()}, OPEN, "above chance"),
    ("Transfer", {"transfers": (TransferPair("a", "b", WIDE, 0.6, 0.2),)}, NO, "above chance"),
    ("Transfer", {"transfers": (TransferPair("a", "b", KEEPS_LITTLE, 0.9, 0.001),)},
     NO, "keeps half"),
    ("Transfer", {"transfers": (TransferPair("a", "b", GOOD, 0.48, 0.001),)}, OPEN, "keeps half"),
    ("Readout", {"held_fixed": (HeldFixed("length", Estimate.missing(), GOOD, GOOD, 20),)}, OPEN,
     "at equal length"),
    ("Control", {"slopes": (
        replace(PASSING.slopes[0], grader="rules"),
        ExcessSlope("false_premises", Estimate.missing(), False, False, 8, "llm:down"),
        PASSING.slopes[1])}, OPEN, "moves behaviour"),
    ("Control", {"slopes": ()}, OPEN, "moves behaviour"),
    ("Control", {"slopes": (replace(PASSING.slopes[0], beyond=False), PASSING.slopes[1])}, NO,
     "moves behaviour"),
    ("Control", {"slopes": (PASSING.slopes[0],)}, OPEN, "spares the rest"),
    ("Control", {"slopes": (PASSING.slopes[0],
                           ExcessSlope("perplexity", Estimate(0.5, 0.2, 0.8, 40), True, True))}, NO,
     "spares the rest"),
    ("Control", {"slopes": (PASSING.slopes[0],
                           ExcessSlope("plain_qa", Estimate(0.5, 0.2, 0.8, 40), True, True))}, YES,
     ""),
    ("Cost", {"cheap_rivals": (RivalGap("text", Estimate(0.01, -0.02, 0.05, 400), 0.4),)}, NO,
     "beats the cheap"),
    ("Cost", {"cheap_rivals": (RivalGap("text", Estimate(-0.2, -0.3, -0.1, 400), 0.001),)}, NO,
     "beats the cheap"),
    ("Cost", {"cheap_rivals": ()}, OPEN, "beats the cheap"),
    ("Cost", {"over_output": replace(OVER, difference=Estimate(0.01, -0.01, 0.03, 400))}, NO,
     "earns its pass"),
    ("Cost", {"over_output": replace(OVER, p=0.06)}, NO, "earns its pass"),
    ("Cost", {"over_output": replace(OVER, gain=Estimate(-4.0, -6.0, -2.0, 400))}, NO,
     "earns its pass"),
    ("Cost", {"over_output": replace(OVER, both=Estimate(0.4, 0.35, 0.45, 400))}, NO,
     "earns its pass"),
    ("Cost", {"over_output": replace(OVER, p=float("nan"))}, OPEN, "earns its pass"),
    ("Cost", {"over_output": None}, OPEN, "earns its pass"),
]  # fmt: skip


def test_all_claims_can_be_supported_and_nothing_measured_is_not_tested() -> None:
    assert {claim.verdict for claim in audit.decide(PASSING)} == {YES}
    assert {claim.verdict for claim in audit.decide(audit.Findings())} == {OPEN}


def test_the_docs_say_every_rule_in_the_words_of_the_code() -> None:
    page = Path(__file__).parents[1] / "docs" / "explanation" / "audit.md"
    text = page.read_text(encoding="utf-8")
    rules = {check.rule for claim in audit.decide(PASSING) for check in claim.checks}
    assert len(rules) == 17
    assert [rule for rule in rules if f"| {rule} |" not in text] == []


@pytest.mark.parametrize(("name", "change", "verdict", "which"), RULES)
def test_a_rule(name: str, change: dict, verdict: Support, which: str) -> None:
    claims = {claim.name: claim for claim in audit.decide(replace(PASSING, **change))}
    assert claims[name].verdict is verdict
    odd = {check.name for check in claims[name].checks if check.holds is not True}
    assert which in odd if which else not odd


def test_the_card_comes_back_and_keeps_foreign_text_as_text() -> None:
    hostile = "m</script><b>|x\n`y`"
    checks = (Check("a|b", "rule", False, GOOD, CHANCE, reads=hostile),)
    card = AuditCard(hostile, hostile, (Claim("Readout", hostile, checks), *audit.decide(PASSING)))
    assert AuditCard.from_dict(card.to_dict()) == card
    page = audit.markdown(card)
    assert "<b>" not in page
    assert "</script>" not in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert all(line.replace("\\|", "").count("|") in (4, 6) for line in rows)
    drawn = hlens.figures.audit_card(card).markup
    assert "<b>|x" not in drawn
    assert "</script>" not in drawn
    assert drawn.count('<section class="ha-claim">') == 7


def test_a_half_without_neurons_has_found_nothing_again() -> None:
    some, none = NeuronSet(frozenset({(0, 1)}), 1, 4), NeuronSet(frozenset(), 1, 4)
    shared = estimate_shared([(some, some), (some, none), (none, none), (some, some)], 80)
    assert (shared.value, shared.low, shared.high) == (0.5, 0.0, 1.0)
    assert estimate_shared([(none, none)], 80).value == 0.0
