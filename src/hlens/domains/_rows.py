"""Read the rows of a data file, and turn their fields into the parts of a question."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hlens.data_files import (
    decode,
    parse_json,
    parse_object,
    read_csv,
    read_json,
    read_lines,
    read_objects,
)
from hlens.errors import HlensError

Row = Mapping[str, Any]
BAD_ROW = (HlensError, LookupError, TypeError, ValueError, AttributeError)
SUFFIXES = (".parquet", ".jsonl", ".json", ".csv", ".tsv")


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of one parquet, JSONL, JSON, CSV or TSV file.

    Raises:
        HlensError: The content does not match the file's suffix.
    """
    if path.suffix == ".parquet":
        yield from _parquet_rows(path)
    elif path.suffix in (".csv", ".tsv"):
        yield from read_csv(path)
    else:
        yield from _json_rows(path)


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    # The last two: texts that are no UTF-8, and dates that Python's calendar has not.
    except (OSError, pyarrow.ArrowException, ValueError, OverflowError) as error:
        raise HlensError(f"{path.name} cannot be read ({error}); fetch it again") from error


def _json_rows(path: Path) -> Iterator[Row]:
    """One object a line, or one list of objects, or an object that holds the list."""
    lines = read_lines(path)
    first, more = next(lines, None), next(lines, None)
    if first and more and _is_object(first[1]):  # several values: one a line
        yield from (row for _, row in read_objects(path))
    elif first:
        content = read_json(path)
        held = content if isinstance(content, dict) else {"": content}
        names = [name for name, value in held.items() if _is_rows(value)]
        if len(names) > 1:  # one of them alone would be a part of the data, without a word
            raise HlensError(
                f"{path.name} holds several lists of objects, {', '.join(map(repr, names))}; "
                "expected one: put each into a file of its own"
            )
        lists = [held[name] for name in names]
        if not lists and not isinstance(content, dict):
            raise HlensError(f"{path.name} holds no list of objects; expected one, or JSONL")
        yield from lists[0] if lists else [content]


def _is_object(line: bytes) -> bool:
    try:
        return bool(parse_object(decode(line)))
    except HlensError:
        return False


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
        value = parse_json(value)
    values = value if isinstance(value, list | tuple) else [] if value is None else [value]
    for one in values:
        # str() would make texts of them: "None", "nan", "{}".
        is_text = isinstance(one, str | int | float) and not isinstance(one, bool)
        if not is_text or (isinstance(one, float) and not math.isfinite(one)):
            raise HlensError(f"{one!r:.60} among {value!r:.60}; expected texts")
    return tuple(dict.fromkeys(str(v).strip() for v in values if str(v).strip()))


def items_of(value: Any) -> Sequence[Any]:
    """The items of a list, or of one written as JSON; of a text, they would be its characters.

    >>> items_of('["a", "b"]')
    ['a', 'b']
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = parse_json(value)
    if not isinstance(value, list | tuple):
        raise HlensError(f"{value!r:.60}; expected a list")
    return value


def index_of(value: Any) -> int:
    """A whole number, true (1) or false (0), or a number written as text, as CSV holds it.

    >>> index_of(2), index_of("2"), index_of(2.0)
    (2, 2, 2)
    >>> index_of(1.7)
    Traceback (most recent call last):
    hlens.errors.HlensError: 1.7; expected a whole number
    """
    number = float(value) if isinstance(value, str) else value
    if not isinstance(number, int | float) or number % 1 != 0:  # also of what is not finite
        raise HlensError(f"{value!r:.60}; expected a whole number")
    return int(number)


def id_of(row: Row, field: str, number: int) -> str:
    """What a row holds as its id, which may be 0; its number where it holds none.

    >>> id_of({"id": 0}, "id", 7), id_of({"id": None}, "id", 7)
    ('0', '7')
    """
    [own] = unique_texts(row.get(field)) or (str(number),)
    return own


def alias_fields(answers: Any, **more: Any) -> dict[str, Any]:
    """The fields ``answers`` and ``meta`` of a question that is judged by its aliases."""
    meta = {"format": "short_answer", "judge": "alias", **more}
    return {"answers": unique_texts(answers), "meta": meta}


def choice_meta(index: Any, choices: tuple[str, ...], **more: Any) -> dict[str, Any]:
    """The meta of a multiple-choice question; its index as `index_of` reads it.

    Raises:
        HlensError: The index matches none of the options, or an option is no text.
    """
    if not all(isinstance(choice, str) and choice.strip() for choice in choices):
        raise HlensError(f"options {choices!r:.60}; expected texts")
    index = index_of(index)
    if not 0 <= index < len(choices):
        raise HlensError(f"answer {index} is none of {len(choices)} options")
    return {"format": "mcq", "judge": "choice", "answer_index": index, **more}


def choice_fields(index: Any, choices: tuple[str, ...], **more: Any) -> dict[str, Any]:
    """The fields ``answers``, ``choices`` and ``meta`` of a multiple-choice question."""
    meta = choice_meta(index, choices, **more)
    return {"answers": (choices[meta["answer_index"]],), "choices": choices, "meta": meta}


def label_fields(index: Any, labels: tuple[str, ...], **more: Any) -> dict[str, Any]:
    """The same fields of a question whose answer is a label; a withheld label (-1) raises."""
    return choice_fields(index, labels, format="label", judge="label", **more)
