"""Rows of a data set: from the hub, or from a local folder in the hub's layout.

A folder holds parquet, JSONL, JSON, CSV or TSV files. A file belongs to a config where one of its
folders (or the start of its name) is the config's name, and to a split where its name or its
folder begins with the split's name: ``rc.nocontext/validation-00000-of-00001.parquet``,
``data/test.jsonl``, ``ARC-Easy/test/0000.parquet``, ``simple_qa_test_set.csv``. The folder
of one config may be given itself.
"""

import csv
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hlens.domains._sample import in_split
from hlens.errors import HlensError
from hlens.types import Question

Row = Mapping[str, Any]
log = logging.getLogger("hlens")
BAD_ROW = (HlensError, LookupError, TypeError, ValueError, AttributeError)
SUFFIXES = (".parquet", ".jsonl", ".json", ".csv", ".tsv")


@dataclass(frozen=True)
class Hub:
    """Where a data set rests.

    Attributes:
        name: Name of the domain.
        id: Id on the hub.
        split: The hub's split that is read.
        configs: The configs that are read; ``("",)`` for a set without.
        revision: Branch on the hub; the parquet branch for sets that only have a loading script.
        aliases: Other names that the split has in files.
    """

    name: str
    id: str
    split: str
    configs: tuple[str, ...] = ("",)
    revision: str | None = None
    aliases: tuple[str, ...] = ()


PARQUET = "refs/convert/parquet"


def readers(
    hub: Hub, question: Callable[[Row, str, int], Question | None]
) -> tuple[Callable[..., Iterator[Question]], Callable[..., Iterator[Question]]]:
    """``questions(split)`` from the hub and ``questions_at(folder, split)`` for a data set.

    Args:
        hub: Where the set rests.
        question: A row, its config and its number to a question; None leaves the row out in
            silence (a row of another kind), `HlensError` or a missing field reports it.
    """

    def questions(split: str = "all") -> Iterator[Question]:
        """The questions, from the hub; the split is by group, within the hub's own split."""
        return in_split(_mapped(hub, None, question), split)

    def questions_at(folder: Path, split: str = "all") -> Iterator[Question]:
        """The questions, from a local folder in the hub's layout."""
        return in_split(_mapped(hub, folder, question), split)

    return questions, questions_at


def _mapped(
    hub: Hub, folder: Path | None, question: Callable[[Row, str, int], Question | None]
) -> Iterator[Question]:
    """The questions; a row that makes none is reported and counted."""
    bad, seen = 0, set[str]()
    for config, rows in _sources(hub, folder).items():
        for number, row in enumerate(rows):
            try:
                found = _checked(question(row, config, number), seen)
            except BAD_ROW as error:
                bad += 1
                said = why(error)
                log.warning("%s, row %d of %s: %s", hub.name, number, config or hub.split, said)
                continue
            if found is not None:
                yield found
    if bad:
        log.warning("%s: %d bad rows were left out", hub.name, bad)


def why(error: Exception) -> str:
    """What is wrong with a bad row, in words."""
    return f"no field {error}" if isinstance(error, KeyError) else str(error)


def _checked(found: Question | None, seen: set[str]) -> Question | None:
    """The question, where it has a gold answer and an id of its own.

    Without a gold answer it would be taken for one that has none, and be judged by abstaining.
    """
    if found is None:
        return None
    if not found.answers:
        raise HlensError(f"question {found.id!r} has no gold answer")
    if found.id in seen:
        raise HlensError(f"id {found.id!r} was used before")
    seen.add(found.id)
    return found


def _sources(hub: Hub, folder: Path | None) -> dict[str, Iterator[Row]]:
    """Rows by config."""
    if folder is None:
        return {config: _from_hub(hub, config) for config in hub.configs}
    files = {config: _files(hub, config, folder) for config in hub.configs}
    if not any(files.values()):
        expected = f"{hub.configs[0]}/{hub.split}-00000-of-00001.parquet".lstrip("/")
        raise HlensError(
            f"{str(folder)!r} holds no {hub.split} file of {hub.id}; expected e.g. {expected!r}"
        )
    return {c: (row for path in paths for row in read_rows(path)) for c, paths in files.items()}


def _from_hub(hub: Hub, config: str) -> Iterator[Row]:
    where = f"{hub.name}:FOLDER reads a local copy of {hub.id}"
    try:
        import datasets
    except ImportError as error:
        raise HlensError(
            f"reading {hub.id} from the hub needs the package datasets: pip install 'hlens[hub]'; "
            + where
        ) from error
    try:
        rows: Any = datasets.load_dataset(
            hub.id, config or None, split=hub.split, revision=hub.revision
        )
    except Exception as error:  # the hub's client raises many kinds; each means: not to be had
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise HlensError(f"{hub.id} cannot be read from the hub ({reason[0]}); {where}") from error
    return iter(rows)


def _files(hub: Hub, config: str, folder: Path) -> list[Path]:
    """Files of a config and the hub's split."""
    if not folder.is_dir():
        raise HlensError(f"no folder {str(folder)!r}; expected a local copy of {hub.id}")
    found = [path for path in sorted(folder.rglob("*")) if path.suffix in SUFFIXES]
    found = [path for path in found if _is_of_split(path.relative_to(folder), hub)]
    own = [path for path in found if _is_of_config(path.relative_to(folder), config)]
    is_only = len(hub.configs) == 1 or folder.name == config
    return own or (found if is_only else [])


def _is_of_config(path: Path, config: str) -> bool:
    words = rf"(?:^|[-_.]){re.escape(config)}[-_.]"
    return not config or config in path.parts[:-1] or bool(re.search(words, path.name))


def _is_of_split(path: Path, hub: Hub) -> bool:
    words = [w for part in path.parts[-2:] for w in re.split(r"[^A-Za-z0-9]+", part.casefold())]
    return "hard" not in words and any(name in words for name in (hub.split, *hub.aliases))


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of one parquet, JSONL, JSON, CSV or TSV file.

    Raises:
        HlensError: The file is not what its name says.
    """
    try:
        if path.suffix == ".parquet":
            yield from _parquet(path)
        elif path.suffix in (".csv", ".tsv"):
            with path.open(encoding="utf-8", newline="") as file:
                yield from csv.DictReader(file, delimiter="," if path.suffix == ".csv" else "\t")
        else:
            yield from _json_rows(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if isinstance(error, HlensError):
            raise
        raise HlensError(f"{path.name} cannot be read ({error}); fetch it again") from error


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()


def _json_rows(text: str) -> Iterator[Row]:
    """One object a line, or one list of objects, or an object that holds the list."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError:  # several values: one a line
        yield from (json.loads(line) for line in text.split("\n") if line.strip())
        return
    lists = [v for v in found.values() if _is_rows(v)] if isinstance(found, dict) else [found]
    yield from lists[0] if lists else [found]


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def group_of(*parts: object) -> str:
    """A group's name out of what must stay together, case and space aside."""
    return "/".join(" ".join(str(part).casefold().split()) for part in parts)


def listed(value: Any) -> tuple[str, ...]:
    """Texts of a list, of a list written as JSON, or of one text; blanks and repeats left out.

    >>> listed('["a", "b", "a"]'), listed("a"), listed(["a", " "])
    (('a', 'b'), ('a',), ('a',))
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = json.loads(value)
    values = [value] if isinstance(value, str) else list(value or ())
    return tuple(dict.fromkeys(str(v).strip() for v in values if str(v).strip()))


def label_at(index: int, labels: tuple[str, ...]) -> str:
    """The label of an index; a set that keeps its labels back writes -1.

    Raises:
        HlensError: The index is none of the labels.
    """
    if not 0 <= index < len(labels):
        raise HlensError(f"label {index} is none of {len(labels)} ({', '.join(labels)})")
    return labels[index]


def choice_meta(index: int, choices: tuple[str, ...], **more: Any) -> dict[str, Any]:
    """The meta of a multiple-choice question.

    Raises:
        HlensError: The index is none of the options.
    """
    if not 0 <= index < len(choices):
        raise HlensError(f"answer {index} is none of {len(choices)} options")
    return {"format": "mcq", "judge": "choice", "answer_index": index, **more}
