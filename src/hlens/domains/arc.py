"""ARC: grade-school science exams, easy and challenge.

Hub: ``allenai/ai2_arc``, configs ``ARC-Easy`` and ``ARC-Challenge``, split test. CC BY-SA 4.0.
Clark et al. 2018, arXiv 1803.05457. Multiple choice; the config is kept in meta.
"""

from hlens.domains._hub import Hub, readers
from hlens.domains._rows import Row, choice_fields, group_name, items_of
from hlens.types import Question

DISPLAY = "ARC"

HUB = Hub("arc", "allenai/ai2_arc", "test", ("ARC-Easy", "ARC-Challenge"))
CHOICES = {"text": ["ant", "bat"], "label": ["A", "B"]}
ROW = {"id": "M_1", "question": "Which is a mammal?", "choices": CHOICES, "answerKey": "B"}
EXAMPLE = {"ARC-Easy/test-00000-of-00001.parquet": ROW}


def _to_question(row: Row, config: str, number: int) -> Question:
    choices = tuple(items_of(row["choices"]["text"]))
    index = items_of(row["choices"]["label"]).index(row["answerKey"])
    return Question(
        id=row["id"],
        domain="arc",
        text=row["question"].strip(),
        group=group_name("arc", row["question"]),
        **choice_fields(index, choices, config=config),
    )


questions, questions_from = readers(HUB, _to_question)
