"""Cross-validation in lockstep: all folds and all penalties over one matrix at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from hlens.errors import HlensError


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Out-of-fold scores along a grid of C.

    Attributes:
        C: The grid, ascending.
        fold: Fold that each example was held out in.
        scores: Out-of-fold log-odds, ``[C, example]``.
        auroc: Area under the curve on each held-out fold, ``[C, fold]``.
        n_selected: Selected features of each fit, ``[C, fold]``.
        gaps: Duality gap of each fit over its null objective, ``[C, fold]``.
        ended: Why the grid is shorter than the one that was asked for; empty where it is not.
    """

    C: np.ndarray
    fold: np.ndarray
    scores: np.ndarray
    auroc: np.ndarray
    n_selected: np.ndarray
    gaps: np.ndarray
    ended: str = ""

    @property
    def mean(self) -> np.ndarray:
        """Mean AUROC over the folds at each C."""
        return self.auroc.mean(axis=1)

    @property
    def standard_error(self) -> np.ndarray:
        """Standard error of that mean."""
        return self.auroc.std(axis=1, ddof=1) / np.sqrt(self.auroc.shape[1])

    def choose(self, rule: str = "best") -> int:
        """Position of the chosen C.

        Args:
            rule: ``"best"``, the highest mean AUROC (the smallest C among equals); ``"1se"``, the
                smallest C within one standard error of it.
        """
        best = int(np.argmax(self.mean))
        if rule == "best":
            return best
        if rule != "1se":
            raise HlensError(f"rule {rule!r} is unknown; expected 'best' or '1se'")
        return int(np.argmax(self.mean >= self.mean[best] - self.standard_error[best]))


def assign_folds(
    y: np.ndarray, groups: Sequence[object] | np.ndarray | None, n_folds: int, seed: int | None
) -> np.ndarray:
    """The fold that holds out each example; whole groups only, classes kept in balance.

    Raises:
        HlensError: Fewer groups (or examples of a class) than folds, or a fold without one class.
    """
    if n_folds < 2:
        raise HlensError(f"cv={n_folds} folds; cross-validation needs at least 2")
    rarest = int(min(np.sum(y == 0), np.sum(y == 1)))
    if rarest < n_folds:
        raise HlensError(
            f"the rarer class has {rarest} examples, fewer than the {n_folds} folds; "
            "give more examples or a smaller cv"
        )
    shuffle = {"shuffle": True, "random_state": 0 if seed is None else seed}
    blank = np.zeros(len(y))
    if groups is None:
        splits = StratifiedKFold(n_folds, **shuffle).split(blank, y)
    else:
        _, codes = np.unique(np.asarray(groups), return_inverse=True)
        n_groups = int(codes.max()) + 1
        if n_groups < n_folds:
            raise HlensError(
                f"{n_groups} groups are fewer than the {n_folds} folds, and a group is never "
                "split; give more groups or a smaller cv"
            )
        splits = StratifiedGroupKFold(n_folds, **shuffle).split(blank, y, codes)
    fold = np.empty(len(y), dtype=np.int64)
    for k, (_, held_out) in enumerate(splits):
        fold[held_out] = k
    for k in range(n_folds):
        if len(np.unique(y[fold == k])) < 2 or len(np.unique(y[fold != k])) < 2:
            raise HlensError(
                f"fold {k} of {n_folds} by group has one class only; give more groups of both "
                "classes or a smaller cv"
            )
    return fold


def fold_aurocs(scores: np.ndarray, y: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """AUROC of each fold on its own scores, ``[C, fold]``."""
    return np.array(
        [
            [roc_auc_score(y[fold == k], row[fold == k]) for k in range(int(fold.max()) + 1)]
            for row in scores
        ]
    )
