"""Baking: an edit of the scale family folded into W_out, saved as an ordinary checkpoint.

Such a checkpoint is served by stock engines at no cost while generating. It carries the factors and
the original rows, so that `verify` can check it and `unbake` restore the original.
"""

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from hlens.errors import HlensError
from hlens.interventions.cards import fill_card
from hlens.interventions.folding import edited_neurons, fold_factors, folded, scale_rows
from hlens.model import Edit, Model, Pairs, load, pair_up, save_pretrained
from hlens.store.checkpoints import MEND, load_edit_record, save_checkpoint
from hlens.types import NeuronSet, same_fingerprint


@dataclass(frozen=True)
class Verification:
    """Whether a baked checkpoint is what its record says.

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
        """Whether all that was compared agrees."""
        return self.rows_agree and self.fingerprint_agrees and self.rest_agrees is not False


def bake(
    model: Model, neurons: NeuronSet | Pairs, edit: Edit | None = None, *, folder: str | Path
) -> Path:
    """Save the edited model as a Hugging Face checkpoint whose card says so; its folder.

    Beside weights, configuration and tokenizer, the folder holds ``hlens_edit.record``: the
    factors and the original rows, which `verify` and `unbake` read.

    The model itself is left unchanged. `neurons` and `edit` are as in `folded`.

    Raises:
        HlensError: As `folded`; or the folder exists.
    """
    pairs: Pairs = pair_up(neurons, edit)
    table = torch.ones(model.n_layers, model.d_mlp, dtype=torch.float64)
    tensors = {"factors": table}
    for layer, factor in fold_factors(model, pairs).items():
        table[layer] = factor
        rows = model.mlps[layer].rows(edited_neurons(factor))
        tensors[f"rows.{layer}"] = rows.cpu().contiguous()
    base = model.fingerprint
    with folded(model, pairs):
        record = {
            "base": model.name,
            "base_revision": model.revision,
            "base_fingerprint": base,
            "edited_fingerprint": model.fingerprint,
            "edits": "; ".join(f"{e.name} on {len(ns)} neurons" for ns, e in pairs),
        }
        card = fill_card("card.md", record, table, model)
        save_model = partial(save_pretrained, model.hf, model.tokenizer)
        return save_checkpoint(save_model, Path(folder), card=card, tensors=tensors, record=record)


def verify(folder: str | Path, base: Model | None = None) -> Verification:
    """Check that a baked checkpoint is what its record says.

    Given the `base` model that it was made from, all other weights are compared too.

    Raises:
        HlensError: The folder is not a baked checkpoint, or of another base model.
    """
    tensors, record = load_edit_record(Path(folder))
    model = _open(folder, tensors)
    factors = tensors["factors"]
    rows_agree = True
    for layer, edited, original in _originals(tensors):
        rows = model.mlps[layer].rows(edited)
        expected = scale_rows(original, factors[layer][edited]).to(rows)
        rows_agree &= bool(torch.equal(rows, expected))
    if base is not None and not same_fingerprint(base.fingerprint, record["base_fingerprint"]):
        raise HlensError(
            f"{folder} was made from {record['base']} ({record['base_fingerprint'][:12]}), not "
            f"from {base.name} ({base.fingerprint[:12]}); compare with its own base model"
        )
    return Verification(
        neurons=int(factors.ne(1.0).sum()),
        rows_agree=rows_agree,
        fingerprint_agrees=same_fingerprint(model.fingerprint, record["edited_fingerprint"]),
        rest_agrees=None if base is None else _rest_agrees(model, base, factors),
    )


def unbake(folder: str | Path, into: str | Path) -> Path:
    """Write a baked checkpoint with its original rows put back, bit for bit.

    Raises:
        HlensError: The folder is not a baked checkpoint, its weights were changed since, or
            `into` exists.
    """
    tensors, record = load_edit_record(Path(folder))
    model = _open(folder, tensors)
    for layer, edited, original in _originals(tensors):
        model.mlps[layer].write_rows(edited, original)
    if not same_fingerprint(model.fingerprint, record["base_fingerprint"]):
        raise HlensError(
            f"{folder}: with the original rows put back its weights are not those of "
            f"{record['base']}; something else in it was changed, start from the base model"
        )
    name = html.escape(" ".join(record["base"].split()))
    card = f"# {name}\n\nRestored by hlens from a checkpoint with edited neurons.\n"
    return save_checkpoint(
        partial(save_pretrained, model.hf, model.tokenizer), Path(into), card=card
    )


def _open(folder: str | Path, tensors: Mapping[str, Tensor]) -> Model:
    """The checkpoint in the dtype that it was baked in: in another its rows round differently."""
    rows = [tensor.dtype for name, tensor in tensors.items() if name.startswith("rows.")]
    model = load(str(folder), dtype=next(iter(rows), None))
    if not _fits(tensors, model):
        raise HlensError(
            f"{folder}: the record of its edit is of another model than its weights; {MEND}"
        )
    return model


def _fits(tensors: Mapping[str, Tensor], model: Model) -> bool:
    """Whether there is a factor for each neuron, and a row for each that was edited."""
    if "factors" not in tensors or tensors["factors"].shape != (model.n_layers, model.d_mlp):
        return False
    return all(
        f"rows.{layer}" in tensors
        and tensors[f"rows.{layer}"].shape == (len(edited), model.d_model)
        for layer, factors in enumerate(tensors["factors"])
        if len(edited := edited_neurons(factors))
    )


def _originals(tensors: Mapping[str, Tensor]) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Each layer with edited neurons: its index, theirs, and their original rows."""
    for layer, factors in enumerate(tensors["factors"]):
        edited = edited_neurons(factors)
        if len(edited):
            yield layer, edited, tensors[f"rows.{layer}"]


def _rest_agrees(edited: Model, base: Model, factors: Tensor) -> bool:
    """All weights but the edited rows are equal bit for bit."""
    known = dict(base.hf.named_parameters())
    downs = {id(tensor) for mlp in edited.mlps for tensor in mlp.tensors()}
    for name, parameter in edited.hf.named_parameters():
        same = torch.equal(parameter.detach(), known[name].detach().to(parameter))
        if id(parameter) not in downs and not same:
            return False
    for layer, mlp in enumerate(edited.mlps):
        unedited = factors[layer, : mlp.width].eq(1.0).nonzero().flatten()
        mine, theirs = mlp.rows(unedited), base.mlps[layer].rows(unedited)
        if not torch.equal(mine, theirs.to(mine)):
            return False
    return True
