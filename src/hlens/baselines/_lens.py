"""What each layer would say next: eight numbers of an answer, read by the logit lens."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hlens.model import Model, lens_logits

MOST_LAYERS = 12  # each costs an unembedding of every answer token
_LOGITS = 1 << 25  # logits held at a time: 128 MB in float32

SIGNALS = (
    "share of layers that say what the last one says, mean",
    "share of layers that say what the last one says, least",
    "share of layers that say the given token, mean",
    "depth from which the top token stays, mean",
    "depth from which the top token stays, greatest",
    "changes of the top token from layer to layer, mean",
    "log-probability of the given token in the upper half below the last layer, mean",
    "what the last layer adds to that, mean",
)


def layers_to_read(n_layers: int) -> list[int]:
    """All layers of a shallow model, or evenly spaced ones; the last is always among them.

    >>> layers_to_read(4), layers_to_read(30)
    ([0, 1, 2, 3], [0, 3, 5, 8, 11, 13, 16, 18, 21, 24, 26, 29])
    """
    return torch.linspace(0, n_layers - 1, min(n_layers, MOST_LAYERS)).round().int().tolist()


def read_tokens(
    model: Model, states: Float[Tensor, "layer token d_model"], given: Int[Tensor, " token"]
) -> tuple[Int[Tensor, "layer token"], Float[Tensor, "layer token"]]:
    """Each layer's likeliest next token, and its log-probability (nats) of the given one.

    Logits are made a piece at a time, whatever the size of the vocabulary.
    """
    n_layers, n_tokens, _ = states.shape
    every, wanted = states.flatten(0, 1), given.repeat(n_layers)
    size = max(1, _LOGITS // model.unembedding_size)
    top, logprob = [], []
    for piece, token in zip(every.split(size), wanted.split(size), strict=True):
        logits = lens_logits(model, piece).float()
        own = logits.gather(1, token[:, None].to(logits.device))[:, 0]
        top.append(logits.argmax(dim=1).cpu())
        logprob.append((own - logits.logsumexp(dim=1)).cpu())
    shape = n_layers, n_tokens
    return torch.cat(top).reshape(shape), torch.cat(logprob).reshape(shape)


def signals(
    top: Int[Tensor, "layer token"],
    logprob: Float[Tensor, "layer token"],
    given: Int[Tensor, " token"],
) -> Float[Tensor, " signal"]:
    """The numbers of `SIGNALS` of one answer; depths and changes are shares of the layers.

    The top token of the first two layers differs from the last one's, and changes once:

    >>> top = torch.tensor([[5], [5], [7]])
    >>> [round(x, 2) for x in signals(top, torch.zeros(3, 1), torch.tensor([7])).tolist()]
    [0.33, 0.33, 0.33, 1.0, 1.0, 0.5, 0.0, 0.0]
    """
    n = len(top)
    steps = max(1, n - 1)
    same: Bool[Tensor, "layer token"] = top == top[-1]
    agreement = same.float().mean(dim=0)
    settled = (~same * torch.arange(1, n + 1)[:, None]).amax(dim=0) / steps
    changes = (top[1:] != top[:-1]).sum(dim=0) / steps
    upper = logprob[n // 2 : max(n - 1, n // 2 + 1)].mean(dim=0)
    return torch.stack(
        [
            agreement.mean(),
            agreement.min(),
            (top == given).float().mean(),
            settled.mean(),
            settled.max(),
            changes.mean(),
            upper.mean(),
            (logprob[-1] - upper).mean(),
        ]
    )


def signals_of_answers(
    model: Model,
    states: Sequence[Float[Tensor, "place d_model"]],
    answers: Sequence[Int[Tensor, " _"]],
) -> Float[Tensor, "answer signal"]:
    """The signals of several answers, whose tokens follow one another in each layer's states."""
    given = torch.cat(list(answers))
    top, logprob = read_tokens(model, torch.stack(list(states)), given)
    sizes = [len(answer) for answer in answers]
    parts = zip(top.split(sizes, dim=1), logprob.split(sizes, dim=1), answers, strict=True)
    return torch.stack([signals(*part) for part in parts])
