"""PrimeVul, paired: is a function of C or C++ vulnerable, before and after its fix?

Hub: ``colin/PrimeVul``, config ``paired``, split test; the ``primevul_test_paired.jsonl`` of the
original release is read too. MIT. Ding et al. 2024, arXiv 2403.18624. Labels; a function before
and after its fix share a group (the commit), and so do all functions of that commit.
"""

from hlens.domains import _hub
from hlens.domains._hub import Hub, Row
from hlens.types import Question

HUB = Hub("primevul", "colin/PrimeVul", "test", ("paired",))
ASKED = "Does this code contain a security vulnerability? Answer yes or no."
LABELS = ("no", "yes")


def _question(row: Row, config: str, number: int) -> Question:
    index = int(row["target"])
    weaknesses = _hub.listed(row.get("cwe") or ())
    return Question(
        id=str(row.get("idx", number)),
        domain="primevul",
        text=ASKED,
        answers=(_hub.label_at(index, LABELS),),
        choices=LABELS,
        context=row["func"],
        group=_hub.group_of("primevul", row["project"], row["commit_id"]),
        meta={
            "format": "label",
            "judge": "label",
            "answer_index": index,
            "cwe": list(weaknesses),
            "cve": row.get("cve") or "",
        },
    )


questions, questions_at = _hub.readers(HUB, _question)
