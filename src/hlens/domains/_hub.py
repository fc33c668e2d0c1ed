"""Data sets of the hub, read from there or from a local folder in the hub's layout.

A folder holds parquet, JSONL, JSON, CSV or TSV files. A file belongs to a config if the config's
name is one of its folders or begins its name, and to a split if its name or its folder begins with
the split's name: ``rc.nocontext/validation-00000-of-00001.parquet``, ``data/test.jsonl``,
``ARC-Easy/test/0000.parquet``, ``simple_qa_test_set.csv``. The folder of one config may be given
directly.

A domain of the hub is a file with four names, which `arc.py` shows: ``HUB``, where the set is;
``EXAMPLE``, one row as the set has it, which the tests read; ``_to_question``; and the pair
``questions, questions_from = readers(HUB, _to_question)``.
"""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hlens.domains._groups import by_split, select_split
from hlens.domains._rows import BAD_ROW, SUFFIXES, Row, explain_bad_row, read_rows
from hlens.errors import HlensError, first_line
from hlens.types import Question

log = logging.getLogger("hlens")
PARQUET = "refs/convert/parquet"
ToQuestion = Callable[[Row, str, int], Question | None]


@dataclass(frozen=True)
class Hub:
    """Where a data set is: its domain's name, its id on the hub, and what is read of it."""

    name: str
    id: str
    split: str
    configs: tuple[str, ...] = ("",)  # ("",) for a set without
    revision: str | None = None  # branch on the hub; `PARQUET` for sets with only a loading script
    aliases: tuple[str, ...] = ()  # other names that the split has in files


def readers(
    hub: Hub, to_question: ToQuestion
) -> tuple[Callable[..., Iterator[Question]], Callable[..., Iterator[Question]]]:
    """``questions(split)`` from the hub and ``questions_from(folder, split)`` for a data set.

    `to_question` gets a row, its config and its number; None skips a row of another kind silently,
    `HlensError` or a missing field reports it.
    """

    def questions_from(folder: Path, split: str = "all") -> Iterator[Question]:
        """The questions of a split, from a local folder in the hub's layout."""
        return select_split(_read(hub, folder, to_question), split)

    return by_split(lambda: _read(hub, None, to_question)), questions_from


def _read(hub: Hub, folder: Path | None, to_question: ToQuestion) -> Iterator[Question]:
    """The questions; a row that makes none is reported and counted."""
    n_bad, seen = 0, set[str]()
    for config, rows in _rows_by_config(hub, folder).items():
        for number, row in enumerate(rows):
            try:
                question = to_question(row, config, number)
                if question is None:
                    continue
                # It would pass for a question that has no gold answer, and be judged by abstaining.
                if not question.answers:
                    raise HlensError(f"question {question.id!r} has no gold answer")
                if question.id in seen:
                    raise HlensError(f"id {question.id!r} was used before")
            except BAD_ROW as error:
                n_bad += 1
                reason = explain_bad_row(error)
                log.warning("%s, row %d of %s: %s", hub.name, number, config or hub.split, reason)
            else:
                seen.add(question.id)
                yield question
    if n_bad:
        log.warning("%s: %d bad rows were left out", hub.name, n_bad)


def _rows_by_config(hub: Hub, folder: Path | None) -> dict[str, Iterator[Row]]:
    if folder is None:
        return {config: _download(hub, config) for config in hub.configs}
    files = {config: _find_files(hub, config, folder) for config in hub.configs}
    if not any(files.values()):
        expected = f"{hub.configs[0]}/{hub.split}-00000-of-00001.parquet".lstrip("/")
        raise HlensError(
            f"{str(folder)!r} holds no {hub.split} file of {hub.id}; expected e.g. {expected!r}"
        )
    return {c: (row for path in paths for row in read_rows(path)) for c, paths in files.items()}


def _download(hub: Hub, config: str) -> Iterator[Row]:
    mend = f"{hub.name}:FOLDER reads a local copy of {hub.id}"
    try:
        import datasets
    except ImportError as error:
        raise HlensError(
            f"reading {hub.id} from the hub needs the package datasets: pip install 'hlens[hub]'; "
            + mend
        ) from error
    try:
        rows: Any = datasets.load_dataset(
            hub.id, config or None, split=hub.split, revision=hub.revision
        )
    except Exception as error:  # the hub's client raises many kinds; each means: unavailable
        reason = first_line(error)
        raise HlensError(f"{hub.id} cannot be read from the hub ({reason}); {mend}") from error
    return iter(rows)


def _find_files(hub: Hub, config: str, folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise HlensError(f"no folder {str(folder)!r}; expected a local copy of {hub.id}")
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix in SUFFIXES]
    paths = [path for path in paths if _is_of_split(path.relative_to(folder), hub)]
    own = [path for path in paths if _is_of_config(path.relative_to(folder), config)]
    is_only = len(hub.configs) == 1 or folder.name == config
    return own or (paths if is_only else [])


def _is_of_config(path: Path, config: str) -> bool:
    pattern = rf"(?:^|[-_.]){re.escape(config)}[-_.]"
    return not config or config in path.parts[:-1] or bool(re.search(pattern, path.name))


def _is_of_split(path: Path, hub: Hub) -> bool:
    parts = [w for part in path.parts[-2:] for w in re.split(r"[^A-Za-z0-9]+", part.casefold())]
    # "hard" marks an extra split of the same set (ETHICS' test_hard), not the split itself.
    return "hard" not in parts and any(name in parts for name in (hub.split, *hub.aliases))
