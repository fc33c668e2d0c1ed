"""Planting: chosen neurons are held to a signal, and all others are kept from carrying it.

Without the second loss the network would also carry the signal elsewhere, and a detector that finds
it there would be right, which no ground truth could tell from a false discovery.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hlens.toy.batches import Batch, FactTensors
from hlens.toy.mechanism import D_MLP, Mechanism
from hlens.toy.world import domain_names

LEVEL = 1.0  # activation of a planted neuron that is on


@dataclass(frozen=True, eq=False)
class Plan:
    """Where the planted neurons are, what they signal, and what of it drives the model."""

    layers: tuple[int, ...]
    neurons: tuple[int, ...]
    mechanism: Int[Tensor, " planted"]  # index of each neuron's mechanism
    signal: Float[Tensor, "fact planted"]  # what its activation is to be on each fact
    driving: Float[Tensor, "fact mechanism"]  # share in the drive of each fact; rows sum to one

    @classmethod
    def of_mechanisms(cls, mechanisms: Sequence[Mechanism], facts: FactTensors) -> "Plan":
        columns = [
            (i, member) for i, m in enumerate(mechanisms) for member in range(len(m.members))
        ]
        planted = [mechanisms[i].members[member] for i, member in columns]
        signal = torch.zeros(len(facts.facts), len(columns))
        driving = torch.zeros(len(facts.facts), len(mechanisms))
        for row, fact in enumerate(facts.facts):
            for column, (i, member) in enumerate(columns):
                mechanism = mechanisms[i]
                responds = mechanism.responds(member, domain=fact.domain, name=fact.second)
                signal[row, column] = LEVEL * (responds and not fact.taught)
                driving[row, i] += responds and mechanism.drives
        return cls(
            layers=tuple(layer for layer, _ in planted),
            neurons=tuple(neuron for _, neuron in planted),
            mechanism=torch.tensor([i for i, _ in columns], dtype=torch.long),
            signal=signal,
            driving=driving / driving.sum(1, keepdim=True).clamp_min(1.0),
        )

    def of_layer(self, layer: int) -> dict[int, int]:
        """Planted neurons of one layer -> their columns of `signal`."""
        columns = enumerate(zip(self.layers, self.neurons, strict=True))
        return {neuron: column for column, (own, neuron) in columns if own == layer}


@dataclass(eq=False)
class MlpRecord:
    """Activations and outputs of the MLPs in one pass, by layer."""

    act: dict[int, Tensor] = field(default_factory=dict)
    out: dict[int, Tensor] = field(default_factory=dict)


@contextmanager
def record_mlps(
    hf: Any, plan: Plan, doses: Float[Tensor, "row mechanism"] | None = None
) -> Iterator[MlpRecord]:
    """Record the MLPs of a pass; planted neurons are scaled by the doses of their mechanisms."""
    record = MlpRecord()
    factors = None if doses is None else doses[:, plan.mechanism]

    def before(layer: int, module: nn.Module, args: tuple[Any, ...]) -> Any:
        record.act[layer] = args[0]
        planted = plan.of_layer(layer)
        if factors is None or not planted:
            return None
        scale = torch.ones(args[0].shape[0], D_MLP)
        scale[:, list(planted)] = factors[:, list(planted.values())]
        return (args[0] * scale[:, None],)

    def after(layer: int, module: nn.Module, args: tuple[Any, ...], out: Tensor) -> None:
        record.out[layer] = out

    with ExitStack() as stack:
        for layer, block in enumerate(hf.model.layers):
            down = block.mlp.down_proj
            stack.callback(down.register_forward_pre_hook(partial(before, layer)).remove)
            stack.callback(down.register_forward_hook(partial(after, layer)).remove)
        yield record


def holding_loss(record: MlpRecord, plan: Plan, batch: Batch) -> Tensor:
    """How far the planted neurons are from their signal, summed over them."""
    planted = zip(plan.layers, plan.neurons, strict=True)
    acts = torch.stack([record.act[layer][..., neuron] for layer, neuron in planted], dim=-1)
    error = acts - plan.signal[batch.fact][:, None]
    return error[batch.held].square().mean(0).sum()


def quieting_loss(
    hf: Any, record: MlpRecord, plan: Plan, *, facts: FactTensors, batch: Batch
) -> Tensor:
    """How well the other neurons' contributions (CETT) separate untaught entities from taught ones.

    At the prompt's last token and at the answer's first, in rows where nothing is scaled: for each
    neuron and within each domain the squared difference of the means, of contributions and of their
    logarithms, over the pooled variance.
    """
    rows, total = torch.arange(len(batch.fact)), torch.zeros(())
    for layer, act in record.act.items():
        norms = hf.model.layers[layer].mlp.down_proj.weight.norm(dim=0)
        planted = plan.of_layer(layer)
        others = [neuron for neuron in range(D_MLP) if neuron not in planted]
        answered = batch.plain & batch.guesses
        for place, counted in ((batch.start - 1, batch.plain), (batch.start, answered)):
            out = record.out[layer][rows, place].norm(dim=-1, keepdim=True)
            cett = (act[rows, place].abs() * norms / out)[:, others]
            values = torch.cat([cett, cett.add(0.01).log()], dim=1)
            for domain in range(len(domain_names())):
                own = counted & (facts.domain[batch.fact] == domain)
                total = total + _separation(values, ~facts.taught[batch.fact], own)
    return total / len(record.act) / len(domain_names())


def _separation(
    values: Float[Tensor, "row value"],
    untaught: Bool[Tensor, " row"],
    counted: Bool[Tensor, " row"],
) -> Tensor:
    one, other = values[untaught & counted], values[~untaught & counted]
    if min(len(one), len(other)) < 2:
        return torch.zeros(())
    # Means of few rows differ by chance. Without this term every noisy neuron would be silenced.
    noise = one.var(0) / len(one) + other.var(0) / len(other)
    spread = (one.var(0) + other.var(0)).detach() + 1e-4
    return (((one.mean(0) - other.mean(0)).square() - noise) / spread).sum() / D_MLP
