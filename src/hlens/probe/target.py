"""The C that selects a wanted number of neurons."""

import numpy as np

from hlens.errors import HlensError
from hlens.probe.solver import Schedule, Solution
from hlens.probe.task import Task


def nearest_count(task: Task, n_neurons: int) -> Solution:
    """The sparsest solution with at least `n_neurons` selected; exactly that many as a rule.

    The number of selected features need not pass every value, as two may enter together; then
    the next larger number is taken.

    Raises:
        HlensError: The count is not positive, or no penalty selects that many.
    """
    if task.penalty == "l2":
        raise HlensError("n_neurons needs penalty='l1': an L2 probe selects every neuron")
    if n_neurons < 1:
        raise HlensError(f"n_neurons={n_neurons}: expected a positive number")
    high, low = 1.0, 0.3
    path = _path(task, high, low, 12)
    while len(path[-1].features) < n_neurons:
        if low < 1e-4 or path[-1].explained > task.options.explained:
            raise HlensError(
                f"no penalty selects {n_neurons} neurons: {len(path[-1].features)} of "
                f"{task.design.n_features} at most; ask for fewer"
            )
        high, low = low, low * 0.3
        path = _path(task, high, low, 12)
    for _ in range(3):
        counts = np.array([len(s.features) for s in path])
        reached = int(np.argmax(counts >= n_neurons))
        if counts[reached] == n_neurons or reached == 0:
            break
        top = path[0].penalty_max
        ends = path[reached - 1].penalty / top, path[reached].penalty / top
        path = _path(task, *ends, 10)
    counts = np.array([len(s.features) for s in path])
    return path[int(np.argmax(counts >= n_neurons))]


def _path(task: Task, high: float, low: float, n_points: int) -> list[Solution]:
    """Solutions between two shares of lambda_max, with a continuation down to the first."""

    def schedule(top: float, _: float) -> tuple[np.ndarray, np.ndarray]:
        way = np.geomspace(1.0, high, 1 + int(np.ceil(np.log(high) / np.log(0.6))))[:-1]
        wanted = np.geomspace(high, low, n_points)
        return top * np.r_[way, wanted], np.r_[np.zeros(len(way), bool), np.ones(n_points, bool)]

    done: Schedule = schedule
    return task.solve(task.everyone(), done)[0]
