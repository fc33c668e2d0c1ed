"""One problem and its working set: solve on few features, certify over all, enlarge.

The steps of a round, in the order in which `hlens.probe.solver` calls them:

1. `Problem.attempt` solves the next penalties on the working set (`hlens.probe.newton`); each gives
   a `Trial`.
2. `Problem.trials_to_certify` go through one pass, which reports each feature whose score reaches
   `Problem.report_level`. The *score* of feature j is ``|x_j . residual| / v_j``: optimality asks
   that it be at most ``lambda * l1_ratio`` where the weight is zero.
3. `Problem.certify` turns these scores into a duality gap over all features.
4. `Problem.grow` makes the next working set.

Wanted penalties end with a certificate; waypoints are only solved on the working set.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from hlens.probe import newton
from hlens.probe.centred_rows import CentredRows
from hlens.probe.design import Design
from hlens.probe.loss import entropy
from hlens.probe.solution import Options, Solution

FIRST_SIZE = 300  # features in a first working set, at most
MIN_GROWTH = 100  # features that a working set may gain at least
WIDTH = 3  # size of the working set over selected features: wider costs memory, narrower passes
MIN_WIDTH = 1.5  # the same, where WIDTH would exceed MAX_SHARE
MAX_SHARE = 0.02  # of all features
WAYPOINT_TOL = 0.1  # duality gap, over the null objective, at waypoints
NEAR = 0.9  # of the last penalty: scores from which features may still enter there
REACH = 2.0  # steps of lambda over the one before, up to which weights are continued
SCREEN_SLOPE = 0.5  # by which a score is expected to change while lambda changes by 1


@dataclass(eq=False)
class Trial:
    """A solution on the working set that has no certificate yet."""

    index: int  # position of its penalty
    features: np.ndarray  # the working set
    b: float  # intercept of features that are not centred
    scores: np.ndarray  # of each feature of the working set
    point: newton.Point
    explained: float  # share of the null deviance

    @property
    def selected(self) -> np.ndarray:
        return self.features[self.point.w != 0]

    def weights_on(self, features: np.ndarray) -> np.ndarray:
        """Its weights on another working set; those of features outside are left out."""
        w = np.zeros(len(features))
        _, here, there = np.intersect1d(
            features, self.features, assume_unique=True, return_indices=True
        )
        w[here] = self.point.w[there]
        return w


@dataclass(eq=False, kw_only=True)
class Problem:
    """A weighting of the examples, and how far each of its penalties is solved."""

    design: Design
    options: Options
    factors: Tensor | None  # penalty factor of each feature; None where all are 1
    examples: np.ndarray  # those of positive weight
    labels: np.ndarray  # of these examples
    weights: np.ndarray  # of these examples; they sum to 1
    penalties: np.ndarray  # lambda, descending
    wanted: np.ndarray  # which penalties are wanted; the others are waypoints
    penalty_max: float  # smallest lambda at which every weight is zero
    null_objective: float  # of the intercept alone: the unit of the duality gap

    features: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))  # working set
    w: np.ndarray = field(default_factory=lambda: np.empty(0))  # next start, on the working set
    b: float
    ahead: int = 1  # penalties to solve in the next round
    precision: float = 0.5  # duality gap on the working set over the one asked of the certificate

    # Neighbouring penalties have nearly the same curvature.
    curvature: newton.CurvatureCache = field(default_factory=newton.CurvatureCache)

    done: dict[int, Solution] = field(default_factory=dict)  # by position of the penalty
    failed: dict[int, Trial] = field(default_factory=dict)  # starts of the next attempts
    latest: dict[int, Trial] = field(default_factory=dict)  # of the two penalties before the next
    last: int = 1 << 30  # position at which the path ends
    rounds: int = 0

    # Of this round: features outside the working set that broke optimality, worst first, and those
    # that may enter at the next penalties, likeliest first.
    trials: list[Trial] = field(default_factory=list)
    violations: list[np.ndarray] = field(default_factory=list)
    candidates: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @property
    def pending(self) -> list[int]:
        """Positions of the penalties that are still to be solved."""
        end = min(len(self.penalties), self.last + 1)
        return [k for k in range(end) if k not in self.done]

    def path(self) -> list[Solution]:
        """The wanted solutions, in the order of the schedule."""
        return [self.done[k] for k in sorted(self.done) if self.wanted[k] and k <= self.last]

    def screen_first(self, scores: np.ndarray) -> None:
        """Choose the first working set by the scores of all features where every weight is zero."""
        self.ahead = self.options.look_ahead
        if len(ahead := self.penalties[: self.ahead]):
            limit = ahead[-1] * self.options.l1_ratio
            level = screen_level(self.penalty_max * self.options.l1_ratio, limit)
            passed = np.flatnonzero(scores >= level)
            order = np.argsort(-scores[passed], kind="stable")[:FIRST_SIZE]
            self.features = np.sort(passed[order])
            self.w = np.zeros(len(self.features))

    def attempt(self, *, keep_curvature: bool) -> None:
        """Solve the next penalties on the working set, each from the one before.

        The last curvature may serve in the next round as well, and takes memory until then.
        """
        # Centred features are nearly orthogonal to the intercept: eliminating it (`quadratic`)
        # then cancels few digits, which float32 could not spare.
        matrix, v = self.design.gather(self.features, self.examples), np.ones(len(self.features))
        mean = np.zeros(len(matrix))
        if self.options.fit_intercept:
            mean = CentredRows(matrix, mean).dot(self.weights)
        X = CentredRows(matrix, mean)
        if self.factors is not None:
            index = torch.from_numpy(self.features).to(self.factors.device)
            v = self.factors[index].cpu().double().numpy()
        w, b = self.w, self.b + float(self.w @ mean)
        self.rounds += 1
        cache = self.curvature = self.curvature.on(self.features)
        l1_ratio = self.options.l1_ratio
        for k in self.pending[: self.ahead]:
            lam = float(self.penalties[k])
            subproblem = newton.Subproblem(
                X=X,
                y=self.labels,
                a=self.weights,
                l1=lam * l1_ratio * v,
                l2=lam * (1 - l1_ratio) * v * v,
                intercept=self.options.fit_intercept,
                allow_float32=self.design.dtype == torch.float32,
            )
            if k in self.failed:
                w = self.failed[k].weights_on(self.features)
                b = self.failed[k].b + float(w @ mean)
            else:
                w = self._continued(k, w)
            goal = self.precision * self.options.tol if self.wanted[k] else WAYPOINT_TOL
            tolerance = goal * self.null_objective
            point = newton.solve(subproblem, w, b, tolerance=tolerance, cache=cache)
            w, b = point.w, point.b
            scores = np.abs(point.gradient) / v
            explained = 1.0 - point.loss / self.null_objective
            trial = Trial(k, self.features, b - float(w @ mean), scores, point, explained)
            self.trials.append(trial)
            self.latest[k] = trial
            if self._ends_path(trial):
                break
        if not keep_curvature:
            self.curvature = newton.CurvatureCache()

    def _continued(self, k: int, w: np.ndarray) -> np.ndarray:
        """Weights `w`, of the penalty before, gone on as they went from the one before that.

        Where no weight enters or leaves a path is nearly straight in lambda, for a quadratic loss
        exactly (Rosset & Zhu 2007).
        """
        if not (self.latest.keys() >= {k - 1, k - 2}):
            return w
        older, last, now = (float(self.penalties[at]) for at in (k - 2, k - 1, k))
        if last - now > REACH * (older - last):
            return w
        before = self.latest[k - 2].weights_on(self.features)
        ahead = w + (last - now) / (older - last) * (w - before) if older > last else w
        return np.where((w * before > 0) & (w * ahead > 0), ahead, w)

    def trials_to_certify(self) -> list[Trial]:
        """The wanted trials, and the last: screening goes on from there. The others are done."""
        *before, last = self.trials
        for trial in before:
            if not self.wanted[trial.index]:
                self.done[trial.index] = self._solution(trial, np.inf)
        return [trial for trial in self.trials if trial is last or self.wanted[trial.index]]

    def report_level(self, trial: Trial) -> float:
        """Score from which the pass reports features: for this certificate and the next screen."""
        limit = self.penalties[trial.index] * self.options.l1_ratio
        if trial is not self.trials[-1]:
            return limit
        start = trial.index + 1
        ahead = self.penalties[start : start + self.options.look_ahead]
        if not len(ahead):
            return NEAR * limit
        return min(limit, screen_level(limit, ahead[-1] * self.options.l1_ratio))

    def certify(self, trial: Trial, features: np.ndarray, scores: np.ndarray) -> None:
        """Accept a trial whose duality gap over all features is small, or note what it lacked.

        `features` are all whose score reaches `report_level`, with their `scores`.
        """
        # The working set's own scores are float64, those of the pass float32: prefer the former.
        outside = ~np.isin(features, trial.features, assume_unique=True)
        features, scores = features[outside], scores[outside]
        every = np.concatenate([trial.scores, scores])
        gap = (trial.point.objective - self._dual(trial, every)) / self.null_objective
        if trial is self.trials[-1]:
            # Members of the working set compete with the rest: they may enter as well.
            both = np.concatenate([trial.features, features])
            self.candidates = both[np.argsort(-every, kind="stable")]
        if gap <= self.options.tol or not self.wanted[trial.index]:
            self.done[trial.index] = self._solution(trial, gap)
            if self._ends_path(trial):
                self.last = min(self.last, trial.index)
            return
        order = np.argsort(-scores, kind="stable")
        limit = float(self.penalties[trial.index]) * self.options.l1_ratio
        self.violations.append(features[order][scores[order] > limit])

    def grow(self) -> None:
        """Make the next working set: what was selected, what was missing, what may soon enter."""
        failed = {trial.index: trial for trial in self.trials if trial.index not in self.done}
        n_features = self.design.n_features
        most = max(len(trial.selected) for trial in self.trials)
        # A pass costs about n_features, a solve that fails the square of the selected: look far
        # ahead only where failing is cheap.
        self.ahead = self.options.look_ahead
        if most**2 >= 2 * n_features:
            self.ahead = min(self.ahead, len(self.trials) - len(failed) + 1)
        if failed and not any(len(part) for part in self.violations):
            self.precision *= 0.1  # no feature was missing: the working set was solved too roughly
        # However much later the next attempt comes, it starts where the failed one ended.
        starts = self.failed | failed
        self.failed = {k: trial for k, trial in starts.items() if k not in self.done}
        share = int(max(MAX_SHARE * n_features, MIN_WIDTH * most))
        growth = max(MIN_GROWTH, min(WIDTH * most, share))
        parts = [trial.selected for trial in (*self.trials, *self.failed.values())]
        parts += [*(part[:growth] for part in self.violations), self.candidates[:growth]]
        if failed:
            # Nothing leaves before a certificate: features that enter and leave in turn would
            # keep the rounds going for ever.
            parts.append(self.features)
        self.features = np.unique(np.concatenate(parts))
        self.w, self.b = self.trials[-1].weights_on(self.features), self.trials[-1].b
        next_one = min(self.pending, default=0)
        self.latest = {k: trial for k, trial in self.latest.items() if next_one - 2 <= k < next_one}
        self.trials, self.violations = [], []

    def _dual(self, trial: Trial, scores: np.ndarray) -> float:
        """Dual objective over all features; `scores` holds all that reach ``lambda * l1_ratio``."""
        lam, l1_ratio = float(self.penalties[trial.index]), self.options.l1_ratio
        limit, ridge = lam * l1_ratio, lam * (1 - l1_ratio)
        top = float(scores.max(initial=0.0))
        shrink, excess = 1.0, 0.0
        if ridge > 0:  # the conjugate of the elastic net is finite: what exceeds the limit costs
            excess = float(np.sum(np.maximum(scores - limit, 0.0) ** 2) / (2 * ridge))
        elif top > limit:  # the conjugate of the lasso is infinite beyond the limit: step inside
            shrink = limit / top
        q = self.labels + shrink * trial.point.residual / self.weights
        return float(self.weights @ entropy(q)) - excess

    def _ends_path(self, trial: Trial) -> bool:
        """Whether the path goes no further than this wanted solution."""
        crowded = len(trial.selected) > self.options.max_selected
        explained = trial.explained > self.options.explained
        return bool(self.wanted[trial.index]) and (crowded or explained)

    def _solution(self, trial: Trial, gap: float) -> Solution:
        return Solution(
            penalty=float(self.penalties[trial.index]),
            penalty_max=self.penalty_max,
            features=trial.selected,
            values=trial.point.w[trial.point.w != 0],
            bias=trial.b,
            gap=max(gap, 0.0),
            objective=trial.point.objective,
            explained=trial.explained,
            rounds=self.rounds,
        )


def screen_level(now: float, later: float) -> float:
    """Score from which a feature may enter while ``lambda * l1_ratio`` falls from `now` to `later`.

    The sequential strong rule is ``2 * later - now``: no score rises by more than lambda falls.
    Over long steps it screens nothing, so a milder guess is made there; the certificate finds what
    the guess misses.
    """
    return max(2 * later - now, later - SCREEN_SLOPE * (now - later), 0.7 * later)
