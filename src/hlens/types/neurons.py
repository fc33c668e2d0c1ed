"""A set of neurons, with the algebra that comparing sets needs."""

import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hlens.checks import check_real, check_whole
from hlens.counting import count
from hlens.errors import HlensError
from hlens.types import draws
from hlens.types.experts import Experts, address, as_experts, layers_of, widths_of
from hlens.types.fingerprints import same_fingerprint
from hlens.types.notebook import facts_as_html, rows_as_html

Neuron = tuple[int, int]
Match = Literal["none", "layer", "expert", "contribution"]  # what a random set has in common
MOST_LAYERS, MOST_IN_LAYER = 10_000, 10**8
LARGEST = 1e30  # of a weight
MOST_SHOWN = 10  # neurons of a set in a notebook
MOST_NEURONS = 1 << 26  # of a model: a file that speaks of more is damaged, and would fill memory


@dataclass(frozen=True)
class NeuronSet:
    """Neurons of one model, addressed as (layer, neuron).

    >>> a = NeuronSet(frozenset({(0, 1), (1, 2)}), n_layers=2, d_mlp=4)
    >>> b = NeuronSet(frozenset({(1, 2)}), n_layers=2, d_mlp=4)
    >>> sorted((a & b).members), sorted((a - b).members), len(a | b)
    ([(1, 2)], [(0, 1)], 2)

    Attributes:
        members: The neurons.
        n_layers: Layers of the model.
        d_mlp: Neurons in each layer.
        weights: Weight of each neuron, where there is one; of a detector's neurons, how far one
            standard deviation of its contribution moves the score (log-odds), positive where
            amplifying the neuron points to hallucination.
        model: Fingerprint of the model, or None for a set of any model of this shape.
        name: What figures and tables call this set.
        experts: Of a mixture, how the neurons of each layer are divided among experts (see
            `hlens.types.experts`); empty for a dense model.
    """

    members: frozenset[Neuron]
    n_layers: int
    d_mlp: int
    weights: Mapping[Neuron, float] | None = None
    model: str | None = None
    name: str = ""
    experts: Experts = ()

    def __post_init__(self) -> None:
        check_shape(self.n_layers, self.d_mlp)
        experts = as_experts(self.experts, self.n_layers, self.d_mlp)
        object.__setattr__(self, "experts", experts)
        if not isinstance(self.members, frozenset):
            object.__setattr__(self, "members", _as_members(self.members))
        widths = self.widths
        for member in self.members:
            if not isinstance(member, tuple) or len(member) != 2:
                raise HlensError(f"{member!r:.60} is no neuron; expected a pair (layer, index)")
            layer, neuron = member
            there = 0 <= layer < self.n_layers
            width = widths[layer if there else 0]
            if not (there and 0 <= neuron < width):
                raise HlensError(
                    f"neuron L{layer}N{neuron} is out of range: expected layers 0 to "
                    f"{self.n_layers - 1} and neurons 0 to {width - 1}; count from 0"
                )
        for member, weight in (self.weights or {}).items():
            check_real(f"weight of {self.address(member)}", weight, least=-LARGEST, most=LARGEST)
        for name in ("name", "model"):
            if not isinstance(getattr(self, name), str | None):
                raise HlensError(f"{name}={getattr(self, name)!r:.60} of a neuron set; give text")

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[Neuron]:
        return iter(sorted(self.members))

    def __contains__(self, neuron: object) -> bool:
        return neuron in self.members

    def __repr__(self) -> str:
        named = f"{self.name!r}: " if self.name else ""
        return f"NeuronSet({named}{self._size_in_words()})"

    def _repr_html_(self) -> str:
        """Its facts, and the neurons that weigh most."""
        facts = {"neurons": self._size_in_words(), "model": (self.model or "")[:16]}
        frame = self.to_frame().head(MOST_SHOWN)
        weighed = bool(self.weights)
        rows = [
            [address, f"{weight:+.3g}" if weight == weight else ""]
            for address, weight in zip(frame["address"], frame["weight"], strict=True)
        ]
        more = len(self) - len(rows)
        rows += [[f"and {more:,} more", ""]] if more else []
        table = rows_as_html(["neuron", "weight" if weighed else ""], rows)
        return facts_as_html(self.name or "NeuronSet", facts) + (table if rows else "")

    def _size_in_words(self) -> str:
        return (
            f"{len(self):,} of {count(self.n_neurons, 'neuron')} ({1000 * self.fraction:.3g} ‰) in "
            f"{count(self.n_layers, 'layer')}"
        )

    def __and__(self, other: "NeuronSet") -> "NeuronSet":
        return self._combine(other, self.members & other.members, "∩")

    def __or__(self, other: "NeuronSet") -> "NeuronSet":
        return self._combine(other, self.members | other.members, "∪")

    def __sub__(self, other: "NeuronSet") -> "NeuronSet":
        return self._combine(other, self.members - other.members, "−")

    def __xor__(self, other: "NeuronSet") -> "NeuronSet":
        return self._combine(other, self.members ^ other.members, "△")

    def renamed(self, name: str) -> "NeuronSet":
        """The same neurons under another name."""
        return replace(self, name=name)

    def to_frame(self) -> pd.DataFrame:
        """A row a neuron, the largest weight first, whatever its sign.

        Returns:
            Columns ``address`` (``L12N345``), ``layer`` and ``neuron`` (counted from 0), ``hook``
            (of TransformerLens, which holds its activation; None in a mixture, whose experts have
            none) and ``weight`` (NaN where it has none).
        """
        weights = self.weights or {}
        ordered = sorted(self, key=lambda member: (-abs(weights.get(member, 0.0)), member))
        rows = [
            (
                self.address((layer, neuron)),
                layer,
                neuron,
                None if self.experts else f"blocks.{layer}.mlp.hook_post",
                weights.get((layer, neuron)),
            )
            for layer, neuron in ordered
        ]
        frame = pd.DataFrame(rows, columns=["address", "layer", "neuron", "hook", "weight"])
        return frame.astype({"layer": int, "neuron": int, "hook": object, "weight": float})

    def to_csv(self, path: str | Path) -> Path:
        """Write `to_frame` as CSV, which `hlens.load_neurons` and other programs read.

        No cell holds free text, so that none is a formula to a spreadsheet.

        Raises:
            HlensError: A name that does not end in .csv, or a file that hlens did not write.
        """
        if Path(path).suffix.lower() != ".csv":
            raise HlensError(
                f"cannot write neurons to {Path(path).name!r}; expected a name in .csv"
            )
        # The writer of whole files is the store's, which builds upon this module.
        return import_module("hlens.store").export_neurons(self, path)

    def _combine(self, other: "NeuronSet", members: frozenset[Neuron], sign: str) -> "NeuronSet":
        shapes = (self.n_layers, self.d_mlp), (other.n_layers, other.d_mlp)
        one, two = self.model, other.model
        if shapes[0] != shapes[1] or (one and two and not same_fingerprint(one, two)):
            raise HlensError(
                f"neuron sets of different models do not combine: {shapes[0]} layers x neurons "
                f"({one}) and {shapes[1]} ({two}); use sets of one model"
            )
        known = {**(other.weights or {}), **(self.weights or {})}
        weights = {n: known[n] for n in members if n in known} or None
        experts = self.experts or other.experts
        return replace(
            self, members=members, weights=weights, model=one or two, experts=experts,
            name=_combined_name(self.name, other.name, sign),
        )  # fmt: skip

    @classmethod
    def from_mask(cls, mask: Bool[Tensor, "layer neuron"], **fields: object) -> "NeuronSet":
        """The neurons where `mask` is true."""
        members = frozenset((int(a), int(b)) for a, b in mask.nonzero().tolist())
        return cls(members, mask.shape[0], mask.shape[1], **fields)  # type: ignore[arg-type]

    @property
    def mask(self) -> Bool[Tensor, "layer neuron"]:
        """True at the members."""
        mask = torch.zeros(self.n_layers, self.d_mlp, dtype=torch.bool)
        mask.view(-1)[self.flat_indices] = True
        return mask

    @property
    def n_neurons(self) -> int:
        """How many neurons the model has."""
        return sum(self.widths)

    @property
    def widths(self) -> list[int]:
        """How many neurons each layer has."""
        return widths_of(self.experts, self.n_layers, self.d_mlp)

    @property
    def fraction(self) -> float:
        """Share of all neurons of the model."""
        return len(self) / self.n_neurons

    def address(self, neuron: Neuron) -> str:
        """How tables and figures write a neuron: ``L12N345``, or ``L12E7N345`` of an expert."""
        return address(neuron, self.experts)

    def per_layer(self) -> list[int]:
        """How many members each layer has."""
        return self.mask.sum(dim=1).tolist()

    def in_layer(self, layer: int) -> list[int]:
        """Indices of the members in one layer, ascending."""
        return sorted(neuron for own, neuron in self.members if own == layer)

    @property
    def flat_indices(self) -> list[int]:
        """Flat index (layer * d_mlp + neuron) of each member, ascending."""
        return [layer * self.d_mlp + neuron for layer, neuron in self]

    def random_like(
        self,
        seed: int,
        match: Match = "layer",
        *,
        contribution: Float[Tensor, "layer neuron"] | None = None,
        usage: Float[Tensor, "layer expert"] | None = None,
    ) -> "NeuronSet":
        """As many random neurons, none of them a member: the control of every claim.

        Args:
            seed: Seed of the draw.
            match: ``"layer"`` keeps the number in each layer; ``"contribution"`` draws each
                neuron from the 50 non-members of the same layer that are nearest in mean
                contribution; ``"expert"`` from the experts of the same layer that are used about
                as often; ``"none"`` draws from the whole model.
            contribution: Mean contribution of each neuron, for ``match="contribution"``.
            usage: How often each expert is used, for ``match="expert"``
                (`hlens.evaluation.expert_usage`).

        Raises:
            HlensError: Too few other neurons, or nothing to match by.
        """
        draw = np.random.default_rng(seed)
        if match == "none":
            members = draws.draw_anywhere(self.members, draw, self.widths)
        elif match == "layer":
            members = draws.draw_by_layer(self.members, draw, self.widths)
        elif match == "expert" and usage is not None:
            experts = layers_of(self.experts, self.n_layers, self.d_mlp)
            members = draws.draw_by_expert(self.members, draw, experts, usage.cpu().numpy())
        elif match == "contribution" and contribution is not None:
            mean = contribution.cpu().numpy()
            members = draws.draw_by_contribution(self.members, draw, self.widths, mean)
        elif match == "expert":
            raise HlensError("match='expert' needs usage=, how often each expert is used")
        else:
            raise HlensError("match='contribution' needs contribution=, the mean of each neuron")
        return replace(self, members=frozenset(members), weights=None, name=f"random {seed}")

    def random_sets(
        self,
        n: int,
        *,
        seed: int = 0,
        match: Match = "layer",
        contribution: Float[Tensor, "layer neuron"] | None = None,
        usage: Float[Tensor, "layer expert"] | None = None,
    ) -> Iterator["NeuronSet"]:
        """`n` draws of `random_like`, reproducible by `seed`."""
        for draw in range(seed * n, seed * n + n):
            yield self.random_like(draw, match=match, contribution=contribution, usage=usage)


def _combined_name(one: str, two: str, sign: str) -> str:
    """What a combination of two sets is called, where both have names.

    >>> _combined_name("a", "b", "∩"), _combined_name("a ∩ b", "c", "−")
    ('a ∩ b', '(a ∩ b) − c')
    """
    if not (one and two):
        return ""
    parts = [f"({name})" if set(name) & set("∩∪−△") else name for name in (one, two)]
    return f" {sign} ".join(parts)


def check_shape(n_layers: object, d_mlp: object) -> tuple[int, int]:
    """Layers and neurons a layer of a model; raise `HlensError` where no model has as many."""
    shape = (
        check_whole("n_layers", n_layers, least=1, most=MOST_LAYERS),
        check_whole("d_mlp", d_mlp, least=1, most=MOST_IN_LAYER),
    )
    if shape[0] * shape[1] > MOST_NEURONS:
        raise HlensError(
            f"{shape[0]:,} layers x {shape[1]:,} neurons; expected {MOST_NEURONS:,} at most in all"
        )
    return shape


def _as_members(given: Iterable[Iterable[int]]) -> frozenset[Neuron]:
    """The neurons of a list, set or array of pairs."""
    try:
        return frozenset((operator.index(layer), operator.index(i)) for layer, i in given)
    except (TypeError, ValueError) as error:
        raise HlensError(
            f"{given!r:.60} are no neurons ({error}); expected pairs (layer, index)"
        ) from None
