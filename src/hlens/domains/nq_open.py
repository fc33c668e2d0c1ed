"""NQ-Open: questions that people typed into a search engine, with short answers.

Hub: ``google-research-datasets/nq_open``, split validation. CC BY-SA 3.0. Kwiatkowski et al. 2019
(Natural Questions); Lee et al. 2019, arXiv 1906.00300. Short answers, some dated.
"""

from hlens.domains._hub import Hub, readers
from hlens.domains._rows import Row, alias_fields, group_name
from hlens.types import Question

DISPLAY = "NQ-Open"

HUB = Hub("nq_open", "google-research-datasets/nq_open", "validation", aliases=("dev",))
ROW = {"question": "when was it", "answer": ["2017", "in 2017"]}
EXAMPLE = {"nq_open/validation-00000-of-00001.parquet": ROW}


def _to_question(row: Row, config: str, number: int) -> Question:
    text = row["question"].strip()
    return Question(
        id=str(number),
        domain="nq_open",
        text=text if text.endswith("?") else text + "?",
        group=group_name("nq_open", text),
        **alias_fields(row["answer"]),
    )


questions, questions_from = readers(HUB, _to_question)
