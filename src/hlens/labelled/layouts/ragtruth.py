"""RAGTruth (arXiv 2401.00396): marked spans in answers, summaries and descriptions of a source.

Published at github.com/ParticleMedia/RAGTruth, in ``dataset/``: ``response.jsonl`` (id, source_id,
model, temperature, labels, split, quality, response) and ``source_info.jsonl`` (source_id,
task_type, source, source_info, prompt). Give the first, or the folder of both. The fields were
looked up in the repository's README.

A label is a span, ``start`` to ``end`` in characters of the response, of one of four types; a
response without labels is correct as a whole. The authors mark what the source does not support as
a hallucination, even where it is true (``implicit_true``). A response whose quality is
``incorrect_refusal`` and that has no span is refused.

The source becomes the row's context and the rest of the authors' prompt its question, so that the
model reads the words of the prompt, but the source first. Where the prompt shows the source in
another form, the whole prompt is the question. All responses to one source are one group.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hlens.data_files import naming
from hlens.errors import HlensError
from hlens.labelled.layouts import layout
from hlens.labelled.layouts._reading import (
    Record,
    Row,
    check_span,
    index_of,
    kept,
    name_of,
    objects_of,
    read_each,
    read_records,
    shown,
    text_of,
)

RESPONSES, SOURCES = "response.jsonl", "source_info.jsonl"


@layout(
    hub="",
    licence="MIT",
    labels={
        "Evident Conflict": "hallucinated",
        "Subtle Conflict": "hallucinated",
        "Evident Baseless Info": "hallucinated",
        "Subtle Baseless Info": "hallucinated",
        "incorrect_refusal": "refused",
    },
)
def read_ragtruth(path: Path) -> Iterator[dict[str, Any]]:
    """One row for each response, with its spans and its source."""
    path = path / RESPONSES if path.is_dir() else path
    sources = _read_sources(path.with_name(SOURCES))

    def to_rows(record: Record, number: int) -> Iterator[Row]:
        if (source_id := name_of(record, "source_id")) not in sources:
            raise HlensError(f"source_id {source_id!r} is not in {SOURCES}; give the file it is in")
        yield _to_row(record, sources[source_id], source_id)

    yield from read_each(path, to_rows)


def _read_sources(path: Path) -> dict[str, Row]:
    """What the rows of a source share: question, context and domain, by source_id."""
    if not path.is_file():
        raise HlensError(f"no file {str(path)!r}; {RESPONSES} needs it beside it")
    sources: dict[str, Row] = {}
    for where, record in read_records(path):
        with naming(where):
            source_id = name_of(record, "source_id")
            if source_id in sources:
                raise HlensError(f"source_id {source_id!r} was used before")
            task = text_of(record, "task_type")
            sources[source_id] = {**_ask(record), "domain": f"ragtruth_{task.casefold()}"}
    return sources


def _ask(record: Record) -> Row:
    """Question and context: the prompt around the source, and the source as the prompt shows it."""
    prompt, info = text_of(record, "prompt"), record.get("source_info")
    if not isinstance(info, str | dict):
        raise HlensError(f"source_info is {shown(record, 'source_info')}; expected text or object")
    passages = info.get("passages") if isinstance(info, dict) else info
    source = (passages if isinstance(passages, str) else str(info)).strip()
    before, found, after = prompt.partition(source)
    if not source or not found or not (before + after).strip():
        return {"question": prompt}
    parts = (before.strip(), after.strip())
    return {"question": "\n".join(part for part in parts if part), "context": source}


def _to_row(record: Record, source: Row, source_id: str) -> Row:
    response = text_of(record, "response")
    spans = [_span(label, response) for label in objects_of(record, "labels")]
    refused = record.get("quality") == "incorrect_refusal" and not spans
    return {
        "id": name_of(record, "id"),
        "group": source_id,
        **source,
        "response": response,
        **({"verdict": "incorrect_refusal"} if refused else {"spans": spans}),
        "meta": kept(record, "model", "temperature", "split", "quality"),
    }


def _span(label: Record, response: str) -> list[Any]:
    start, stop = index_of(label, "start"), index_of(label, "end")
    check_span(start, stop, response)
    said = label.get("text")
    # Counted in another unit than characters, every offset behind an emoji would be off.
    if isinstance(said, str) and said.split() != response[start:stop].split():
        raise HlensError(
            f"characters {start} to {stop} of the response are {response[start:stop]!r:.60}, not "
            f"the label's text {said!r:.60}; count start and end in characters"
        )
    return [start, stop, text_of(label, "label_type")]
