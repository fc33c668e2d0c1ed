"""Edits of chosen neurons while the model runs; afterwards the model is bit-identical to before.

An edit sees a layer's activations before the down projection reads them, replaces the columns of
its neurons, and lets the rest of the forward pass go on from there. No weight changes. A neuron of
an expert has an activation only at the tokens that the router sends there, and is edited there.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import singledispatch

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hlens.errors import HlensError
from hlens.kinds import describe
from hlens.model.gates import Gate, GatedAnswer, GateKeeper
from hlens.model.mlp import BlockActs
from hlens.model.network import Network
from hlens.model.token_batch import RowSpans, TokenBatch, TokenTracker, tracking_tokens
from hlens.types import NeuronSet, same_fingerprint, warn_unbound

Columns = Float[Tensor, "row pos neuron"]


@dataclass(frozen=True)
class Scope:
    """Which tokens an edit acts on.

    Attributes:
        name: Name in receipts.
        mask: Batch -> True at the tokens in scope (padding may be true); None for all.
    """

    name: str
    mask: Callable[[TokenBatch], Bool[Tensor, "row pos"] | None]


ALL = Scope("all", lambda batch: None)


@dataclass(frozen=True, eq=False)
class Site:
    """Where an edit is applied: the edited neurons of one layer, ascending, and the tokens read."""

    layer: int
    neurons: Int[Tensor, " neuron"]
    batch: TokenBatch
    weights: Columns | None = None  # what router or gate multiplies their writing by; None for one


@dataclass(frozen=True, eq=False)
class Elementwise:
    """An edit as numbers: ``clamp(a * scale + shift, low, high)``, each one or one a neuron.

    So it can be sent to an engine that runs elsewhere.
    """

    scale: float | Float[Tensor, " neuron"] = 1.0
    shift: float | Float[Tensor, " neuron"] = 0.0
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True, eq=False)
class Edit:
    """What is done to neurons: a value, independent of which neurons and which model.

    Attributes:
        name: Name in receipts and tables, such as ``"scale(0.5)"``.
        change: (Activations of the neurons, site) -> their replacement, in a new tensor.
        scope: Which tokens it acts on.
        factor: For edits that multiply by one number: that number, else None. These can be baked.
        shape: ``(n_layers, d_mlp)`` of the model it was made for, or None for any.
        values: Tensors that `change` uses. Name, scope and values identify an edit where finished
            work is kept.
        elementwise: (Layer, neurons) -> the same change as numbers; None where it has none.
        by_row: Whether it knows rows by their place in the batch.
    """

    name: str
    change: Callable[[Columns, Site], Columns]
    scope: Scope = ALL
    factor: float | None = None
    shape: tuple[int, int] | None = None
    values: tuple[Tensor, ...] = ()
    elementwise: Callable[[int, Int[Tensor, " neuron"]], Elementwise] | None = None
    by_row: bool = False

    def on(self, scope: Scope) -> "Edit":
        """The same edit on the tokens of `scope`."""
        return replace(self, scope=scope)


Pairs = Sequence[tuple[NeuronSet, Edit]]


def pair_up(neurons: NeuronSet | Pairs, edit: Edit | None) -> Pairs:
    """The (neurons, edit) pairs of a caller who gave pairs, or a set and an edit."""
    if not isinstance(neurons, NeuronSet):
        pairs = list(neurons) if isinstance(neurons, Iterable) else [neurons]
        for pair in pairs:
            if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], NeuronSet)):
                raise HlensError(
                    f"edits: got {describe(pair)}; expected neurons and an edit of them, such as "
                    "detector.neurons, hlens.interventions.scale(0.0), or several such pairs"
                )
        return pairs
    if edit is None:
        raise HlensError("no edit was given for the neurons; pass one, such as scale(0.0)")
    return [(neurons, edit)]


@dataclass
class ReceiptEntry:
    """What one edit touched: tokens in its scope (without padding), and tokens x neurons.

    A neuron of an expert is touched only at the tokens that are routed there.
    """

    edit: str
    n_neurons: int
    tokens: int = 0
    touched: int = 0


@dataclass(frozen=True)
class Receipt:
    """What the edits of one block touched, counted while it runs.

    Attributes:
        entries: One for each edit.
        answers: Of edits behind a gate: what it did in each answer, in the order of writing.
    """

    entries: tuple[ReceiptEntry, ...]
    answers: list[GatedAnswer] = field(default_factory=list)

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


@singledispatch
@contextmanager
def editing(
    model: Network, pairs: Pairs, spans: RowSpans, when: Gate | None = None
) -> Iterator[Receipt]:
    """Run a block under edits; see `Model.editing`.

    An engine (`hlens.engines`) registers its own way for its kind of model.
    """
    for neurons, edit in pairs:
        check_edit(model, neurons, edit)
    with ExitStack() as stack:
        keeper = None
        knows_rows = (spans.n_prompt, spans.answer) != (None, None)
        if knows_rows or when is not None or any(edit.by_row for _, edit in pairs):
            stack.enter_context(model.clock.holding_rows())
        if when is not None:
            # Entered before the edits, so that a gate sees activations as the edits find them.
            decide = stack.enter_context(when.watching(model, [neurons for neurons, _ in pairs]))
            keeper = GateKeeper(decide)
            pairs = [(own, edit.on(_gated(edit.scope, when, keeper))) for own, edit in pairs]
        names = [f"{edit.name} on {edit.scope.name} tokens" for _, edit in pairs]
        sizes = [len(neurons) for neurons, _ in pairs]
        receipt = Receipt(tuple(map(ReceiptEntry, names, sizes)))
        tracker = stack.enter_context(tracking_tokens(model, spans))
        if keeper is not None:
            _ask_first(model, tracker, keeper, stack)
        for (neurons, edit), entry in zip(pairs, receipt.entries, strict=True):
            for layer in sorted({layer for layer, _ in neurons.members}):
                hook = _EditHook(model, tracker, entry, edit, neurons, layer)
                for mlp in model.running(layer):
                    stack.enter_context(mlp.changing(hook.index, hook))
        yield receipt
    if keeper is not None:
        keeper.end_batch()
        receipt.answers.extend(keeper.answers)
    if not any(answer.edited for answer in receipt.answers):  # a gate may have stayed closed
        check_touched(receipt)


def _ask_first(model: Network, tracker: TokenTracker, keeper: GateKeeper, stack: ExitStack) -> None:
    """Let a gate be asked in the first layer, before anything of the pass has been read."""

    def ask(acts: BlockActs, own: Tensor, flat: Tensor) -> BlockActs:
        if tracker.batch is not None and not model.prefix_trials.running:
            keeper.mask(tracker.batch)
        return acts

    for mlp in model.running(0):
        stack.enter_context(mlp.changing(torch.tensor([0]), ask))


def _gated(scope: Scope, gate: Gate, keeper: GateKeeper) -> Scope:
    """The tokens of a scope at which a gate is open."""

    def mask(batch: TokenBatch) -> Bool[Tensor, "row pos"]:
        is_open, own = keeper.mask(batch), scope.mask(batch)
        return is_open if own is None else is_open & own.to(is_open.device)

    return Scope(f"{scope.name}, {gate.name},", mask)


def check_touched(receipt: Receipt) -> None:
    """Raise `HlensError` for an edit that touched nothing: its effect would be read as zero."""
    for entry in receipt.entries:
        if entry.n_neurons and not entry.tokens:
            raise HlensError(
                f"{entry.edit}: {entry.n_neurons} neurons and not one token touched; run the model "
                "inside the block, in its thread, on tokens of the edit's scope"
            )


def check_edit(model: Network, neurons: NeuronSet, edit: Edit) -> None:
    """Raise `HlensError` unless neurons and edit belong to this model.

    A set without members that has a name, such as the H-neurons of a detector whose weights are all
    negative, is a mistake: its edit would be reported as an effect of zero.
    """
    if not neurons.members and neurons.name:
        raise HlensError(
            f"{neurons.name}: there are none to edit; choose others, such as detector.selected or "
            "detector.truth_neurons"
        )
    check_neurons(model, neurons)
    shape = (model.n_layers, model.d_mlp)
    if edit.shape is not None and edit.shape != shape:
        raise HlensError(
            f"{edit.name} holds values of {edit.shape[0]} layers x {edit.shape[1]} neurons; "
            f"{model.name} has {shape[0]} x {shape[1]}: make it with this model"
        )


def check_neurons(model: Network, neurons: NeuronSet) -> None:
    """Raise `HlensError` unless the neurons are of this model; without a fingerprint, say so."""
    shape = (model.n_layers, model.d_mlp)
    if (neurons.n_layers, neurons.d_mlp) != shape:
        raise HlensError(
            f"the neurons are of a model with {neurons.n_layers} layers x {neurons.d_mlp} neurons; "
            f"{model.name} has {shape[0]} x {shape[1]}: edit the model that they were found on"
        )
    if absent := [one for one in neurons if one[1] >= model.mlps[one[0]].width]:
        raise HlensError(
            f"{neurons.address(absent[0])} is not there: layer {absent[0][0]} of {model.name} has "
            f"{model.mlps[absent[0][0]].width} neurons; edit the model that they were found on"
        )
    if not neurons.model:
        warn_unbound("a set of neurons", model.name)
    elif not same_fingerprint(neurons.model, fingerprint := model.fingerprint):
        raise HlensError(
            f"the neurons were found on another model ({neurons.model[-12:]}), {model.name} is "
            f"{fingerprint[-12:]}; edit the model that they were found on"
        )


class _EditHook:
    """One edit at one layer, called with the activations of each block that has its neurons."""

    def __init__(
        self,
        model: Network,
        tracker: TokenTracker,
        entry: ReceiptEntry,
        edit: Edit,
        neurons: NeuronSet,
        layer: int,
    ) -> None:
        self.model = model
        self.tracker, self.entry, self.edit, self.layer = tracker, entry, edit, layer
        self.index = torch.tensor(neurons.in_layer(layer))
        # Every edited layer sees the same tokens; they are counted at the first one.
        self.counts_tokens = layer == min(first for first, _ in neurons.members)

    def __call__(self, acts: BlockActs, own: Tensor, flat: Tensor) -> BlockActs:
        """The activations with the edit, of neurons `own` in the block and `flat` in the layer."""
        if self.model.prefix_trials.running:
            return acts
        batch = self.tracker.batch
        if batch is None:
            raise HlensError("an edited layer ran outside of its model; run the whole model")
        own, flat = own.to(acts.values.device), flat.to(acts.values.device)
        # Some architectures run their MLP on [row * pos, neuron].
        shape = (batch.rows, batch.width, len(own))
        old, weights = acts.columns(own).reshape(shape), acts.weights(own)
        site = Site(self.layer, flat, batch, None if weights is None else weights.reshape(shape))
        new = self.edit.change(old, site)
        scope = self.edit.scope.mask(batch)
        if scope is not None:
            scope = scope.to(old.device)
            new = torch.where(scope[..., None], new, old)
        reached = acts.reached(own)
        self._count(site, scope, None if reached is None else reached.reshape(shape))
        return acts.with_columns(own, new.reshape(-1, len(own)))

    def _count(self, site: Site, scope: Tensor | None, reached: Tensor | None) -> None:
        """Add the tokens in scope, padding left out, to the receipt."""
        batch = site.batch
        counted = batch.not_padding if scope is None else scope
        if scope is not None and batch.not_padding is not None:
            counted = scope & batch.not_padding.to(scope.device)
        tokens = batch.rows * batch.width if counted is None else int(counted.sum())
        if reached is None:
            self.entry.touched += tokens * len(site.neurons)
        else:
            there = reached if counted is None else reached & counted[..., None].to(reached.device)
            self.entry.touched += int(there.sum())
        if self.counts_tokens and int(site.neurons[0]) == int(self.index[0]):  # once a layer
            self.entry.tokens += tokens
