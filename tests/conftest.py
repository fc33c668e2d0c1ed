"""Fixtures that every test may use: tiny models of real architectures."""

import os

# Each worker, and each process that a test starts, has one core: threads beyond that wait for one
# another, and spin while they wait. Said before torch and numpy are imported, which read it then.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from torch import nn

import architectures
import shape_checks

shape_checks.spare_what_names_no_shapes()  # before hlens is imported


@pytest.fixture(params=sorted(architectures.DENSE))
def any_architecture(request: pytest.FixtureRequest) -> nn.Module:
    """A tiny random model of each dense architecture in turn."""
    return architectures.DENSE[request.param]()


@pytest.fixture
def tiny_llama() -> nn.Module:
    return architectures.llama()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Sums are taken in one order, so that equal runs are equal to the bit."""
    torch.set_num_threads(1)
