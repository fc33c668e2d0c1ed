"""Whether two models are siblings: one shape, one vocabulary, and not the very same weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hlens.errors import HlensError
from hlens.model import Model
from hlens.types import Example, NeuronSet, same_fingerprint

COLUMNS = ("layer", "neuron", "cosine", "norm_ratio")
NO_NEURON = "the detector selected no neuron; find one with a larger C first"


def check_siblings(home: Model, sibling: Model) -> None:
    """Raise `HlensError` unless the two have one shape and weights that differ.

    A copy in another dtype is a sibling, although its fingerprint is the same: fingerprints are
    made at bfloat16 precision, and what is rounded is not what was measured.
    """
    shapes = [(m.n_layers, m.d_mlp, m.d_model) for m in (home, sibling)]
    if shapes[0] != shapes[1]:
        raise HlensError(
            f"{sibling.name} has {shapes[1]} layers x neurons x d_model, {home.name} has "
            f"{shapes[0]}; a sibling has the same shape, so that each neuron has its counterpart"
        )
    if same_fingerprint(home.fingerprint, sibling.fingerprint) and _have_equal_weights(
        home, sibling
    ):
        raise HlensError(
            f"{sibling.name} has the very weights of {home.name}, so it is no sibling; give a "
            "quantised, tuned or base model, another revision or dtype"
        )


def check_tokens(home: Model, sibling: Model, examples: Sequence[Example]) -> None:
    """Raise `HlensError` where a token of the examples is another in the sibling's vocabulary.

    Only tokens that occur are compared: a sibling may know more of them, or have another chat
    template, since it reads the home model's answers token for token and writes none.

    Models without a tokenizer are compared by the number of tokens that they embed.
    """
    used = np.unique(np.concatenate([example.token_ids.cpu().numpy() for example in examples]))
    if int(used[-1]) >= sibling.n_tokens:
        raise HlensError(
            f"{sibling.name} has {sibling.n_tokens} tokens, and the answers of {home.name} hold "
            f"token {int(used[-1])}: another vocabulary; a sibling reads the same tokens"
        )
    if home.tokenizer is None or sibling.tokenizer is None:
        return
    ours, theirs = (_named(model.tokenizer, used) for model in (home, sibling))
    differing = [(i, a, b) for i, a, b in zip(used, ours, theirs, strict=True) if a != b]
    if differing:
        token, own, other = differing[0]
        raise HlensError(
            f"{len(differing)} of the {len(used)} tokens in these answers are others in the "
            f"vocabulary of {sibling.name} (token {token}: {own!r:.40} at home, {other!r:.40} "
            "there); a sibling reads the same tokens"
        )


def compare_weights(home: Model, sibling: Model, neurons: NeuronSet) -> pd.DataFrame:
    """How far the row of W_out of each neuron has turned and grown from one model to the other.

    Returns:
        One row a neuron, by (layer, neuron): ``layer, neuron, cosine, norm_ratio``; the ratio is
        of the sibling's norm to that at home, and both are NaN where a row is zero.

    Raises:
        HlensError: The models are no siblings (see `check_siblings`), or the neurons are none or
            of another shape.
    """
    check_siblings(home, sibling)
    if (neurons.n_layers, neurons.d_mlp) != (home.n_layers, home.d_mlp):
        raise HlensError(
            f"neurons of {(neurons.n_layers, neurons.d_mlp)} layers x neurons, models of "
            f"{(home.n_layers, home.d_mlp)}; give the neurons of a detector of {home.name}"
        )
    if len(neurons) == 0:
        raise HlensError(NO_NEURON)
    rows = []
    for layer in range(neurons.n_layers):
        chosen = neurons.in_layer(layer)
        if not chosen:
            continue
        own, other = (_rows(model.w_out(layer), chosen) for model in (home, sibling))
        norms = torch.linalg.vector_norm(own, dim=1), torch.linalg.vector_norm(other, dim=1)
        cosines = (own * other).sum(dim=1) / (norms[0] * norms[1])  # NaN where a row is zero
        ratios = norms[1] / norms[0].where(norms[0] > 0, float("nan"))
        triples = zip(chosen, cosines.clamp(-1, 1).tolist(), ratios.tolist(), strict=True)
        rows += [(layer, *triple) for triple in triples]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(w_out: Tensor, chosen: Sequence[int]) -> Tensor:
    return w_out[torch.tensor(chosen, device=w_out.device)].cpu().double()


def _named(tokenizer: Any, ids: np.ndarray) -> list[str | None]:
    """The vocabulary's own names of tokens; None for one that it does not have."""
    names = {number: token for token, number in tokenizer.get_vocab().items()}
    return [names.get(int(one)) for one in ids]


def _have_equal_weights(home: Model, sibling: Model) -> bool:
    """Whether every weight is equal, dtypes included: fingerprints do not tell dtypes apart."""
    own, other = (dict(model.hf.named_parameters()) for model in (home, sibling))
    return own.keys() == other.keys() and all(
        weight.dtype == other[name].dtype
        and torch.equal(weight.detach(), other[name].detach().to(weight.device))
        for name, weight in own.items()
    )
