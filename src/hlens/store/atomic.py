"""Every file appears whole or not at all: written aside, flushed to disk, then renamed.

Only plain files are replaced. Where a user names the file, only those that hlens wrote are: each
kind has a mark by which it is known.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from hlens.errors import HlensError
from hlens.locks import mark_used, sweep

PARTIAL = ".partial"
_MAY_NOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS)
_MARKED_WITHIN = 1 << 20  # bytes from the start of a file in which its mark stands

_KINDS = {
    stat.S_ISLNK: "a link",
    stat.S_ISDIR: "a folder",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
}


def check_replaceable(path: str | Path, mark: bytes = b"") -> None:
    """Refuse what is there and no plain file, or (with a mark) a file that hlens did not write.

    Asked before work whose result goes there, too, so that none is done in vain. An empty file may
    be replaced: nothing is lost with it.

    Args:
        path: Where something is to be written.
        mark: Bytes that files of this kind hold when hlens wrote them.

    Raises:
        HlensError: A folder, link, device, pipe or socket; a file without the mark; or a parent
            that is no folder.

    >>> check_replaceable("/dev/null")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    hlens.errors.HlensError: /dev/null is a device, and only plain files are written; ...
    """
    path = Path(path)
    for parent in path.parents:
        if parent.exists():
            if not parent.is_dir():
                raise HlensError(f"{parent}: is no folder, so {path.name} cannot be written there")
            break
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    for is_kind, kind in _KINDS.items():
        if is_kind(mode):
            raise HlensError(
                f"{path} is {kind}, and only plain files are written; give the name of a file"
            )
    if mark:
        with path.open("rb") as file:
            start = file.read(_MARKED_WITHIN)
        if start and mark not in start:
            raise HlensError(
                f"{path} exists and hlens did not write it, or not as this kind of file; it is "
                "kept: give another name, or remove it"
            )


@contextmanager
def writing(path: str | Path, mark: bytes = b"", *, once: bool = False) -> Iterator[BinaryIO]:
    """Open a binary file that takes its name only when the block ends without an exception.

    Until then an older file of that name is unchanged, also through a kill or a power cut. With
    `once` it stays for good: of several writers the first one counts. What `check_replaceable`
    refuses stays, too; a folder that may not be written is a `HlensError`.

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
    check_replaceable(path, mark)
    # Two threads, or two machines, may write the same file: each has a name of its own.
    aside = path.with_name(f".{path.name}.{uuid4().hex}{PARTIAL}")
    try:
        with _open_aside(aside, path) as file:
            mark_used(file.fileno())
            yield file
            file.flush()
            os.fsync(file.fileno())
        if not once:
            aside.replace(path)
        else:
            _take_free_name(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    _flush_folder(path.parent)


def _open_aside(aside: Path, path: Path) -> BinaryIO:
    """The file that will be `path`, in a folder that is made where there is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return aside.open("w+b")
    except OSError as error:
        if error.errno not in _MAY_NOT_WRITE:
            raise
        # Its own message names the file that is written aside, of which its reader knows nothing.
        raise HlensError(
            f"{path.parent} cannot be written ({error.strerror}), so {path.name} was not; make it "
            "writable, or choose another place"
        ) from error


def _take_free_name(aside: Path, path: Path) -> None:
    """Give a file its name unless there is one; the system itself decides who was first."""
    try:
        path.hardlink_to(aside)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not path.exists():
            aside.replace(path)


def write_bytes(path: str | Path, data: bytes, mark: bytes = b"") -> None:
    """Write a whole file, or leave the old one unchanged."""
    with writing(path, mark) as file:
        file.write(data)


def write_text(path: str | Path, text: str, mark: bytes = b"") -> None:
    """Write a whole text file (UTF-8), or leave the old one unchanged.

    Half of a surrogate pair, which no encoding can write, is written as JSON escapes it.
    """
    write_bytes(path, text.encode(errors="backslashreplace"), mark)


def write_once(path: str | Path, text: str) -> None:
    """Write a whole text file (UTF-8), unless there is one already, which stays as it is."""
    with writing(path, once=True) as file:
        file.write(text.encode(errors="backslashreplace"))


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
