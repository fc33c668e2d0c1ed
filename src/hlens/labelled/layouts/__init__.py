"""Layouts: files of labelled answers as their authors publish them. The folder is the list.

A layout is a file of this folder, ``NAME.py``, with one reader under `layout`. It yields rows as
`hlens.labelled.rows` describes them, and says where the file is published, under which licence,
and what its label words mean. ::

    @layout(hub="owner/name", licence="MIT", labels={"Evident Conflict": "hallucinated"})
    def read_ragtruth(path: Path) -> Iterator[dict[str, Any]]: ...
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hlens import lookup

_FAMILY = "labelled.layouts"


@dataclass(frozen=True, eq=False)
class Layout:
    """A reader of one published layout; called with a path, it yields canonical rows.

    Attributes:
        read: The reader, ``read(path) -> Iterator[dict]``.
        hub: Name of the data set on the hub, ``"owner/name"``, or empty.
        licence: Licence of the data, as its authors state it.
        labels: What the label words of the file mean: a word of `hlens.types.Verdict` for each.
    """

    read: Callable[[Path], Iterator[dict[str, Any]]]
    hub: str = ""
    licence: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the layout: that of its file."""
        return self.read.__module__.rpartition(".")[2]

    def __call__(self, path: Path) -> Iterator[dict[str, Any]]:
        return self.read(path)


def layout(
    *, hub: str, licence: str, labels: Mapping[str, str] | None = None
) -> Callable[[Callable[[Path], Iterator[dict[str, Any]]]], Layout]:
    """Declare a function as the reader of the layout that its file is named after.

    Args:
        hub: Name of the data set on the hub, or empty.
        licence: Licence of the data.
        labels: What its label words mean.
    """
    return lambda read: Layout(read=read, hub=hub, licence=licence, labels=dict(labels or {}))


def names() -> list[str]:
    """Names of all layouts, sorted."""
    return lookup.names(_FAMILY)


def named(name: str) -> Layout:
    """The layout of that name.

    Raises:
        HlensError: There is none; the nearest are named.
    """
    if name not in names():
        raise lookup.unknown("layout", name, names())
    members = vars(lookup.member(_FAMILY, name)).values()
    return next(member for member in members if isinstance(member, Layout))
