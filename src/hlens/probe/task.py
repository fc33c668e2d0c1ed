"""What is fitted: a matrix, labels and weights, and the options of a probe, made ready to solve."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hlens.errors import HlensError
from hlens.probe import ridge, solver
from hlens.probe.crossval import CrossValidation, fold_aurocs
from hlens.probe.design import Design
from hlens.probe.solver import Options, Schedule, Solution
from hlens.probe.threads import one_thread

CONTINUATION = 0.6  # lambda shrinks by at least this factor on the way to a single C

_CONSTANT = "every feature is constant: there is nothing to find; check what was measured"


@dataclass(frozen=True, eq=False)
class Task:
    """A probe's problem over one matrix.

    Attributes:
        design: The matrix.
        y: Labels, 0 or 1.
        sample_weight: Weight of each example, before class weights.
        class_weight: None, ``"balanced"`` or the weights of class 0 and 1.
        scale: None, ``"feature"`` or ``"layer"``.
        n_layers: Layers, for ``scale="layer"``.
        penalty: ``"l1"`` (elastic net included) or ``"l2"``.
        options: How to solve.
    """

    design: Design
    y: np.ndarray
    sample_weight: np.ndarray
    class_weight: str | Mapping[int, float] | None
    scale: str | None
    n_layers: int | None
    penalty: str
    options: Options

    def weights(self, masks: np.ndarray) -> np.ndarray:
        """Weights of each problem; `masks` is true where an example takes part."""
        base = masks * self.sample_weight
        if self.class_weight is None:
            return base
        positive = (base * self.y).sum(axis=1)
        negative = base.sum(axis=1) - positive
        if self.class_weight == "balanced":
            half = (positive + negative) / 2
            with np.errstate(divide="ignore", invalid="ignore"):
                cost = np.stack([half / negative, half / positive])
            cost = np.nan_to_num(cost, nan=0.0, posinf=0.0)
        else:
            assert not isinstance(self.class_weight, str)
            cost = np.array([[self.class_weight[0]], [self.class_weight[1]]]) * np.ones(len(base))
        return base * np.where(self.y == 1, cost[1][:, None], cost[0][:, None])

    def factors(self, masks: np.ndarray) -> Tensor | None:
        """Penalty factor of each feature, from the examples of each problem alone."""
        if self.scale is None:
            return None
        share = masks * self.sample_weight
        share = share / share.sum(axis=1, keepdims=True)
        with self.design.workers():
            variance = self.design.variance(torch.from_numpy(share))
        if self.scale == "layer":
            layers = int(self.n_layers or 0)
            if layers < 1 or self.design.n_features % layers:
                raise HlensError(
                    f"scale='layer' needs n_layers that divides the {self.design.n_features} "
                    f"features, got {self.n_layers}; give the number of layers of the model"
                )
            by_layer = variance.reshape(len(variance), layers, -1)
            variance = by_layer.mean(2, keepdim=True).expand_as(by_layer).reshape(variance.shape)
        deviation = variance.sqrt()
        deviation[deviation == 0] = torch.inf  # a constant feature says nothing: it stays out
        return deviation

    def solve(
        self,
        masks: np.ndarray,
        schedule: Schedule | Sequence[Schedule],
        max_selected: int | None = None,
    ) -> list[list[Solution]]:
        """Solve one problem for each row of `masks` along a schedule, or each along its own.

        A path may be shorter than its schedule: it ends with the first solution that explains
        the deviance, or that selects more than `max_selected`. Its first point is always there.
        """
        solve = ridge.solve_many if self.penalty == "l2" else solver.solve_many
        options = replace(self.options, max_selected=max_selected)
        weights, factors = self.weights(masks), self.factors(masks)
        paths = solve(self.design, self.y, weights, schedule, options, factors)
        if any(path and not path[0].penalty_max > 0 for path in paths):
            raise HlensError(_CONSTANT)
        return paths

    def everyone(self) -> np.ndarray:
        return np.ones((1, len(self.y)), dtype=bool)

    def penalty_max(self, masks: np.ndarray | None = None) -> list[tuple[float, float]]:
        """Smallest lambda without any feature, and the sum of weights, of each problem."""
        found: list[tuple[float, float]] = []

        def nothing(top: float, total: float) -> tuple[np.ndarray, np.ndarray]:
            found.append((top, total))
            return np.empty(0), np.empty(0, dtype=bool)

        self.solve(self.everyone() if masks is None else masks, nothing)
        return found

    def grid(self, n_points: int, ratio: float, masks: np.ndarray | None = None) -> np.ndarray:
        """Grid of C of each problem, ascending from the first feature to ``lambda_max * ratio``.

        Returns:
            Geometric, ``[problem, C]``.
        """
        tops = self.penalty_max(masks)
        if not all(top > 0 for top, _ in tops):
            raise HlensError(_CONSTANT)
        shares = np.geomspace(1.0, ratio, n_points)
        return np.stack([1.0 / (total * top * shares) for top, total in tops])


def at_C(C: float | np.ndarray) -> Schedule:
    """Schedule that solves at each C (ascending), with a continuation towards the first."""
    grid = np.atleast_1d(np.asarray(C, dtype=float))

    def schedule(top: float, total: float) -> tuple[np.ndarray, np.ndarray]:
        wanted = 1.0 / (grid * total)
        first = float(wanted[0])
        steps = 0
        if 0 < first < top:
            steps = int(np.floor(np.log(first / top) / np.log(CONTINUATION)))
        way = (
            top * (first / top) ** (np.arange(1, steps + 1) / (steps + 1)) if steps else wanted[:0]
        )
        return np.r_[way, wanted], np.r_[np.zeros(steps, bool), np.ones(len(wanted), bool)]

    return schedule


def cross_validate(
    task: Task, fold: np.ndarray, C: np.ndarray
) -> tuple[CrossValidation, list[Solution]]:
    """All folds and the fit on everyone, at each C (ascending), in lockstep.

    The grid ends early where the first of them has explained its deviance (`Options.explained`).

    Args:
        task: The problem.
        fold: Fold that holds out each example; negative: it takes part nowhere.
        C: The grid.

    Returns:
        The cross-validation, and the solutions on all examples.
    """
    return cross_validate_many(task, [fold], [C])[0]


def cross_validate_many(
    task: Task, folds: Sequence[np.ndarray], grids: Sequence[np.ndarray]
) -> list[tuple[CrossValidation, list[Solution]]]:
    """Several cross-validations over one matrix, all of them in lockstep."""
    masks, schedules = [], []
    for fold, C in zip(folds, grids, strict=True):
        inside = fold >= 0
        masks += [*(inside & (fold != k) for k in range(int(fold.max()) + 1)), inside]
        schedules += [at_C(C)] * (int(fold.max()) + 2)
    solved = iter(task.solve(np.stack(masks), schedules))
    return [_validated(task, fold, C, solved) for fold, C in zip(folds, grids, strict=True)]


def _validated(
    task: Task, fold: np.ndarray, C: np.ndarray, solved: Iterator[list[Solution]]
) -> tuple[CrossValidation, list[Solution]]:
    n_folds = int(fold.max()) + 1
    paths = [next(solved) for _ in range(n_folds + 1)]  # the last is on everyone
    length = min(len(path) for path in paths)
    paths = [path[:length] for path in paths]
    scores = np.full((length, len(fold)), np.nan)
    for k, path in enumerate(paths[:-1]):
        held_out = np.flatnonzero(fold == k)
        scores[:, held_out] = decision(task.design, path, held_out)
    validation = CrossValidation(
        C[:length],
        fold,
        scores,
        fold_aurocs(scores, task.y, fold),
        np.array([[len(s.features) for s in path] for path in paths[:-1]]).T,
        np.array([[s.gap for s in path] for path in paths[:-1]]).T,
        why_ended(task, C, length),
    )
    return validation, paths[-1]


def why_ended(task: Task, C: np.ndarray, length: int) -> str:
    """Why a path has fewer points than its grid; empty where it has all."""
    if length == len(C):
        return ""
    return (
        f"the grid ends at C={C[length - 1]:.4g} of {C[-1]:.4g}: a fit there explains more than "
        f"{task.options.explained:.1%} of the deviance, and beyond it weights only grow"
    )


def decision(design: Design, path: list[Solution], examples: np.ndarray) -> np.ndarray:
    """Log-odds of some examples under each solution, ``[solution, example]``."""
    bias = np.array([s.bias for s in path])[:, None]
    features = np.unique(np.concatenate([s.features for s in path]))
    if not len(features):
        return np.repeat(bias, len(examples), axis=1)
    weights = np.zeros((len(path), len(features)))
    for row, s in zip(weights, path, strict=True):
        row[np.searchsorted(features, s.features)] = s.values
    total = np.zeros((len(path), len(examples)))
    with one_thread():
        for start in range(0, len(features), 4096):  # a dense solution is read in parts
            part = slice(start, start + 4096)
            total += weights[:, part] @ design.rows(features[part], examples)
    return total + bias
