"""The reducer: hooks on the down projections that keep nothing but what is asked."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hlens.contributions.regions import Ask
from hlens.contributions.taking import Taking
from hlens.errors import HlensError
from hlens.metrics import FACTORS
from hlens.model import Model
from hlens.types import Example, MlpTrace
from hlens.types.norms import NormGain

_PLAIN = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


class Reducer:
    """Reduces each layer's neurons while the forward pass is in that layer.

    What it holds grows with rows x neurons x asks, and never with the number of tokens. Everything
    is summed in float32, whatever the model computes in.

    Attributes:
        taking: What the running pass is asked; None switches the hooks off.
        results: ``[ask, layer, row, member, neuron]`` of the last pass, on the CPU.
    """

    def __init__(self, model: Model, asks: Sequence[Ask]) -> None:
        self.model = model
        self.asks = list(asks)
        self.taking: Taking | None = None
        self.results = torch.empty(0)
        self._pinned = False
        self._norms = _norms_on_device(model)
        gained = any(ask.name == "post_norm" for ask in self.asks)
        self._gains = [post_gain(model, i) if gained else None for i in range(model.n_layers)]

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Listen to the down projections for the length of a block."""
        hooks = [
            module.register_forward_hook(self._hook(layer))
            for layer, module in enumerate(self.model.down_projections)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def begin(self, taking: Taking | None) -> None:
        """Make ready for one forward pass."""
        self.taking = taking
        if taking is None:
            return
        n_asks, rows, members, _ = taking.weights.shape
        shape = (n_asks, self.model.n_layers, rows, members, self.model.d_mlp)
        # Pinned, so that a GPU does not wait for each layer's result to be carried off.
        self._pinned = taking.weights.is_cuda
        self.results = torch.empty(shape, pin_memory=self._pinned)

    def _hook(self, layer: int) -> Callable[[Any, tuple[Tensor, ...], Tensor], None]:
        def reduce(module: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
            if self.taking is None:
                return
            take = self.taking.gather
            trace = self.trace(layer, take(args[0].detach()), take(output.detach()))
            self.reduce(layer, self.taking, trace)

        return reduce

    def trace(self, layer: int, act: Tensor, out: Tensor) -> MlpTrace:
        """The trace of one layer, of activations and outputs at the taken positions."""
        return MlpTrace(
            act,
            out,
            self.model.w_out(layer),
            row_norms=self._norms[layer],
            post_gain=self._gains[layer],
        )

    def reduce(self, layer: int, taking: Taking, trace: MlpTrace) -> None:
        """Reduce one layer's trace to what is asked."""
        weights = taking.weights.to(trace.act.device)
        by_act: dict[Any, list[int]] = {}
        for number, ask in enumerate(self.asks):
            factors = FACTORS.get(ask.metric)
            if factors is None or ask.reduce == "max":
                self._keep(number, layer, _whole(ask, weights[number], trace))
            else:
                by_act.setdefault(factors.act, []).append(number)
        for act, numbers in by_act.items():
            self._reduce_factored(layer, act(trace.act).float(), numbers, weights, trace)

    def _reduce_factored(
        self, layer: int, act: Tensor, numbers: list[int], weights: Tensor, trace: MlpTrace
    ) -> None:
        """All asks that read the same function of the activation, in one matrix product."""
        scaled = [_by_position(self.asks[number], weights[number], trace) for number in numbers]
        sums = torch.bmm(torch.cat(scaled, dim=1), act)
        for number, part in zip(numbers, sums.chunk(len(numbers), dim=1), strict=True):
            neuron = FACTORS[self.asks[number].metric].neuron
            self._keep(number, layer, part if neuron is None else part * neuron(trace))

    def _keep(self, number: int, layer: int, reduced: Tensor) -> None:
        # Into other memory than pinned a copy that nobody waits for may come too late.
        self.results[number, layer].copy_(reduced, non_blocking=self._pinned)

    def wait(self) -> None:
        """Wait until the GPUs have carried off what they computed."""
        if self._pinned:
            for device in {norms.device for norms in self._norms}:
                torch.cuda.synchronize(device)


def _by_position(ask: Ask, weights: Tensor, trace: MlpTrace) -> Tensor:
    pos = FACTORS[ask.metric].pos
    if pos is None:
        return weights
    # Where the weight is zero (padding) the factor may be anything, infinity included.
    return torch.where(weights == 0, 0.0, weights * pos(trace.out, trace.post_gain)[:, None, :])


def _whole(ask: Ask, weights: Tensor, trace: MlpTrace) -> Tensor:
    """Any other formula: its value at each taken position, then reduced."""
    values = ask.metric(trace).float()
    if ask.reduce != "max":
        # A formula of the user's may give NaN at padding, and NaN times zero is NaN.
        used = (weights > 0).any(dim=1)[..., None]
        return torch.bmm(weights, torch.where(used, values, 0.0))
    members = [
        torch.where(weights[:, member, :, None] > 0, values, -torch.inf).amax(dim=1)
        for member in range(weights.shape[1])
    ]
    return torch.stack(members, dim=1)


def _norms_on_device(model: Model) -> list[Tensor]:
    norms = model.w_norms
    return [norms[layer].to(model.w_out(layer).device) for layer in range(model.n_layers)]


def post_gain(model: Model, layer: int) -> Tensor | None:
    """Gain of the norm after the MLP, or None where the architecture has none."""
    norm = post_mlp_norm(model, layer)
    return None if norm is None else norm.gain


def post_mlp_norm(model: Model, layer: int) -> NormGain | None:
    """The norm after the MLP of a layer (Gemma-2 and -3, OLMo-2), or None."""
    bridged = getattr(model.bridge.blocks[layer], "ln2_post", None)
    if bridged is None:
        return None
    # The bridge wraps the model's own norm; calling the wrapper would fire its hooks.
    return NormGain(getattr(bridged, "original_component", None) or bridged, model.d_model)


def check_measurable(model: Model) -> None:
    """Raise `HlensError` for weights whose rows cannot be read as they are."""
    for layer, module in enumerate(model.down_projections):
        weight = getattr(module, "weight", None)
        # Packed weights may be no tensor, or one of a kind that unpacks itself where it is used.
        plain = isinstance(weight, Tensor) and type(weight.data) is Tensor
        what = weight.dtype if isinstance(weight, Tensor) and plain else type(module).__name__
        if what not in _PLAIN:
            raise HlensError(
                f"the down projection of layer {layer} is quantised ({what}); its rows give norms "
                "that err by 0.2 % (8 bit) to 2 % (4 bit): load the model in bfloat16, float16 or "
                "float32 to measure it"
            )


def check_tokens(model: Model, examples: Sequence[Example]) -> None:
    """Raise `HlensError` for tokens that the model does not have, or more than it can place."""
    embedding = model.hf.get_input_embeddings()
    vocabulary, config = int(embedding.weight.shape[0]), model.hf.config
    # Learned positions end; rotary ones do not. (OPT's table begins with two unused rows.)
    limit = int(getattr(config, "max_position_embeddings", None) or 0)
    tables = [m for m in model.body.modules() if isinstance(m, nn.Embedding) and m is not embedding]
    learned = limit > 0 and any(table.num_embeddings in (limit, limit + 2) for table in tables)
    for example in examples:
        if int(example.token_ids.max()) >= vocabulary or int(example.token_ids.min()) < 0:
            raise HlensError(
                f"example {example.question_id!r} holds token {int(example.token_ids.max())}, and "
                f"{model.name} has {vocabulary} tokens; locate the examples with this model"
            )
        if learned and len(example.token_ids) > limit:
            raise HlensError(
                f"example {example.question_id!r} has {len(example.token_ids)} tokens, and "
                f"{model.name} has {limit} positions; ask shorter questions"
            )
