"""One forward pass, read at the answers' tokens: residual stream, attention, logits, neurons."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hlens.contributions.reducing import Reducer
from hlens.contributions.tasks import Task
from hlens.model import Model, capturing, unembedding_at


@dataclass(frozen=True, eq=False)
class Row:
    """A sequence as it stands in a forward pass.

    Attributes:
        task: The sequence; its example's span is what is read.
        offset: How many of its tokens rest in the cache already.
    """

    task: Task
    offset: int

    @property
    def span(self) -> tuple[int, int]:
        """The span, counted from the first token that is run now."""
        example = self.task.example
        return example.start - self.offset, example.stop - self.offset


class Reader:
    """Takes readings while a pass runs; holds nothing that grows with the prompts' length.

    Attributes:
        states: Mean over the span and value at its last token, ``[layer, row, 2, d_model]``.
        lookback: Attention ratios by layer, ``[row, head]``; empty where none were heard.
    """

    def __init__(self, model: Model, rows: Sequence[Row], columns: int, cached: int) -> None:
        """Lay out what is read.

        Args:
            model: The model.
            rows: The sequences of the pass.
            columns: Tokens of each that are run, padding included.
            cached: Columns of the cache before them.
        """
        self.model = model
        self.rows = rows
        self.cached = cached
        self.states = torch.empty(model.n_layers, len(rows), 2, model.d_model)
        self.lookback: dict[int, Float[Tensor, "row head"]] = {}
        self.weights = torch.zeros(len(rows), 2, columns)
        for weights, row in zip(self.weights, rows, strict=True):
            start, stop = row.span
            weights[0, start:stop] = 1 / (stop - start)
            weights[1, stop - 1] = 1
        # Each token is drawn from the distribution at the position before it.
        self.places = torch.tensor(
            [(at, p - 1) for at, row in enumerate(rows) for p in range(*row.span)]
        )

    @contextmanager
    def reading(self, reducer: Reducer, attention: bool) -> Iterator[None]:
        """Read the pass that the block runs."""
        with ExitStack() as stack:
            stack.enter_context(reducer.hooked())
            hear = self._attention if attention else None
            stack.enter_context(capturing(self.model, residual=self._residual, attention=hear))
            stack.enter_context(unembedding_at(self.model, *self.places.T))
            yield

    def distributions(
        self, logits: Float[Tensor, "1 place token"]
    ) -> list[tuple[list[float], list[float]]]:
        """Log-probabilities and entropies (nats) of the span's tokens, for each row."""
        logprobs = logits[0].float().log_softmax(dim=-1)
        entropies = -(logprobs.exp() * logprobs).nansum(dim=-1)  # 0 log 0 is 0
        tokens = [
            row.task.token_ids[row.task.example.start : row.task.example.stop] for row in self.rows
        ]
        own = logprobs.gather(1, torch.cat(tokens)[:, None].to(logprobs.device))[:, 0]
        sizes = [len(part) for part in tokens]
        parts = zip(own.cpu().split(sizes), entropies.cpu().split(sizes), strict=True)
        return [(a.tolist(), b.tolist()) for a, b in parts]

    def _residual(self, layer: int, hidden: Tensor) -> None:
        weights = self.weights.to(hidden.device)
        self.states[layer] = torch.bmm(weights, hidden.float()).cpu()

    def _attention(self, layer: int, weights: Float[Tensor, "row head pos key"]) -> None:
        """Lookback ratio: attention to a token of the prompt over that plus to one of the response.

        Means over the tokens of each part, so that a long prompt is not favoured (Chuang et al.
        2024, eq. 1).
        """
        device, key = weights.device, self._keys(weights.shape[-1])
        n_prompt = torch.tensor([row.task.example.n_prompt for row in self.rows])[:, None]
        to_prompt = ((key >= 0) & (key < n_prompt)).float() / n_prompt
        own = (key >= n_prompt).float()  # what comes later has no weight: attention is causal
        offset = torch.tensor([row.offset for row in self.rows])[:, None]
        at = offset + torch.arange(weights.shape[2])
        n_own = (at - n_prompt + 1).clamp_min(1)[:, None].to(device)
        prompt = torch.einsum("rhpk,rk->rhp", weights.float(), to_prompt.to(device))
        response = torch.einsum("rhpk,rk->rhp", weights.float(), own.to(device)) / n_own
        ratio = prompt / (prompt + response).clamp_min(1e-30)
        mean = self.weights[:, 0].to(device)
        self.lookback[layer] = torch.einsum("rhp,rp->rh", ratio, mean).cpu()

    def _keys(self, n_keys: int) -> Tensor:
        """Index in its own sequence of the token behind each key, ``[row, key]``; -1 at padding."""
        column = torch.arange(n_keys)
        offset = torch.tensor([row.offset for row in self.rows])[:, None]
        in_cache = torch.where(column < offset, column, -1)
        return torch.where(column < self.cached, in_cache, offset + column - self.cached)
