"""FinQA: numerical questions about a table and its text in a company's report.

Hub: ``dreamerdeo/finqa``, split test, parquet branch (the set itself has a loading script only);
the JSON files of the original repository (czyssrs/FinQA) are read too. MIT. Chen et al. 2021,
arXiv 2109.00122. Numeric answers; the group is the page of the report.
"""

from hlens.domains._hub import PARQUET, Hub, readers
from hlens.domains._rows import Row, alias_fields, group_name, items_of, unique_texts
from hlens.types import Question

DISPLAY = "FinQA"

HUB = Hub("finqa", "dreamerdeo/finqa", "test", revision=PARQUET)
ROW = {"id": "AAL/2018/page_13.pdf-2", "pre_text": ["Before."], "post_text": ["After."]}
ROW |= {"table": [["year", "2018"], ["cost", "5"]], "question": "what was the cost?"}
ROW |= {"answer": "5%", "final_result": "0.05"}
EXAMPLE = {"default/test/0000.parquet": ROW}


def _to_question(row: Row, config: str, number: int) -> Question:
    qa = row.get("qa") or row
    given = (qa.get(key) for key in ("answer", "final_result", "exe_ans"))
    answers = unique_texts([one for one in given if one is not None])
    has_digit = any(char.isdigit() for char in answers[0])
    numeric = {"format": "numeric", "judge": "numeric"} if has_digit else {}
    rows = map(items_of, items_of(row["table"]))
    table = "\n".join(" | ".join(map(str, cells)) for cells in rows)
    before, after = (" ".join(items_of(row[part])) for part in ("pre_text", "post_text"))
    parts = (before, table, after)
    page = str(row["id"]).rsplit("-", 1)[0]  # "AAL/2018/page_13.pdf-2"
    return Question(
        id=str(row["id"]),
        domain="finqa",
        text=qa["question"].strip(),
        context="\n\n".join(part for part in parts if part.strip()),
        group=group_name("finqa", page),
        **alias_fields(answers, **numeric),
    )


questions, questions_from = readers(HUB, _to_question)
