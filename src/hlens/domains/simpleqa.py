"""SimpleQA: short facts that models often get wrong.

Hub: ``basicv8vc/SimpleQA``, split test (one CSV file). MIT. Wei et al. 2024, arXiv 2411.04368.
Short answers without aliases.
"""

import ast
from typing import Any

from hlens.domains._hub import Hub, readers
from hlens.domains._rows import Row, alias_fields, group_name
from hlens.errors import HlensError
from hlens.types import Question

DISPLAY = "SimpleQA"

HUB = Hub("simpleqa", "basicv8vc/SimpleQA", "test")
META = "{'topic': 'Music', 'answer_type': 'Date', 'urls': ['u']}"
ROW = {"metadata": META, "problem": "When was it released?", "answer": "May 5, 1990"}
EXAMPLE = {"simple_qa_test_set.csv": ROW}


def _to_question(row: Row, config: str, number: int) -> Question:
    metadata = _parse_metadata(row.get("metadata"))
    kept = {key: metadata[key] for key in ("topic", "answer_type") if key in metadata}
    return Question(
        id=str(number),
        domain="simpleqa",
        text=row["problem"].strip(),
        group=group_name("simpleqa", row["problem"]),
        **alias_fields([row["answer"]], **kept),
    )


def _parse_metadata(value: Any) -> dict[str, Any]:
    """The set writes its metadata as a Python literal."""
    try:
        parsed = ast.literal_eval(value) if isinstance(value, str) and value.strip() else value
    except (SyntaxError, MemoryError, RecursionError):  # Python's own, of which no row may speak
        raise HlensError(f"metadata is {value!r:.60}; expected a literal of Python") from None
    return parsed if isinstance(parsed, dict) else {}


questions, questions_from = readers(HUB, _to_question)
