"""Baking: an edit of the scale family folded into W_out, saved as an ordinary checkpoint.

Scaling an activation and scaling its row of W_out are the same computation, so an edit by a
constant factor can live in the weights: for serving with stock engines, at no cost while
generating.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from hlens.errors import HlensError
from hlens.interventions.card import card
from hlens.model import Edit, Model, Pairs, check_edit, fingerprint_weights, load, pair_up
from hlens.store.checkpoints import load_edit_record, save_checkpoint
from hlens.types import NeuronSet

Rows = dict[int, tuple[Tensor, Tensor]]  # layer -> indices of neurons, their rows of W_out


@dataclass(frozen=True)
class Verification:
    """What a baked checkpoint was found to be.

    Attributes:
        neurons: How many rows of W_out the record says were edited.
        rows_agree: Every edited row is its factor times the original row, bit for bit.
        fingerprint_agrees: The weights are those that were saved.
        rest_agrees: All other weights are the base model's, bit for bit; None without a base.
    """

    neurons: int
    rows_agree: bool
    fingerprint_agrees: bool
    rest_agrees: bool | None

    @property
    def ok(self) -> bool:
        """Nothing disagrees."""
        return self.rows_agree and self.fingerprint_agrees and self.rest_agrees is not False


@contextmanager
def folded(model: Model, neurons: NeuronSet | Pairs, edit: Edit | None = None) -> Iterator[None]:
    """Run a block with an edit folded into the weights; afterwards they are bit-identical again.

    The model, its bridge and everything that shares the weights see the edit; activations look as
    if nothing had been done to them, unlike within `Model.editing`.

    Args:
        model: The model.
        neurons: The neurons; or several (neurons, edit) pairs.
        edit: An edit by a constant factor on all tokens: `scale`, or `ablate` to zero.

    Raises:
        HlensError: An edit that is no constant factor on all tokens, no neurons, or weights that
            are quantised.
    """
    factors = _factors(model, pair_up(neurons, edit))
    _ = model.fingerprint, model.w_norms  # known from the weights as they are, not as they will be
    saved: Rows = {}
    try:
        for layer, row in factors.items():
            at = row.ne(1.0).nonzero().flatten().to(model.w_out(layer).device)
            rows = model.w_out(layer)
            saved[layer] = at, rows[at].clone()
            rows[at] = _scaled(rows[at], row[at.cpu()])
        yield
    finally:
        for layer, (at, rows) in saved.items():
            model.w_out(layer)[at] = rows


def bake(model: Model, neurons: NeuronSet | Pairs, edit: Edit | None, folder: str | Path) -> Path:
    """Save the edited model as an ordinary Hugging Face checkpoint, with a card that says so.

    Beside weights, configuration and tokenizer, the folder holds ``hlens_edit.safetensors``: the
    factors and the original rows, from which `verify` and `undo` work.

    Args:
        model: The model; it is left as it was.
        neurons: The neurons; or several (neurons, edit) pairs.
        edit: An edit by a constant factor on all tokens.
        folder: Where the checkpoint shall stand; it must not exist yet.

    Returns:
        The folder.

    Raises:
        HlensError: As `folded`; or the folder exists.
    """
    pairs: Pairs = pair_up(neurons, edit)
    factors = _factors(model, pairs)
    tensors = {
        "factors": torch.stack([factors.get(i, _ones(model)) for i in range(model.n_layers)])
    }
    for layer, row in factors.items():
        at = row.ne(1.0).nonzero().flatten()
        tensors[f"rows.{layer}"] = model.w_out(layer)[at].cpu().contiguous()
    base = model.fingerprint
    with folded(model, pairs):
        record = {
            "base": model.name,
            "base_revision": model.revision,
            "base_fingerprint": base,
            "edited_fingerprint": _fingerprint(model),
            "edits": "; ".join(f"{e.name} on {len(ns)} neurons" for ns, e in pairs),
        }
        text = card(record, tensors["factors"])
        return save_checkpoint(
            model.hf, model.tokenizer, Path(folder), card=text, tensors=tensors, record=record
        )


def verify(folder: str | Path, base: Model | None = None) -> Verification:
    """Check that a baked checkpoint holds what its record says, and nothing else where asked.

    Args:
        folder: The checkpoint.
        base: The model that it was made from; with it, all other weights are compared too.

    Raises:
        HlensError: The folder is no baked checkpoint.
    """
    tensors, record = load_edit_record(Path(folder))
    edited = _opened(folder, tensors)
    rows_agree = True
    factors: Tensor = tensors["factors"]
    for layer in range(len(factors)):
        at = factors[layer].ne(1.0).nonzero().flatten()
        if len(at):
            expected = _scaled(tensors[f"rows.{layer}"], factors[layer][at]).to(edited.w_out(layer))
            rows_agree &= bool(torch.equal(edited.w_out(layer)[at], expected))
    if base is not None and base.fingerprint != record["base_fingerprint"]:
        raise HlensError(
            f"{folder} was made from {record['base']} ({record['base_fingerprint'][:12]}), not "
            f"from {base.name} ({base.fingerprint[:12]}); compare with its own base model"
        )
    return Verification(
        neurons=int(factors.ne(1.0).sum()),
        rows_agree=rows_agree,
        fingerprint_agrees=_fingerprint(edited) == record["edited_fingerprint"],
        rest_agrees=None if base is None else _rest_agrees(edited, base, factors),
    )


def undo(folder: str | Path, into: str | Path) -> Path:
    """Write the checkpoint as it was before it was baked, its original rows put back bit for bit.

    Raises:
        HlensError: The folder is no baked checkpoint, its weights were changed since, or `into`
            exists.
    """
    tensors, record = load_edit_record(Path(folder))
    model = _opened(folder, tensors)
    for layer in range(model.n_layers):
        at = tensors["factors"][layer].ne(1.0).nonzero().flatten()
        if len(at):
            model.w_out(layer)[at] = tensors[f"rows.{layer}"].to(model.w_out(layer))
    if _fingerprint(model) != record["base_fingerprint"]:
        raise HlensError(
            f"{folder}: with the original rows put back its weights are not those of "
            f"{record['base']}; something else in it was changed, start from the base model"
        )
    text = f"# {record['base']}\n\nRestored by hlens from a checkpoint with edited neurons.\n"
    return save_checkpoint(model.hf, model.tokenizer, Path(into), card=text)


def _opened(folder: str | Path, tensors: Mapping[str, Tensor]) -> Model:
    """The checkpoint in the dtype that it was baked in: in another one its rows round otherwise."""
    kept = next(tensor for name, tensor in tensors.items() if name.startswith("rows."))
    return load(str(folder), dtype=kept.dtype)


def _factors(model: Model, pairs: Pairs) -> dict[int, Tensor]:
    """For each layer with edited neurons, the product of all factors of each neuron."""
    factors: dict[int, Float[Tensor, " neuron"]] = {}
    for neurons, edit in pairs:
        if edit.factor is None or edit.scope.name != "all":
            raise HlensError(
                f"{edit.name} cannot be folded into weights; only a "
                "constant factor on all tokens can: scale(alpha), or ablate() to zero"
            )
        check_edit(model, neurons, edit)
        for layer, neuron in neurons:
            factors.setdefault(layer, _ones(model))[neuron] *= edit.factor
    if not factors:
        raise HlensError("no neurons to fold into the weights; give a set with members")
    for layer in factors:
        if not model.w_out(layer).is_floating_point():
            raise HlensError(
                f"the weights of {model.name} are quantised ({model.w_out(layer).dtype}); load it "
                "in a floating-point dtype to fold edits into them"
            )
    return factors


def _ones(model: Model) -> Tensor:
    return torch.ones(model.d_mlp, dtype=torch.float64)


def _scaled(rows: Tensor, factors: Tensor) -> Tensor:
    return (rows.double() * factors.to(rows.device)[:, None]).to(rows.dtype)


def _fingerprint(model: Model) -> str:
    """Of the weights as they are now; the model's own is of when it was first asked for."""
    return fingerprint_weights(model.hf)


def _rest_agrees(edited: Model, base: Model, factors: Tensor) -> bool:
    """All weights but the edited rows are equal bit for bit."""
    known = dict(base.hf.named_parameters())
    downs = {
        id(parameter): layer
        for layer, module in enumerate(edited.down_projections)
        for name, parameter in module.named_parameters()
        if name == "weight"
    }
    for name, parameter in edited.hf.named_parameters():
        mine, theirs = parameter.detach(), known[name].detach().to(parameter)
        if id(parameter) in downs:
            layer = downs[id(parameter)]
            keep = factors[layer].eq(1.0)
            mine, theirs = edited.w_out(layer)[keep], base.w_out(layer).to(parameter)[keep]
        if not torch.equal(mine, theirs):
            return False
    return True
