"""Made neurons of mixtures, of the shapes of large ones: what their maps are drawn of."""

import torch

from hlens.types import Detector, Experts, NeuronSet, Provenance, widths_of

QWEN3_30B: Experts = ((128, 768, 0),) * 48
DEEPSEEK_V2_LITE: Experts = ((0, 0, 10_944), *((64, 1_408, 2_816),) * 26)
MIXTRAL: Experts = ((8, 14_336, 0),) * 32
EVERY_OTHER: Experts = ((0, 0, 16_384), (128, 512, 512)) * 12


def detector(
    experts: Experts, n: int = 90, n_gathered: int = 50, seed: int = 0, model: str = "made data"
) -> Detector:
    """`n` neurons in the upper layers, `n_gathered` of them in eight experts, the rest anywhere."""
    draw = torch.Generator().manual_seed(seed)
    n_layers, d_mlp = len(experts), max(n * width + beside for n, width, beside in experts)
    home = [_expert(experts, 0.6, draw) for _ in range(8)]
    chosen: dict[tuple[int, int], float] = {}
    while len(chosen) < n:
        if len(chosen) < n_gathered:
            layer, expert = home[_below(8, draw)]
            width = experts[layer][1]
            neuron = expert * width + _below(width, draw)
        else:
            layer = _layer(n_layers, draw)
            neuron = _below(widths_of(experts, len(experts), d_mlp)[layer], draw)
        sign = 1.0 if torch.rand(1, generator=draw) < 0.7 else -1.0
        chosen[layer, neuron] = sign * (0.05 + abs(float(torch.randn(1, generator=draw))) / 2)
    weights = torch.zeros(n_layers, d_mlp)
    for at, weight in chosen.items():
        weights[at] = weight
    provenance = Provenance(model=model, experts=experts)
    return Detector(weights, 0.0, provenance=provenance)


def auroc(found: Detector, seed: int = 0) -> torch.Tensor:
    """AUROC of each neuron alone: those selected tell more."""
    noise = torch.randn(found.weights.shape, generator=torch.Generator().manual_seed(seed)) / 40
    return 0.5 + found.weights.clamp(-1, 1) / 5 + noise


def shared(found: Detector, seed: int = 0) -> dict[str, NeuronSet]:
    """Three domains that share some of the neurons."""
    draw = torch.Generator().manual_seed(seed)
    core = torch.rand(found.weights.shape, generator=draw) < 0.1
    sets = {}
    for name in ("general", "legal", "science"):
        own = torch.rand(found.weights.shape, generator=draw) < 0.1
        mask = (found.weights != 0) & (core | own)
        sets[name] = NeuronSet.from_mask(mask, experts=found.provenance.experts)
    return sets


def _expert(experts: Experts, height: float, draw: torch.Generator) -> tuple[int, int]:
    """An expert of a layer near a height of the model that has any."""
    layers = [layer for layer, (n, _, _) in enumerate(experts) if n]
    layer = layers[int(height * len(layers)) + _below(len(layers) // 6, draw)]
    return layer, _below(experts[layer][0], draw)


def _layer(n_layers: int, draw: torch.Generator) -> int:
    place = n_layers * (0.62 + 0.25 * float(torch.randn(1, generator=draw)))
    return int(min(max(place, 0), n_layers - 1))


def _below(n: int, draw: torch.Generator) -> int:
    return int(torch.randint(n, (1,), generator=draw))
