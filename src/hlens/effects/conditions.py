"""The conditions of a dose-response: neuron sets, doses, and the controls beside them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from hlens.errors import HlensError
from hlens.interventions import Edit, norm_matched
from hlens.model import Model
from hlens.types import NeuronSet, SetKind

MIN_RANDOM = 8  # fewer random sets say too little about chance


@dataclass(frozen=True, eq=False)
class ControlSets:
    """The neuron sets that are edited beside the target neurons.

    Attributes:
        random: Number of random sets with as many neurons in each layer; 8 at least.
        matched: Number of random sets whose neurons contribute about as much; 0 for none, else 8
            or more.
        contribution: Mean contribution of each neuron, for `matched`.
        usage: Of a mixture, how often each expert is used (`hlens.evaluation.expert_usage`): random
            sets are then drawn from experts that are used alike.
        truth: Neurons associated with true answers (``detector.truth_neurons``), or None.
        others: Further sets, each of its own name, such as those of other selectors. The random
            sets beside them are of the target's layers.
        layers: The target's neurons in parts: those of each layer alone (``"single"``), of all
            layers up to each (``"cumulative"``), ``"both"`` or ``"none"``. The random sets beside
            them are as large as the whole.
        norm_matched: Number of random perturbations as large as the edit, each along one
            direction over all doses; 0 for none.
        seed: First seed of the draws.
    """

    random: int = 8
    matched: int = 0
    contribution: Float[Tensor, "layer neuron"] | None = None
    usage: Float[Tensor, "layer expert"] | None = None
    truth: NeuronSet | None = None
    others: tuple[NeuronSet, ...] = ()
    layers: Literal["none", "single", "cumulative", "both"] = "none"
    norm_matched: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.random < MIN_RANDOM:
            raise HlensError(
                f"{self.random} random sets; give at least {MIN_RANDOM}, without them no effect "
                "can be told from chance"
            )
        if 0 < self.matched < MIN_RANDOM:
            raise HlensError(
                f"{self.matched} contribution-matched sets; give none, or at least {MIN_RANDOM}"
            )
        if self.matched and self.contribution is None:
            raise HlensError("matched random sets need contribution=, the mean of each neuron")


@dataclass(frozen=True, eq=False)
class Condition:
    """One edit of one set at one dose."""

    set: str  # its name
    kind: SetKind
    alpha: float
    edits: tuple[tuple[NeuronSet, Edit], ...]  # empty at the dose that changes nothing


def plan_conditions(
    model: Model,
    neurons: NeuronSet,
    alphas: Sequence[float],
    *,
    controls: ControlSets,
    edit: Callable[[float], Edit],
    unmodified: float,
) -> list[Condition]:
    """All conditions, the unmodified model first: it is the same for every set and runs once.

    The others follow dose by dose, from both ends inwards, so that what an interrupted run has
    finished already compares sets and has a slope.
    """
    plan = [Condition("unmodified", SetKind.UNMODIFIED, unmodified, ())]
    sets = compared_sets(neurons, controls)
    for alpha in _from_both_ends(sorted({*alphas} - {unmodified})):
        for name, kind, members in sets:
            plan.append(Condition(name, kind, alpha, ((members, edit(alpha)),)))
        for seed in range(controls.seed, controls.seed + controls.norm_matched):
            # The edit pushes the other way below the unmodified dose, and so must its control.
            backwards = alpha < unmodified
            push = norm_matched(model, neurons, edit(alpha), seed=seed, backwards=backwards)
            plan.append(Condition(push[0].name, SetKind.NORM_MATCHED, alpha, (push,)))
    return plan


def _from_both_ends(doses: list[float]) -> list[float]:
    """Highest, lowest, next highest, and so on.

    >>> _from_both_ends([0.0, 0.5, 2.0, 3.0])
    [3.0, 0.0, 2.0, 0.5]
    """
    return [doses[-1 - i // 2] if i % 2 == 0 else doses[i // 2] for i in range(len(doses))]


def compared_sets(
    neurons: NeuronSet, controls: ControlSets
) -> list[tuple[str, SetKind, NeuronSet]]:
    """Name, kind and members of every set, the target neurons first."""
    sets = [(neurons.name or "H-neurons", SetKind.TARGET, neurons)]
    seeds = range(controls.seed, controls.seed + max(controls.random, controls.matched))
    for seed in seeds[: controls.random]:
        drawn = neurons.random_like(seed)
        if controls.usage is not None:
            drawn = neurons.random_like(seed, "expert", usage=controls.usage)
        sets.append((f"random {seed}", SetKind.RANDOM, drawn))
    for seed in seeds[: controls.matched]:
        alike = neurons.random_like(seed, "contribution", contribution=controls.contribution)
        sets.append((f"matched {seed}", SetKind.MATCHED, alike))
    if controls.truth is not None and len(controls.truth):
        sets.append((controls.truth.name or "truth neurons", SetKind.TRUTH, controls.truth))
    sets += [(other.name, SetKind.SELECTED, other) for other in controls.others if len(other)]
    sets += _layer_sets(neurons, controls.layers)
    names = [name for name, _, _ in sets]
    if len({*names}) < len(names):  # their rows would be one set's
        raise HlensError(
            f"the neurons are called {names[0]!r}, as one of their controls is; give them another "
            "name with dataclasses.replace(neurons, name=...)"
        )
    return sets


def _layer_sets(neurons: NeuronSet, which: str) -> list[tuple[str, SetKind, NeuronSet]]:
    """The neurons layer by layer; what would be all of them is left out, since that is the target.

    Only layers that hold some are edited. The number at the end of a name is the layer's.
    """
    layers = sorted({layer for layer, _ in neurons.members})
    if len(layers) < 2:
        return []
    sets = []
    for last in layers:
        parts = {
            (SetKind.LAYER, "single", f"layer {last}"): (last,),
            (SetKind.UP_TO_LAYER, "cumulative", f"layers to {last}"): range(last + 1),
        }
        for (kind, wanted, name), span in parts.items():
            members = frozenset(one for one in neurons.members if one[0] in span)
            if which in (wanted, "both") and len(members) < len(neurons):
                sets.append((name, kind, replace(neurons, members=members, name=name)))
    return sets
