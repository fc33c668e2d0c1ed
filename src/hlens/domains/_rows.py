"""Read the rows of a data file, and turn their fields into the parts of a question."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hlens.errors import HlensError

Row = Mapping[str, Any]
BAD_ROW = (HlensError, LookupError, TypeError, ValueError, AttributeError)
SUFFIXES = (".parquet", ".jsonl", ".json", ".csv", ".tsv")


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of one parquet, JSONL, JSON, CSV or TSV file.

    Raises:
        HlensError: The content does not match the file's suffix.
    """
    try:
        if path.suffix == ".parquet":
            yield from _parquet_rows(path)
        elif path.suffix in (".csv", ".tsv"):
            with path.open(encoding="utf-8", newline="") as file:
                yield from csv.DictReader(file, delimiter="," if path.suffix == ".csv" else "\t")
        else:
            yield from _json_rows(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HlensError(f"{path.name} cannot be read ({error}); fetch it again") from error


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()


def _json_rows(text: str) -> Iterator[Row]:
    """One object a line, or one list of objects, or an object that holds the list."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError:  # several values: one a line
        yield from (json.loads(line) for line in text.split("\n") if line.strip())
        return
    lists = [v for v in content.values() if _is_rows(v)] if isinstance(content, dict) else [content]
    yield from lists[0] if lists else [content]


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def explain_bad_row(error: Exception) -> str:
    """What is wrong with a row that raised one of `BAD_ROW`."""
    return f"no field {error}" if isinstance(error, KeyError) else str(error)


def group_name(*parts: object) -> str:
    """The name of the group that shares these parts, ignoring case and spacing.

    >>> group_name("popqa", "George  Rankin")
    'popqa/george rankin'
    """
    return "/".join(" ".join(str(part).casefold().split()) for part in parts)


def unique_texts(value: Any) -> tuple[str, ...]:
    """The texts of a list, a list written as JSON, or a single text, without blanks and repeats.

    >>> unique_texts('["a", "b", "a"]'), unique_texts("a"), unique_texts(["a", " "])
    (('a', 'b'), ('a',), ('a',))
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = json.loads(value)
    values = [value] if isinstance(value, str) else list(value or ())
    return tuple(dict.fromkeys(str(v).strip() for v in values if str(v).strip()))


def alias_fields(answers: Any, **more: Any) -> dict[str, Any]:
    """The fields ``answers`` and ``meta`` of a question that is judged by its aliases."""
    meta = {"format": "short_answer", "judge": "alias", **more}
    return {"answers": unique_texts(answers), "meta": meta}


def choice_meta(index: int, choices: tuple[str, ...], **more: Any) -> dict[str, Any]:
    """The meta of a multiple-choice question.

    Raises:
        HlensError: The index matches none of the options.
    """
    if not 0 <= index < len(choices):
        raise HlensError(f"answer {index} is none of {len(choices)} options")
    return {"format": "mcq", "judge": "choice", "answer_index": index, **more}


def choice_fields(index: int, choices: tuple[str, ...], **more: Any) -> dict[str, Any]:
    """The fields ``answers``, ``choices`` and ``meta`` of a multiple-choice question."""
    meta = choice_meta(index, choices, **more)
    return {"answers": (choices[index],), "choices": choices, "meta": meta}


def label_fields(index: int, labels: tuple[str, ...], **more: Any) -> dict[str, Any]:
    """The same fields of a question whose answer is a label; a withheld label (-1) raises."""
    return choice_fields(index, labels, format="label", judge="label", **more)
