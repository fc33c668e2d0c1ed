"""Tensor files in the safetensors format: large ones written piece by piece, small ones at once.

A large tensor need not fit in memory, and its checksum over header and data is known only at the
end. So the header reserves a place for it, filled with zeros while the checksum is taken, and the
place is overwritten last. The file remains plain safetensors, which any reader opens.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from hlens.errors import HlensError
from hlens.store.atomic import write_bytes, writing
from hlens.types import Provenance, as_experts

NAME = "values"
_DTYPES = {torch.float32: "F32", torch.float16: "F16"}
_NO_CHECKSUM = "0" * 64
_CHUNK = 1 << 24


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None
) -> str:
    """Write several tensors that fit in memory; returns the SHA-256 of the file."""
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    data = save(contiguous, metadata=None if metadata is None else dict(metadata))
    write_bytes(path, data)
    return hashlib.sha256(data).hexdigest()


def read_tensors(
    path: Path, *, sha256: str | None = None, mend: str = "make it again"
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a file that `write_tensors` wrote, read into memory.

    `mend` is what an error tells the user to do.
    """
    if not path.is_file():
        raise HlensError(f"{path} does not exist; {mend}")
    data = path.read_bytes()
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise HlensError(f"{path} is damaged, or of another run; {mend}")
    try:
        tensors = load(data)
    except (SafetensorError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise HlensError(f"{path} is no safetensors file ({error}); {mend}") from error
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    # The library reads a metadata of null as none.
    return tensors, header.get("__metadata__") or {}


@contextmanager
def writing_tensor(
    path: Path, shape: Sequence[int], *, dtype: torch.dtype, metadata: Mapping[str, str]
) -> Iterator[Callable[[Tensor], None]]:
    """Write a float32 or float16 tensor that need not fit in memory.

    The block gets a function that appends a piece, in row-major order. The file appears when the
    block ends, with `metadata` in its header.
    """
    if dtype not in _DTYPES:
        raise HlensError(f"cannot store {dtype}; expected torch.float32 or torch.float16")
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    entry = {"dtype": _DTYPES[dtype], "shape": list(shape), "data_offsets": [0, size]}
    unsigned = _header(entry, metadata, _NO_CHECKSUM)
    digest = hashlib.sha256(unsigned)
    with writing(path) as file:
        file.write(unsigned)

        def append(piece: Tensor) -> None:
            flat = piece.detach().to(dtype).contiguous().flatten()
            data = flat.numpy().view(np.uint8).data
            digest.update(data)
            file.write(data)

        start = file.tell()
        yield append
        if file.tell() - start != size:
            raise ValueError(f"{path.name}: {file.tell() - start} bytes written, {size} announced")
        file.seek(0)
        file.write(_header(entry, metadata, digest.hexdigest()))


def read_metadata(path: Path) -> dict[str, str]:
    """The header of a file that `writing_tensor` wrote, which is checked to be whole."""
    if not path.is_file():
        raise HlensError(f"{path} does not exist; measure first, or give the file's full path")
    with path.open("rb") as file:
        head = file.read(8)
        length = int.from_bytes(head, "little")
        # A foreign file may announce a header of any length; none of ours is that long.
        text = file.read(length) if len(head) == 8 and length < 1 << 27 else b""
    try:
        header = json.loads(text)
        expected = 8 + length + header[NAME]["data_offsets"][1]
        metadata = dict(header["__metadata__"])
        int(metadata["sha256"], 16)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise HlensError(f"{path} is not a tensor file of hlens; remove it") from None
    size = path.stat().st_size
    if size != expected:
        raise HlensError(
            f"{path} is truncated: {size} bytes, its header says {expected}; "
            "remove it and measure again"
        )
    return metadata


def verify_checksum(path: Path) -> None:
    """Read a whole file that `writing_tensor` wrote; raise `HlensError` unless it is intact."""
    expected = read_metadata(path)["sha256"]
    digest = hashlib.sha256()
    with path.open("rb") as file:
        head = file.read(8)
        text = file.read(int.from_bytes(head, "little"))
        digest.update(head + text.replace(expected.encode(), _NO_CHECKSUM.encode()))
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        raise HlensError(
            f"{path} is damaged: checksum {digest.hexdigest()[:12]}, its header says "
            f"{expected[:12]}; remove it and measure again"
        )


def map_tensor(path: Path) -> Tensor:
    """The tensor of a file, memory-mapped: read from disk where it is touched."""
    read_metadata(path)
    try:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor(NAME)
    except SafetensorError as error:
        raise HlensError(f"{path} is not a tensor file of hlens ({error}); remove it") from None


def safetensors_path(path: str | Path) -> Path:
    """The tensor file of a name, with or without suffix, or of the JSON copy beside it.

    >>> [safetensors_path(name).name for name in ("a", "a.b", "a.json", "a.safetensors")]
    ['a.safetensors', 'a.b.safetensors', 'a.safetensors', 'a.safetensors']
    """
    path = Path(path)
    stem = path.stem if path.suffix in (".safetensors", ".json") else path.name
    return path.with_name(stem + ".safetensors")


def provenance_from_json(values: Mapping[str, Any]) -> Provenance:
    """The provenance whose fields a header holds as JSON, where tuples are lists."""
    try:
        versions = tuple((name, version) for name, version in values["versions"])
        experts = as_experts(values.get("experts", ()))
        return Provenance(**{**values, "versions": versions, "experts": experts})
    except (KeyError, TypeError, ValueError) as error:
        raise HlensError(
            f"a header's provenance does not fit ({error}); make the file again"
        ) from None


def _header(entry: Mapping[str, Any], metadata: Mapping[str, str], checksum: str) -> bytes:
    header = {"__metadata__": {**metadata, "sha256": checksum}, NAME: entry}
    text = json.dumps(header, ensure_ascii=True).encode()
    text += b" " * (-(8 + len(text)) % 64)  # data begin on a boundary that vector loads like
    return len(text).to_bytes(8, "little") + text
