"""Every file appears whole or not at all: written aside, flushed to disk, then renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from hlens.locks import mark_used, sweep

PARTIAL = ".partial"


@contextmanager
def writing(path: str | Path) -> Iterator[BinaryIO]:
    """Open a binary file that takes its name only when the block ends without an exception.

    Until then an older file of that name is unchanged, also through a kill or a power cut.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with writing(folder / "a.txt") as file:
    ...     _ = file.write(b"whole")
    ...     (folder / "a.txt").exists()
    False
    >>> (folder / "a.txt").read_text()
    'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with aside.open("w+b") as file:
            mark_used(file.fileno())
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    _flush_folder(path.parent)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a whole file, or leave the old one unchanged."""
    with writing(path) as file:
        file.write(data)


def write_text(path: str | Path, text: str) -> None:
    """Write a whole text file (UTF-8), or leave the old one unchanged."""
    write_bytes(path, text.encode())


def remove_partial_files(folder: str | Path) -> None:
    """Remove what killed writers left in a folder and below it; what is being written stays."""
    sweep(Path(folder).rglob(f".*{PARTIAL}"))


def remove_folder(folder: str | Path, but: str = "") -> None:
    """Remove a folder, or with `but` all folders in it except that one; it may be absent.

    It loses its name first, so that a kill leaves no half of it under that name.
    """
    folder = Path(folder)
    for path in folder.glob("*") if but else [folder]:
        if path.name != but and path.is_dir():
            aside = path.with_name(f".{path.name}.{uuid4().hex}{PARTIAL}")
            with suppress(OSError):
                path.rename(aside)
                shutil.rmtree(aside, ignore_errors=True)


def _flush_folder(folder: Path) -> None:
    """Make the rename itself durable; Windows has no such call and does without."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
