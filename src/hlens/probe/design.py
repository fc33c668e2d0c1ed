"""The matrix as the probe reads it: neuron-major, in chunks, never copied whole.

Everything the solver asks of all features at once is one *pass*: a product of the matrix with
the residuals of all problems together. The chunks are fixed by the shape alone and each is
multiplied by one thread, so a result does not depend on how many threads there are.
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
from hlens.probe.memory import empty
from hlens.probe.threads import one_thread

T = TypeVar("T")
S = TypeVar("S")

GATHER = 128  # features that are gathered at a time
CHUNK_ELEMENTS = {"cpu": 1 << 21, "cuda": 1 << 27}


class Design:
    """A matrix ``[feature, example]`` of any float type, on any device, in memory or mapped.

    float64 is multiplied in float64, everything else in float32; half precision is widened one
    chunk at a time.
    """

    def __init__(self, matrix: Tensor, threads: int | None = None) -> None:
        if not matrix.is_floating_point():
            raise HlensError(f"a floating-point matrix is expected, got {matrix.dtype}")
        self.matrix = matrix.detach()
        self.dtype = torch.float64 if matrix.dtype == torch.float64 else torch.float32
        self.n_features, self.n_examples = matrix.shape
        self.threads = min(threads or torch.get_num_threads(), os.cpu_count() or 1)
        self._pool: ThreadPoolExecutor | None = None
        self._places = local()

    @property
    def device(self) -> torch.device:
        return self.matrix.device

    @property
    def chunks(self) -> list[slice]:
        """Features of each chunk; a function of the shape alone."""
        size = CHUNK_ELEMENTS.get(self.device.type, 1 << 21)
        rows = max(1, size // max(1, self.n_examples))
        return [slice(i, min(i + rows, self.n_features)) for i in range(0, self.n_features, rows)]

    @contextmanager
    def workers(self) -> Iterator["Design"]:
        """Threads for the time of a `with` block, each multiplying on its own."""
        if self._pool is not None:
            yield self
            return
        # A thread takes the number of threads of the process when it first asks for it.
        settle = torch.get_num_threads
        with one_thread(), ThreadPoolExecutor(self.threads, initializer=settle) as pool:
            self._pool = pool
            try:
                yield self
            finally:
                self._pool = None

    def spread(self, work: Callable[[S], T], over: Sequence[S]) -> list[T]:
        """Do `work` for each item, on the threads where there are some; results in order."""
        if self._pool is None:
            return [work(item) for item in over]
        return list(self._pool.map(work, over))

    def each_chunk(self, work: Callable[[slice, Tensor], T]) -> list[T]:
        """``work(features, chunk)`` over all chunks ``[feature, example]``, in order.

        A chunk is the caller's for as long as `work` runs: the next may be written over it.
        """

        def one(features: slice) -> T:
            return work(features, self._widened(features))

        if self.device.type != "cpu":
            return [one(features) for features in self.chunks]
        return self.spread(one, self.chunks)

    def _widened(self, features: slice) -> Tensor:
        """A chunk in the dtype of the products; each thread has one place for all of its chunks.

        New memory for each would not come back: what a chunk leaves behind is a hole that small
        results break up, and a pass would end with as much memory as the matrix has.
        """
        chunk = self.matrix[features]
        if chunk.dtype == self.dtype or self.device.type != "cpu":
            return chunk.to(self.dtype)
        return self.place("chunk", (len(chunk), chunk.shape[1]), self.dtype).copy_(chunk)

    def place(self, name: str, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        """Memory of this thread for one use, the same at every call: it is the caller's until then.

        On a GPU there is an allocator that does as much; there it is new.
        """
        if self.device.type != "cpu":
            return torch.empty(shape, dtype=dtype, device=self.device)
        n, found = shape[0] * shape[1], getattr(self._places, name, None)
        if found is None or len(found) < n or found.dtype != dtype:
            found = torch.empty(n, dtype=dtype)
            setattr(self._places, name, found)
        return found[:n].view(shape)

    def scores(self, residuals: Tensor, chunk: Tensor) -> Tensor:
        """Size of the product of each residual with each feature, in a place of its own."""
        out = self.place("scores", (len(residuals), len(chunk)), self.dtype)
        if len(residuals) == 1:  # a matrix of one row would be multiplied more slowly
            torch.mv(chunk, residuals[0], out=out[0])
        else:
            torch.mm(residuals, chunk.T, out=out)
        return out.abs_()

    def gather(self, features: np.ndarray, examples: np.ndarray | None = None) -> np.ndarray:
        """Some features of some examples on the CPU, ``[feature, example]``, in `dtype`."""
        n = self.n_examples if examples is None else len(examples)
        out = empty((len(features), n), np.dtype(str(self.dtype).removeprefix("torch.")))
        into = torch.from_numpy(out)
        every = examples is None or np.array_equal(examples, np.arange(self.n_examples))
        columns = None if every else torch.from_numpy(examples)
        for start in range(0, len(features), GATHER):  # without a second copy of all of them
            part = torch.from_numpy(features[start : start + GATHER]).to(self.device)
            picked = self.place("picked", (len(part), self.n_examples), self.matrix.dtype)
            picked = torch.index_select(self.matrix, 0, part, out=picked).cpu()
            into[start : start + GATHER] = picked if columns is None else picked[:, columns]
        return out

    def rows(self, features: np.ndarray, examples: np.ndarray | None = None) -> np.ndarray:
        """Some features of some examples, as float64 on the CPU, ``[feature, example]``."""
        return self.gather(features, examples).astype(np.float64, copy=False)

    def variance(self, weights: Tensor) -> Tensor:
        """Variance of each feature under each row of weights; each row sums to 1."""
        weights = weights.to(self.device, self.dtype)

        def one(_: slice, chunk: Tensor) -> Tensor:
            centred = chunk - chunk.mean(dim=1, keepdim=True)
            mean = weights @ centred.T
            return (weights @ centred.square().T - mean.square()).clamp_min(0.0)

        return torch.cat(self.each_chunk(one), dim=1)

    def check_finite(self) -> None:
        """Raise `HlensError` that names the first entry that is NaN or infinite."""

        def one(features: slice, chunk: Tensor) -> tuple[int, int, float] | None:
            if bool(torch.isfinite(chunk.sum())) or bool(torch.isfinite(chunk).all()):
                return None
            row, column = (~torch.isfinite(chunk)).nonzero()[0].tolist()
            return features.start + row, column, float(chunk[row, column])

        for found in self.each_chunk(one):
            if found is not None:
                feature, example, value = found
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
