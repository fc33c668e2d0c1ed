"""What the readers of layouts share: each record of a file with its place, each field checked.

A record is a JSON object or a table's row as its authors wrote it, a row what
`hlens.labelled.rows` reads. A record that does not fit its layout is an error that names file and
row: a guess at what its author meant would be a label that nobody gave.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hlens.data_files import naming, read_csv, read_json, read_lines, read_objects
from hlens.domains import read_rows
from hlens.errors import HlensError

Record = Mapping[str, Any]
Row = dict[str, Any]
TABLES = (".parquet", ".csv", ".tsv")


def read_each(path: Path, to_rows: Callable[[Record, int], Iterable[Row]]) -> Iterator[Row]:
    """The rows that `to_rows` makes of each record of a file, given the record and its number.

    Args:
        path: The file.
        to_rows: Makes the rows of a record; its second argument counts records from 1.

    Raises:
        HlensError: A file that cannot be read, or a record that does not fit, with its place.
    """
    for number, (where, record) in enumerate(read_records(path), start=1):
        with naming(where):
            rows = list(to_rows(record, number))
        yield from rows


def read_records(path: Path) -> Iterator[tuple[str, Record]]:
    """Place and content of each record: a row of a table, an item of a JSON list, or a line."""
    if path.suffix in TABLES:
        if not path.is_file():
            raise HlensError(f"no file {str(path)!r}; give the path of a file")
        # A row that is left out would be an answer that is missing without a count.
        is_parquet = path.suffix == ".parquet"
        rows = enumerate(read_rows(path) if is_parquet else read_csv(path, every_row=True), start=1)
        yield from ((f"{path.name}, row {number}", row) for number, row in rows)
    elif next((line for _, line in read_lines(path)), b"")[:1] == b"[":
        yield from _listed(path)
    else:
        yield from ((f"{path.name}, line {number}", row) for number, row in read_objects(path))


def _listed(path: Path) -> Iterator[tuple[str, Record]]:
    for number, row in enumerate(read_json(path), start=1):
        where = f"{path.name}, row {number}"
        if not isinstance(row, dict):
            raise HlensError(f"{where}: {row!r:.60}; expected an object")
        yield where, row


def text_of(record: Record, key: str, *, or_empty: bool = False) -> str:
    """The text under a key; with `or_empty` it may be blank, null or missing."""
    value = record.get(key)
    if value is None and or_empty:
        return ""
    if not isinstance(value, str):
        raise HlensError(f"{key} is {shown(record, key)}; expected a text")
    if not value.strip() and not or_empty:
        raise HlensError(f"{key} is empty; expected a text")
    return value


def list_of(record: Record, key: str) -> list[Any]:
    """The list under a key."""
    value = record.get(key)
    if not isinstance(value, list | tuple):
        raise HlensError(f"{key} is {shown(record, key)}; expected a list")
    return list(value)


def objects_of(record: Record, key: str) -> list[Record]:
    """The objects of the list under a key."""
    found = list_of(record, key)
    for at, one in enumerate(found):
        if not isinstance(one, dict):
            raise HlensError(f"{key}[{at}] is {one!r:.60}; expected an object")
    return found


def index_of(record: Record, key: str) -> int:
    """The whole number, from 0, under a key."""
    value = record.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise HlensError(f"{key} is {shown(record, key)}; expected a whole number, 0 or more")
    return value


def name_of(record: Record, key: str) -> str:
    """What a record holds as a name: a text or a whole number."""
    value = record.get(key)
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise HlensError(f"{key} is {shown(record, key)}; expected a text or a number")
    return str(value)


def check_span(start: int, stop: int, text: str) -> None:
    """Raise `HlensError` where a span is empty or does not lie within a text."""
    if not start < stop <= len(text):
        raise HlensError(
            f"the span [{start}, {stop}) does not fit a response of {len(text)} characters; "
            "expected 0 <= start < stop <= its length"
        )


def shown(record: Record, key: str) -> str:
    """The value under a key as an error shows it."""
    return f"{record[key]!r:.60}" if key in record else "missing"


def group_of(*texts: str) -> str:
    """A group for texts: one name for all that differ in case and spacing alone.

    >>> group_of("Who wrote  Emma?") == group_of("who wrote emma?")
    True
    """
    folded = "\0".join(" ".join(text.casefold().split()) for text in texts)
    return hashlib.sha256(folded.encode()).hexdigest()[:16]


def kept(record: Record, *keys: str) -> Row:
    """The values of some keys that are plain (no lists, no objects), for the meta of a row."""
    plain = (str, int, float, bool)
    found = {key: record.get(key) for key in keys}
    return {key: value for key, value in found.items() if isinstance(value, plain)}
