"""The H-neuron detector among its rivals: AUROC, paired differences, and what each one costs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from hlens.errors import HlensError
from hlens.evaluation import estimate_auroc
from hlens.evaluation.auroc import delong, p_of
from hlens.evaluation.correction import holm
from hlens.types.labels import H_NEURONS, NOT_AVAILABLE

COLUMNS = [
    "detector", "auroc", "low", "high", "n", "difference", "difference_low", "difference_high",
    "p", "p_corrected", "passes", "samples", "note",
]  # fmt: skip
_Z = 1.959963984540054  # 97.5 % point of the normal distribution


def leaderboard(
    scores: Mapping[str, Float[np.ndarray, " example"]],
    labels: Bool[np.ndarray, " example"],
    groups: Sequence[str],
    costs: Mapping[str, tuple[int, int]] | None = None,
    missing: Mapping[str, str] | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """All detectors on the same held-out examples, best first.

    Args:
        scores: Scores of each detector by its name; ``"H-neurons"`` is compared with all others.
        labels: True where the example is a hallucination.
        groups: Group of each example.
        costs: Extra forward passes and further samples of each detector, for one new answer.
        missing: Detectors that could not be run, and why.
        n_boot: Resamples of whole groups for the intervals of the AUROC.
        seed: Seed of the resamples.

    Returns:
        Columns ``detector, auroc, low, high, n, difference, difference_low, difference_high, p,
        p_corrected, passes, samples, note``. ``difference`` is the AUROC of the H-neurons less
        this one, with its 95 % interval and two-sided p by DeLong's paired test, clustered by
        group; ``p_corrected`` is Holm's over the table. A missing detector has its reason as note.

    Raises:
        HlensError: No scores of ``"H-neurons"``, one class only, or a score that is no number.
    """
    if H_NEURONS not in scores:
        raise HlensError(f"no scores of {H_NEURONS!r} among {', '.join(scores) or 'none'}")
    costs = costs or {}
    rows = [_row(name, scores, labels, groups, costs.get(name), n_boot, seed) for name in scores]
    rows.sort(key=lambda row: -row["auroc"])
    for name, reason in (missing or {}).items():
        rows.append({"detector": name, "n": 0, "note": f"{NOT_AVAILABLE}{reason}"})
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    table["p_corrected"] = holm(table["p"].to_numpy(dtype=float))
    return table


def _row(
    name: str,
    scores: Mapping[str, np.ndarray],
    labels: np.ndarray,
    groups: Sequence[str],
    cost: tuple[int, int] | None,
    n_boot: int,
    seed: int,
) -> dict[str, Any]:
    own = estimate_auroc(scores[name], labels, groups, n_boot, seed)
    passes, samples = cost if cost is not None else (None, None)
    row: dict[str, Any] = {"detector": name, **own.to_row()}
    row |= {"passes": passes, "samples": samples, "note": ""}
    if name != H_NEURONS:
        row |= paired_difference(scores[H_NEURONS], scores[name], labels, groups)
    return row


def paired_difference(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray, groups: Sequence[str]
) -> dict[str, float]:
    """AUROC of the first less that of the second, its 95 % interval and two-sided p.

    >>> score = np.arange(6.0)
    >>> found = paired_difference(score, score, score > 2, list("abcdef"))
    >>> found["difference"], found["p"]
    (0.0, 1.0)
    """
    both = delong(np.stack([first, second]), labels, np.asarray(groups))
    contrast = np.array([1.0, -1.0])
    difference = float(contrast @ both.auroc)
    variance = float(contrast @ both.covariance @ contrast)
    half = _Z * max(variance, 0.0) ** 0.5
    return {
        "difference": difference,
        "difference_low": difference - half,
        "difference_high": difference + half,
        "p": p_of(difference, variance),
    }
