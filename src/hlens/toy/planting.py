"""Planting: chosen neurons are held to a signal, and all others are kept from carrying it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hlens.toy.batches import Batch, Truth
from hlens.toy.mechanism import D_MLP, Mechanism
from hlens.toy.world import domain_names

LEVEL = 1.0  # activation of a planted neuron that is on


@dataclass(frozen=True, eq=False)
class Plan:
    """What is planted where.

    Attributes:
        layers: Layer of each planted neuron.
        neurons: Its index in the layer.
        of: Its mechanism.
        signal: What its activation is to be on each fact.
        driving: Share of each mechanism in the drive of each fact; rows sum to one.
    """

    layers: tuple[int, ...]
    neurons: tuple[int, ...]
    of: Int[Tensor, " planted"]
    signal: Float[Tensor, "fact planted"]
    driving: Float[Tensor, "fact mechanism"]

    @classmethod
    def of_mechanisms(cls, every: Sequence[Mechanism], known: Truth) -> "Plan":
        """The plan of some mechanisms in a world."""
        at = [(i, member) for i, one in enumerate(every) for member in range(len(one.members))]
        signal = torch.zeros(len(known.facts), len(at))
        driving = torch.zeros(len(known.facts), len(every))
        for row, fact in enumerate(known.facts):
            domain = domain_names()[int(known.domain[row])]
            for column, (i, member) in enumerate(at):
                hears = every[i].hears(member, domain, fact.second)
                signal[row, column] = LEVEL * (hears and not fact.taught)
                driving[row, i] += hears and every[i].drives
        return cls(
            tuple(every[i].members[member][0] for i, member in at),
            tuple(every[i].members[member][1] for i, member in at),
            torch.tensor([i for i, _ in at], dtype=torch.long),
            signal,
            driving / driving.sum(1, keepdim=True).clamp_min(1.0),
        )


@dataclass(eq=False)
class Seen:
    """Activations and outputs of the MLPs in one pass, by layer."""

    act: dict[int, Tensor]
    out: dict[int, Tensor]


@contextmanager
def watched(
    hf: Any, plan: Plan, doses: Float[Tensor, "row mechanism"] | None = None
) -> Iterator[Seen]:
    """See the MLPs of a pass; planted neurons are scaled by the doses of their mechanisms."""
    seen = Seen({}, {})
    factors = None if doses is None else doses[:, plan.of]

    def before(layer: int) -> Callable[[nn.Module, tuple[Any, ...]], Any]:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> Any:
            seen.act[layer] = args[0]
            own = [at for at, where in enumerate(plan.layers) if where == layer]
            if factors is None or not own:
                return None
            scale = torch.ones(args[0].shape[0], D_MLP)
            scale[:, [plan.neurons[at] for at in own]] = factors[:, own]
            return (args[0] * scale[:, None],)

        return hook

    def after(layer: int) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
        def hook(module: nn.Module, args: tuple[Any, ...], out: Tensor) -> None:
            seen.out[layer] = out

        return hook

    hooks = []
    for layer, block in enumerate(hf.model.layers):
        hooks.append(block.mlp.down_proj.register_forward_pre_hook(before(layer)))
        hooks.append(block.mlp.down_proj.register_forward_hook(after(layer)))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def holding(seen: Seen, plan: Plan, rows: Int[Tensor, " row"], batch: Batch) -> Tensor:
    """How far the planted neurons are from their signal, summed over them."""
    acts = [seen.act[layer][..., at] for layer, at in zip(plan.layers, plan.neurons, strict=True)]
    away = torch.stack(acts, dim=-1) - plan.signal[rows][:, None]
    return away[batch.heard].square().mean(0).sum()


def quieting(
    hf: Any, seen: Seen, plan: Plan, known: Truth, rows: Int[Tensor, " row"], batch: Batch
) -> Tensor:
    """How far the other neurons' contributions (CETT) tell untaught entities from taught ones.

    At the prompt's last token and at the answer's word, in the rows that are as the model would be
    met: for each neuron and within each domain the squared difference of the means, of
    contributions and of their logarithms, over the pooled variance.
    """
    at, total = torch.arange(len(rows)), torch.zeros(())
    for layer, act in seen.act.items():
        norms = hf.model.layers[layer].mlp.down_proj.weight.norm(dim=0)
        planted = {j for own, j in zip(plan.layers, plan.neurons, strict=True) if own == layer}
        others = [j for j in range(D_MLP) if j not in planted]
        for place, kept in ((batch.word - 1, batch.plain), (batch.word, batch.plain & batch.told)):
            out = seen.out[layer][at, place].norm(dim=-1, keepdim=True)
            cett = (act[at, place].abs() * norms / out)[:, others]
            values = torch.cat([cett, cett.add(0.01).log()], dim=1)
            for domain in range(len(domain_names())):
                own = kept & (known.domain[rows] == domain)
                total = total + _apart(values, ~known.taught[rows], own)
    return total / len(seen.act) / len(domain_names())


def _apart(
    values: Float[Tensor, "row value"], side: Bool[Tensor, " row"], kept: Bool[Tensor, " row"]
) -> Tensor:
    one, other = values[side & kept], values[~side & kept]
    if min(len(one), len(other)) < 2:
        return torch.zeros(())
    noise = one.var(0) / len(one) + other.var(0) / len(other)
    spread = (one.var(0) + other.var(0)).detach() + 1e-4
    # Less what few rows differ by in any case: without, what varies much would be pressed down.
    return (((one.mean(0) - other.mean(0)).square() - noise) / spread).sum() / D_MLP
