"""PrimeVul, paired: is a function of C or C++ vulnerable, before and after its fix?

Hub: ``colin/PrimeVul``, config ``paired``, split test; the ``primevul_test_paired.jsonl`` of the
original release is read too. MIT. Ding et al. 2024, arXiv 2403.18624. Labels; a function before
and after its fix share a group (the commit), and so do all functions of that commit.
"""

from hlens.domains._hub import Hub, readers
from hlens.domains._rows import Row, group_name, id_of, label_fields, unique_texts
from hlens.types import Question

DISPLAY = "PrimeVul"

HUB = Hub("primevul", "colin/PrimeVul", "test", ("paired",))
PROMPT = "Does this code contain a security vulnerability? Answer yes or no."
LABELS = ("no", "yes")
ROW = {"project": "linux", "commit_id": "abc", "target": 1, "func": "int f() {}"}
ROW |= {"idx": 7, "cwe": ["CWE-79"], "cve": "CVE-2020-1"}
EXAMPLE = {"paired/test-00000-of-00001.parquet": ROW}


def _to_question(row: Row, config: str, number: int) -> Question:
    weaknesses = list(unique_texts(row.get("cwe") or ()))
    return Question(
        id=id_of(row, "idx", number),
        domain="primevul",
        text=PROMPT,
        context=row["func"],
        group=group_name("primevul", row["project"], row["commit_id"]),
        **label_fields(row["target"], LABELS, cwe=weaknesses, cve=row.get("cve") or ""),
    )


questions, questions_from = readers(HUB, _to_question)
