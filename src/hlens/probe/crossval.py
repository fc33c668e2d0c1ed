"""Cross-validation in lockstep: all folds and all penalties over one matrix at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from hlens.checks import check_whole
from hlens.errors import HlensError
from hlens.probe.solution import Solution
from hlens.probe.training import TrainingSet, at_C, decision_scores


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Out-of-fold scores along a grid of C."""

    C: np.ndarray  # the grid, ascending
    fold: np.ndarray  # fold that each example was held out in
    scores: np.ndarray  # out-of-fold log-odds, [C, example]
    auroc: np.ndarray  # area under the curve on each held-out fold, [C, fold]
    n_selected: np.ndarray  # selected features of each fit, [C, fold]
    gaps: np.ndarray  # duality gap of each fit over its null objective, [C, fold]
    ended: str = ""  # why the grid is shorter than the one that was asked for

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

        ``"best"`` is the highest mean AUROC (the smallest C among equals), ``"1se"`` the smallest C
        within one standard error of it.
        """
        best = int(np.argmax(self.mean))
        if rule == "best":
            return best
        if rule != "1se":
            raise HlensError(f"rule {rule!r} is unknown; expected 'best' or '1se'")
        return int(np.argmax(self.mean >= self.mean[best] - self.standard_error[best]))

    def position(self, C: float) -> int:
        """Position of the point of the grid that is nearest to a C."""
        return int(np.argmin(np.abs(np.log(self.C / C))))


def assign_folds(
    y: np.ndarray, groups: Sequence[object] | np.ndarray | None, *, n_folds: int, seed: int | None
) -> np.ndarray:
    """The fold that holds out each example; whole groups only, classes kept in balance."""
    check_whole("cv", n_folds, least=2)
    rarest = int(min(np.sum(y == 0), np.sum(y == 1)))
    if rarest < n_folds:
        raise HlensError(
            f"the rarer class has {rarest} examples, fewer than the {n_folds} folds; "
            "give more examples or a smaller cv"
        )
    shuffle = {"shuffle": True, "random_state": 0 if seed is None else seed}
    if groups is None:
        splits = StratifiedKFold(n_folds, **shuffle).split(y, y)
    else:
        names, codes = np.unique(np.asarray(groups), return_inverse=True)
        if len(names) < n_folds:
            raise HlensError(
                f"{len(names)} groups are fewer than the {n_folds} folds, and a group is never "
                "split; give more groups or a smaller cv"
            )
        splits = StratifiedGroupKFold(n_folds, **shuffle).split(y, y, codes)
    fold = np.empty(len(y), dtype=np.int64)
    for k, (_, held_out) in enumerate(splits):
        fold[held_out] = k
        if len(np.unique(y[held_out])) < 2:
            raise HlensError(
                f"fold {k} of {n_folds} by group has one class only; give more groups of both "
                "classes or a smaller cv"
            )
    return fold


def fold_aurocs(
    scores: Float[np.ndarray, "*fit example"], y: np.ndarray, fold: np.ndarray
) -> Float[np.ndarray, "*fit fold"]:
    """AUROC of each fold on its own scores, ties counting half; folds by number.

    NaN for a fold of one label.

    Raises:
        HlensError: A score that is not finite.
    """
    if not np.isfinite(scores[..., fold >= 0]).all():
        raise HlensError("a held-out score is NaN or infinite; scale the contributions down")
    areas = []
    for k in range(int(fold.max()) + 1):
        held_out = fold == k
        positive = y[held_out] == 1
        n = int(positive.sum())
        ranks = rankdata(scores[..., held_out], axis=-1)[..., positive].sum(axis=-1)
        pairs = n * (len(positive) - n)
        areas.append((ranks - n * (n + 1) / 2) / pairs if pairs else np.full(ranks.shape, np.nan))
    return np.stack(areas, axis=-1)


def cross_validate(
    training: TrainingSet, fold: np.ndarray, C: np.ndarray
) -> tuple[CrossValidation, list[Solution]]:
    """The cross-validation at each C (ascending) and the solutions on everyone, in lockstep.

    An example of negative fold takes part nowhere. The grid ends early where the first of the fits
    has explained its deviance (`Options.explained`).
    """
    return cross_validate_many(training, [fold], [C])[0]


def cross_validate_many(
    training: TrainingSet, folds: Sequence[np.ndarray], grids: Sequence[np.ndarray]
) -> list[tuple[CrossValidation, list[Solution]]]:
    """Several cross-validations over one matrix, all of them in lockstep."""
    masks, schedules = [], []
    for fold, C in zip(folds, grids, strict=True):
        # The number after the last fold holds nobody out: that solution is on everyone.
        held_out = range(int(fold.max()) + 2)
        masks += [(fold >= 0) & (fold != k) for k in held_out]
        schedules += [at_C(C)] * len(held_out)
    solved = iter(training.solve(np.stack(masks), schedules))
    results = []
    for fold, C in zip(folds, grids, strict=True):
        paths = [next(solved) for _ in range(int(fold.max()) + 2)]
        length = min(len(path) for path in paths)
        *of_folds, on_everyone = (path[:length] for path in paths)
        scores = np.full((length, len(fold)), np.nan)
        for k, path in enumerate(of_folds):
            held_out = np.flatnonzero(fold == k)
            scores[:, held_out] = decision_scores(training.design, path, held_out)
        validation = CrossValidation(
            C=C[:length],
            fold=fold,
            scores=scores,
            auroc=fold_aurocs(scores, training.y, fold),
            n_selected=np.array([[len(s.features) for s in path] for path in of_folds]).T,
            gaps=np.array([[s.gap for s in path] for path in of_folds]).T,
            ended=why_ended(training, C, length),
        )
        results.append((validation, on_everyone))
    return results


def why_ended(training: TrainingSet, C: np.ndarray, length: int) -> str:
    """Why a path has fewer points than its grid; empty where it has all."""
    if length == len(C):
        return ""
    return (
        f"the grid ends at C={C[length - 1]:.4g} of {C[-1]:.4g}: a fit there explains more than "
        f"{training.options.explained:.1%} of the deviance, and beyond it weights only grow"
    )
