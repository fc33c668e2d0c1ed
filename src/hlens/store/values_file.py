"""The values of a measurement in one tensor file: whole, or those of a mixture expert by expert.

Of a dense model the file is the tensor ``[layer, neuron, example]``. Most values of a mixture are
zero, so there it is the blocks of `hlens.types.routed` one behind the other, ``[neuron, example
that uses the expert]`` each, and the header says which examples use which expert, a bit for each::

    experts          e0            e1
    used by          0, 3          1, 2, 4
    file             3 x 2 values  3 x 3 values
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hlens.errors import HlensError
from hlens.store.checked import MEND, parse_json
from hlens.store.tensor_file import map_tensor, read_metadata, writing_tensor
from hlens.types import (
    Block,
    Experts,
    RoutedMatrix,
    RoutedValues,
    as_experts,
    cut_by_expert,
)

# Reads the values of some neurons of one layer.
Read = Callable[[int, slice], Float[Tensor, "neuron example"]]
_PIECE_BYTES = 1 << 26  # that are read at a time


@dataclass(frozen=True)
class Shape:
    """Of the values that a file holds; with `experts`, they are kept expert by expert."""

    n: int  # examples
    n_layers: int
    d_mlp: int
    experts: Experts = ()


class _Routed(TypedDict):
    shape: list[int]
    experts: list[list[int]]
    used: str  # bits [block, example], base64


def write_values(
    path: Path, shape: Shape, read: Read, *, dtype: torch.dtype, metadata: Mapping[str, str]
) -> None:
    """Write values that are computed piece by piece; those of a mixture are read twice."""
    if any(n for n, _, _ in shape.experts):
        _write_routed(path, shape, read, dtype, metadata)
        return
    whole = (shape.n_layers, shape.d_mlp, shape.n)
    with writing_tensor(path, whole, dtype=dtype, metadata=metadata) as append:
        for layer, part in _pieces(shape, dtype):
            append(read(layer, part))


def read_values(path: Path) -> Float[Tensor, "example layer neuron"]:
    """The values of a file, memory-mapped: read from disk where they are touched.

    Raises:
        HlensError: A file whose header does not fit its values.
    """
    values, text = map_tensor(path), read_metadata(path).get("routed")
    if text is None:
        if values.ndim != 3:
            raise _misfit(path, f"values of {values.ndim} axes")
        return values.permute(2, 0, 1)
    head = parse_json(text, f"{path}, its header", shape=_Routed)
    try:
        shape = _shape_of(head)
        used = _unpack(head["used"], shape)
    except (HlensError, TypeError, ValueError, binascii.Error) as error:
        raise _misfit(path, str(error)) from None
    blocks, stop = [], 0
    for (layer, part), own in zip(_cuts(shape), used, strict=True):
        examples, width = torch.from_numpy(np.flatnonzero(own)), part.stop - part.start
        start, stop = stop, stop + width * len(examples)
        block = values[start:stop]
        if len(examples) and block.numel() == width * len(examples):
            first = layer * shape.d_mlp + part.start
            blocks.append(Block(first, examples, block.view(width, len(examples))))
    if values.ndim != 1 or stop != len(values):
        raise _misfit(path, f"{values.numel()} values, {stop} announced")
    matrix = RoutedMatrix(blocks, (shape.n, shape.n_layers * shape.d_mlp))
    return RoutedValues(matrix, shape.n_layers, values.dtype)


def _write_routed(
    path: Path, shape: Shape, read: Read, dtype: torch.dtype, metadata: Mapping[str, str]
) -> None:
    cuts = list(_cuts(shape))
    used = np.stack([(read(*cut).to(dtype) != 0).any(dim=0).numpy() for cut in cuts])
    widths = np.array([part.stop - part.start for _, part in cuts])
    head: _Routed = {
        "shape": [shape.n, shape.n_layers, shape.d_mlp],
        "experts": [list(layer) for layer in shape.experts],
        "used": base64.b64encode(np.packbits(used).tobytes()).decode(),
    }
    metadata = {**metadata, "routed": json.dumps(head)}
    size = (int(widths @ used.sum(axis=1)),)
    with writing_tensor(path, size, dtype=dtype, metadata=metadata) as append:
        for cut, own in zip(cuts, used, strict=True):
            if own.any():
                append(read(*cut)[:, torch.from_numpy(own)])


def _pieces(shape: Shape, dtype: torch.dtype) -> Iterator[tuple[int, slice]]:
    width = max(1, _PIECE_BYTES // (dtype.itemsize * max(1, shape.n)))
    for layer in range(shape.n_layers):
        for start in range(0, shape.d_mlp, width):
            yield layer, slice(start, min(start + width, shape.d_mlp))


def _cuts(shape: Shape) -> Iterator[tuple[int, slice]]:
    return cut_by_expert(shape.experts, shape.n_layers, shape.d_mlp)


def _shape_of(head: _Routed) -> Shape:
    n, n_layers, d_mlp = head["shape"]
    shape = Shape(n, n_layers, d_mlp, as_experts(head["experts"], n_layers, d_mlp))
    if n < 1 or not shape.experts:
        raise ValueError(f"{n} examples of {len(shape.experts)} layers with experts")
    return shape


def _unpack(text: str, shape: Shape) -> Bool[np.ndarray, "block example"]:
    packed = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    n_blocks = sum(1 for _ in islice(_cuts(shape), 8 * len(packed) + 1))  # a file may say any
    if len(packed) != -(-n_blocks * shape.n // 8):
        raise ValueError(f"bits of another number of examples than {shape.n}")
    return np.unpackbits(packed, count=n_blocks * shape.n).reshape(n_blocks, shape.n).astype(bool)


def _misfit(path: Path, what: str) -> HlensError:
    return HlensError(f"{path} holds {what:.120}, which its header does not fit; {MEND}")
