"""The whole regularisation path, and the ways to choose a point on it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from hlens.errors import HlensError
from hlens.probe.crossval import CrossValidation, assign_folds
from hlens.probe.estimator import SparseProbe
from hlens.probe.finding import prepared
from hlens.probe.solver import Solution
from hlens.probe.task import Task, at_C, cross_validate, why_ended
from hlens.types import Contributions, Detector, Provenance


@dataclass(frozen=True, eq=False)
class Path:
    """Solutions along a grid of C, each with its certificate.

    Attributes:
        C: The grid, ascending.
        solutions: The solution at each C; sparse.
        n_layers: Layers of the model.
        d_mlp: Neurons in each layer.
        cv: Out-of-fold scores along the same grid, or None.
        metric: Formula of the contributions.
        region: Their tokens.
        domains: Their domains.
        provenance: Model and versions.
        ended: Why the grid is shorter than the one that was asked for; empty where it is not.
    """

    C: np.ndarray
    solutions: tuple[Solution, ...]
    n_layers: int
    d_mlp: int
    cv: CrossValidation | None = None
    metric: str = "cett"
    region: str = "answer"
    domains: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)
    ended: str = ""

    def __len__(self) -> int:
        return len(self.C)

    @property
    def lambda_ratio(self) -> np.ndarray:
        """Lambda over lambda_max at each C: what C means on these data."""
        return np.array([s.penalty / s.penalty_max for s in self.solutions])

    @property
    def n_selected(self) -> np.ndarray:
        """Selected neurons at each C."""
        return np.array([len(s.features) for s in self.solutions])

    @property
    def gaps(self) -> np.ndarray:
        """Duality gap over the null objective at each C."""
        return np.array([s.gap for s in self.solutions])

    def weights(self, at: int) -> Float[Tensor, "layer neuron"]:
        """Weights at one point of the grid."""
        dense = torch.zeros(self.n_layers * self.d_mlp)
        solution = self.solutions[at]
        dense[torch.from_numpy(solution.features)] = torch.from_numpy(solution.values).float()
        return dense.reshape(self.n_layers, self.d_mlp)

    def detector(self, at: int) -> Detector:
        """The detector of one point of the grid: for callbacks and comparison.

        Its threshold is 0 and it has no calibration; `hlens.find` makes the finished one.
        """
        fit = {
            "C": float(self.C[at]),
            "lambda_ratio": float(self.lambda_ratio[at]),
            "gap": float(self.gaps[at]),
            "n_selected": int(self.n_selected[at]),
        }
        bias = float(self.solutions[at].bias)
        own = (self.metric, self.region, self.domains)
        return Detector(self.weights(at), bias, *own, fit=fit, provenance=self.provenance)

    def choose(self, rule: str = "best") -> int:
        """Point chosen by grouped cross-validation: ``"best"`` or ``"1se"``.

        Raises:
            HlensError: The path was made without cross-validation, or the rule is none.
        """
        if self.cv is None:
            raise HlensError("this path has no cross-validation; make it with validate=True")
        return self.cv.choose(rule)

    def choose_count(self, n_neurons: int) -> int:
        """First point that selects at least `n_neurons`.

        Raises:
            HlensError: No point selects that many.
        """
        enough = self.n_selected >= n_neurons
        if not enough.any():
            raise HlensError(
                f"the path selects {self.n_selected.max()} neurons at most, not {n_neurons}; "
                f"{self.ended or 'make it longer with a smaller path_ratio'}"
            )
        return int(np.argmax(enough))

    def choose_by(self, score: Callable[[Detector], float]) -> tuple[int, np.ndarray]:
        """The point whose detector scores highest; the smaller C among equals.

        The paper's rule (arXiv 2512.01797) is such a score: accuracy on held-out examples plus
        accuracy of the model while the detector's neurons are suppressed. What the score reads
        must not be used again to report a result.

        Returns:
            The point, and the score of every point.
        """
        scores = np.array([float(score(self.detector(k))) for k in range(len(self))])
        return int(np.argmax(scores)), scores

    def table(self) -> pd.DataFrame:
        """One row for each neuron and C where its weight is not zero: C, layer, neuron, weight."""
        parts = [
            pd.DataFrame(
                {
                    "C": C,
                    "layer": s.features // self.d_mlp,
                    "neuron": s.features % self.d_mlp,
                    "weight": s.values,
                }
            )
            for C, s in zip(self.C, self.solutions, strict=True)
        ]
        return pd.concat(parts, ignore_index=True)

    def summary(self) -> pd.DataFrame:
        """One row for each C: lambda_ratio, n_selected, gap, and AUROC where validated."""
        frame = pd.DataFrame(
            {
                "C": self.C,
                "lambda_ratio": self.lambda_ratio,
                "n_selected": self.n_selected,
                "gap": self.gaps,
            }
        )
        if self.cv is not None:
            frame["auroc"] = self.cv.mean
            frame["auroc_se"] = self.cv.standard_error
        return frame


def path(
    data: Contributions,
    probe: SparseProbe | None = None,
    C: np.ndarray | None = None,
    validate: bool = True,
) -> Path:
    """The regularisation path of a probe, from the first neuron on.

    It ends early where a fit has explained the deviance, and says so (`Path.ended`).

    Args:
        data: Contributions of labelled examples.
        probe: Its options are used (``l1_ratio``, ``scale``, ``n_points``, ``path_ratio``, ``cv``,
            ...); ``SparseProbe()`` when None.
        C: A grid of one's own; geometric from lambda_max to ``lambda_max * path_ratio`` when None.
        validate: Cross-validate along the path, by group.

    Raises:
        HlensError: Input that cannot be fitted, as in `hlens.find`.
    """
    task, probe = task_of(data, probe)
    if C is None:
        grid = task.grid(int(probe.n_points), float(probe.path_ratio))[0]
    else:
        grid = np.sort(np.asarray(C, dtype=float))
    cv = None
    if validate:
        fold = assign_folds(task.y, np.asarray(data.groups), probe.cv, probe.random_state)
        cv, solved = cross_validate(task, fold, grid)
    else:
        solved = task.solve(task.everyone(), at_C(grid))[0]
    domains = tuple(sorted(set(data.domains)))
    own = (data.metric, data.region, domains, data.provenance)
    ended = why_ended(task, grid, len(solved))
    return Path(grid[: len(solved)], tuple(solved), data.n_layers, data.d_mlp, cv, *own, ended)


def task_of(data: Contributions, probe: SparseProbe | None) -> tuple[Task, SparseProbe]:
    """The problem that a probe poses on contributions, and the probe's own copy.

    Raises:
        HlensError: The probe's solver has no path (liblinear).
    """
    probe = prepared(SparseProbe() if probe is None else probe, data)
    if probe.solver != "exact":
        raise HlensError(f"solver={probe.solver!r} has no path; use solver='exact'")
    return probe.task(data.neuron_major.T, data.labels.cpu().numpy()), probe
