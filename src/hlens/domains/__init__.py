"""Domains: question sets by name. The folder is the list.

A domain is a file of this folder with ``questions(split="all") -> Iterator[Question]``. Some ship
with hlens (question banks), some read a data set from the hub or from a local folder in the hub's
layout. ``jsonl:PATH`` reads a user's own file, ``official:PATH-PREFIX`` the data released with the
official code of arXiv 2512.01797, ``NAME:FOLDER`` a hub data set from a local folder.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from hlens import lookup
from hlens.domains._groups import draw_groups, select_split
from hlens.domains._rows import (
    BAD_ROW,
    Row,
    choice_meta,
    explain_bad_row,
    group_name,
    id_of,
    read_rows,
    unique_texts,
)
from hlens.domains._worked import choose_worked
from hlens.errors import HlensError
from hlens.kinds import explain_public
from hlens.types import Question

__all__ = [
    "BAD_ROW",
    "Row",
    "choice_meta",
    "choose_worked",
    "draw_groups",
    "explain_bad_row",
    "group_name",
    "id_of",
    "load",
    "load_worked",
    "names",
    "read_rows",
    "select_split",
    "unique_texts",
]


def names() -> list[str]:
    """Names of all domains, sorted; readers of a user's own files (``jsonl:``) are not among them.

    >>> "jsonl" in names()
    False
    """
    return [
        name
        for name in lookup.names("domains")
        if hasattr(lookup.member("domains", name), "questions")
    ]


def load(name: str, n: int | None = None, *, seed: int = 0, split: str = "all") -> list[Question]:
    """Questions of a domain.

    Args:
        name: A name of `names`, ``"jsonl:PATH"``, ``"official:PATH-PREFIX"``, or
            ``"NAME:FOLDER"`` for a hub data set in a local folder.
        n: How many to draw, by whole groups and spread evenly over the set (`draw_groups`); None
            for all.
        seed: Seed of the draw.
        split: ``"all"``, ``"train"`` or ``"test"``; groups are never divided.

    Raises:
        HlensError: An unknown name, an empty domain, `n` below 1, or a file that cannot be read.
    """
    if n is not None and n < 1:
        raise HlensError(f"n={n} questions of {name!r}; ask for at least 1, or n=None for all")
    questions = list(_reader(name)(split))
    if not questions:
        raise HlensError(
            f"domain {name!r} holds no question (split={split!r}); expected at least 1"
        )
    return questions if n is None else draw_groups(questions, n, seed=seed)


def load_worked(name: str) -> list[Question]:
    """The worked examples that a user's own file brings; those that ship need no loading.

    Args:
        name: What `load` takes. Readers of other files have none.
    """
    family, _, path = name.partition(":")
    has_own = path and family in lookup.names("domains")
    worked_from = (
        getattr(lookup.member("domains", family), "worked_from", None) if has_own else None
    )
    return list(worked_from(Path(path).expanduser())) if worked_from else []


def _reader(name: str) -> Callable[[str], Iterator[Question]]:
    family, has_path, path = name.partition(":")
    if not has_path and family in ("jsonl", "official"):
        raise HlensError(f"domain {name!r} needs a file: write {name}:PATH")
    if family not in lookup.names("domains"):
        raise lookup.unknown("domain", family, [*names(), "jsonl:PATH", "official:PATH-PREFIX"])
    module = lookup.member("domains", family)
    if not has_path:
        return module.questions
    if not hasattr(module, "questions_from"):
        raise HlensError(f"domain {family!r} ships with hlens and reads no path; write {family!r}")
    return lambda split: module.questions_from(Path(path).expanduser(), split)


explain_public(globals())
