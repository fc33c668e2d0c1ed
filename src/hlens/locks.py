"""What a living process is using, by locks that the operating system drops when it dies.

A process identifier in a file's name says little after a kill: the number is soon another
process's, or in a container the same again. A lock is held by the process itself, so that one which
was killed leaves none behind. Where a file system or Windows has no such locks, nothing is refused
and nothing is swept.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from hlens.errors import HlensError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# (process, device, inode) -> [handle, times, whether others may hold it, too]
_held: dict[tuple[int, int, int], list[int]] = {}
_guard = Lock()


@contextmanager
def holding(folder: Path, *, beside: bool = False) -> Iterator[bool]:
    """Hold a folder against other processes; the same process may hold it several times.

    The folder itself is locked: nothing is written into it. With `beside`, others that say the same
    may hold it at the same time, each to write what no other writes.

    Yields:
        Whether this is the outermost hold.

    Raises:
        HlensError: Another process holds it.
    """
    about = folder.stat()
    key = (os.getpid(), about.st_dev, about.st_ino)  # a forked child holds nothing of its parent's
    with _guard:
        if key not in _held:
            _held[key] = [_lock(folder, beside), 0, beside]
        elif _held[key][2] and not beside:
            raise HlensError(f"{folder} is held beside other processes: nothing else is made there")
        _held[key][1] += 1
        outermost = _held[key][1] == 1
    try:
        yield outermost
    finally:
        with _guard:
            _held[key][1] -= 1
            if not _held[key][1]:
                _unlock(_held.pop(key)[0])


def _lock(folder: Path, beside: bool) -> int:
    """A handle that holds the lock, which is shared if others may; -1 where there are no locks."""
    if fcntl is None:
        return -1
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if beside else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise HlensError(
            f"another process is working on {folder}; let it end, or stop it, and run this again"
        ) from None
    except OSError:  # a file system without locks
        os.close(handle)
        return -1
    return handle


def _unlock(handle: int) -> None:
    if handle >= 0:
        os.close(handle)


def mark_used(handle: int) -> None:
    """Mark an open file or folder as in use for as long as the handle is open."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def using(folder: Path) -> Iterator[Path]:
    """Mark a folder as in use."""
    if fcntl is None:  # Windows opens no folders
        yield folder
        return
    handle = os.open(folder, os.O_RDONLY)
    mark_used(handle)
    try:
        yield folder
    finally:
        os.close(handle)


def sweep(left: Iterable[Path]) -> None:
    """Remove those files and folders that no living process has marked as used."""
    if fcntl is None:
        return
    for path in left:
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:  # it is gone, or not ours to open
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        except OSError:  # in use, or on a file system without locks
            pass
        finally:
            os.close(handle)
