"""SciQ: science exam questions, asked without their options.

Hub: ``allenai/sciq``, split test. CC BY-NC 3.0. Welbl et al. 2017, arXiv 1707.06209. Short
answers; the distractors are kept in meta for a multiple-choice study. Questions that only make
sense beside their options ("which of the following ...") are left out.
"""

from hlens.domains._hub import Hub, readers
from hlens.domains._rows import Row, alias_fields, group_name
from hlens.types import Question

DISPLAY = "SciQ"

HUB = Hub("sciq", "allenai/sciq", "test")
ROW = {"question": "Who proposed natural selection?", "correct_answer": "darwin"}
ROW |= {f"distractor{i}": f"person {i}" for i in (1, 2, 3)}
EXAMPLE = {"data/test-00000-of-00001.parquet": ROW}


def _to_question(row: Row, config: str, number: int) -> Question | None:
    if "following" in row["question"].casefold():
        return None
    return Question(
        id=str(number),
        domain="sciq",
        text=row["question"].strip(),
        group=group_name("sciq", row["question"]),
        **alias_fields(
            [row["correct_answer"]], distractors=[row[f"distractor{i}"] for i in (1, 2, 3)]
        ),
    )


questions, questions_from = readers(HUB, _to_question)
