"""TriviaQA, questions only (rc.nocontext): trivia with many aliases; the set of the paper.

Hub: ``mandarjoshi/trivia_qa``, config ``rc.nocontext``, split validation. Apache-2.0 (questions
belong to their sites). Joshi et al. 2017, arXiv 1705.03551. Short answers.
"""

from hlens.domains._hub import Hub, readers
from hlens.domains._rows import Row, alias_fields, group_name, id_of
from hlens.types import Question

DISPLAY = "TriviaQA"

HUB = Hub("triviaqa", "mandarjoshi/trivia_qa", "validation", ("rc.nocontext",))
GOLD = {"value": "Florence", "aliases": ["Firenze", "Florence"]}
ROW = {"question": "Which Italian city has the Uffizi? ", "question_id": "tc_1", "answer": GOLD}
EXAMPLE = {"rc.nocontext/validation-00000-of-00001.parquet": ROW}


def _to_question(row: Row, config: str, number: int) -> Question:
    answer = row["answer"]
    return Question(
        id=id_of(row, "question_id", number),
        domain="triviaqa",
        text=row["question"].strip(),
        group=group_name("triviaqa", row["question"]),
        **alias_fields([answer["value"], *answer.get("aliases", ())]),
    )


questions, questions_from = readers(HUB, _to_question)
