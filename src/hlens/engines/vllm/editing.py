"""Doses: sent to the workers at the start of a block, and taken back at its end."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from hlens.engines.vllm.doses import check_sent, check_ungated
from hlens.engines.vllm.model import VllmModel
from hlens.model import (
    Edit,
    Gate,
    Pairs,
    Receipt,
    ReceiptEntry,
    RowSpans,
    check_touched,
)
from hlens.model.editing import editing
from hlens.types import NeuronSet


@editing.register
@contextmanager
def edit_workers(
    model: VllmModel, pairs: Pairs, spans: RowSpans, when: Gate | None = None
) -> Iterator[Receipt]:
    """Run a block under edits, which act on all requests within.

    Raises:
        HlensError: As `Model.editing`; or an edit that is no number a neuron, a scope that vLLM's
            workers do not know, or a gate.
    """
    check_ungated(when)
    placed = spans.n_prompt is not None or bool(spans.answer)
    model.check_edits(pairs)
    for _, edit in pairs:
        check_sent(edit, placed=placed)
    names = [f"{edit.name} on {edit.scope.name} tokens" for _, edit in pairs]
    entries = tuple(map(ReceiptEntry, names, [len(neurons) for neurons, _ in pairs]))
    receipt = Receipt(entries)
    outer, own = list(model.edits), [_sent(neurons, edit) for neurons, edit in pairs]
    _send(model, [*outer, *own])  # an inner edit acts on the result of the outer ones
    try:
        yield receipt
    finally:
        _send(model, outer)
        for entry, sent in zip(entries, own, strict=True):
            if sent["layers"]:
                entry.tokens = sent["tokens"]
                entry.touched = sent["tokens"] * entry.n_neurons
    check_touched(receipt)


def _send(model: VllmModel, edits: Sequence[dict[str, Any]]) -> None:
    """Let the workers make these edits, and count what those before have reached."""
    reached = model.call("edit", [{"scope": e["scope"], "layers": e["layers"]} for e in edits])
    for number, one in enumerate(model.edits):
        one["tokens"] += max(of_worker[number] for of_worker in reached)
    model.edits[:] = edits
    # Keys and values that were computed under other edits are another model's.
    model.llm.reset_prefix_cache()


def _sent(neurons: NeuronSet, edit: Edit) -> dict[str, Any]:
    """An edit as it is sent: numbers of each neuron, by layer."""
    assert edit.elementwise is not None  # check_sent refuses others
    layers = {}
    for layer in sorted({layer for layer, _ in neurons.members}):
        columns = torch.tensor(neurons.in_layer(layer))
        made = edit.elementwise(layer, columns)
        numbers = (made.scale, made.shift, made.low, made.high)
        layers[str(layer)] = [columns.tolist(), *(_each(one, len(columns)) for one in numbers)]
    return {"scope": edit.scope.name, "layers": layers, "tokens": 0}


def _each(value: float | Tensor, n: int) -> list[float]:
    return torch.as_tensor(value, dtype=torch.float32).expand(n).tolist()
