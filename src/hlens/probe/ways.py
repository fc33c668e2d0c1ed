"""Ways to find: hlens's own, and the paper's as it was published."""

from collections.abc import Mapping
from typing import Any

from hlens.lookup import unknown
from hlens.probe.estimator import SparseProbe

# By the names of `SparseProbe`. hlens's was chosen on one half of public data and of its own banks,
# and reported on the other (docs/results/detector.md). The paper's (arXiv 2512.01797) is
# scikit-learn's liblinear with its defaults: C is 1, nothing is scaled or weighted, and the
# intercept is penalised.
WAYS: Mapping[str, Mapping[str, Any]] = {
    "hlens": {"C": "cv", "rule": "1se", "scale": "feature", "class_weight": "balanced"},
    "paper": {"C": 1.0, "solver": "liblinear", "class_weight": None, "scale": None},
}
# The metric that each of them reads.
READS: Mapping[str, str] = {"hlens": "signed_cett", "paper": "cett"}


def probe_of(way: str, **options: Any) -> SparseProbe:
    """The unfitted probe of a way, with further options of `SparseProbe`.

    >>> probe_of("paper").solver
    'liblinear'

    Raises:
        HlensError: There is no way of that name.
    """
    if way not in WAYS:
        raise unknown("way", way, WAYS)
    return SparseProbe(**{**WAYS[way], **options})
