"""The confidently wrong: which answers those are, and what is scored among them."""

import numpy as np
import pandas as pd
import pytest
import torch

from hlens.errors import HlensError
from hlens.evaluation import agreed_samples, confidently_wrong, published_row
from hlens.report.sections import confident as section
from hlens.types import Example, Judgement, NeuronSet, Question, Response, Verdict

RIGHT, WRONG, OPEN = Verdict.CORRECT, Verdict.HALLUCINATED, Verdict.UNSCORED


def asked(name: str, *said: tuple[str, Verdict]) -> list[Judgement]:
    question = Question(name, "general", "Capital of France?", ("Paris",), group=f"g{name}")
    return [
        Judgement(Response(question, text, (1, 2), 1, sample=i), verdict)
        for i, (text, verdict) in enumerate(said)
    ]


def example(judged: Judgement) -> Example:
    response, wrong = judged.response, judged.verdict is WRONG
    own = response.question
    return Example(
        torch.tensor([1, 2]), 1, 1, 2, wrong, own.id, own.group, own.domain, response.sample
    )


@pytest.mark.parametrize(
    ("said", "agreed"),
    [
        ([("Lyon", WRONG), (" lyon", WRONG), ("Paris", RIGHT)], [0, 1]),
        ([("Lyon", WRONG), ("Nice", WRONG), ("Paris", RIGHT)], []),
        ([("Paris", RIGHT), ("the city of Paris", RIGHT), ("Lyon", WRONG)], [0, 1]),  # one answer
        ([("Lyon", WRONG), ("Lyon", WRONG), ("a", OPEN), ("b", OPEN)], []),  # half is not most
        ([("a", OPEN), ("a", OPEN), ("a", OPEN)], []),
        ([("Lyon", WRONG)], []),  # of one sample nothing is known
        ([("correct", WRONG), ("Paris", RIGHT), ("Paris", RIGHT)], [1, 2]),
    ],
)
def test_most_samples_agree(said: list[tuple[str, Verdict]], agreed: list[int]) -> None:
    assert agreed_samples(asked("q", *said)) == {("general", "q", i) for i in agreed}


def world(n: int = 40, samples: int = 3) -> tuple[list[Example], list[Judgement]]:
    """Questions of which one in four is answered alike and wrong, one in four alike and right."""
    kinds = [
        [("Lyon", WRONG)] * 3,
        [("Paris", RIGHT)] * 3,
        [("Nice", WRONG), ("Metz", WRONG), ("Paris", RIGHT)],
        [("Paris", RIGHT), ("Rouen", WRONG), ("Brest", WRONG)],
    ]
    judged = [asked(str(i), *kinds[i % 4][:samples]) for i in range(n)]
    return [example(first) for first, *_ in judged], [one for each in judged for one in each]


def test_a_detector_of_wavering_tells_nothing_of_the_confidently_wrong() -> None:
    examples, judgements = world()
    label = np.array([e.hallucinated for e in examples])
    wavers = np.arange(40) % 4 == 2
    scores = {"truth": 1.0 * label, "wavering": 1.0 * wavers, "draws": np.stack([label, ~label])}
    found = confidently_wrong(scores, examples, judgements)
    cells = found.set_index(["answers", "detector"])
    assert cells.auroc["most samples agree", "truth"] == 1
    assert cells.auroc["most samples agree", "wavering"] == 0.5
    assert cells.auroc["all others", "wavering"] == 1
    assert cells.auroc["all answers", "wavering"] == 0.75
    assert tuple(cells.loc[("most samples agree", "draws"), ["auroc", "n"]]) == (0.5, 20)
    assert set(found.n) == {20, 40}
    assert set(found.hallucinated) == {10, 20}
    with pytest.raises(HlensError, match="3 scores of 'x' for 40 examples"):
        confidently_wrong({"x": np.zeros(3)}, examples, judgements)


def test_what_cannot_be_said_is_said_plainly() -> None:
    examples, judgements = world(samples=1)
    scores = {"truth": np.array([1.0 * e.hallucinated for e in examples])}
    found = confidently_wrong(scores, examples, judgements).set_index("answers")
    assert found.auroc["all answers"] == 1
    assert np.isnan(found.auroc["most samples agree"])
    said = "one sample a question: whether samples agree is not known"
    assert found.note["most samples agree"] == said
    few = world(36)
    scores = {"truth": np.zeros(36)}
    found = confidently_wrong(scores, *few).set_index("answers")
    assert found.note["most samples agree"] == "fewer than 10 of a label"


def test_a_study_is_a_row_of_the_published_table() -> None:
    columns = ["control", "balanced_accuracy", "balanced_low", "balanced_high", "n"]
    rows = [("probe", 0.784, 0.75, 0.82, 300), ("random neurons", 0.617, 0.59, 0.64, 300)]
    neurons = NeuronSet(frozenset({(0, 1), (1, 2)}), 4, 500)
    row = published_row(
        pd.DataFrame(rows, columns=columns), neurons, model="m", domains="a, b", test="held out"
    )
    assert row.iloc[0].to_dict() == pytest.approx(
        {
            "model": "m", "way": "", "domains": "a, b", "test": "held out", "note": "",
            "per_mille": 1.0, "neurons": 2, "random": 61.7,
            "random_low": 59.0, "random_high": 64.0, "h_neurons": 78.4, "low": 75.0, "high": 82.0,
            "n": 300,
        }
    )  # fmt: skip
    with pytest.raises(HlensError, match="these scores hold no accuracy"):
        published_row(pd.DataFrame(rows, columns=columns).iloc[:, :1], neurons)


def test_the_report_tells_the_confidently_wrong_or_why_not() -> None:
    examples, judgements = world(80)
    scores = {"probe": np.array([1.0 * e.hallucinated for e in examples])}
    drawn = section.draw(confidently_wrong(scores, examples, judgements))
    assert drawn.content[0] == (
        "20 of 40 held-out answers on which most samples agree are hallucinated. Among them the "
        "probe's AUROC is 1.000 [0.885, 1.000]."
    )
    once = confidently_wrong(scores, *world(80, samples=1))
    said = "Not available: one sample a question: whether samples agree is not known."
    assert section.draw(once).content[0] == said
