"""BioASQ: factoid biomedical questions.

Hub: ``kroshan/BioASQ``, split train. The rows of BioASQ's own ``*_golden.json`` files (``body``,
``type``, ``exact_answer``) are read too, as a list or one a line. CC BY 2.5 (BioASQ, which asks
for registration). Tsatsaronis et al. 2015. Short answers. The hub's rows hold the answer inside
``text`` as ``<answer> ... <context> ...``.
"""

import re

from hlens.domains._hub import Hub, readers
from hlens.domains._rows import Row, alias_fields, group_name, id_of, items_of, unique_texts
from hlens.types import Question

DISPLAY = "BioASQ"

HUB = Hub("bioasq", "kroshan/BioASQ", "train", aliases=("golden",))
ROW = {"question": "Which gene?", "text": "<answer> BRCA1 <context> The gene BRCA1."}
EXAMPLE = {"data/train-00000-of-00001.parquet": ROW}


def _to_question(row: Row, config: str, number: int) -> Question | None:
    if row.get("type", "factoid") != "factoid":
        return None
    text = str(row["question"] if "question" in row else row["body"]).strip()
    return Question(
        id=id_of(row, "id", number),
        domain="bioasq",
        text=text,
        group=group_name("bioasq", text),
        **alias_fields(_answers(row)),
    )


def _answers(row: Row) -> tuple[str, ...]:
    if "exact_answer" in row:
        nested = [[a] if isinstance(a, str) else a for a in items_of(row["exact_answer"])]
        return unique_texts([alias for aliases in nested for alias in aliases])
    match = re.match(r"<answer>(.*?)<context>", row["text"], re.DOTALL)
    return unique_texts([match.group(1)] if match else [])


questions, questions_from = readers(HUB, _to_question)
