"""The conditions of a dose-response: neuron sets, doses, and the controls beside them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from hlens.errors import HlensError
from hlens.interventions import Edit, norm_matched
from hlens.model import Model
from hlens.types import NeuronSet

LEAST_RANDOM = 8  # fewer random sets say too little about chance


@dataclass(frozen=True, eq=False)
class Controls:
    """What stands beside the neurons in question.

    Attributes:
        random: Number of random sets with as many neurons in each layer; 8 at least.
        matched: Number of random sets whose neurons contribute about as much; 0 for none, or 8
            and more.
        contribution: Mean contribution of each neuron, for `matched`.
        truth: Neurons associated with true answers (``detector.truth_neurons``), or None.
        norm_matched: Number of random perturbations as large as the edit, each along one
            direction over all doses; 0 for none.
        seed: First seed of the draws.
    """

    random: int = 8
    matched: int = 0
    contribution: Float[Tensor, "layer neuron"] | None = None
    truth: NeuronSet | None = None
    norm_matched: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.random < LEAST_RANDOM:
            raise HlensError(
                f"{self.random} random sets; give at least {LEAST_RANDOM}, without them no effect "
                "can be told from chance"
            )
        if 0 < self.matched < LEAST_RANDOM:
            raise HlensError(
                f"{self.matched} contribution-matched sets; give none, or at least {LEAST_RANDOM}"
            )
        if self.matched and self.contribution is None:
            raise HlensError("matched random sets need contribution=, the mean of each neuron")


@dataclass(frozen=True, eq=False)
class Condition:
    """One edit of one set.

    Attributes:
        set: Name of the set.
        kind: ``"target"``, ``"random"``, ``"random_matched"``, ``"truth"`` or ``"norm_matched"``.
        alpha: The dose.
        pairs: Neurons and edit; empty where the dose changes nothing.
    """

    set: str
    kind: str
    alpha: float
    pairs: tuple[tuple[NeuronSet, Edit], ...]


def conditions(
    model: Model,
    neurons: NeuronSet,
    alphas: Sequence[float],
    controls: Controls,
    edit: Callable[[float], Edit],
    unmodified: float,
) -> list[Condition]:
    """All conditions, the unmodified model first (its dose changes no set, so it is run once).

    Then dose by dose, every set of it, from both ends inwards: what an interrupted run has finished
    can be compared, and has a slope.
    """
    found = [Condition("unmodified", "unmodified", unmodified, ())]
    compared = sets(neurons, controls)
    for alpha in _from_both_ends(sorted({*alphas} - {unmodified})):
        for name, kind, members in compared:
            found.append(Condition(name, kind, alpha, ((members, edit(alpha)),)))
        for seed in range(controls.seed, controls.seed + controls.norm_matched):
            way_back = alpha < unmodified
            pair = norm_matched(model, neurons, edit(alpha), seed, backwards=way_back)
            found.append(Condition(f"norm-matched {seed}", "norm_matched", alpha, (pair,)))
    return found


def _from_both_ends(doses: list[float]) -> list[float]:
    """Highest, lowest, next highest, and so on.

    >>> _from_both_ends([0.0, 0.5, 2.0, 3.0])
    [3.0, 0.0, 2.0, 0.5]
    """
    return [doses[-1 - at // 2] if at % 2 == 0 else doses[at // 2] for at in range(len(doses))]


def sets(neurons: NeuronSet, controls: Controls) -> list[tuple[str, str, NeuronSet]]:
    """Name, kind and members of every set, the neurons in question first."""
    found = [(neurons.name or "H-neurons", "target", neurons)]
    seeds = range(controls.seed, controls.seed + max(controls.random, controls.matched))
    for seed in seeds[: controls.random]:
        found.append((f"random {seed}", "random", neurons.random_like(seed, match="layer")))
    for seed in seeds[: controls.matched]:
        members = neurons.random_like(
            seed, match="contribution", contribution=controls.contribution
        )
        found.append((f"matched {seed}", "random_matched", members))
    if controls.truth is not None and len(controls.truth):
        found.append((controls.truth.name or "truth neurons", "truth", controls.truth))
    return found
