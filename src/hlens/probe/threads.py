"""One thread for every sum: BLAS splits a sum by the number of threads, and so does rounding."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def one_thread() -> Iterator[None]:
    """Every product inside the block is computed by the thread that asks for it.

    Work is spread by whole chunks instead (`hlens.probe.design.Design.spread`), so that numbers
    do not depend on how many threads there are.
    """
    before = torch.get_num_threads()
    # Of the process: a thread that starts later takes it too, at its first parallel product.
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
