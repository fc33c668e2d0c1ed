"""Chosen neurons at every token of texts that are written: a detector's score, or each by itself.

An engine (`hlens.engines`) registers ways of its own for its kind of model.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial, singledispatch

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hlens.contributions.schedule import auto_tokens
from hlens.errors import HlensError
from hlens.metrics import Metric, cett
from hlens.model import (
    MlpActs,
    Model,
    can_share_prefixes,
    common_length,
    run_with_prefixes,
)
from hlens.monitor.watching import TokenScores, watching
from hlens.types import Detector, MlpTrace

Neuron = tuple[int, int]  # layer and index
LEAST_SHARED = 8  # tokens: to run fewer once saves nothing


@singledispatch
def score_tokens(
    model: Model,
    detector: Detector,
    rows: Sequence[Sequence[int]],
    *,
    metric: Metric | None = None,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Float[np.ndarray, " pos"]]:
    """Log-odds of each token of each sequence, those of the prompt included.

    What all sequences begin with is run once, where the model's keys and values can be shared.
    """
    scores: list[np.ndarray] = [np.zeros(0)] * len(rows)
    seen: list[TokenScores] = []
    done = 0
    if not rows:
        return scores
    common = _shared_beginning(model, rows)
    lengths = [len(row) - common for row in rows]
    # Prompts are scored, too, and cut off afterwards: `watching` takes one n_prompt for all rows.
    with (
        watching(model, detector, on_scores=seen.append, n_prompt=0, metric=metric),
        torch.inference_mode(),
    ):
        beginning, head = [], np.zeros(0)
        if common:
            ids = torch.tensor([list(rows[0][:common])], device=model.device)
            _, prefix = run_with_prefixes(model, ids, torch.tensor([common]), keep=True)
            beginning, head = [prefix], seen.pop().score[0].cpu().double().numpy()
        for batch in _batches(lengths, auto_tokens(model), batch_size):
            own = [torch.tensor(rows[i][common:], dtype=torch.long) for i in batch]
            # Attention is causal: no token reads the padding to its right.
            padded = pad_sequence(own, batch_first=True).to(model.device)
            run_with_prefixes(model, padded, torch.tensor(list(map(len, own))), beginning)
            read = seen.pop().score.cpu().double().numpy()
            for i, row in zip(batch, read, strict=True):
                scores[i] = np.concatenate([head, row[: lengths[i]]])
            check_finite(model, [scores[i] for i in batch])
            done += len(batch)
            if progress is not None:
                progress(done, len(rows))
    return scores


def _shared_beginning(model: Model, rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all sequences begin with, leaving each one of its own; 0 where not shared."""
    if len(rows) < 2:
        return 0
    common = min(common_length(rows), min(map(len, rows)) - 1)
    worth = common >= LEAST_SHARED and can_share_prefixes(model, max(map(len, rows)))
    return common if worth else 0


def _batches(lengths: Sequence[int], tokens: int, size: int | None) -> Iterator[list[int]]:
    """Batches of rows, by index: `size` rows, or about `tokens` padded tokens, longest first."""
    waiting = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    while waiting:
        n = size or max(1, tokens // lengths[waiting[0]])
        yield waiting[:n]
        waiting = waiting[n:]


def check_finite(model: Model, scores: Sequence[np.ndarray]) -> None:
    """Raise `HlensError` for scores that are not finite."""
    if not all(np.isfinite(row).all() for row in scores):
        raise HlensError(
            f"scores that are not finite; in {model.dtype} the model overflows: load it in "
            "bfloat16 or float32"
        )


@singledispatch
def read_neurons(
    model: Model, token_ids: Sequence[int], neurons: Sequence[Neuron]
) -> dict[Neuron, list[float]]:
    """CETT of some neurons at every token of one text."""
    reading: dict[Neuron, list[float]] = {}

    def keep(layer: int, own: list[int], acts: MlpActs, out: Tensor) -> None:
        index = torch.tensor(own)
        rows = model.mlps[layer].rows(index)
        act = acts.weighted_columns(index.to(rows.device))
        values = cett(MlpTrace(act, out.reshape(len(act), -1), rows)).cpu()
        reading.update({(layer, neuron): values[:, i].tolist() for i, neuron in enumerate(own)})

    with torch.no_grad(), ExitStack() as stack:
        for layer in sorted({layer for layer, _ in neurons}):
            own = sorted(neuron for of_layer, neuron in neurons if of_layer == layer)
            stack.enter_context(model.mlps[layer].reading(partial(keep, layer, own)))
        ids = torch.tensor([list(token_ids)], device=model.device)
        model.body(input_ids=ids, use_cache=False)
    return reading
