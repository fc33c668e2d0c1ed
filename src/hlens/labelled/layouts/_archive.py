"""Read members of a zip archive into memory, with limits; nothing is written to disk.

A member's name is never a path here, so none can lead out of a folder. Members compressed by
Zstandard (method 93), which Python's zipfile cannot read before 3.14, are read by pyarrow.
"""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow

from hlens.errors import HlensError

LARGEST = 2**28  # bytes of one member, unpacked
LARGEST_OF_ALL = 2**32
_ZSTANDARD = 93
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # before a member's bytes: signature, ..., two lengths


def read_members(path: Path, *, prefix: str, suffix: str = ".json") -> Iterator[tuple[str, bytes]]:
    """Name and content of the members with a prefix and suffix, in the archive's order.

    Raises:
        HlensError: No zip archive, a damaged or encrypted one, or one above the limits; where the
            prefix is a folder, a member of that folder, wherever it lies, that is named otherwise.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [
                member
                for member in archive.infolist()
                if member.filename.startswith(prefix) and member.filename.endswith(suffix)
            ]
            _check_names(path, archive.infolist(), {one.filename for one in members}, prefix)
            _check_sizes(path, members)
            for member in members:
                yield member.filename, _read(path, archive, member)
    except (zipfile.BadZipFile, EOFError, OSError, zlib.error, struct.error, RuntimeError) as error:
        raise HlensError(f"{path.name} is no archive that can be read ({error})") from None


def _check_names(path: Path, members: list[zipfile.ZipInfo], known: set[str], prefix: str) -> None:
    """Raise `HlensError` where a damaged name would leave a member of a folder out."""
    if not prefix.endswith("/"):
        return
    for member in members:
        name = member.filename
        if prefix in name.casefold() and not member.is_dir() and name not in known:
            raise HlensError(f"{path.name} holds {name!r:.60}; expected {prefix}NAME.json")


def _check_sizes(path: Path, members: list[zipfile.ZipInfo]) -> None:
    for member in members:
        if member.file_size > LARGEST:
            raise HlensError(
                f"{path.name}, {member.filename}: {member.file_size} bytes unpacked; at most "
                f"{LARGEST} are read"
            )
    if (total := sum(member.file_size for member in members)) > LARGEST_OF_ALL:
        raise HlensError(f"{path.name}: {total} bytes unpacked; at most {LARGEST_OF_ALL} are read")


def _read(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.compress_type == _ZSTANDARD:
        data = _unpack_zstandard(path, member)
    else:
        with archive.open(member) as file:
            data = file.read(member.file_size + 1)
    # The size in the list of members may lie.
    if len(data) != member.file_size or zlib.crc32(data) != member.CRC:
        raise zipfile.BadZipFile(f"{member.filename} is damaged")
    return data


def _unpack_zstandard(path: Path, member: zipfile.ZipInfo) -> bytes:
    with path.open("rb") as file:
        file.seek(member.header_offset)
        _, n_name, n_extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        file.seek(n_name + n_extra, 1)
        packed = pyarrow.BufferReader(file.read(member.compress_size))
    with pyarrow.CompressedInputStream(packed, "zstd") as unpacked:
        return unpacked.read(member.file_size + 1)
