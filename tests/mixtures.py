"""A mixture's neurons read by plain hooks and a loop over its experts: what hlens is compared with.

Nothing here comes from `hlens.model.experts`: the inputs, the router's choice and its weights are
taken where transformers hands them to the experts, and every expert is computed by itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def plain_traces(hf: Any, row: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Of each layer: activations times routing weight ``[pos, neuron]``, and the MLP's output."""
    layers = layers_of(hf)
    seen: list[dict[str, Tensor]] = [{} for _ in layers]
    hooks = []
    for layer, block in enumerate(layers):
        for path, module in block.named_modules():
            name = path.rpartition(".")[2]
            if name in ("experts", "down_proj", "output_linear", "w2", "shared_expert_gate"):
                hooks.append(
                    module.register_forward_hook(_keep(seen[layer], name), with_kwargs=True)
                )
        for number, mlp in enumerate(mlps_of(block)):
            keep = _keep(seen[layer], f"mlp {number}")
            hooks.append(mlp.register_forward_hook(keep, with_kwargs=True))
    with torch.no_grad():
        hf(input_ids=row[None], use_cache=False)
    for hook in hooks:
        hook.remove()
    return [_trace(block, of, len(row)) for block, of in zip(layers, seen, strict=True)]


def layers_of(hf: nn.Module) -> nn.ModuleList:
    """The decoder's layers."""
    lists = [m for m in hf.modules() if isinstance(m, nn.ModuleList)]
    return next(m for m in lists if any(p.endswith("experts") for p, _ in m.named_modules()))


def mlps_of(block: nn.Module) -> list[nn.Module]:
    """The modules of a layer whose outputs make that of its MLP."""
    return [child for child in block.children() if _holds_neurons(child)]


def _holds_neurons(module: nn.Module) -> bool:
    names = [path.rpartition(".")[2] for path, _ in module.named_modules()]
    return any(name in ("experts", "down_proj", "output_linear", "w2") for name in names)


def _keep(seen: dict[str, Any], name: str) -> Any:
    def hook(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        out = output[0] if isinstance(output, tuple) else output
        seen[name] = (module, [*args, *kwargs.values()], out.clone())

    return hook


def _trace(block: nn.Module, seen: dict[str, Any], n: int) -> tuple[Tensor, Tensor]:
    parts = []
    if "experts" in seen:
        experts, args, _ = seen["experts"]
        parts.append(_of_experts(experts, args, n))
    for name in ("down_proj", "output_linear", "w2"):
        if name in seen:
            act = seen[name][1][0].reshape(n, -1)
            gate = seen.get("shared_expert_gate")
            parts.append(act if gate is None else act * gate[2].reshape(n, 1).sigmoid())
    outs = [kept[2].reshape(n, -1) for name, kept in seen.items() if name.startswith("mlp")]
    return torch.cat(parts, -1).float(), torch.stack(outs).sum(0).float()


def _of_experts(experts: Any, args: list[Tensor], n: int) -> Tensor:
    """Activations of all experts' neurons; zero where a token is not routed to the expert."""
    if (
        len(args) == 1
    ):  # Llama 4: every expert in turn is given all tokens, times the router's score
        rows = args[0].reshape(experts.num_experts, n, -1)
        acts = [_neurons(experts, rows[e], e) for e in range(experts.num_experts)]
        return torch.cat(acts, -1)
    hidden, index, weights = args
    acts = []
    for e in range(experts.num_experts):
        weight = (weights * (index == e)).sum(-1, keepdim=True)
        routed = (index == e).any(-1, keepdim=True)
        acts.append(torch.where(routed, _neurons(experts, hidden, e) * weight, 0.0))
    return torch.cat(acts, -1)


def _neurons(experts: Any, rows: Tensor, e: int) -> Tensor:
    kind = type(experts).__name__
    if kind == "GptOssExperts":  # interleaved, biased, clamped: up + 1, times a swish of the gate
        both = rows @ experts.gate_up_proj[e] + experts.gate_up_proj_bias[e]
        gate, up = both[:, 0::2].clamp(max=experts.limit), both[:, 1::2]
        up = up.clamp(-experts.limit, experts.limit)
        return (up + 1) * gate * torch.sigmoid(gate * experts.alpha)
    weight = experts.gate_up_proj[e]
    both = rows @ (weight if kind == "Llama4TextExperts" else weight.T)
    gate, up = both.chunk(2, -1)
    return experts.act_fn(gate) * up


def rows_of_w_out(block: nn.Module) -> Tensor:
    """Rows of W_out of a layer, expert after expert, then what stands beside them; float32."""
    return torch.cat(_row_views(block)).float()


@contextmanager
def scaled_row(block: nn.Module, neuron: int, factor: float) -> Iterator[None]:
    """One row of W_out times a factor, in place, for the length of a block."""
    views = _row_views(block)
    for rows in views:
        if neuron < len(rows):
            kept = rows[neuron].clone()
            rows[neuron] *= factor
            yield
            rows[neuron] = kept
            return
        neuron -= len(rows)


def _row_views(block: nn.Module) -> list[Tensor]:
    rows = []
    for path, module in block.named_modules():
        if path.endswith("experts") and isinstance(
            getattr(module, "down_proj", None), nn.Parameter
        ):
            known: Any = module
            kept = type(module).__name__ in ("GptOssExperts", "Llama4TextExperts")
            rows += [w if kept else w.T for w in known.down_proj.detach()]
    for path, module in block.named_modules():
        name = path.rpartition(".")[2]
        if name in ("down_proj", "output_linear", "w2") and isinstance(module, nn.Linear):
            rows.append(module.weight.detach().T)
    return rows
