"""Large arrays that come and go, in memory that goes with them."""

import mmap

import numpy as np

OWN = 1 << 20  # bytes from which an array has a mapping of its own


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Like `numpy.empty`; a large one is given back to the system as soon as it is let go.

    Working sets and their curvature grow from round to round. On the heap each would leave a hole
    that the next does not fit into, and the holes would add up to as much again.
    """
    size = int(np.prod(shape)) * dtype.itemsize
    if size < OWN:
        return np.empty(shape, dtype=dtype)
    return np.frombuffer(mmap.mmap(-1, size), dtype=dtype).reshape(shape)
