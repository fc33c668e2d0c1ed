"""Many L1 problems over one matrix, solved in lockstep to a certified duality gap.

A *problem* is a weighting of the examples (a fold, a subsample; 0 = held out) with a descending
list of penalties. Each round solves every problem on its working set for a few penalties ahead,
then one pass over the matrix checks all of them at once, certifies those whose duality gap is
small enough and enlarges the working sets of the others. Objective of one problem, in its own
normalisation (weights ``a`` that sum to 1, ``lambda = 1 / (C * sum of sample weights)``)::

    sum_i a_i logloss(y_i, w.x_i + b)
        + lambda * sum_j (l1_ratio * v_j |w_j| + (1 - l1_ratio) / 2 * (v_j w_j)^2)

``v_j`` is the penalty factor: the feature's scale, which is how features are standardised
without being touched.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hlens.errors import HlensError
from hlens.probe import loss, working
from hlens.probe.design import Design
from hlens.probe.state import ConvergenceError, Options, Problem, Schedule, Solution

MEMORY = 0.02  # of the matrix, for the working sets that are solved at one time


def solve_many(
    design: Design,
    y: np.ndarray,
    weights: np.ndarray,
    schedule: Schedule | Sequence[Schedule],
    options: Options,
    factors: Tensor | None = None,
) -> list[list[Solution]]:
    """Solve every problem along its schedule of penalties.

    Args:
        design: The matrix.
        y: Labels, 0 or 1, ``[example]``.
        weights: Sample weights of each problem, ``[problem, example]``; 0 = held out.
        schedule: Penalties of each problem; one for all, or one a problem.
        options: How to solve.
        factors: Penalty factor of each feature, ``[feature]`` or ``[problem, feature]``; infinite
            where a feature must stay out.

    Returns:
        For each problem its wanted solutions, in the order of its schedule.

    Raises:
        HlensError: NaN or infinity in the matrix; one class only.
        ConvergenceError: A gap above ``options.tol`` at the round limit.
    """
    with design.workers():
        schedules = [schedule] * len(weights) if callable(schedule) else schedule
        problems = _start(design, y, weights, schedules, options, factors)
        for _ in range(options.max_rounds):
            busy = [i for i, problem in enumerate(problems) if problem.pending]
            if not busy:
                break
            _round(design, y, problems, busy, options, factors)
        else:
            _fail(problems, options)
    return [[q.done[k] for k in sorted(q.done) if q.wanted[k] and k <= q.last] for q in problems]


def _fail(problems: list[Problem], options: Options) -> None:
    behind = [q for q in problems if q.pending]
    if behind:
        at = behind[0].penalties[behind[0].pending[0]] / behind[0].penalty_max
        raise ConvergenceError(
            f"{len(behind)} of {len(problems)} problems are not solved to a duality gap of "
            f"{options.tol:g} after {options.max_rounds} rounds (first at lambda / lambda_max = "
            f"{at:.3g}); use a smaller C, a larger tol or a larger max_iter"
        )


def _start(
    design: Design,
    y: np.ndarray,
    weights: np.ndarray,
    schedules: Sequence[Schedule],
    options: Options,
    factors: Tensor | None,
) -> list[Problem]:
    totals = weights.sum(axis=1)
    a = weights / totals[:, None]
    share = a @ y
    if options.fit_intercept and not ((share > 0) & (share < 1)).all():
        raise HlensError(
            "only one class among the examples that are fitted; both classes are needed: give "
            "examples of both, or use fewer folds"
        )
    p = share if options.fit_intercept else np.full(len(a), 0.5)
    residual = a * (p[:, None] - y)
    scores = _null_scores(design, residual)
    if factors is not None:
        scores /= _on_cpu(factors)
    if not np.isfinite(scores).all():
        design.check_finite()
        raise HlensError("the products of the features overflow; divide them by a constant first")
    problems = []
    for i in range(len(a)):
        top = _top(design, scores[i]) / options.l1_ratio
        penalties, wanted = schedules[i](top, float(totals[i]))
        examples = np.flatnonzero(a[i])
        null = float(loss.entropy(p[i : i + 1])[0])
        start = float(np.log(p[i] / (1 - p[i])))
        empty = np.empty(0, dtype=np.int64)
        problems.append(
            Problem(
                a[i], penalties, wanted, top, null, examples, empty, scores[i], empty * 0.0, start
            )
        )
        working.screen_first(problems[-1], options)
    return problems


def _top(design: Design, scores: np.ndarray) -> float:
    """The highest score; 0 where it is a constant feature's, which has one by rounding alone."""
    if not len(scores):
        return 0.0
    highest = int(np.argmax(scores))
    return float(scores[highest]) if np.ptp(design.rows(np.array([highest]))) > 0 else 0.0


def _on_cpu(factors: Tensor) -> np.ndarray:
    return factors.cpu().numpy()


def _null_scores(design: Design, residual: np.ndarray) -> np.ndarray:
    """Score of each feature where every weight is zero, ``[problem, feature]``."""
    r = torch.from_numpy(residual).to(design.device, design.dtype)
    out = torch.empty(len(r), design.n_features, dtype=design.dtype)

    def one(features: slice, chunk: Tensor) -> None:
        out[:, features] = design.scores(r, chunk).cpu()

    design.each_chunk(one)
    return out.numpy()


def _round(
    design: Design,
    y: np.ndarray,
    problems: list[Problem],
    busy: list[int],
    options: Options,
    factors: Tensor | None,
) -> None:
    def attempt(i: int) -> None:
        row = None if factors is None else factors if factors.ndim == 1 else factors[i]
        working.attempt(design, y, problems[i], options, row)

    at_once = _at_once(design, [problems[i] for i in busy])
    for start in range(0, len(busy), at_once):
        design.spread(attempt, busy[start : start + at_once])
    columns = [(i, trial) for i in busy for trial in working.to_certify(problems[i])]
    levels = [working.level(problems[i], trial, options) for i, trial in columns]
    residuals = torch.zeros(len(columns), design.n_examples, dtype=design.dtype)
    for row, (i, trial) in zip(residuals.numpy(), columns, strict=True):
        row[problems[i].examples] = trial.residual
    owners = np.array([i for i, _ in columns])
    found = _score_pass(design, residuals, np.array(levels), owners, factors)
    for (i, trial), (features, scores) in zip(columns, found, strict=True):
        working.judge(problems[i], trial, features, scores, y, options)
    for i in busy:
        working.grow(problems[i], options, design.n_features)


def _at_once(design: Design, problems: list[Problem]) -> int:
    """Problems whose working sets may stand in memory together: all, or as few as must be."""
    largest = max(len(problem.working) * len(problem.examples) for problem in problems)
    room = MEMORY * design.n_features * design.n_examples
    fit = int(room // max(1, 2 * largest))  # its rows, and as much again for curvature
    return len(problems) if fit >= design.threads else max(1, fit)


def _score_pass(
    design: Design,
    residuals: Tensor,
    levels: np.ndarray,
    owners: np.ndarray,
    factors: Tensor | None,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each column the features whose score reaches its level, with their scores."""
    r = residuals.to(design.device)
    level = torch.from_numpy(levels).to(design.device, design.dtype)[:, None]
    owner = torch.from_numpy(owners).to(design.device)

    def one(features: slice, chunk: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        score = design.scores(r, chunk)
        if factors is not None:
            part = factors[..., features].to(design.device, design.dtype)
            score /= part if part.ndim == 1 else part[owner]
        reached = design.place("reached", (len(score), score.shape[1]), torch.bool)
        column, feature = torch.ge(score, level, out=reached).nonzero(as_tuple=True)
        return column.cpu(), feature.cpu() + features.start, score[column, feature].cpu()

    parts = design.each_chunk(one)
    column, feature, score = (torch.cat(pieces).numpy() for pieces in zip(*parts, strict=True))
    order = np.argsort(column, kind="stable")
    cuts = np.searchsorted(column[order], np.arange(1, len(levels)))
    return list(
        zip(np.split(feature[order], cuts), np.split(score[order].astype(float), cuts), strict=True)
    )
