"""Many L1 problems over one matrix, solved in lockstep to a certified duality gap.

A *problem* is a weighting of the examples (a fold, a half-sample; 0 = held out) with a descending
list of penalties. Each round solves every problem on its working set for a few penalties ahead;
then one pass over the matrix checks all of them at once. The objective and the idea are in
`hlens.probe`; the state of one problem and the steps of its round in `hlens.probe.working_set`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hlens.probe.design import Design
from hlens.probe.loss import entropy, null_probability
from hlens.probe.solution import ConvergenceError, Options, Schedule, Solution
from hlens.probe.working_set import Problem, Trial

WORKING_MEMORY = 0.02  # of the matrix, for the working sets that are solved at one time


def solve_many(
    design: Design,
    y: np.ndarray,
    weights: np.ndarray,
    schedule: Schedule | Sequence[Schedule],
    *,
    options: Options,
    factors: Tensor | None = None,
) -> list[list[Solution]]:
    """The wanted solutions of each problem, in the order of its schedule.

    `weights` (0 = held out) are ``[problem, example]``, penalty `factors` ``[problem, feature]``:
    infinite where a feature must stay out. One `schedule` is for all problems.
    """
    with design.thread_pool():
        schedules = [schedule] * len(weights) if callable(schedule) else schedule
        problems = _start(design, y, weights, schedules=schedules, options=options, factors=factors)
        for _ in range(options.max_rounds):
            pending = [i for i, problem in enumerate(problems) if problem.pending]
            if not pending:
                break
            _round(design, problems, pending, factors)
        if behind := [problem for problem in problems if problem.pending]:
            ratio = behind[0].penalties[behind[0].pending[0]] / behind[0].penalty_max
            raise ConvergenceError(
                f"{len(behind)} of {len(problems)} problems are not solved to a duality gap of "
                f"{options.tol:g} after {options.max_rounds} rounds (first at lambda / lambda_max "
                f"= {ratio:.3g}); use a smaller C, a larger tol or a larger max_iter"
            )
    return [problem.path() for problem in problems]


def _start(
    design: Design,
    y: np.ndarray,
    weights: np.ndarray,
    *,
    schedules: Sequence[Schedule],
    options: Options,
    factors: Tensor | None,
) -> list[Problem]:
    """The problems at the null solution: one pass gives lambda_max and the first working sets."""
    totals = weights.sum(axis=1)
    a = weights / totals[:, None]
    p = null_probability(a @ y, intercept=options.fit_intercept)
    scores = _null_scores(design, a * (p[:, None] - y))
    if factors is not None:
        scores /= factors.cpu().numpy()
    if not np.isfinite(scores).all():
        design.raise_overflow()
    problems = []
    for i in range(len(a)):
        top = int(np.argmax(scores[i]))
        constant = np.ptp(design.gather(np.array([top]))) == 0  # its score is mere rounding
        penalty_max = 0.0 if constant else float(scores[i, top]) / options.l1_ratio
        penalties, wanted = schedules[i](penalty_max, float(totals[i]))
        examples = np.flatnonzero(a[i])
        problem = Problem(
            design=design,
            options=options,
            factors=None if factors is None else factors[i],
            examples=examples,
            labels=y[examples],
            weights=a[i][examples],
            penalties=penalties,
            wanted=wanted,
            penalty_max=penalty_max,
            null_objective=float(entropy(p[i : i + 1])[0]),
            b=float(np.log(p[i] / (1 - p[i]))),
        )
        problem.screen_first(scores[i])
        problems.append(problem)
    return problems


def _null_scores(design: Design, residual: np.ndarray) -> np.ndarray:
    """Score of each feature where every weight is zero, ``[problem, feature]``."""
    r = torch.from_numpy(residual).to(design.device, design.dtype)
    # Zeros: a chunk may leave out features that are zero in every example.
    out = torch.zeros(len(r), design.n_features, dtype=design.dtype)

    def score_chunk(features: slice, chunk: Any) -> None:
        out[:, features] = design.abs_products(r, chunk).cpu()

    design.map_chunks(score_chunk)
    return out.numpy()


def _round(
    design: Design, problems: list[Problem], pending: list[int], factors: Tensor | None
) -> None:
    """Attempt, one pass, certify, grow: for all pending problems together."""
    at_once = _problems_at_once(design, [problems[i] for i in pending])
    keep = at_once == len(pending)  # all curvature may be in memory during the pass
    for start in range(0, len(pending), at_once):
        together = [problems[i] for i in pending[start : start + at_once]]
        design.map(lambda problem: problem.attempt(keep_curvature=keep), together)
    columns = [(i, trial) for i in pending for trial in problems[i].trials_to_certify()]
    reported = _score_pass(design, problems, columns, factors)
    for (i, trial), (features, scores) in zip(columns, reported, strict=True):
        problems[i].certify(trial, features, scores)
    for i in pending:
        problems[i].grow()


def _problems_at_once(design: Design, problems: list[Problem]) -> int:
    """Problems whose working sets may be in memory together: all, or as few as must be."""
    largest = max(len(problem.features) * len(problem.examples) for problem in problems)
    budget = WORKING_MEMORY * design.n_features * design.n_examples
    fit = int(budget // max(1, 2 * largest))  # its rows, and as much again for curvature
    return len(problems) if fit >= design.threads else max(1, fit)


def _score_pass(
    design: Design,
    problems: list[Problem],
    columns: list[tuple[int, Trial]],
    factors: Tensor | None,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each trial the features whose score reaches its level, with their scores.

    Only these leave the pass: all scores of many trials would be as large as the matrix.
    """
    levels = np.array([problems[i].report_level(trial) for i, trial in columns])
    residuals = torch.zeros(len(columns), design.n_examples, dtype=design.dtype)
    for row, (i, trial) in zip(residuals.numpy(), columns, strict=True):
        row[problems[i].examples] = trial.point.residual
    r = residuals.to(design.device)
    level = torch.from_numpy(levels).to(design.device, design.dtype)[:, None]
    owner = torch.tensor([i for i, _ in columns], device=design.device)

    def report_chunk(features: slice, chunk: Any) -> tuple[Tensor, Tensor, Tensor]:
        score = design.abs_products(r, chunk)
        if factors is not None:
            score /= factors[:, features].to(design.device, design.dtype)[owner]
        reached = design.buffer("reached", (len(score), score.shape[1]), torch.bool)
        column, feature = torch.ge(score, level, out=reached).nonzero(as_tuple=True)
        return column.cpu(), feature.cpu() + features.start, score[column, feature].cpu()

    parts = design.map_chunks(report_chunk)
    column, feature, score = (torch.cat(pieces).numpy() for pieces in zip(*parts, strict=True))
    order = np.argsort(column, kind="stable")
    cuts = np.searchsorted(column[order], np.arange(1, len(levels)))
    return list(
        zip(np.split(feature[order], cuts), np.split(score[order].astype(float), cuts), strict=True)
    )
