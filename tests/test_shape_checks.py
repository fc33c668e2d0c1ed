"""The tests' own checks of types and shapes see what they are there to see."""

from pathlib import Path

import jaxtyping
import numpy as np
import pytest

from hlens.evaluation.fitting import _ridge_scores
from hlens.steps.step import file_of


def test_a_type_is_checked_where_no_shape_is_named() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="suffix"):
        file_of(Path("scores"), 3)  # type: ignore[arg-type]


def test_shapes_are_compared_where_they_are_named() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="labels"):
        _ridge_scores(np.zeros((4, 2)), np.zeros(3, dtype=bool), np.zeros((1, 2)))
