"""Numbers that a caller gives: taken as they are, or one line."""

import numpy as np
import pytest
import torch

from hlens.checks import check_real, check_seed, check_whole
from hlens.errors import HlensError


@pytest.mark.parametrize("three", [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)])
def test_a_scalar_of_any_library_is_the_number_that_it_is(three):
    assert type(check_whole("n", three)) is int
    assert check_whole("n", three, least=3, most=3) == 3
    assert type(check_real("x", three)) is float
    assert check_real("x", three) == 3.0


@pytest.mark.parametrize(
    "value", [True, 2.0, "3", None, -1, 10**30, 10**4000, -(10**4000), np.float64(2), [1]]
)
def test_what_is_no_whole_number_within_limits_is_one_line(value):
    with pytest.raises(HlensError, match=r"^n=.{1,70}; expected a whole number from 0 to") as error:
        check_whole("n", value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "value", [True, "3", None, float("nan"), float("inf"), -1, 10**400, np.array([1, 2]), 0]
)
def test_what_is_no_number_within_limits_is_one_line(value):
    with pytest.raises(HlensError, match=r"^x=.{1,70}; expected a number above 0, at most"):
        check_real("x", value, above=0)


def test_a_seed_is_one_that_every_library_takes():
    assert check_seed(np.int32(7)) == 7
    for value in (-1, 2**32):
        with pytest.raises(HlensError, match="seed="):
            check_seed(value)
