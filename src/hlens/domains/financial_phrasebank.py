"""Financial PhraseBank: is a sentence of the financial news good or bad for the investor?

Hub: ``takala/financial_phrasebank``, config ``sentences_allagree``, split train (the only one),
parquet branch (the set itself has a loading script only). CC BY-NC-SA 3.0. Malo et al. 2014,
arXiv 1307.5336. Labels.
"""

from hlens.domains import _hub
from hlens.domains._hub import PARQUET, Hub, Row
from hlens.types import Question

HUB = Hub(
    "financial_phrasebank",
    "takala/financial_phrasebank",
    "train",
    ("sentences_allagree",),
    PARQUET,
)
LABELS = ("negative", "neutral", "positive")
ASKED = (
    "What does this sentence mean for the company's investors? "
    "Answer negative, neutral or positive."
)


def _question(row: Row, config: str, number: int) -> Question:
    label = row["label"]
    index = LABELS.index(label) if isinstance(label, str) else int(label)
    return Question(
        id=str(number),
        domain="financial_phrasebank",
        text=f"{ASKED}\n{row['sentence'].strip()}",
        answers=(_hub.label_at(index, LABELS),),
        choices=LABELS,
        group=_hub.group_of("financial_phrasebank", row["sentence"]),
        meta={"format": "label", "judge": "label", "answer_index": index},
    )


questions, questions_at = _hub.readers(HUB, _question)
