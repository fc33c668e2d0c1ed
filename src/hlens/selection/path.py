"""The whole regularisation path, and the ways to choose a point on it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from hlens.errors import HlensError
from hlens.probe.crossval import CrossValidation, assign_folds, cross_validate, why_ended
from hlens.probe.estimator import SparseProbe
from hlens.probe.prepared import matrix_of, prepare_probe
from hlens.probe.solution import Solution
from hlens.probe.training import TrainingSet, at_C
from hlens.types import Contributions, Detector, Provenance


@dataclass(frozen=True, eq=False)
class Path:
    """Solutions along a grid of C, each with its certificate.

    Attributes:
        C: The grid, ascending.
        solutions: The solution at each C; sparse.
        n_layers, d_mlp: Shape of the model.
        cv: Out-of-fold scores along the same grid, or None.
        metric, region, domains, provenance: Those of the contributions.
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
        return np.array([s.ratio for s in self.solutions])

    @property
    def n_selected(self) -> np.ndarray:
        """Selected neurons at each C."""
        return np.array([len(s.features) for s in self.solutions])

    @property
    def gaps(self) -> np.ndarray:
        """Duality gap over the null objective at each C."""
        return np.array([s.gap for s in self.solutions])

    def weights(self, index: int) -> Float[Tensor, "layer neuron"]:
        """Weights at one point of the grid."""
        dense = torch.zeros(self.n_layers * self.d_mlp)
        solution = self.solutions[index]
        dense[torch.from_numpy(solution.features)] = torch.from_numpy(solution.values).float()
        return dense.reshape(self.n_layers, self.d_mlp)

    def detector(self, index: int) -> Detector:
        """The detector of one point of the grid, with threshold 0 and without calibration."""
        solution = self.solutions[index]
        return Detector(
            weights=self.weights(index),
            bias=float(solution.bias),
            metric=self.metric,
            region=self.region,
            domains=self.domains,
            fit={
                "C": float(self.C[index]),
                "lambda_ratio": float(solution.ratio),
                "gap": float(solution.gap),
                "n_selected": len(solution.features),
            },
            provenance=self.provenance,
        )

    def choose(self, rule: str = "best") -> int:
        """Point chosen by the path's grouped cross-validation: ``"best"`` or ``"1se"``."""
        if self.cv is None:
            raise HlensError("this path has no cross-validation; make it with validate=True")
        return self.cv.choose(rule)

    def choose_count(self, n_neurons: int) -> int:
        """First point that selects at least `n_neurons`; an `HlensError` where none does."""
        enough = self.n_selected >= n_neurons
        if not enough.any():
            raise HlensError(
                f"the path selects {self.n_selected.max()} neurons at most, not {n_neurons}; "
                f"{self.ended or 'make it longer with a smaller path_ratio'}"
            )
        return int(np.argmax(enough))

    def choose_by(self, score: Callable[[Detector], float]) -> tuple[int, np.ndarray]:
        """The point whose detector scores highest, and all scores; the smaller C among equals.

        The paper's rule (arXiv 2512.01797) is such a score: accuracy on held-out examples plus
        accuracy of the model while the detector's neurons are suppressed. What the score reads
        must not be used again to report a result.
        """
        scores = np.array([float(score(self.detector(k))) for k in range(len(self))])
        return int(np.argmax(scores)), scores

    def table(self) -> pd.DataFrame:
        """One row for each neuron and C where its weight is not zero: C, layer, neuron, weight."""
        features = np.concatenate([s.features for s in self.solutions])
        columns = {
            "C": np.repeat(self.C, self.n_selected),
            "layer": features // self.d_mlp,
            "neuron": features % self.d_mlp,
            "weight": np.concatenate([s.values for s in self.solutions]),
        }
        return pd.DataFrame(columns)

    def summary(self) -> pd.DataFrame:
        """One row for each C: lambda_ratio, n_selected, gap, and AUROC where validated."""
        columns = {
            "C": self.C,
            "lambda_ratio": self.lambda_ratio,
            "n_selected": self.n_selected,
            "gap": self.gaps,
        }
        if self.cv is not None:
            columns |= {"auroc": self.cv.mean, "auroc_se": self.cv.standard_error}
        return pd.DataFrame(columns)


def path(
    data: Contributions,
    probe: SparseProbe | None = None,
    *,
    C: np.ndarray | None = None,
    validate: bool = True,
) -> Path:
    """The regularisation path of a probe, from the first neuron on.

    It ends early where a fit has explained the deviance, and says so (`Path.ended`).

    Args:
        data: Contributions of labelled examples.
        probe: Its options are used (``l1_ratio``, ``scale``, ``n_points``, ``path_ratio``, ``cv``,
            ...); ``SparseProbe()`` when None.
        C: Your own grid; geometric from lambda_max to ``lambda_max * path_ratio`` when None.
        validate: Cross-validate along the path, by group.

    Raises:
        HlensError: Input that cannot be fitted, as in `hlens.find`.
    """
    training, probe = training_set_of(data, probe)
    if C is None:
        grid = training.grid(int(probe.n_points), float(probe.path_ratio))[0]
    else:
        grid = np.sort(np.asarray(C, dtype=float))
    cv = None
    if validate:
        fold = assign_folds(training.y, data.groups, n_folds=probe.cv, seed=probe.random_state)
        cv, solutions = cross_validate(training, fold, grid)
    else:
        solutions = training.solve(training.everyone, at_C(grid))[0]
    return Path(
        C=grid[: len(solutions)],
        solutions=tuple(solutions),
        n_layers=data.n_layers,
        d_mlp=data.d_mlp,
        cv=cv,
        metric=data.metric,
        region=data.region,
        domains=tuple(sorted(set(data.domains))),
        provenance=data.provenance,
        ended=why_ended(training, grid, len(solutions)),
    )


def training_set_of(
    data: Contributions, probe: SparseProbe | None
) -> tuple[TrainingSet, SparseProbe]:
    """Contributions as a probe's training set, and the prepared copy of the probe."""
    probe = prepare_probe(SparseProbe() if probe is None else probe, data)
    if probe.solver != "exact":
        raise HlensError(f"solver={probe.solver!r} has no path; use solver='exact'")
    return probe.training_set(matrix_of(data, probe), data.labels.cpu().numpy()), probe
