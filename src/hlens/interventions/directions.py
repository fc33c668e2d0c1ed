"""Directions in neuron space to steer along, and their images in the residual stream."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from hlens.errors import HlensError
from hlens.interventions.activations import record
from hlens.model import Model, check_neurons
from hlens.types import Detector, Example, NeuronSet


def weight_direction(
    detector: Detector, *, neurons: NeuronSet | None = None
) -> Float[Tensor, "layer neuron"]:
    """A detector's weights as a direction of unit length; zero outside `neurons` where given.

    Along it the score of a signed metric rises. A probe of magnitudes (CETT) says how much a neuron
    fires and nothing of the sign of its activation; `mean_difference` keeps the sign.

    Raises:
        HlensError: No neuron has a weight, or a set of another model.
    """
    chosen = detector.selected if neurons is None else detector.selected & neurons
    direction = torch.where(chosen.mask, detector.weights.float(), 0.0)
    if not bool(direction.any()):
        raise HlensError(f"{chosen.name}: no neuron of the detector is among them; give others")
    return direction / direction.norm()


def mean_difference(
    model: Model, examples: Sequence[Example], *, neurons: NeuronSet | None = None
) -> Float[Tensor, "layer neuron"]:
    """Mean activation on hallucinated answers minus that on true ones, in units of activation.

    The answer spans are read. With `neurons` the direction is zero elsewhere.

    Raises:
        HlensError: Examples of one class only, or neurons of another model.
    """
    if neurons is not None:
        check_neurons(model, neurons)
    sums = torch.zeros(2, model.n_layers, model.d_mlp, dtype=torch.float64)
    counts = [0, 0]
    for example in examples:
        acts = record(model, example.token_ids.tolist())
        for layer, act in acts.items():
            mean = act[example.start : example.stop].float().mean(dim=0)
            sums[int(example.hallucinated), layer, : len(mean)] += mean.cpu().double()
        counts[int(example.hallucinated)] += 1
    if not all(counts):
        raise HlensError(
            f"a mean difference of {counts[0]} true and {counts[1]} hallucinated examples; give at "
            "least one of each"
        )
    direction = (sums[1] / counts[1] - sums[0] / counts[0]).float()
    return direction if neurons is None else direction * neurons.mask


def residual_image(
    model: Model, direction: Float[Tensor, "layer neuron"]
) -> Float[Tensor, "layer d_model"]:
    """What a direction in neuron space adds to each layer's MLP output: direction @ W_out.

    Of a mixture, where a token is routed to all experts with the weight one.
    """
    images = []
    for own, mlp in zip(direction.float(), model.mlps, strict=True):
        rows = mlp.rows().float()
        images.append((own[: len(rows)].to(rows.device) @ rows).cpu())
    return torch.stack(images)
