"""Where a neuron is on the map's horizontal axis: at its index, or in its expert."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from hlens.types import Experts, NeuronSet

BINS = 112  # of the backdrop, about as many as can be told apart
GAP, STRIP = 0.02, 0.12  # widths of the gap and of the strip beside the experts, by theirs
MOST_LINES = 40  # between experts: of more, the backdrop's own bins show the edges


@dataclass(frozen=True)
class Places:
    """The axis of a dense model: neuron index, in layers of one width."""

    d_mlp: int

    @property
    def bin_width(self) -> int | float:
        """Width of a bin of the backdrop, in units of the axis."""
        return bin_width(self.d_mlp)

    @property
    def n_bins(self) -> int:
        """Bins of the backdrop in one layer."""
        return math.ceil(self.d_mlp / self.bin_width)

    @property
    def first_bin(self) -> int | float:
        """Where the middle of the first bin is."""
        return (self.bin_width - 1) / 2

    def x(self, layer: np.ndarray | int, neuron: np.ndarray) -> np.ndarray:
        """Where neurons are on the axis."""
        return neuron

    def bins(self, layer: np.ndarray | int, neuron: np.ndarray) -> np.ndarray:
        """The bin that each neuron falls into."""
        return neuron // int(self.bin_width)

    def there(self, layer: int) -> np.ndarray:
        """Which bins a layer has neurons in."""
        return np.ones(self.n_bins, dtype=bool)

    def axis(self) -> dict[str, Any]:
        """The axis as plotly takes it."""
        return {
            "range": [-0.5, self.d_mlp - 0.5],
            "title": {"text": "neuron index (order carries no meaning)"},
            "showgrid": False,
            "ticks": "outside",
            "tickformat": ",d",
        }


@dataclass(frozen=True)
class ExpertPlaces(Places):
    """The axis of a mixture: experts side by side, each as wide as any other.

    Neuron j of expert e is at ``e + (j + 0.5) / d_expert``. What has no expert (a shared expert's
    neurons, the whole MLP of a dense layer) is in a strip of its own behind the last expert. The
    strip and the gap before it are whole bins, so that one heatmap of equal bins holds all.
    """

    experts: Experts

    @property
    def n_experts(self) -> int:
        """Experts of the layer that has most."""
        return max(n for n, _, _ in self.experts)

    @property
    def per_expert(self) -> int:
        """Bins of an expert: one where experts are many, never more than it has neurons."""
        narrowest = min(width for n, width, _ in self.experts if n)
        return max(1, min(BINS // self.n_experts, narrowest))

    @property
    def has_strip(self) -> bool:
        """Whether any neuron is beside the experts."""
        return any(beside for _, _, beside in self.experts)

    @property
    def strip(self) -> tuple[float, float]:
        """Where the strip begins and ends; both are the end of the experts where there is none."""
        n_bins = self.n_experts * self.per_expert
        gap, width = (max(1, round(share * n_bins)) for share in (GAP, STRIP))
        if not self.has_strip:
            gap = width = 0
        return (n_bins + gap) / self.per_expert, (n_bins + gap + width) / self.per_expert

    @property
    def bin_width(self) -> float:
        return 1 / self.per_expert

    @property
    def n_bins(self) -> int:
        return round(self.strip[1] * self.per_expert)

    @property
    def first_bin(self) -> float:
        return self.bin_width / 2

    def x(self, layer: np.ndarray | int, neuron: np.ndarray) -> np.ndarray:
        n, width, beside = np.array(self.experts).T[:, layer]
        start, end = self.strip
        in_strip = start + (end - start) * (neuron - n * width + 0.5) / np.maximum(beside, 1)
        in_expert = neuron // np.maximum(width, 1)
        within = (neuron % np.maximum(width, 1) + 0.5) / np.maximum(width, 1)
        return np.where(neuron < n * width, in_expert + within, in_strip)

    def middle(self, layer: int, expert: int) -> float:
        """The middle of an expert; what is beside the experts counts as one more."""
        return expert + 0.5 if expert < self.experts[layer][0] else sum(self.strip) / 2

    def bins(self, layer: np.ndarray | int, neuron: np.ndarray) -> np.ndarray:
        return (self.x(layer, neuron) * self.per_expert).astype(int)

    def there(self, layer: int) -> np.ndarray:
        n, _, beside = self.experts[layer]
        bins = np.arange(self.n_bins)
        first_of_strip = round(self.strip[0] * self.per_expert)
        return (bins < n * self.per_expert) | ((bins >= first_of_strip) & (beside > 0))

    def axis(self) -> dict[str, Any]:
        step = next(s for s in (2**k for k in range(30)) if self.n_experts / s <= 9)
        ticks = list(range(0, self.n_experts, step))
        middles, labels = [tick + 0.5 for tick in ticks], [f"{tick:,}" for tick in ticks]
        if self.has_strip:
            middles, labels = (
                [*middles, sum(self.strip) / 2],
                [*labels, self.strip_name.replace(" or", "<br>or")],
            )
        return {
            "range": [0, self.strip[1]],
            "title": {"text": "expert (order carries no meaning, within an expert or between)"},
            "showgrid": False,
            "ticks": "outside",
            "tickvals": middles,
            "ticktext": labels,
            "tickangle": 0,
        }

    @property
    def strip_name(self) -> str:
        """What the neurons beside the experts are."""
        shared = any(n and beside for n, _, beside in self.experts)
        dense = any(not n for n, _, _ in self.experts)
        return " or ".join(["shared"] * shared + ["dense"] * dense)

    @property
    def dense_layers(self) -> list[int]:
        """Layers without experts."""
        return [layer for layer, (n, _, _) in enumerate(self.experts) if not n]

    @property
    def are_narrow(self) -> bool:
        """Whether the neurons of one expert lie on one another."""
        return self.n_experts > BINS // 6

    @property
    def lines(self) -> list[int]:
        """Where one expert ends and the next begins, unless they are too many to tell apart."""
        return list(range(1, self.n_experts)) if self.n_experts <= MOST_LINES else []


def places_of(neurons: NeuronSet) -> Places:
    """The axis for the model of a set of neurons."""
    if any(n for n, _, _ in neurons.experts):
        return ExpertPlaces(neurons.d_mlp, neurons.experts)
    return Places(neurons.d_mlp)


def bin_width(d_mlp: int) -> int:
    """Neurons in each bin of a dense model's backdrop, a power of two.

    >>> bin_width(1536), bin_width(28672), bin_width(32)
    (64, 256, 1)
    """
    few_bins = 2 ** math.ceil(math.log2(max(d_mlp / BINS, 1)))
    coarse = 2 ** math.floor(math.log2(max(d_mlp / 24, 1)))
    return max(few_bins, min(64, coarse))
