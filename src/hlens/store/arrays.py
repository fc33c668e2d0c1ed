"""Arrays of numbers that other programs wrote (``.npy``, ``.npz``), read without trust.

A header may announce any size, and an archive may unpack to any: nothing is made room for but what
the bytes hold. Objects, which could run code, and texts are refused.
"""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hlens.errors import HlensError, first_line

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_HEADER_BYTES = 1 << 16
_MOST_BYTES = 1 << 33


def read_array(path: str | Path) -> np.ndarray:
    """The finite numbers of a ``.npy`` file.

    Raises:
        HlensError: No such file, no array of numbers, or a number that is not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise HlensError(f"no file {path}; expected an array (.npy)")
    if path.stat().st_size > _MOST_BYTES:
        raise HlensError(
            f"{path} has {path.stat().st_size:,} bytes; expected {_MOST_BYTES:,} at most"
        )
    return _parse(path.read_bytes(), str(path))


def read_arrays(path: Path, names: Sequence[str], *, most: int) -> dict[str, np.ndarray]:
    """Arrays of an ``.npz`` file by their names, each of no more than `most` finite numbers.

    Raises:
        HlensError: A damaged archive, an array that is missing, too long, or holds no numbers.
    """
    limit = _HEADER_BYTES + 16 * most
    try:
        with zipfile.ZipFile(path) as archive:
            held = sorted(name.removesuffix(".npy") for name in archive.namelist())
            if not set(names) <= set(held):
                raise HlensError(
                    f"{path} holds {held!r:.200}; expected arrays {' and '.join(names)}"
                )
            found = {}
            for name in names:
                with archive.open(f"{name}.npy") as member:
                    found[name] = member.read(limit + 1)
    except HlensError:
        raise
    except Exception as error:  # zipfile, zlib and lzma have their own kinds for damage
        raise HlensError(
            f"{path} is a damaged archive ({first_line(error)}); save it again"
        ) from error
    for name, data in found.items():
        if len(data) > limit:
            raise HlensError(
                f"{path} holds more than {most:,} numbers as {name}; is it this model's?"
            )
    return {name: _parse(data, f"{path}, {name}") for name, data in found.items()}


def _parse(data: bytes, where: str) -> np.ndarray:
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran, dtype = _HEADERS[version](stream)
        rest = data[stream.tell() :]
        if dtype.kind not in "fiu":
            raise ValueError(f"it holds {dtype}" + "s" * dtype.hasobject)
        if min(shape, default=1) < 0 or int(np.prod(shape, dtype=object)) * dtype.itemsize != len(
            rest
        ):
            raise ValueError(f"its header says shape {shape}, its data are {len(rest):,} bytes")
        array = np.frombuffer(rest, dtype).reshape(shape, order="F" if fortran else "C")
    except Exception as error:  # of many kinds: numpy parses the header as Python
        reason = first_line(error)
        raise HlensError(
            f"{where} is not an array of numbers ({reason:.80}); make it again"
        ) from None
    with np.errstate(over="ignore"):
        if not np.isfinite(array.astype(np.float32)).all():
            raise HlensError(f"{where} holds values that are not finite; measure it again")
    return array
