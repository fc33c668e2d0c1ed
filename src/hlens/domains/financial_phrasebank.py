"""Financial PhraseBank: is a sentence of the financial news good or bad for the investor?

Hub: ``takala/financial_phrasebank``, config ``sentences_allagree``, split train (the only one),
parquet branch (the set itself has a loading script only). CC BY-NC-SA 3.0. Malo et al. 2014,
arXiv 1307.5336. Labels.
"""

from hlens.domains._hub import PARQUET, Hub, readers
from hlens.domains._rows import Row, group_name, label_fields
from hlens.types import Question

DISPLAY = "Financial PhraseBank"

CONFIG = "sentences_allagree"
HUB = Hub("financial_phrasebank", "takala/financial_phrasebank", "train", (CONFIG,), PARQUET)
LABELS = ("negative", "neutral", "positive")
PROMPT = (
    "What does this sentence mean for the company's investors? "
    "Answer negative, neutral or positive."
)
EXAMPLE = {"sentences_allagree/train/0000.parquet": {"sentence": "Profit rose.", "label": 2}}


def _to_question(row: Row, config: str, number: int) -> Question:
    label = row["label"]
    index = LABELS.index(label) if label in LABELS else label
    return Question(
        id=str(number),
        domain="financial_phrasebank",
        text=f"{PROMPT}\n{row['sentence'].strip()}",
        group=group_name("financial_phrasebank", row["sentence"]),
        **label_fields(index, LABELS),
    )


questions, questions_from = readers(HUB, _to_question)
