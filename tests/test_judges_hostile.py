"""Judges beside what is easily misread: numbers and options by their many shapes, endless texts."""

import time

import pytest

from hlens.errors import HlensError
from hlens.judges import abstain, alias, choice, label, numeric, refusal
from hlens.types import Question, Response, Verdict

RIGHT = [
    ("1200000", "1 200 000 people"),
    ("1200000", "1,2 million"),
    ("2018", "2018 123"),
    ("1200000", "1.2e6"),
    ("1200000", "1.2E+6"),
    ("1200000", "1.2 x 10^6"),
    ("1200000", "1.2×10⁶"),
    ("1200000", "$1.2 \\times 10^{6}$"),
    ("1200000", "1.2*10**6"),
    ("1200000", "1,200,000"),
    ("1200000", "1.200.000"),
    ("1200000", "1'200'000"),
    ("1200000", "1\u202f200\u202f000"),
    ("1200000", "1.2 million"),
    ("1200000", "12,00,000"),
    ("1000000", "10^6"),
    ("1000000", "10⁶"),
    ("1e-07", "0.0000001"),
    ("0.0000001", "1e-7"),
    ("0.0000001", "1.0 × 10⁻⁷"),
    ("0.0000001", "1 x 10^-7"),
    ("-5", "−5"),
    ("-5", "minus 5"),
    ("-5", "(5)"),
    ("-5", "negative five"),
    ("0.05", "5%"),
    ("5%", "0.05"),
    ("0.75", "3/4"),
    ("0.75", "¾"),
    ("1.5", "1½"),
    ("1.5", "1 1/2"),
    ("0.75", "\\frac{3}{4}"),
    ("25", "twenty-five"),
    ("1e300", "1e300"),
    ("0", "0"),
    ("0", "zero"),
    ("1200000.0", "1.2 million"),
    ("1234.5", "1,234.50"),
    ("1234567.5", "1.234.567,5"),
    ("1577", "1,577 million"),
    ("42", "\\boxed{42}"),
    ("12", "12/31/2018"),
]
WRONG = [
    ("1200000", "1.2"),
    ("1200000", "1.2e5"),
    ("1200000", "1.2 x 10^5"),
    ("1200000", "1.2×10⁵"),
    ("1.2", "1.2e6"),
    ("1.2", "1.2 x 10^6"),
    ("10", "10^6"),
    ("10", "10⁶"),
    ("1", "1e-7"),
    ("1e-07", "1e-8"),
    ("1e-13", "0"),
    ("1e-13", "5e-13"),
    ("5", "-5"),
    ("5", "minus 5"),
    ("3", "3/4"),
    ("20", "twenty-five"),
    ("1.2", "1.200.000"),
    ("12", "12,00,000"),
    ("1", "1.200.000"),
    ("1e300", "1e299"),
    ("1", "½"),
    ("1200000", "1,200,001,000"),
    ("1", "1'200'000"),
    ("1", "1 200 000"),
    ("1", "1,2 million"),
]


def judged(gold: str, text: str, asked: str = "How much?", **meta: object) -> Verdict:
    question = Question("1", "d", asked, (gold,), meta=meta)
    return numeric.judge(Response(question, text, (), 0)).verdict


@pytest.mark.parametrize(("gold", "text"), RIGHT)
def test_a_number_is_right_in_any_shape(gold: str, text: str) -> None:
    asked = "The cost, in millions?" if gold == "1577" else "How much?"
    assert judged(gold, text, asked) is Verdict.CORRECT


@pytest.mark.parametrize(("gold", "text"), WRONG)
def test_a_number_of_that_shape_is_not_therefore_right(gold: str, text: str) -> None:
    assert judged(gold, text) is Verdict.HALLUCINATED


@pytest.mark.parametrize("tolerance", [-0.1, "much", float("nan"), True])
def test_a_tolerance_is_checked(tolerance: object) -> None:
    with pytest.raises(HlensError, match="question '1': tolerance="):
        judged("1", "1", tolerance=tolerance)


PICKS = {
    "$\\boxed{B}$": Verdict.CORRECT,
    "\\boxed{\\text{B}}": Verdict.CORRECT,
    "The answer is $\\boxed{\\textbf{(B)}}$.": Verdict.CORRECT,
    "\\boxed{bat}": Verdict.CORRECT,
    "\\boxed{A}": Verdict.HALLUCINATED,
    "\\boxed{A} or \\boxed{B}": Verdict.UNSCORED,
    "Answer: **B**": Verdict.CORRECT,
    "Answer: **A**": Verdict.HALLUCINATED,
    "option b": Verdict.CORRECT,
    "I choose B": Verdict.CORRECT,
    "A bat": Verdict.CORRECT,
    "A cat": Verdict.HALLUCINATED,
    "Both A and B": Verdict.UNSCORED,
    "A or B": Verdict.UNSCORED,
    "A, B": Verdict.UNSCORED,
    "B/C": Verdict.UNSCORED,
    "Answer: A\nAnswer: B": Verdict.UNSCORED,
    "The answer is B, not A": Verdict.CORRECT,
    "B. Because A is wrong.": Verdict.CORRECT,
}


@pytest.mark.parametrize("text", PICKS)
def test_an_option_is_picked_or_several_are(text: str) -> None:
    question = Question("1", "d", "Which is a mammal?", ("bat",), choices=("ant", "bat", "cod"))
    assert choice.judge(Response(question, text, (), 0)).verdict is PICKS[text]


ENDLESS = [" ", "\n", "a ", "1,", ".", "a. ", "[", "Paris "]


@pytest.mark.parametrize("unit", ENDLESS)
def test_no_text_holds_a_judge_up(unit: str) -> None:
    polar = Question("1", "d", "Is it?", ("Paris",), choices=("Paris", "not Paris"))
    number = Question("1", "d", "How much?", ("42",))
    place = Question("1", "d", "Capital of France?", ("Paris", "July 4, 1776", "yes"))
    nothing = Question("1", "d", "Who?", ())
    asked = [(alias, place), (choice, polar), (label, polar), (numeric, number), (abstain, nothing)]
    for n in (15_000, 100_000):
        text = (unit * n)[:n] + "x"
        refusal(text)
        for judge, question in asked:
            begun = time.process_time()
            verdict = judge.judge(Response(question, text, (), 0))
            assert time.process_time() - begun < 10, judge.__name__
            if n > 20_000:
                assert verdict.verdict is Verdict.UNSCORED
                assert verdict.reason.startswith("too long to read (100,001 characters)")


@pytest.mark.parametrize(
    ("unit", "verdict"),
    [
        ("Paris ", Verdict.CORRECT),
        ("Paris, ", Verdict.CORRECT),
        ("not Paris. ", Verdict.HALLUCINATED),
        ("New Paris ", Verdict.HALLUCINATED),
        ("anything but Paris, ", Verdict.HALLUCINATED),
        ("Paris or Lyon. ", Verdict.UNSCORED),
        ("Lyon vs. Paris; ", Verdict.HALLUCINATED),
    ],
)
def test_a_gold_answer_that_is_repeated_for_ever_is_judged_as_once(
    unit: str, verdict: Verdict
) -> None:
    question = Question("1", "d", "Capital of France?", ("Paris", "City of Light"))
    for n in (1, 2, 19_000 // len(unit)):
        begun = time.process_time()
        judged = alias.judge(Response(question, unit * n, (), 0))
        assert (judged.verdict, n) == (verdict, n), judged.reason
        assert time.process_time() - begun < 4  # of a rule that reads the whole text each time: 20
