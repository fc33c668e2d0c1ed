"""Findings: the numbers that decide a card. Nothing is judged here."""

from dataclasses import dataclass

from hlens.types import Estimate


@dataclass(frozen=True)
class Fixed:
    """The detector with one covariate held fixed.

    Attributes:
        name: The covariate.
        pairs: AUROC over pairs of answers that agree in it.
        adjusted: AUROC of what is left of the score when the covariate is taken off.
        alone: AUROC of the covariate itself.
        fewest: Examples of the rarer label that stand in an alike pair.
    """

    name: str
    pairs: Estimate
    adjusted: Estimate
    alone: Estimate
    fewest: int


@dataclass(frozen=True)
class Added:
    """What the H-neurons add to a rival: millinats an answer, and p of the permutation null."""

    name: str
    gain: Estimate
    p: float


@dataclass(frozen=True)
class Carried:
    """A probe trained on one domain and tested on another; `within` is trained on the tested."""

    train: str
    test: str
    auroc: Estimate
    within: float
    p_corrected: float


@dataclass(frozen=True)
class Moved:
    """Slope of a behaviour over the dose less that of random neurons of the same layers.

    Attributes:
        name: The behaviour or capability.
        over_random: The difference, its interval at a level corrected for the behaviours.
        beyond: Whether no random set is as steep.
        damage: Whether it is a capability that an edit must not break.
    """

    name: str
    over_random: Estimate
    beyond: bool
    damage: bool


@dataclass(frozen=True)
class Cheaper:
    """A rival that costs no more: AUROC of the H-neurons less its own."""

    name: str
    difference: Estimate
    p_corrected: float


@dataclass(frozen=True)
class Findings:
    """All that the rules read; what was not measured is None or empty.

    Attributes:
        auroc: Of the detector on held-out examples.
        shuffled: Of the same fit on shuffled labels: mean and central 95 % of repeats.
        shuffled_p: Permutation p.
        fixed: The detector with each covariate held fixed.
        confidence: What the neurons add to each rival that reads the model's confidence.
        text: What they add to rivals that read the text alone.
        n_selected: Neurons of the detector.
        n_neurons: Neurons of the model.
        over_dense: AUROC of the detector less that of a dense probe on all neurons.
        refit: AUROC of the selected neurons, refitted.
        random: Of as many random ones of the same layers, refitted alike.
        random_p: Share of random draws that do as well.
        halves: Part of a set that comes back on the other half of the data.
        chance: The same of random sets.
        other_split: Part of the set that another split finds again.
        over_without: AUROC as found less that of the probe that may not use these neurons.
        carried: Transfer between domains.
        moved: Behaviour and capability under an edit.
        cheaper: Rivals that cost no more.
    """

    auroc: Estimate | None = None
    shuffled: Estimate | None = None
    shuffled_p: float | None = None
    fixed: tuple[Fixed, ...] = ()
    confidence: tuple[Added, ...] = ()
    text: tuple[Added, ...] = ()
    n_selected: int = 0
    n_neurons: int = 0
    over_dense: Estimate | None = None
    refit: Estimate | None = None
    random: Estimate | None = None
    random_p: float | None = None
    halves: Estimate | None = None
    chance: Estimate | None = None
    other_split: Estimate | None = None
    over_without: Estimate | None = None
    carried: tuple[Carried, ...] = ()
    moved: tuple[Moved, ...] = ()
    cheaper: tuple[Cheaper, ...] = ()
