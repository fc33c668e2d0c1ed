"""Contributions of no model: random, with planted neurons that follow the label."""

import numpy as np
import torch

from hlens.types import Contributions


def made(
    n: int = 200,
    n_layers: int = 2,
    d_mlp: int = 12,
    planted: dict[tuple[int, int], float] | None = None,
    per_group: int = 1,
    domains: tuple[str, ...] = ("general",),
    rate: float = 0.5,
    seed: int = 0,
) -> Contributions:
    """Random contributions; each planted neuron is raised by its shift in hallucinated examples."""
    draw = np.random.default_rng(seed)
    labels = np.repeat(draw.random(n // per_group) < rate, per_group)
    values = draw.gamma(2.0, 1.0, size=(n_layers, d_mlp, n)).astype(np.float32)
    for (layer, neuron), shift in (planted or {}).items():
        values[layer, neuron] += shift * labels
    return Contributions(
        values=torch.from_numpy(values).permute(2, 0, 1),
        labels=torch.from_numpy(labels),
        groups=tuple(f"{seed}-{i // per_group}" for i in range(n)),
        domains=tuple(domains[(i // per_group) % len(domains)] for i in range(n)),
        question_ids=tuple(f"q{i}" for i in range(n)),
        n_tokens=torch.from_numpy(draw.integers(1, 9, size=n)),
    )


def joined(*parts: Contributions) -> Contributions:
    """Several domains in one."""
    return Contributions.concatenate(parts)
