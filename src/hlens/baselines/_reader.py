"""Readings of one forward pass at the answers' tokens: residual stream, attention, logits."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hlens.baselines._lens import signals_of_answers
from hlens.baselines._sae import Sae
from hlens.contributions.reducing import Reducer
from hlens.contributions.rows import Piece
from hlens.model import Model, capturing, unembedding_at

# Log-probabilities of a span's tokens, and entropies of their distributions, in nats.
TokenNumbers = tuple[tuple[float, ...], tuple[float, ...]]


class Reader:
    """Takes readings while a pass runs; holds nothing that grows with the prompts' length.

    It reads the answer spans of the pieces, which are run with `columns` tokens each, padding
    included, behind `cached` columns of the cache.
    """

    def __init__(
        self,
        model: Model,
        pieces: Sequence[Piece],
        *,
        columns: int,
        cached: int,
        lens_layers: Sequence[int] = (),
        sae: Sae | None = None,
    ) -> None:
        self.model = model
        self.pieces = pieces
        self.cached = cached
        self.offsets = torch.tensor([piece.start for piece in pieces])[:, None]
        # Mean over the span, and value at its last token.
        self.states = torch.empty(model.n_layers, len(pieces), 2, model.d_model)
        # Attention ratios by layer; empty where no attention was read.
        self.lookback: dict[int, Float[Tensor, "row head"]] = {}
        # By layer, the stream from which each token of the spans was predicted.
        self.predicting: dict[int, Float[Tensor, "place d_model"]] = {}
        self.lens_layers = frozenset(lens_layers)
        self.lens = torch.empty(len(pieces), 0)
        self.sae = sae
        self.sae_features = torch.empty(len(pieces), 0)
        self.weights = torch.zeros(len(pieces), 2, columns)
        # Counted from the first token that is run now.
        examples = [piece.row.example for piece in pieces]
        spans = [
            (e.start - p.start, e.stop - p.start) for e, p in zip(examples, pieces, strict=True)
        ]
        for weights, (start, stop) in zip(self.weights, spans, strict=True):
            weights[0, start:stop] = 1 / (stop - start)
            weights[1, stop - 1] = 1
        # Each token is drawn from the distribution at the position before it.
        self.places = torch.tensor(
            [(row, token - 1) for row, span in enumerate(spans) for token in range(*span)]
        )

    @contextmanager
    def reading(self, reducer: Reducer, *, attention: bool) -> Iterator[None]:
        """Read the pass that the block runs."""
        read_attention = self._attention if attention else None
        with (
            reducer.hooked(),
            capturing(self.model, residual=self._residual, attention=read_attention),
            unembedding_at(self.model, *self.places.T),
        ):
            yield

    def distributions(self, logits: Float[Tensor, "1 place token"]) -> list[TokenNumbers]:
        """The numbers of each row's span."""
        logprobs = logits[0].float().log_softmax(dim=-1)
        entropies = -(logprobs.exp() * logprobs).nansum(dim=-1)  # 0 log 0 is 0
        tokens = self._tokens()
        own = logprobs.gather(1, torch.cat(tokens)[:, None].to(logprobs.device))[:, 0]
        sizes = [len(part) for part in tokens]
        parts = zip(own.cpu().split(sizes), entropies.cpu().split(sizes), strict=True)
        return [(tuple(a.tolist()), tuple(b.tolist())) for a, b in parts]

    def read_lens(self) -> None:
        """The numbers of the logit lens, once the pass has run."""
        states = [self.predicting.pop(layer) for layer in sorted(self.lens_layers)]
        self.lens = signals_of_answers(self.model, states, self._tokens())

    def _tokens(self) -> list[Int[Tensor, " _"]]:
        """The tokens of each row's span."""
        examples = [piece.row.example for piece in self.pieces]
        return [example.token_ids[example.start : example.stop] for example in examples]

    def _residual(self, layer: int, hidden: Tensor) -> None:
        weights = self.weights.to(hidden.device)
        self.states[layer] = torch.bmm(weights, hidden.float()).cpu()
        rows, positions = self.places.T.to(hidden.device)
        if layer in self.lens_layers:
            self.predicting[layer] = hidden[rows, positions].cpu()
        if self.sae is not None and layer == self.sae.layer:
            spans = hidden[rows, positions + 1].cpu().split([len(own) for own in self._tokens()])
            strongest = [self.sae.encode(span).amax(dim=0) for span in spans]
            self.sae_features = torch.stack(strongest)

    def _attention(self, layer: int, weights: Float[Tensor, "row head pos key"]) -> None:
        """Lookback ratio: attention to a token of the prompt over that plus to one of the response.

        Means over the tokens of each part, so that a long prompt is not favoured (Chuang et al.
        2024, eq. 1).
        """
        device, key = weights.device, self._keys(weights.shape[-1])
        n_prompt = torch.tensor([piece.row.example.n_prompt for piece in self.pieces])[:, None]
        to_prompt = ((key >= 0) & (key < n_prompt)).float() / n_prompt
        own = (key >= n_prompt).float()  # what comes later has no weight: attention is causal
        position = self.offsets + torch.arange(weights.shape[2])
        n_own = (position - n_prompt + 1).clamp_min(1)[:, None].to(device)
        prompt = torch.einsum("rhpk,rk->rhp", weights.float(), to_prompt.to(device))
        response = torch.einsum("rhpk,rk->rhp", weights.float(), own.to(device)) / n_own
        ratio = prompt / (prompt + response).clamp_min(1e-30)
        mean = self.weights[:, 0].to(device)
        self.lookback[layer] = torch.einsum("rhp,rp->rh", ratio, mean).cpu()

    def _keys(self, n_keys: int) -> Tensor:
        """Position in its own row of the token behind each key, ``[row, key]``; -1 at padding."""
        column = torch.arange(n_keys)
        in_cache = torch.where(column < self.offsets, column, -1)
        return torch.where(column < self.cached, in_cache, self.offsets + column - self.cached)
