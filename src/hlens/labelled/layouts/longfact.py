"""Entity-level labels of long answers (arXiv 2509.03531, Obeso et al.): LongFact and LongFact++.

On the hub as ``obalcells/longfact-annotations``, ``obalcells/longfact-augmented-annotations`` and
``obalcells/healthbench-annotations``, as Parquet, one configuration for each model that answered;
JSONL of the same rows is read too. A row has ``conversation`` (messages, the answer last) and
``annotations``, each with ``span`` (its text), ``index`` (its first character), ``label`` and
``verification_note``. The fields were looked up in code that reads the sets, and the labels in the
authors' annotation pipeline; the licence could not be looked up.

Labels are given by a language model with web search. The authors count "Insufficient Information"
as "Not Supported". An entity that their pipeline could not place in the answer has neither label
nor index and is left out here; so is one whose text is not what the answer has at its index. Both
are counted in one warning. All models' answers to one prompt are one group.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hlens.errors import HlensError
from hlens.labelled.layouts import layout
from hlens.labelled.layouts._reading import (
    Record,
    Row,
    check_span,
    group_of,
    index_of,
    kept,
    objects_of,
    read_each,
    shown,
    text_of,
)

log = logging.getLogger("hlens")


@layout(
    hub="obalcells/longfact-annotations",
    licence="",
    labels={
        "Supported": "correct",
        "Not Supported": "hallucinated",
        "Insufficient Information": "hallucinated",
        "N/A": "unscored",
    },
)
def read_longfact(path: Path) -> Iterator[dict[str, Any]]:
    """One row for each answer, with its entities."""
    lost = 0

    def to_rows(record: Record, number: int) -> Iterator[Row]:
        nonlocal lost
        *asked, answer = _messages(record)
        if answer["role"] != "assistant" or not asked:
            raise HlensError("the conversation does not end with an answer of the assistant")
        notes = objects_of(record, "annotations")
        spans = [span for note in notes if (span := _span(note, answer["content"]))]
        lost += len(notes) - len(spans)
        yield {
            "id": str(number),
            "group": group_of(*(message["content"] for message in asked)),
            "messages": asked,
            "response": answer["content"],
            "spans": spans,
            "meta": kept(record, "subset", "model"),
        }

    yield from read_each(path, to_rows)
    if lost:
        log.warning("%s: %d annotations have no place in their answer; left out", path.name, lost)


def _messages(record: Record) -> list[dict[str, str]]:
    found = objects_of(record, "conversation")
    if not found:
        raise HlensError("the conversation is empty; expected a prompt and its answer")
    return [{"role": text_of(m, "role"), "content": text_of(m, "content")} for m in found]


def _span(note: Record, answer: str) -> list[Any] | None:
    """The span of an annotation, or None for one without a place."""
    said, label = text_of(note, "span", or_empty=True), note.get("label")
    if label is None or note.get("index") is None or not said:
        return None
    if not isinstance(label, str):
        raise HlensError(f"label is {shown(note, 'label')}; expected a text")
    start = index_of(note, "index")
    check_span(start, start + len(said), answer)
    return [start, start + len(said), label] if answer.startswith(said, start) else None
