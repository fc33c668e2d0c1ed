"""Log-probabilities of several continuations of each of many texts, each text read once.

Edits see what they would see while the model writes: the text as prompt, the rest as its reply.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hlens.model.network import Network
from hlens.model.prefix import repeat_rows

BATCH = 16  # texts at a time, each with all of its continuations


@dataclass(frozen=True)
class Continuations:
    """A text with each of its continuations, as token ids.

    Attributes:
        rows: The text with each continuation.
        shared: How many tokens all rows begin with, up to where the continuations begin.
        start: Where the continuations begin.
    """

    rows: list[list[int]]
    shared: int
    start: int


def continuation_logprobs(
    model: Network, texts: Sequence[Continuations], *, stepwise: bool = False
) -> list[Float[Tensor, " continuation"]]:
    """Log-probability (nats) of every continuation, summed over its tokens, text by text.

    With `stepwise` the continuations are read a token at a time, as a model writes: an edit behind
    a gate needs that.

    Raises:
        HlensError: More tokens than the model has positions, or tokens that it has not.
    """
    model.need_modules("the likelihood of a continuation")
    model.check_prompts([row for text in texts for row in text.rows])
    # A batch holds texts of as many continuations and of like length.
    order = sorted(range(len(texts)), key=lambda i: (len(texts[i].rows), texts[i].shared))
    found: dict[int, Tensor] = {}
    for _, same in groupby(order, key=lambda i: len(texts[i].rows)):
        members = list(same)
        for begin in range(0, len(members), BATCH):
            batch = members[begin : begin + BATCH]
            read = _batch_logprobs(model, [texts[i] for i in batch], stepwise)
            found |= dict(zip(batch, read, strict=True))
    return [found[i] for i in range(len(texts))]


def _batch_logprobs(
    model: Network, texts: Sequence[Continuations], stepwise: bool
) -> Float[Tensor, "text continuation"]:
    n = len(texts[0].rows)
    # First the shared beginnings, whose cache is then repeated for each continuation.
    heads, seen = _pad(model, [text.rows[0][: text.shared] for text in texts], side="left")
    rests, real = _pad(
        model, [row[text.shared :] for text in texts for row in text.rows], side="right"
    )
    with reading_as(model, -1):
        out = _forward(model, heads, mask=seen, last=True)
    first = out.logits[:, -1:].float().log_softmax(-1).repeat_interleave(n, 0)
    repeat_rows(out.past_key_values, len(texts), n)
    seen, past = seen.repeat_interleave(n, 0), out.past_key_values
    if stepwise:
        steps = [*_read_stepwise(model, rests, real, seen=seen, past=past)]
        logprobs = torch.cat([first, *(step[:, None] for step in steps)], dim=1)
    else:
        with reading_as(model, rests.shape[1] - 1):
            mask = torch.cat([seen, real], dim=1)
            out = _forward(model, rests, mask=mask, past=past)
        logprobs = torch.cat([first, out.logits[:, :-1].float().log_softmax(-1)], dim=1)
    own = logprobs.gather(2, rests[..., None])[..., 0]
    skipped = torch.tensor([text.start - text.shared for text in texts]).repeat_interleave(n)
    counted = (torch.arange(rests.shape[1]) >= skipped[:, None]).to(own.device) & real.bool()
    return (own * counted).sum(dim=1).reshape(len(texts), n)


def stepwise_logprobs(
    model: Network, rows: Sequence[Sequence[int]]
) -> list[Float[Tensor, "pos token"]]:
    """Log-probabilities (nats) of the token after each token of each row, but for its last.

    The first token is read as prompt, the others one at a time, as a model writes them.

    Raises:
        HlensError: A row of one token or of too many, or tokens that the model has not.
    """
    model.check_prompts(rows)
    ids, real = _pad(model, [list(row) for row in rows], side="right")
    with reading_as(model, -1):
        out = _forward(model, ids[:, :1], mask=real[:, :1])
    first = out.logits[:, -1].float().log_softmax(-1)
    later = _read_stepwise(
        model, ids[:, 1:], real[:, 1:], seen=real[:, :1], past=out.past_key_values
    )
    every = torch.stack([first, *later], dim=1)
    return [own[: len(row) - 1] for own, row in zip(every, rows, strict=True)]


def _read_stepwise(
    model: Network, ids: Tensor, real: Tensor, *, seen: Tensor, past: Any
) -> Iterator[Float[Tensor, "row token"]]:
    """Log-probabilities of each column but the first, read as the model would have written them.

    The last token of a row is not read: nothing follows it.
    """
    followed = real[:, 1:]
    for step in range(followed.shape[1]):
        now = slice(step, step + 1)
        seen = torch.cat([seen, followed[:, now]], dim=1)
        with reading_as(model, step):
            out = _forward(model, ids[:, now], mask=seen, past=past)
        past = out.past_key_values
        yield out.logits[:, -1].float().log_softmax(-1)


def _forward(
    model: Network, ids: Tensor, *, mask: Tensor, past: Any = None, last: bool = False
) -> Any:
    """A pass of the model; with `last`, only the last column needs logits."""
    takes_last = "logits_to_keep" in signature(model.hf.forward).parameters
    positions = (mask.cumsum(-1) - 1).clamp_min(0)[:, -ids.shape[1] :]
    return model.hf(
        input_ids=ids,
        attention_mask=mask,
        past_key_values=past,
        use_cache=True,
        **model.position_kwargs(positions),
        **({"logits_to_keep": 1} if last and takes_last else {}),
    )


def _pad(
    model: Network, rows: Sequence[list[int]], *, side: str
) -> tuple[Int[Tensor, "row pos"], Int[Tensor, "row pos"]]:
    """Token ids padded on one side, and a mask that is 1 at tokens."""
    ids = [torch.tensor(row, dtype=torch.long, device=model.device) for row in rows]
    mask = pad_sequence([torch.ones_like(row) for row in ids], True, padding_side=side)
    return pad_sequence(ids, True, model.pad_id, padding_side=side), mask


@contextmanager
def reading_as(model: Network, last: int) -> Iterator[None]:
    """Read the last column as token `last` of a reply, -1 as prompt: some edits act on one only."""
    model.clock.generated = last
    try:
        with torch.inference_mode():
            yield
    finally:
        model.clock.generated = None
