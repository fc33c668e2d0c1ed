"""Mixtures of experts, run so that their neurons can be read and changed.

transformers keeps the experts of a layer as parameters of three axes and runs them by an "experts
implementation" that it looks up by name; a neuron there is no module's input. hlens registers an
implementation of its own, which hands the activations to a module without weights (`Tap`) between
up and down projection: what hooks see there is a `RoutedActs`.

A token is run by a few of the experts. Its activations are kept as *slots*, one for each pair of a
token and an expert that reads it, sorted by expert::

    slot     0  1  2  3  4  5
    expert   0  0  0  2  2  3
    token    0  2  3  0  1  1

The router is no neuron: hlens reads its weights, and never changes them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from types import MethodType
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hlens.errors import HlensError
from hlens.model.adapters import is_adapted
from hlens.model.dense import DenseBlock
from hlens.model.mlp import Block, BlockActs, Gather, Mlp
from hlens.model.own_thread import hook_input, hook_output
from hlens.model.weights import in_memory

NAME = "hlens"  # of the experts implementation
_DOWN = ("down_proj", "output_linear", "w2")  # what a down projection beside the experts is called


@dataclass(frozen=True, eq=False)
class RoutedActs(BlockActs):
    """Activations of the experts of a layer, one row a slot (see the module)."""

    values: Float[Tensor, "slot neuron"]
    expert: Int[Tensor, " slot"]
    token: Int[Tensor, " slot"]
    weight: Float[Tensor, " slot"]  # the router's, by which the expert's output is multiplied
    n_tokens: int
    n_experts: int

    @cached_property
    def slots(self) -> Int[Tensor, "token expert"]:
        """The slot of each token and expert, -1 where the token is not routed to it."""
        slots = self.expert.new_full((self.n_tokens, self.n_experts), -1)
        slots[self.token, self.expert] = torch.arange(len(self.token), device=slots.device)
        return slots

    def reached(self, index: Int[Tensor, " neuron"]) -> Bool[Tensor, "token neuron"]:
        return self._slots_of(index) >= 0

    def columns(self, index: Int[Tensor, " neuron"]) -> Float[Tensor, "token neuron"]:
        slots = self._slots_of(index)
        values = self.values[slots.clamp_min(0), index % self.values.shape[1]]
        return torch.where(slots >= 0, values, 0.0)

    def with_columns(
        self, index: Int[Tensor, " neuron"], columns: Float[Tensor, "token neuron"]
    ) -> "RoutedActs":
        slots = self._slots_of(index)
        there = slots >= 0
        places = slots[there], (index % self.values.shape[1]).expand_as(slots)[there]
        new = columns.reshape(slots.shape)[there].to(self.values.dtype)
        return replace(self, values=self.values.index_put(places, new))

    def weights(self, index: Int[Tensor, " neuron"]) -> Float[Tensor, "token neuron"]:
        slots = self._slots_of(index)
        return torch.where(slots >= 0, self.weight[slots.clamp_min(0)], 0.0)

    def weighted(self, gather: Gather | None = None) -> Float[Tensor, "*pos neuron"]:
        slots = self.slots if gather is None else gather(self.slots[..., None]).squeeze(-1)
        flat, d_expert = slots.reshape(-1), self.values.shape[1]
        wide = self.values.new_zeros(len(flat), d_expert)
        there = flat >= 0
        own = flat[there]
        wide[there] = self.values[own] * self.weight[own, None].to(wide.dtype)
        return wide.reshape(*slots.shape[:-1], self.n_experts * d_expert)

    def reached_at(self, gather: Gather) -> Bool[Tensor, "*pos neuron"]:
        slots = gather(self.slots[..., None]).squeeze(-1)
        return (slots >= 0).repeat_interleave(self.values.shape[1], dim=-1)

    def whole(self) -> Float[Tensor, "token neuron"]:
        unweighted = replace(self, weight=torch.ones_like(self.weight))
        return unweighted.weighted()

    def with_values(self, values: Float[Tensor, "slot neuron"]) -> "RoutedActs":
        return replace(self, values=values)

    def with_gradient(self, gradient: Float[Tensor, "slot neuron"]) -> "RoutedActs":
        return replace(self, values=gradient / self.weight[:, None].square().clamp_min(1e-30))

    def _slots_of(self, index: Int[Tensor, " neuron"]) -> Int[Tensor, "token neuron"]:
        return self.slots[:, index // self.values.shape[1]]


class Tap(nn.Module):
    """Where a layer's experts hand over their activations; it changes nothing itself."""

    def forward(self, acts: RoutedActs) -> RoutedActs:
        return acts


def run_experts(
    self: Any,
    hidden: Float[Tensor, "token d_model"],
    top_k_index: Int[Tensor, "token k"],
    top_k_weights: Float[Tensor, "token k"],
) -> Float[Tensor, "token d_model"]:
    """Run the experts as transformers' own implementations do, past a `Tap`."""
    n_tokens, k = top_k_index.shape
    expert, order = top_k_index.reshape(-1).sort(stable=True)
    token, weight = order // k, top_k_weights.reshape(-1)[order]
    values = _neurons(self, hidden[token], expert)
    acts = RoutedActs(values, expert, token, weight, n_tokens, self.num_experts)
    out = _write(self, self.tap(acts))
    # Added token by token in the router's order, which no neighbour in the batch can change.
    by_token = torch.empty_like(out).index_copy(0, order, out)
    return by_token.reshape(n_tokens, k, -1).sum(1).to(hidden.dtype)


def run_scaled_inputs(self: Any, hidden: Float[Tensor, "_ d_model"]) -> Float[Tensor, "_ d_model"]:
    """Llama 4's experts: all tokens for each expert in turn, times the router's score or zero.

    The score is in the activation already, so that what the expert writes has the weight one.
    """
    tokens = hidden.view(self.num_experts, -1, hidden.shape[-1])
    expert, token = (tokens != 0).any(-1).nonzero(as_tuple=True)
    values = _neurons(self, tokens[expert, token], expert)
    ones = torch.ones_like(values[:, 0])
    acts = RoutedActs(values, expert, token, ones, tokens.shape[1], self.num_experts)
    out = torch.zeros_like(tokens).index_put((expert, token), _write(self, self.tap(acts)))
    return out.reshape_as(hidden)


def _neurons(experts: Any, hidden: Tensor, expert: Tensor) -> Float[Tensor, "slot neuron"]:
    """Activations of the neurons, from the inputs of slots that are sorted by expert."""
    up = _each(experts, _reading_projection(experts), hidden, expert)
    if not _has_gate(experts):
        return experts.act_fn(up)
    if hasattr(experts, "_apply_gate"):
        return experts._apply_gate(up)
    gate, up = up.chunk(2, dim=-1)  # Llama 4
    return up * experts.act_fn(gate)


def _write(experts: Any, acts: RoutedActs) -> Float[Tensor, "slot d_model"]:
    out = _each(experts, "down_proj", acts.values, acts.expert)
    return out * acts.weight[:, None].to(out.dtype)


def _each(experts: Any, name: str, rows: Tensor, expert: Tensor) -> Tensor:
    """Rows, sorted by expert, through each one's own projection and bias."""
    weight = getattr(experts, name)
    weight = weight if _is_transposed(experts) else weight.transpose(-2, -1)
    stops = torch.bincount(expert, minlength=len(weight)).cumsum(0)
    if rows.is_cuda and rows.dtype == torch.bfloat16:
        # One launch for all experts, which alone are fewer rows than a GPU needs.
        out = nn.functional.grouped_mm(rows, weight, offs=stops.int())
    else:
        own = enumerate(pairwise([0, *stops.tolist()]))
        parts = [rows[start:stop] @ weight[e] for e, (start, stop) in own if start < stop]
        out = torch.cat(parts) if parts else rows.new_zeros(0, weight.shape[-1])
    bias = getattr(experts, f"{name}_bias", None)
    return out if bias is None else out + bias[expert]


def _is_transposed(experts: Any) -> bool:
    """Whether weights are ``[expert, in, out]``, as they are in Llama 4, which says nothing."""
    return getattr(experts, "is_transposed", True)


def _has_gate(experts: Any) -> bool:
    return getattr(experts, "has_gate", True)


def _reading_projection(experts: Any) -> str:
    return "gate_up_proj" if _has_gate(experts) else "up_proj"


def _is_interleaved(experts: Any) -> bool:
    """Whether the gate of a neuron is followed by its own up (GPT-OSS), and not by all gates.

    Asked of the function that joins them: of two neurons the first alone is active.
    """
    if not hasattr(experts, "_apply_gate"):
        return False
    first, second = experts._apply_gate(experts.down_proj.new_tensor([[1.0, 1.0, 0.0, 0.0]]))[0]
    return bool(first != 0) and bool(second == 0)


@dataclass(frozen=True, eq=False)
class ExpertBlock(Block):
    """The neurons of a layer's experts: neuron j of expert e has the index e * d_expert + j."""

    experts: Any

    @property
    def module(self) -> nn.Module:
        return self.experts

    @property
    def experts_of(self) -> tuple[int, int]:
        return self.experts.num_experts, self.d_expert

    @property
    def d_expert(self) -> int:
        return self.experts.down_proj.shape[1 if _is_transposed(self.experts) else 2]

    @property
    def width(self) -> int:
        return self.experts.num_experts * self.d_expert

    @contextmanager
    def reading(self, read: Callable[[RoutedActs, Tensor], None]) -> Iterator[None]:
        held: list[RoutedActs] = []

        def hold(module: Any, args: tuple[RoutedActs], output: Any) -> None:
            held[:] = args

        def pass_on(module: Any, args: Any, output: Tensor) -> None:
            acts = held.pop()
            # Llama 4 adds up the experts of a token only behind this module.
            per_expert = len(output) // acts.n_tokens
            read(acts, output.reshape(per_expert, acts.n_tokens, -1).sum(0))

        with hook_output(self.experts.tap, hold), hook_output(self.experts, pass_on):
            yield

    @contextmanager
    def changing(self, change: Callable[[RoutedActs], RoutedActs]) -> Iterator[None]:
        with hook_input(self.experts.tap, lambda module, args: (change(args[0]),)):
            yield

    def rows(self, index: Int[Tensor, " neuron"] | None = None) -> Float[Tensor, "neuron d_model"]:
        weight = self._by_neuron()
        if index is None:
            return weight.reshape(self.width, -1)
        index = index.to(weight.device)
        return weight[index // self.d_expert, index % self.d_expert]

    def write_rows(
        self, index: Int[Tensor, " neuron"], rows: Float[Tensor, "neuron d_model"]
    ) -> None:
        weight = self._by_neuron()
        index = index.to(weight.device)
        weight[index // self.d_expert, index % self.d_expert] = rows.to(weight)

    def reading_rows(self) -> dict[str, Float[Tensor, "neuron d_model"]]:
        """The rows by which the neurons read: ``gate``, where there is one, and ``up``."""
        with in_memory(self.experts):
            weight = getattr(self.experts, _reading_projection(self.experts)).detach()
        weight = weight.transpose(-2, -1) if _is_transposed(self.experts) else weight
        if not _has_gate(self.experts):
            return {"up": weight.reshape(self.width, -1)}
        if _is_interleaved(self.experts):
            gate, up = weight[:, 0::2], weight[:, 1::2]
        else:
            gate, up = weight.chunk(2, dim=1)
        return {"gate": gate.reshape(self.width, -1), "up": up.reshape(self.width, -1)}

    def _by_neuron(self) -> Float[Tensor, "expert neuron d_model"]:
        with in_memory(self.experts):
            weight = self.experts.down_proj.detach()
        return weight if _is_transposed(self.experts) else weight.transpose(-2, -1)

    def bias(self, acts: RoutedActs) -> Tensor | None:
        with in_memory(self.experts):
            own = getattr(self.experts, "down_proj_bias", None)
        if own is None:
            return None
        each = own[acts.expert] * acts.weight[:, None]
        return each.new_zeros(acts.n_tokens, own.shape[-1]).index_add(0, acts.token, each)

    def tensors(self) -> list[Tensor]:
        return [self.experts.down_proj]


def is_mixture(hf: nn.Module) -> bool:
    """Whether a model has experts whose neurons hlens can reach."""
    return any(_is_experts(module) for module in hf.modules())


def _is_experts(module: Any) -> bool:
    down = getattr(module, "down_proj", None)
    return isinstance(down, nn.Parameter) and down.dim() == 3 and hasattr(module, "num_experts")


def tap_experts(hf: nn.Module, name: str) -> None:
    """Let the experts of a model be run by hlens's implementation, with a `Tap` in each layer.

    Raises:
        HlensError: Experts that normalise what they write, or are run in another way.
    """
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    ALL_EXPERTS_FUNCTIONS.register(NAME, run_experts)
    for module in [module for module in hf.modules() if _is_experts(module)]:
        experts: Any = module
        if getattr(experts, "has_post_expert_norm", False):
            raise HlensError(
                f"{name}: its experts normalise what they write ({type(experts).__name__}), so "
                "that activation x W_out is not what reaches the residual stream; use another model"
            )
        experts.tap = Tap()
        if hasattr(experts, "is_transposed"):
            experts.config._experts_implementation = NAME
        elif type(experts).__name__ == "Llama4TextExperts":
            experts.forward = MethodType(run_scaled_inputs, experts)
        else:
            raise HlensError(
                f"{name}: its experts ({type(experts).__name__}) are run past the interface of "
                "transformers for them; use an architecture whose experts have it"
            )


def find_mlps(hf: Any, name: str) -> list[Mlp]:
    """The MLP of each layer of a mixture: its experts, and what stands beside or instead of them.

    Raises:
        HlensError: A layer in which there are no neurons.
    """
    layers = next(
        module
        for module in hf.modules()
        if isinstance(module, nn.ModuleList)
        and len(module) == hf.config.get_text_config().num_hidden_layers
        and any(_is_experts(part) for part in module.modules())
    )
    mlps = []
    for number, layer in enumerate(layers):
        blocks: list[Block] = [ExpertBlock(part) for part in layer.modules() if _is_experts(part)]
        if blocks and hasattr(layer, "post_feedforward_layernorm_1"):
            raise HlensError(
                f"{name}: its experts and the MLP beside them pass a norm each before they are "
                f"added ({type(layer).__name__}), so that there is no one output to compare them "
                "with; use another model"
            )
        blocks += _beside_experts(layer)
        if not blocks:
            raise HlensError(
                f"{name}: layer {number} has no MLP neurons that hlens can find "
                f"({type(layer).__name__}); use a mixture whose layers all have an MLP"
            )
        mlps.append(Mlp(tuple(blocks)))
    return mlps


def _beside_experts(layer: nn.Module) -> list[DenseBlock]:
    """The dense MLP of a layer, or the expert that all its tokens share, with its gate (Qwen 2)."""
    found = []
    for around in layer.modules():
        gate = getattr(around, "shared_expert_gate", None)  # gives one logit a token
        for mlp in around.children():
            children = dict(mlp.named_children())
            for down in filter(None, map(children.get, _DOWN)):
                if isinstance(down, nn.Linear) or is_adapted(down):
                    found.append(DenseBlock(down, gate=gate))
    return found
