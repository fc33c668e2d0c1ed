"""The options and labels of a probe, checked before anything is fitted."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from hlens.errors import HlensError

KNOWN: dict[str, tuple[object, ...]] = {
    "penalty": ("l1", "l2"),
    "scale": (None, "feature", "layer"),
    "solver": ("exact", "liblinear"),
    "rule": ("best", "1se"),
}


def check_options(given: Mapping[str, Any]) -> None:
    """Raise `HlensError` in words at the first option that is none.

    Args:
        given: The options of a `SparseProbe` by name.
    """
    for name, values in KNOWN.items():
        if given[name] not in values:
            raise HlensError(f"{name}={given[name]!r} is unknown; expected {values}")
    C, l1_ratio = given["C"], given["l1_ratio"]
    if C != "cv" and not (isinstance(C, (int, float)) and 0 < C < np.inf):
        raise HlensError(f"C={C!r}: expected a positive number or 'cv'")
    if not 0 <= l1_ratio <= 1:
        raise HlensError(f"l1_ratio={l1_ratio}: expected a number from 0 to 1")
    if given["solver"] == "liblinear" and (C == "cv" or given["n_neurons"] or l1_ratio != 1):
        raise HlensError(
            "solver='liblinear' fits one given C with l1_ratio=1, as the paper does; use "
            "solver='exact' for a path, cross-validation or the elastic net"
        )


def two_classes(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two kinds of label, and of which each example is.

    Raises:
        HlensError: Fewer kinds, or more.
    """
    check_classification_targets(y)
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) > 2:
        raise HlensError(
            "Only binary classification is supported. The type of the target is "
            f"{type_of_target(y)} with {len(classes)} classes; give two kinds of label"
        )
    if len(classes) < 2:
        raise HlensError(
            f"only one class ({classes[0]!r}) among the {len(y)} examples; "
            "a probe needs examples of both"
        )
    return classes, codes
