"""The matrix as the probe reads it: neuron-major, in chunks, never copied whole.

Whatever the solver asks of all features is one *pass*: a product of the matrix with the residuals
of all problems together. Chunks depend on the shape alone and each is multiplied by one thread, so
a result does not depend on the number of threads.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import local
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from hlens.errors import HlensError
from hlens.probe.resources import blocks, empty, one_thread

T = TypeVar("T")
S = TypeVar("S")

GATHER = 128  # features that are gathered at a time
CHUNK_ELEMENTS = {"cpu": 1 << 21, "cuda": 1 << 27}


class Design:
    """A matrix ``[feature, example]`` of any float type, on any device, in memory or mapped.

    float64 is multiplied in float64, everything else in float32.
    """

    def __init__(self, matrix: Tensor, threads: int | None = None) -> None:
        if not matrix.is_floating_point():
            raise HlensError(f"the matrix is {matrix.dtype}; expected floating point")
        self.matrix = matrix.detach()
        self.dtype = torch.float64 if matrix.dtype == torch.float64 else torch.float32
        self.device = matrix.device
        self.n_features, self.n_examples = matrix.shape
        self.threads = min(threads or torch.get_num_threads(), os.cpu_count() or 1)
        self._pool: ThreadPoolExecutor | None = None
        self._buffers = local()

    @property
    def chunks(self) -> list[slice]:
        """Features of each chunk; a function of the shape alone."""
        size = CHUNK_ELEMENTS.get(self.device.type, 1 << 21)
        return blocks(self.n_features, max(1, size // max(1, self.n_examples)))

    @contextmanager
    def thread_pool(self) -> Iterator[None]:
        """Threads for the time of a `with` block, each multiplying on its own."""
        if self._pool is not None:
            yield
            return
        settle = torch.get_num_threads  # fixes a thread's own number, now 1, as it is first read
        with one_thread(), ThreadPoolExecutor(self.threads, initializer=settle) as pool:
            self._pool = pool
            try:
                yield
            finally:
                self._pool = None

    def map(self, work: Callable[[S], T], items: Sequence[S]) -> list[T]:
        """Do `work` for each item, on the thread pool where one is open; results in order."""
        if self._pool is None:
            return [work(item) for item in items]
        return list(self._pool.map(work, items))

    def map_chunks(self, work: Callable[[slice, Tensor], T]) -> list[T]:
        """``work(features, chunk)`` over all chunks ``[feature, example]``, in order: one pass.

        A chunk is valid only while `work` runs: the next may be written over it.
        """
        if self.device.type != "cpu":
            return [work(features, self._widen(features)) for features in self.chunks]
        return self.map(lambda features: work(features, self._widen(features)), self.chunks)

    def _widen(self, features: slice) -> Tensor:
        """A chunk in the dtype of the products.

        Each thread has one buffer for all of its chunks. New memory for each would not come back:
        small results would break up the holes that chunks leave on the heap, and a pass would end
        with as much memory as the matrix has.
        """
        chunk = self.matrix[features]
        if chunk.dtype == self.dtype or self.device.type != "cpu":
            return chunk.to(self.dtype)
        return self.buffer("chunk", (len(chunk), chunk.shape[1]), self.dtype).copy_(chunk)

    def buffer(self, name: str, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        """Uninitialised memory of this thread, the same at every call by this name."""
        if self.device.type != "cpu":  # PyTorch's allocator reuses memory there
            return torch.empty(shape, dtype=dtype, device=self.device)
        n, stored = shape[0] * shape[1], getattr(self._buffers, name, None)
        if stored is None or len(stored) < n or stored.dtype != dtype:
            stored = torch.empty(n, dtype=dtype)
            setattr(self._buffers, name, stored)
        return stored[:n].view(shape)

    def abs_products(self, residuals: Tensor, chunk: Tensor) -> Tensor:
        """Absolute product of each residual with each feature of a chunk; valid until the next."""
        out = self.buffer("products", (len(residuals), len(chunk)), self.dtype)
        if len(residuals) == 1:  # a matrix of one row would be multiplied more slowly
            torch.mv(chunk, residuals[0], out=out[0])
        else:
            torch.mm(residuals, chunk.T, out=out)
        return out.abs_()

    def gather(self, features: np.ndarray, examples: np.ndarray | None = None) -> np.ndarray:
        """Some features of some examples on the CPU, ``[feature, example]``, in `dtype`."""
        n = self.n_examples if examples is None else len(examples)
        out = empty((len(features), n), np.dtype(str(self.dtype).removeprefix("torch.")))
        target = torch.from_numpy(out)
        everyone = examples is None or np.array_equal(examples, np.arange(self.n_examples))
        columns = None if everyone else torch.from_numpy(examples)
        for block in blocks(len(features), GATHER):  # without a second copy of all of them
            part = torch.from_numpy(features[block]).to(self.device)
            rows = self.buffer("gathered", (len(part), self.n_examples), self.matrix.dtype)
            rows = torch.index_select(self.matrix, 0, part, out=rows).cpu()
            target[block] = rows if columns is None else rows[:, columns]
        return out

    def variance(self, weights: Tensor) -> Tensor:
        """Variance of each feature under each row of weights; each row sums to 1."""
        weights = weights.to(self.device, self.dtype)

        def weighted_variance(_: slice, chunk: Tensor) -> Tensor:
            # E[x^2] - E[x]^2 cancels in float32 where the mean is large: centre first.
            centred = self.buffer("centred", (len(chunk), chunk.shape[1]), self.dtype)
            torch.sub(chunk, chunk.mean(dim=1, keepdim=True), out=centred)
            mean = weights @ centred.T
            return (weights @ centred.square_().T - mean.square()).clamp_min(0.0)

        return torch.cat(self.map_chunks(weighted_variance), dim=1)

    def raise_overflow(self) -> None:
        """Name the entry that is NaN or infinite, or blame the products."""
        self.check_finite()
        raise HlensError("the products of the features overflow; divide them by a constant first")

    def check_finite(self) -> None:
        """Raise `HlensError` that names the first entry that is NaN or infinite."""

        def first_broken(features: slice, chunk: Tensor) -> tuple[int, int, float] | None:
            if bool(torch.isfinite(chunk.sum())) or bool(torch.isfinite(chunk).all()):
                return None
            row, column = (~torch.isfinite(chunk)).nonzero()[0].tolist()
            return features.start + row, column, float(chunk[row, column])

        for feature, example, value in filter(None, self.map_chunks(first_broken)):
            what = "NaN" if value != value else "infinity (inf)"
            raise HlensError(
                f"the contributions contain {what}: example {example}, neuron (feature) "
                f"{feature}; drop that example or measure it again"
            )


def as_matrix(X: np.ndarray | Tensor) -> Tensor:
    """An ``[example, feature]`` array as a neuron-major tensor, without a copy."""
    if isinstance(X, Tensor):
        return X.T
    if any(stride < 0 for stride in X.strides) or not X.dtype.isnative:
        X = np.array(X, dtype=X.dtype.newbyteorder("="))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(X).T
