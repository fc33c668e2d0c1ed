"""Published sets of behaviours, read from the files that their authors ship.

A suite with such a set declares in ``PUBLISHED`` what its file looks like and how a row becomes a
question. ``"NAME:PATH"`` takes that file, the folder that holds it, or hlens' own JSONL
(`hlens.domains.jsonl`). The sets themselves are not part of hlens.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hlens.domains import BAD_ROW, Row, explain_bad_row, jsonl, read_rows
from hlens.errors import HlensError
from hlens.types import Question

log = logging.getLogger("hlens")
TABLES = (".csv", ".tsv", ".parquet")  # never hlens' own JSONL, so only a published file


@dataclass(frozen=True)
class Published:
    """The layout of a published set; its columns tell its file from others.

    `question` makes a question of a row and its number. None skips the row in silence (it is of the
    half that the suite does not use), `HlensError` or a missing field reports it.
    """

    name: str
    file: str  # pattern of its name within the folder
    columns: tuple[str, ...]
    question: Callable[[Row, int], Question | None]


def read(path: Path, published: Published | None) -> list[Question]:
    """The questions of a file or folder; a row that cannot be read is reported and left out.

    Raises:
        HlensError: No such file, one that cannot be read, or one with other columns.
    """
    file = _find_file(path, published)
    columns = _columns(file)
    if published is not None and columns >= set(published.columns):
        return list(_map_rows(file, published))
    questions = () if file.suffix in TABLES else jsonl.read(file).questions
    if not questions:
        given = f"the columns {', '.join(sorted(columns))}" if columns else "no row"
        theirs = f"{published.name} ({', '.join(published.columns)}) or " if published else ""
        raise HlensError(
            f"{file.name} holds no question: it has {given}; expected {theirs}hlens' own JSONL, "
            "one object with a 'question' a line"
        )
    return list(questions)


def text(row: Row, column: str) -> str:
    """The text in a column; `HlensError` where it is empty or not a text."""
    value = row[column]
    if not isinstance(value, str) or not value.strip():
        raise HlensError(f"{column} is {value!r:.60}; expected a text")
    return value.strip()


def _find_file(path: Path, published: Published | None) -> Path:
    path = path.expanduser()
    if path.is_file():
        return path
    pattern = published.file if published else "*.jsonl"
    files = sorted(path.rglob(pattern)) if path.is_dir() else []
    if len(files) != 1:
        what = f"{len(files)} files {pattern!r} in" if path.is_dir() else "no file"
        raise HlensError(f"{what} {str(path)!r}; expected one: give the path of the file itself")
    return files[0]


def _columns(file: Path) -> set[str]:
    """The columns of the first row; empty where a JSONL file does not begin with an object."""
    try:
        first = next(read_rows(file), {})
    except HlensError:
        if file.suffix in TABLES:
            raise
        return set()
    return set(first) if isinstance(first, dict) else set()


def _map_rows(file: Path, published: Published) -> Iterator[Question]:
    for number, row in enumerate(read_rows(file), start=1):
        try:
            question = published.question(row, number)
        except BAD_ROW as error:
            name, reason = published.name, explain_bad_row(error)
            log.warning("%s, row %d of %s is left out: %s", name, number, file.name, reason)
            continue
        if question is not None:
            yield question
