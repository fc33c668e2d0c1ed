"""What the column ``kind`` of the tables of `hlens.effects` may hold."""

from enum import StrEnum


class SetKind(StrEnum):
    """Role of a neuron set in a dose-response."""

    TARGET = "target"  # the neurons that the claim is about
    RANDOM = "random"  # as many other neurons in each layer
    MATCHED = "random_matched"  # the same, and they contribute about as much
    TRUTH = "truth"  # neurons associated with true answers
    NORM_MATCHED = "norm_matched"  # a random perturbation as large as the edit
    UNMODIFIED = "unmodified"  # no edit at all

    @property
    def drawn(self) -> bool:
        """Whether such sets are drawn at random, several at a time, and shown together."""
        return self in (SetKind.RANDOM, SetKind.MATCHED, SetKind.NORM_MATCHED)

    @property
    def label(self) -> str:
        """What sets of this kind are called together.

        >>> SetKind("random_matched").label
        'contribution-matched neurons'
        """
        return _LABELS[self]


_LABELS = {
    SetKind.TARGET: "target neurons",
    SetKind.RANDOM: "random neurons",
    SetKind.MATCHED: "contribution-matched neurons",
    SetKind.TRUTH: "truth neurons",
    SetKind.NORM_MATCHED: "random push as large",
    SetKind.UNMODIFIED: "unmodified",
}


class PatchKind(StrEnum):
    """What is patched together in a patching study."""

    NEURON = "neuron"  # one target neuron
    LAYER = "layer"  # all target neurons of one layer
    MEMBERS = "members"  # all target neurons
    RANDOM = "random"  # as many other neurons in each layer
    EVERYTHING = "everything"  # every neuron of the model
