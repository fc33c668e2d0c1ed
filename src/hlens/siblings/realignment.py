"""realign: a detector as one of a sibling, each neuron's mean and spread matched without labels.

The problem: tuning may make a neuron louder, or shift it, without changing what it follows. The
detector's weights are in the units of the home model, so its scores and its threshold are then off.

The idea: on unlabelled text, measured on both models, every neuron has a mean and a standard
deviation at home and on the sibling. Reading ``(x - mean_sibling) / sd_sibling * sd_home +
mean_home`` in place of ``x`` puts the neuron on the scale that the weights were found on. That is
linear in ``x``, so it goes into the weights and the bias, and the result is a detector like any
other. Threshold and calibration stay: the scores are on the home scale again.

For example, a neuron that is twice as loud on the sibling gets half its weight, and the bias stays.

Source: arXiv 2606.15980 (label-free realignment; there of residual-stream probes).
"""

from dataclasses import replace

import torch

from hlens.errors import HlensError
from hlens.siblings.relation import NO_NEURON
from hlens.types import Contributions, Detector

CONSTANT = 1e-9  # a spread below this share of the mean is the rounding of one repeated value


def realign(detector: Detector, home: Contributions, sibling: Contributions) -> Detector:
    """The detector as one of the sibling, its neurons realigned on unlabelled rows.

    Labels are not looked at: flip them, and the result is the same to the bit. The rows of the two
    may be of any text, as long as both models read the same (they are not matched row by row).

    A neuron that is constant on the sibling tells nothing there: its weight becomes zero, and its
    mean at home goes into the bias.

    Args:
        detector: Found on the home model.
        home: Unlabelled rows, measured on the home model.
        sibling: The same, measured on the sibling.

    Returns:
        A detector of the sibling's provenance; its ``fit`` says what it was realigned from, and on
        how many rows.

    Raises:
        HlensError: No selected neuron, contributions that the detector does not read, shapes that
            differ, or fewer than two rows.
    """
    check_readable(detector, home, sibling)
    if min(len(home), len(sibling)) < 2:
        raise HlensError(
            f"{len(home)} rows at home and {len(sibling)} on the sibling to realign on; a spread "
            "takes two or more, and some dozens to be known well"
        )
    chosen = detector.selected
    (mean, spread), (mean_there, spread_there) = (
        data.moments(chosen.flat_indices) for data in (home, sibling)
    )
    flat = detector.weights.double().flatten().clone()
    own = flat[chosen.flat_indices]
    silent = spread_there <= CONSTANT * mean_there.abs()
    moved = torch.where(silent, 0.0, own * (spread / spread_there.where(~silent, 1.0)))
    flat[chosen.flat_indices] = moved
    bias = detector.bias + float((own * mean - moved * mean_there).sum())
    fit = {"realigned_from": detector.provenance.model, "realigned_on": len(sibling)}
    return replace(
        detector,
        weights=flat.reshape(detector.weights.shape).to(detector.weights.dtype),
        bias=bias,
        fit={**detector.fit, **fit},
        provenance=sibling.provenance,
        home=None,  # of another model
        means=tuple(mean_there[~silent].tolist()),
        spreads=tuple(spread_there[~silent].tolist()),
    )


def check_readable(detector: Detector, home: Contributions, sibling: Contributions) -> None:
    """Raise `HlensError` unless the detector reads the one, and the other is of a like model."""
    if len(detector.selected) == 0:
        raise HlensError(NO_NEURON)
    detector.check(home)
    shapes = [(data.n_layers, data.d_mlp) for data in (home, sibling)]
    if shapes[0] != shapes[1]:
        raise HlensError(
            f"the sibling's contributions have {shapes[1]} layers x neurons, those at home "
            f"{shapes[0]}; a sibling has the same shape, so that each neuron has its counterpart"
        )
    if (home.metric, home.region) != (sibling.metric, sibling.region):
        raise HlensError(
            f"the sibling's contributions are {sibling.metric} on {sibling.region}, those at home "
            f"{home.metric} on {home.region}; measure both with the same options"
        )
