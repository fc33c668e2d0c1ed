"""Stability selection with complementary pairs (Shah & Samworth 2013), with its error control.

The bound is on neurons that are selected no more often than a neuron picked at random would be. It
bounds *false* selections where the probe treats all uninformative neurons alike. Without feature
scaling it does not: a neuron of high variance enters early, informative or not. So no bound is
given there; the same selection under shuffled labels gives an estimate instead.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from hlens.checks import check_real
from hlens.errors import HlensError
from hlens.probe.estimator import SparseProbe
from hlens.probe.solution import Schedule, Solution
from hlens.probe.training import TrainingSet, at_ratios
from hlens.selection.path import training_set_of
from hlens.types import Contributions, Experts, NeuronSet

Selected = tuple[np.ndarray, np.ndarray]
"""The neurons that one half-sample selects, and the sign of the weight of each."""


@dataclass(frozen=True, eq=False)
class Stability:
    """How often resampling selects each neuron.

    Attributes:
        frequency: Share of the half-samples that select each neuron.
        positive: Share of them that give it a positive weight.
        n_resamples: Half-samples; two for each complementary pair.
        threshold: Frequency from which a neuron is called stable.
        n_selected: Mean number of neurons that a half-sample selects.
        expected_false: Bound on the expected number of uninformative stable neurons, or None where
            it would not hold.
        assumption: What the bound rests on, or why there is none.
        null_stable: Neurons that were stable under shuffled labels, for each shuffle.
        model: Fingerprint of the model.
        experts: Of a mixture, the experts of its layers.
    """

    frequency: Float[Tensor, "layer neuron"]
    positive: Float[Tensor, "layer neuron"]
    n_resamples: int
    threshold: float
    n_selected: float
    expected_false: float | None
    assumption: str
    null_stable: tuple[int, ...] = ()
    model: str | None = None
    experts: Experts = ()

    @property
    def stable(self) -> NeuronSet:
        """Neurons whose frequency reaches the threshold."""
        mask = self.frequency >= self.threshold
        return NeuronSet.from_mask(mask, model=self.model, name="stable", experts=self.experts)

    def table(self) -> pd.DataFrame:
        """One row for each neuron that was ever selected, the most frequent first."""
        layer, neuron = self.frequency.nonzero(as_tuple=True)
        columns = {
            "layer": layer.numpy(),
            "neuron": neuron.numpy(),
            "frequency": self.frequency[layer, neuron].numpy(),
            "positive": self.positive[layer, neuron].numpy(),
        }
        frame, order = pd.DataFrame(columns), ["frequency", "layer", "neuron"]
        return frame.sort_values(order, ascending=[False, True, True], ignore_index=True)


def stability(
    data: Contributions,
    probe: SparseProbe | None = None,
    *,
    n_pairs: int = 50,
    threshold: float = 0.75,
    expected_false: float = 1.0,
    n_points: int = 10,
    shuffles: int = 0,
    seed: int = 0,
) -> Stability:
    """Selection frequency of every neuron over complementary halves of the groups.

    Each half-sample selects the neurons that enter its path before more than ``q`` have entered,
    where ``q = sqrt(expected_false * (2 * threshold - 1) * n_neurons)`` makes the bound of Shah &
    Samworth (2013, theorem 1) equal to `expected_false`.

    Args:
        data: Contributions of labelled examples.
        probe: Its ``l1_ratio``, ``scale`` and ``class_weight`` are used; one with
            ``scale="feature"`` when None, as the bound needs it.
        n_pairs: Complementary pairs of half-samples.
        threshold: Frequency from which a neuron is stable; above 0.5.
        expected_false: Wanted bound on the expected number of false selections.
        n_points: Points of each half-sample's path.
        shuffles: Repeats with labels shuffled over the groups; costs as much again each.
        seed: Seed of the halves and the shuffles.

    Raises:
        HlensError: A threshold that is not above 0.5, too few groups, or input that cannot be
            fitted.
    """
    probe = SparseProbe(scale="feature") if probe is None else probe
    training, probe = training_set_of(data, probe)
    threshold = check_real("threshold", threshold, above=0.5, most=1)
    if training.penalty == "l2":
        raise HlensError("an L2 probe selects all neurons; stability selection needs penalty='l1'")
    groups = np.unique(np.asarray(data.groups), return_inverse=True)[1]
    masks = complementary_halves(groups, training.y, n_pairs=n_pairs, seed=seed)
    p = data.n_neurons  # of a mixture fewer than features: narrow layers are filled up
    q = max(1, int(np.sqrt(expected_false * (2 * threshold - 1) * p)))
    schedule = plan_schedule(training, masks[:2], q=q, n_points=n_points)

    def select(training: TrainingSet) -> list[Selected]:
        paths = training.solve(masks, schedule, max_selected=q)
        return [first_entered(path, q=q) for path in paths]

    selected = select(training)
    n_features = training.design.n_features
    frequency, positive = selection_frequencies(selected, n_features)
    null = []
    for i in range(shuffles):
        y = shuffle_labels(training.y, groups, masks, seed=seed + 1 + i)
        of_null, _ = selection_frequencies(select(replace(training, y=y)), n_features)
        null.append(int((of_null >= threshold).sum()))
    n_selected = float(np.mean([len(features) for features, _ in selected]))
    bound, assumption = error_bound(
        probe.scale, n_selected=n_selected, n_features=p, threshold=threshold
    )
    shape = (data.n_layers, data.d_mlp)
    return Stability(
        frequency=torch.from_numpy(frequency).float().reshape(shape),
        positive=torch.from_numpy(positive).float().reshape(shape),
        n_resamples=len(masks),
        threshold=threshold,
        n_selected=n_selected,
        expected_false=bound,
        assumption=assumption,
        null_stable=tuple(null),
        model=data.provenance.fingerprint or None,
        experts=data.provenance.experts,
    )


def error_bound(
    scale: str | None, *, n_selected: float, n_features: int, threshold: float
) -> tuple[float | None, str]:
    """The bound of Shah & Samworth (2013), or None; and what it rests on, or why there is none."""
    if scale != "feature":
        return None, (
            "no bound: without feature scaling a neuron of high variance is selected ahead of "
            "others whatever it tells, so neurons without a message are not alike; use "
            "scale='feature', or shuffles= for an estimate under shuffled labels"
        )
    bound = n_selected**2 / ((2 * threshold - 1) * n_features)
    return bound, (
        "bounds the expected number of stable neurons that a half-sample selects no more often "
        "than a neuron at random; neurons without a message are taken to be such"
    )


def complementary_halves(
    groups: np.ndarray, y: np.ndarray, *, n_pairs: int, seed: int
) -> np.ndarray:
    """Halves of the groups: rows 2i and 2i + 1 complement each other. ``[half, example]``."""
    n_groups = int(groups.max()) + 1
    if n_groups < 4:
        raise HlensError(f"{n_groups} groups cannot be halved; give at least 4 groups")
    draw = np.random.default_rng(seed)
    masks: list[np.ndarray] = []
    for _ in range(100 * n_pairs):
        inside = np.isin(groups, draw.permutation(n_groups)[: n_groups // 2])
        if all(len(np.unique(y[part])) == 2 for part in (inside, ~inside)):
            masks += [inside, ~inside]
        if len(masks) == 2 * n_pairs:
            return np.stack(masks)
    raise HlensError("too few groups of the rarer class to halve them; give more examples of it")


def plan_schedule(training: TrainingSet, masks: np.ndarray, *, q: int, n_points: int) -> Schedule:
    """A short path that ends about where `q` neurons have entered, by a fine path on some masks."""
    paths = training.solve(masks, at_ratios(np.geomspace(0.95, 0.02, 40)), max_selected=q)
    end = float(np.mean([path[-1].ratio for path in paths]))
    return at_ratios(np.geomspace(end**0.3, end * 0.97, n_points))


def first_entered(path: list[Solution], *, q: int) -> Selected:
    """Neurons that enter before more than `q` have, and the last nonzero sign of each."""
    signs: dict[int, float] = {}
    for solution in path:
        own = zip(solution.features.tolist(), np.sign(solution.values).tolist(), strict=True)
        after = signs | dict(own)
        if len(after) > q:
            break
        signs = after
    return np.array(list(signs), dtype=np.int64), np.array(list(signs.values()))


def selection_frequencies(
    selected: list[Selected], n_features: int
) -> tuple[np.ndarray, np.ndarray]:
    """Share of the half-samples that select each feature, and that do so with positive weight."""
    features, signs = (np.concatenate(parts) for parts in zip(*selected, strict=True))
    total = np.bincount(features, minlength=n_features)
    positive = np.bincount(features[signs > 0], minlength=n_features)
    return total / len(selected), positive / len(selected)


def shuffle_labels(
    y: np.ndarray, groups: np.ndarray, masks: np.ndarray, *, seed: int
) -> np.ndarray:
    """Labels shuffled by `permute_labels`, with both classes in every half."""
    draw = np.random.default_rng(seed)
    for _ in range(100):
        shuffled = permute_labels(y, groups, draw)
        if all(len(np.unique(shuffled[mask])) == 2 for mask in masks):
            return shuffled
    raise HlensError(
        "too few examples of the rarer class to shuffle labels over the halves; give more of it"
    )


def permute_labels(y: np.ndarray, groups: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Labels exchanged between groups of equal size, which keeps dependence inside a group."""
    sizes = np.bincount(groups)
    members = np.split(np.argsort(groups, kind="stable"), np.cumsum(sizes)[:-1])
    permuted = y.copy()
    for size in np.unique(sizes):
        same_size = np.flatnonzero(sizes == size)
        for target, source in zip(same_size, draw.permutation(same_size), strict=True):
            permuted[members[target]] = y[members[source]]
    return permuted
