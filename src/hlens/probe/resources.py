"""Threads and memory, used so that sums do not depend on the one and the other is given back."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from threadpoolctl import threadpool_limits

MAPPED_FROM = 1 << 20  # bytes from which an array has a mapping of its own


@contextmanager
def one_thread() -> Iterator[None]:
    """Every product inside the block is computed by the thread that asks for it.

    BLAS splits a sum by the number of threads, and with it the rounding. Work is therefore divided
    into whole chunks (`hlens.probe.design.Design.map`), so that results are the same for any number
    of threads.
    """
    before = torch.get_num_threads()
    # This setting belongs to the process: a later thread takes it at its first parallel product.
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Like `numpy.empty`, but a large array returns to the system as soon as it is released.

    Working sets and their curvature grow from round to round. On the heap each would leave a hole
    too small for the next, and the holes would add up to as much memory again.
    """
    size = int(np.prod(shape)) * dtype.itemsize
    if size < MAPPED_FROM:
        return np.empty(shape, dtype=dtype)
    return np.frombuffer(mmap.mmap(-1, size), dtype=dtype).reshape(shape)


def blocks(n: int, size: int) -> list[slice]:
    """Slices of at most `size` that cover ``range(n)``."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
