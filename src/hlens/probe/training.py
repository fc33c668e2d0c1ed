"""The training set of a probe, weighted and scaled as its options ask, and how to solve over it.

Between `hlens.probe.estimator` and the solvers: it turns class weights into sample weights, scaling
into penalty factors, and C, a grid or a wanted number of neurons into schedules of lambda.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import sklearn
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from hlens.checks import check_whole
from hlens.errors import HlensError
from hlens.probe import ridge, solver
from hlens.probe.design import Design
from hlens.probe.resources import blocks, one_thread
from hlens.probe.solution import Options, Schedule, Solution

CONTINUATION = 0.7  # lambda shrinks to no less than this share from one waypoint to the next
DECISION_BLOCK = 4096  # features of a dense solution that are read at a time


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingSet:
    """A matrix with labels and weights, and what a probe minimises over it."""

    design: Design
    y: np.ndarray  # labels, 0 or 1
    sample_weight: np.ndarray  # before class weights
    class_weight: str | tuple[float, float] | None  # "balanced", or of class 0 and 1
    scale: str | None  # "feature" or "layer"
    n_layers: int | None  # for scale="layer"
    penalty: str  # "l1" (elastic net included) or "l2"
    options: Options

    @property
    def everyone(self) -> np.ndarray:
        """The mask of one problem in which all examples take part."""
        return np.ones((1, len(self.y)), dtype=bool)

    def weights(self, masks: np.ndarray) -> np.ndarray:
        """Weights of each problem; `masks` is true where an example takes part."""
        base = masks * self.sample_weight
        if self.class_weight is None:
            return base
        if self.class_weight != "balanced":
            return base * np.where(self.y == 1, self.class_weight[1], self.class_weight[0])
        positive = (base * self.y).sum(axis=1, keepdims=True)
        negative = base.sum(axis=1, keepdims=True) - positive
        own = np.where(self.y == 1, positive, negative)
        # A class without an example has no cost, instead of 0 / 0.
        return base * ((positive + negative) / 2 / np.where(own > 0, own, np.inf))

    def penalty_factors(self, masks: np.ndarray) -> Tensor | None:
        """Penalty factor of each feature, from the examples of each problem alone."""
        if self.scale is None:
            return None
        share = masks * self.sample_weight
        share = share / share.sum(axis=1, keepdims=True)
        with self.design.thread_pool():
            variance = self.design.variance(torch.from_numpy(share))
        if self.scale == "layer":
            layers = int(self.n_layers or 0)
            if layers < 1 or self.design.n_features % layers:
                raise HlensError(
                    f"n_layers={self.n_layers} does not divide the {self.design.n_features} "
                    "features, as scale='layer' needs; give the number of layers of the model"
                )
            by_layer = variance.reshape(len(variance), layers, -1)
            variance = by_layer.mean(2, keepdim=True).expand_as(by_layer).reshape(variance.shape)
        deviation = variance.sqrt()
        deviation[deviation == 0] = torch.inf  # a constant feature carries nothing: keep it out
        return deviation

    def solve(
        self,
        masks: np.ndarray,
        schedule: Schedule | Sequence[Schedule],
        *,
        max_selected: int | float = float("inf"),
    ) -> list[list[Solution]]:
        """Solve one problem for each row of `masks` along a schedule, or each along its own.

        A path ends with its first solution that explains the deviance, or that selects more than
        `max_selected`.
        """
        solve_many = ridge.solve_many if self.penalty == "l2" else solver.solve_many
        paths = solve_many(
            self.design,
            self.y,
            self.weights(masks),
            schedule,
            options=replace(self.options, max_selected=max_selected),
            factors=self.penalty_factors(masks),
        )
        _check_not_constant([path[0].penalty_max for path in paths if path])
        return paths

    def penalty_max(self, masks: np.ndarray | None = None) -> list[tuple[float, float]]:
        """Smallest lambda without any feature, and the sum of weights, of each problem."""
        seen: list[tuple[float, float]] = []

        def note_and_solve_nothing(top: float, total: float) -> tuple[np.ndarray, np.ndarray]:
            seen.append((top, total))
            return np.empty(0), np.empty(0, dtype=bool)

        self.solve(self.everyone if masks is None else masks, note_and_solve_nothing)
        return seen

    def grid(self, n_points: int, ratio: float, *, masks: np.ndarray | None = None) -> np.ndarray:
        """Geometric grids of C, from lambda_max to `ratio` of it, ascending, ``[problem, C]``."""
        tops = self.penalty_max(masks)
        _check_not_constant([top for top, _ in tops])
        shares = np.geomspace(1.0, ratio, n_points)
        return np.stack([1.0 / (total * top * shares) for top, total in tops])


def _check_not_constant(penalties_max: list[float]) -> None:
    if not all(top > 0 for top in penalties_max):
        raise HlensError(
            "every feature is constant: there is nothing to find; check what was measured"
        )


def at_C(C: float | np.ndarray) -> Schedule:
    """Schedule that solves at each C (ascending), with waypoints on the way to the first."""
    grid = np.atleast_1d(np.asarray(C, dtype=float))

    def schedule(top: float, total: float) -> tuple[np.ndarray, np.ndarray]:
        wanted = 1.0 / (grid * total)
        first, way = float(wanted[0]), np.empty(0)
        if 0 < first < top:  # the first working set, screened at zero, suits no solution far away
            steps = int(np.log(first / top) / np.log(CONTINUATION))
            way = top * (first / top) ** (np.arange(1, steps + 1) / (steps + 1))
        penalties = np.r_[way, wanted]
        return penalties, np.arange(len(penalties)) >= len(way)

    return schedule


def at_ratios(ratios: np.ndarray, wanted: np.ndarray | None = None) -> Schedule:
    """Schedule that solves at each share of lambda_max (descending); all are wanted when None."""
    wanted = np.ones(len(ratios), dtype=bool) if wanted is None else wanted
    return lambda top, _: (top * ratios, wanted)


def nearest_count(training: TrainingSet, n_neurons: int) -> Solution:
    """The sparsest solution with at least `n_neurons` selected; more where two enter together."""
    if training.penalty == "l2":
        raise HlensError("an L2 probe selects every neuron; n_neurons needs penalty='l1'")
    n_neurons = check_whole("n_neurons", n_neurons, least=1)
    # First bracket the count between two neighbouring points, then refine between these.
    low, path = 1.0, list[Solution]()
    while not path or len(path[-1].features) < n_neurons:
        if low < 1e-4 or (path and path[-1].explained > training.options.explained):
            raise HlensError(
                f"no penalty selects {n_neurons} neurons: {len(path[-1].features)} of "
                f"{training.design.n_features} at most; ask for fewer"
            )
        high, low = low, low * 0.3
        path = _solve_between(training, high, low, n_points=12)
    for _ in range(3):
        reached = _first_with(path, n_neurons)
        if len(path[reached].features) == n_neurons or reached == 0:
            break
        path = _solve_between(training, path[reached - 1].ratio, path[reached].ratio, n_points=10)
    return path[_first_with(path, n_neurons)]


def _first_with(path: list[Solution], n_neurons: int) -> int:
    """First position with at least so many features; 0 where there is none."""
    return int(np.argmax(np.array([len(s.features) for s in path]) >= n_neurons))


def _solve_between(
    training: TrainingSet, high: float, low: float, *, n_points: int
) -> list[Solution]:
    """Solutions between two shares of lambda_max, with waypoints on the way to the first."""
    n_way = int(np.ceil(np.log(high) / np.log(CONTINUATION)))
    ratios = np.r_[np.geomspace(1.0, high, 1 + n_way)[:-1], np.geomspace(high, low, n_points)]
    schedule = at_ratios(ratios, np.arange(len(ratios)) >= n_way)
    return training.solve(training.everyone, schedule)[0]


def solve_liblinear(training: TrainingSet, C: float, *, seed: int) -> Solution:
    """The estimator of the paper (arXiv 2512.01797), for comparison: scikit-learn's liblinear.

    It copies to float64 and penalises the intercept; there is no certificate. `seed` is that of the
    order in which it visits the coordinates.
    """
    training.design.check_finite()
    factors = training.penalty_factors(training.everyone)
    shrink = 1.0 if factors is None else 1.0 / factors[0].cpu().double().numpy()
    intercept = training.options.fit_intercept
    model = LogisticRegression(
        C=C, solver="liblinear", max_iter=1000, fit_intercept=intercept, random_state=seed
    )
    if tuple(int(part) for part in sklearn.__version__.split(".")[:2]) < (1, 8):
        model.set_params(penalty=training.penalty)
    else:
        model.set_params(l1_ratio=float(training.penalty == "l1"))
    X = training.design.matrix.cpu().double().numpy().T * shrink
    model.fit(X, training.y, sample_weight=training.weights(training.everyone)[0])
    w = model.coef_[0] * shrink
    chosen = np.flatnonzero(w)
    penalty_max, total = training.penalty_max()[0]
    bias, unknown = float(np.ravel(model.intercept_)[0]), float("nan")
    return Solution(1.0 / (C * total), penalty_max, chosen, w[chosen], bias, unknown, unknown)


def decision_scores(design: Design, path: Sequence[Solution], examples: np.ndarray) -> np.ndarray:
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
        for block in blocks(len(features), DECISION_BLOCK):
            total += weights[:, block] @ design.gather(features[block], examples)
    return total + bias
