"""Tensors as bytes: what vLLM carries between processes, whatever executor it runs."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

Packed = dict[str, Any]


def pack(values: Tensor) -> Packed:
    """A tensor as shape and bytes, float32.

    >>> unpack(pack(torch.ones(2, 3))).shape
    torch.Size([2, 3])
    """
    held = values.detach().float().cpu().contiguous()
    return {"shape": list(held.shape), "bytes": held.numpy().tobytes()}


def unpack(packed: Packed) -> Tensor:
    """The tensor of `pack`."""
    values = np.frombuffer(packed["bytes"], dtype=np.float32).copy()
    return torch.from_numpy(values).reshape(packed["shape"])
