"""Edits of chosen neurons while the model runs; afterwards no trace of them is left."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hlens.errors import HlensError
from hlens.model.reading import Marks, Reading, Tracker, tracking
from hlens.types import NeuronSet

if TYPE_CHECKING:
    from hlens.model.lens import Model

Columns = Float[Tensor, "row pos neuron"]


@dataclass(frozen=True)
class Scope:
    """Which tokens an edit acts on.

    Attributes:
        name: What receipts call it.
        mask: What is read -> True at the tokens in scope (padding may be true); None for all.
    """

    name: str
    mask: Callable[[Reading], Bool[Tensor, "row pos"] | None]


ALL = Scope("all", lambda reading: None)


@dataclass(frozen=True, eq=False)
class Site:
    """Where a change is asked for.

    Attributes:
        layer: Index of the layer.
        neurons: The edited neurons of this layer, ascending; the columns of the activations.
        reading: The tokens being read.
    """

    layer: int
    neurons: Int[Tensor, " neuron"]
    reading: Reading


@dataclass(frozen=True, eq=False)
class Edit:
    """What is done to neurons: a value that knows no neurons and no model.

    Attributes:
        name: What receipts and tables call it, such as ``"scale(0.5)"``.
        change: Activations of the neurons, and where -> what stands there instead. It returns a
            new tensor and leaves the one it is given as it is.
        scope: Which tokens it acts on.
        factor: For edits that multiply by one number: that number, else None. These can be baked.
        shape: ``(n_layers, d_mlp)`` of the model it was made for, or None for any.
        values: Tensors that `change` puts to use. With name and scope they tell edits apart where
            finished work is kept.
    """

    name: str
    change: Callable[[Columns, Site], Columns]
    scope: Scope = ALL
    factor: float | None = None
    shape: tuple[int, int] | None = None
    values: tuple[Tensor, ...] = ()

    def on(self, scope: Scope) -> "Edit":
        """The same edit on the tokens of `scope`."""
        return replace(self, scope=scope)


Pairs = Sequence[tuple[NeuronSet, Edit]]


@dataclass
class Entry:
    """What one edit touched.

    Attributes:
        edit: Name of the edit, its scope included.
        n_neurons: Neurons it was given.
        tokens: Tokens it acted on; padding is not counted.
        touched: Tokens x neurons it acted on.
    """

    edit: str
    n_neurons: int
    tokens: int = 0
    touched: int = 0


@dataclass(frozen=True)
class Receipt:
    """What the edits of one block touched, counted while it runs."""

    entries: tuple[Entry, ...]

    @property
    def touched(self) -> int:
        """Tokens x neurons, over all edits."""
        return sum(entry.touched for entry in self.entries)

    @property
    def tokens(self) -> int:
        """Tokens that the edit with most of them acted on."""
        return max((entry.tokens for entry in self.entries), default=0)

    def __str__(self) -> str:
        return "; ".join(
            f"{e.edit} on {e.n_neurons} neurons: {e.tokens} tokens, {e.touched} tokens x neurons"
            for e in self.entries
        )


@contextmanager
def editing(model: "Model", pairs: Pairs, marks: Marks) -> Iterator[Receipt]:
    """Run the block under edits; see `Model.editing`."""
    for neurons, edit in pairs:
        check(model, neurons, edit)
    receipt = Receipt(
        tuple(Entry(f"{edit.name} on {edit.scope.name} tokens", len(ns)) for ns, edit in pairs)
    )
    with ExitStack() as stack:
        tracker = stack.enter_context(tracking(model, marks))
        for (neurons, edit), entry in zip(pairs, receipt.entries, strict=True):
            for layer in sorted({layer for layer, _ in neurons.members}):
                hook = _Hook(tracker, entry, edit, layer, neurons)
                for module in doors(model, layer):
                    stack.callback(module.register_forward_pre_hook(hook).remove)
        yield receipt
    _refuse_untouched(receipt)


def doors(model: "Model", layer: int) -> list[nn.Module]:
    """The modules of a layer that take its neurons' activations: of the model and of its bridge.

    On the bridge it is the module around the down projection, so that its ``hook_in``, and with it
    every cache, sees the edited activations.
    """
    around = model.bridge.blocks[layer].mlp.out
    plain = model.down_projections[layer]
    return [around] if around.original_component is plain else [plain, around]


def check(model: "Model", neurons: NeuronSet, edit: Edit) -> None:
    """Raise `HlensError` unless neurons and edit are of this model."""
    shape = (model.n_layers, model.d_mlp)
    if (neurons.n_layers, neurons.d_mlp) != shape:
        raise HlensError(
            f"the neurons are of a model with {neurons.n_layers} layers x {neurons.d_mlp} neurons; "
            f"{model.name} has {shape[0]} x {shape[1]}: edit the model that they were found on"
        )
    if neurons.model and neurons.model != model.fingerprint:
        raise HlensError(
            f"the neurons were found on another model ({neurons.model[:12]}), {model.name} is "
            f"{model.fingerprint[:12]}; edit the model that they were found on"
        )
    if edit.shape is not None and edit.shape != shape:
        raise HlensError(
            f"{edit.name} holds values of {edit.shape[0]} layers x {edit.shape[1]} neurons; "
            f"{model.name} has {shape[0]} x {shape[1]}: make it with this model"
        )


def _refuse_untouched(receipt: Receipt) -> None:
    for entry in receipt.entries:
        if entry.n_neurons and not entry.touched:
            raise HlensError(
                f"{entry.edit}: {entry.n_neurons} neurons and not one token touched; run the model "
                "inside the block, on tokens of the edit's scope"
            )


class _Hook:
    """One edit at one layer, as a forward pre-hook of the down projection."""

    def __init__(
        self, tracker: Tracker, entry: Entry, edit: Edit, layer: int, neurons: NeuronSet
    ) -> None:
        self.tracker = tracker
        self.entry = entry
        self.edit = edit
        self.layer = layer
        self.index = torch.tensor(neurons.in_layer(layer))
        self.counts_tokens = layer == min(at for at, _ in neurons.members)

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        act = args[0]
        reading = self.tracker.reading
        if reading is None:
            raise HlensError("an edited layer ran outside of its model; run the whole model")
        if self.index.device != act.device:
            self.index = self.index.to(act.device)
        # Some architectures run their MLP on [row * pos, neuron].
        shaped = act.reshape(reading.rows, reading.width, act.shape[-1])
        old = shaped.index_select(-1, self.index)
        new = self.edit.change(old, Site(self.layer, self.index, reading))
        scope = self.edit.scope.mask(reading)
        if scope is not None:
            scope = scope.to(act.device)
            new = torch.where(scope[..., None], new, old)
        self._count(reading, scope)
        edited = shaped.index_copy(-1, self.index, new.to(act.dtype)).reshape(act.shape)
        return (edited, *args[1:])

    def _count(self, reading: Reading, scope: Tensor | None) -> None:
        if scope is None and reading.real is None:
            tokens = reading.rows * reading.width
        elif scope is None or reading.real is None:
            chosen = reading.real if scope is None else scope
            tokens = int(chosen.sum()) if chosen is not None else 0
        else:
            tokens = int((scope & reading.real.to(scope.device)).sum())
        self.entry.touched += tokens * len(self.index)
        if self.counts_tokens:
            self.entry.tokens += tokens
