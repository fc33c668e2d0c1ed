"""The working set of one problem: solve on it, certify over everything, enlarge it."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hlens.probe import loss, newton
from hlens.probe.design import Design
from hlens.probe.rows import Rows
from hlens.probe.state import Options, Problem, Solution, Trial

GROW_AT_LEAST = 100  # features that a working set gains, where so many may enter
START_WITH = 300  # features that a first working set holds at most
ON_THE_WAY = 1e-3  # duality gap, over the null objective, of penalties that are only passed by
NEAR = 0.9  # of the last penalty: scores from which features may still enter it
ROOM = 3  # working set over selected features: a wider one costs memory, a narrower one passes
LEAST_ROOM = 1.5  # the same, where that would be more than a share of the matrix
SHARE = 0.02  # of the features
SCREEN = 0.5  # slope of a score between two penalties that screening reckons with


def screen_first(problem: Problem, options: Options) -> None:
    """Working set for the first penalties, from the gradient at zero."""
    problem.ahead = options.look_ahead
    ahead = problem.penalties[: options.look_ahead]
    if len(ahead):
        limit = ahead[-1] * options.l1_ratio
        found = np.flatnonzero(
            problem.scores >= screen_level(problem.penalty_max * options.l1_ratio, limit)
        )
        order = np.argsort(-problem.scores[found], kind="stable")[:START_WITH]
        problem.working = np.sort(found[order])
        problem.w = np.zeros(len(problem.working))
    problem.scores = np.empty(0)


def screen_level(now: float, then: float) -> float:
    """Scores from which a feature may enter between two penalties.

    The sequential strong rule (``2 * then - now``) where the step is small; for longer steps a
    milder guess, as the check that follows mends what it misses.
    """
    return max(2 * then - now, then - SCREEN * (now - then), 0.7 * then)


def attempt(
    design: Design, y: np.ndarray, problem: Problem, options: Options, factors: Tensor | None
) -> None:
    """Solve the next penalties on the working set, each from the one before."""
    at = problem.examples
    a, labels = problem.a[at], y[at]
    X = Rows(design.gather(problem.working, at), np.zeros(len(problem.working)))
    mean = X.times(a) if options.fit_intercept else X.centre
    X = replace(X, centre=mean)
    single = design.dtype == torch.float32
    v = np.ones(len(X))
    if factors is not None:
        v = factors[torch.from_numpy(problem.working).to(factors.device)].double().cpu().numpy()
    w, b = problem.w, problem.b + float(problem.w @ mean)
    problem.trials = []
    problem.rounds += 1
    kept = newton.Kept()
    for k in problem.pending[: problem.ahead]:
        lam = float(problem.penalties[k])
        small = newton.Small(
            X,
            labels,
            a,
            lam * options.l1_ratio * v,
            lam * (1 - options.l1_ratio) * v * v,
            options.fit_intercept,
            single,
        )
        if k in problem.tried:
            w, b = problem.tried[k].start(problem.working, mean)
        goal = problem.precision * options.tol if problem.wanted[k] else ON_THE_WAY
        point = newton.solve(small, w, b, goal * problem.null_objective, kept)
        w, b = point.w, point.b
        trial = _trial(problem, k, point, b - float(w @ mean), np.abs(point.gradient) / v)
        problem.trials.append(trial)
        if _ends(problem, trial, options):
            break


def _trial(problem: Problem, index: int, at: newton.Point, bias: float, slope: np.ndarray) -> Trial:
    return Trial(index, problem.working, at.w, bias, at.residual, slope, at.loss, at.objective)


def to_certify(problem: Problem) -> list[Trial]:
    """The trials that a pass must see: what is wanted, and the last, from which screening goes on.

    The others were only on the way, and are done.
    """
    *before, last = problem.trials
    for trial in before:
        if not problem.wanted[trial.index]:
            lam = float(problem.penalties[trial.index])
            problem.done[trial.index] = _solution(problem, trial, lam, np.inf)
    return [trial for trial in problem.trials if trial is last or problem.wanted[trial.index]]


def level(problem: Problem, trial: Trial, options: Options) -> float:
    """Score from which a pass reports features: what this check and the next screening need."""
    lam = problem.penalties[trial.index] * options.l1_ratio
    if trial is not problem.trials[-1]:
        return lam
    ahead = problem.penalties[trial.index + 1 : trial.index + 1 + options.look_ahead]
    if not len(ahead):
        return NEAR * lam
    return min(lam, screen_level(lam, ahead[-1] * options.l1_ratio))


def judge(
    problem: Problem,
    trial: Trial,
    features: np.ndarray,
    scores: np.ndarray,
    y: np.ndarray,
    options: Options,
) -> None:
    """Certify one trial, or remember what its working set lacked."""
    lam = float(problem.penalties[trial.index])
    outside = ~np.isin(features, trial.features, assume_unique=True)
    features, scores = features[outside], scores[outside]
    every = np.concatenate([trial.slope, scores])
    gap = (trial.primal - _dual(problem, trial, every, lam, y, options)) / problem.null_objective
    order = np.argsort(-scores, kind="stable")
    if trial is problem.trials[-1]:
        # What is in the working set already is ranked with the rest: it may enter as well.
        both = np.concatenate([trial.features, features])
        problem.near = both[np.argsort(-every, kind="stable")]
    if gap <= options.tol or not problem.wanted[trial.index]:
        problem.done[trial.index] = _solution(problem, trial, lam, gap)
        if _ends(problem, trial, options):
            problem.last = min(problem.last, trial.index)
        return
    problem.lacking.append(features[order][scores[order] > lam * options.l1_ratio])


def _ends(problem: Problem, trial: Trial, options: Options) -> bool:
    """Whether a path goes no further than this solution; one on the way ends none."""
    if not problem.wanted[trial.index]:
        return False
    if options.max_selected is not None and np.count_nonzero(trial.w) > options.max_selected:
        return True
    return _explained(problem, trial) > options.explained


def _explained(problem: Problem, trial: Trial) -> float:
    return 1.0 - trial.loss / problem.null_objective


def _solution(problem: Problem, trial: Trial, lam: float, gap: float) -> Solution:
    chosen = trial.w != 0
    return Solution(
        lam,
        problem.penalty_max,
        trial.features[chosen],
        trial.w[chosen],
        trial.b,
        max(gap, 0.0),
        trial.primal,
        _explained(problem, trial),
        problem.rounds,
    )


def _dual(
    problem: Problem, trial: Trial, scores: np.ndarray, lam: float, y: np.ndarray, options: Options
) -> float:
    """Dual objective over all features; `scores` holds all that reach ``lambda * l1_ratio``."""
    a, y = problem.a[problem.examples], y[problem.examples]
    limit, ridge = lam * options.l1_ratio, lam * (1 - options.l1_ratio)
    top = float(scores.max(initial=0.0))
    shrink, excess = 1.0, 0.0
    if ridge > 0:
        excess = float(np.sum(np.maximum(scores - limit, 0.0) ** 2) / (2 * ridge))
    elif top > limit:
        shrink = limit / top
    return float(a @ loss.entropy(y + shrink * trial.residual / a)) - excess


def grow(problem: Problem, options: Options, n_features: int) -> None:
    """The next working set: what was selected, what was lacking, and what may soon enter."""
    failed = {trial.index: trial for trial in problem.trials if trial.index not in problem.done}
    certified = len(problem.trials) - len(failed)
    most = max(np.count_nonzero(trial.w) for trial in problem.trials)
    # A pass costs about n_features, a solve that was in vain the square of the selected.
    cheap = most**2 < 2 * n_features
    problem.ahead = options.look_ahead if cheap else min(options.look_ahead, certified + 1)
    if failed and not any(len(part) for part in problem.lacking):
        problem.precision *= 0.1
    # What failed once is the start of the next attempt, however much later that comes.
    problem.tried |= failed
    problem.tried = {k: tried for k, tried in problem.tried.items() if k not in problem.done}
    share = int(max(SHARE * n_features, LEAST_ROOM * most))
    room = max(GROW_AT_LEAST, min(ROOM * most, share))
    parts = [trial.features[trial.w != 0] for trial in (*problem.trials, *problem.tried.values())]
    parts += [*(part[:room] for part in problem.lacking), problem.near[:room]]
    if failed:
        parts.append(problem.working)  # grows until it certifies: nothing goes round in circles
    working = np.unique(np.concatenate(parts))
    problem.w, problem.b = problem.trials[-1].start(working, np.zeros(len(working)))
    problem.working = working
    problem.trials, problem.lacking = [], []
