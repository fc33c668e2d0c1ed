"""The tokens of one forward pass: which row and place, prompt or answer, token or padding.

Edits and monitors act on some tokens only. A forward pass knows no prompt and no answer; both are
worked out here, from the attention mask, the cache and the model's clock.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from hlens.errors import HlensError
from hlens.model.network import Network
from hlens.model.own_thread import hook_input, hook_output


@dataclass(frozen=True, eq=False)
class RowSpans:
    """Where prompt and answer are in the rows of a batch, in tokens without padding.

    Attributes:
        n_prompt: Length of the prompt of each row, or one for all rows.
        answer: Answer span ``[start, stop)`` of each row, or one for all rows.

    Raises:
        HlensError: Lengths or spans that are none.
    """

    n_prompt: int | Sequence[int] | None = None
    answer: tuple[int, int] | Sequence[tuple[int, int]] | None = None

    def __post_init__(self) -> None:
        lengths, spans = map(_as_whole, (self.n_prompt, self.answer))
        if self.n_prompt is not None and (lengths is None or lengths.dim() > 1):
            raise HlensError(
                f"n_prompt={self.n_prompt!r:.60}; expected the length of the prompt in tokens, or "
                "one for each row"
            )
        ends = None if spans is None or spans.dim() not in (1, 2) else spans.unbind(-1)
        if self.answer is not None and not (
            ends and len(ends) == 2 and bool((ends[0] <= ends[1]).all())
        ):
            raise HlensError(
                f"answer={self.answer!r:.60}; expected (start, stop) in tokens, start not behind "
                "stop, or one such pair for each row"
            )


def _as_whole(given: object) -> Tensor | None:
    """Whole numbers, none of them negative, as a tensor; None for anything else."""
    try:
        numbers = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        return None
    whole = not (numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool)
    return numbers if whole and not bool((numbers < 0).any()) else None


@dataclass(frozen=True, eq=False)
class TokenBatch:
    """The tokens that one forward pass reads.

    Attributes:
        rows: Size of the batch.
        width: Columns of the batch that are read now.
        past: Columns that were read before and are in the cache.
        mask: True at tokens, False at padding, over past and present; None without padding.
        ids: Token ids, where the model was given ids.
        clock: The model's clock: -1 while a prompt is read, else the index of the generated token
            in the last column; None outside of generation.
        spans: Prompt and answer, as the caller gave them.
        device: Device of the batch.
    """

    rows: int
    width: int
    past: int
    mask: Bool[Tensor, "row column"] | None
    ids: Int[Tensor, "row pos"] | None
    clock: int | None
    spans: RowSpans
    device: torch.device

    @cached_property
    def not_padding(self) -> Bool[Tensor, "row pos"] | None:
        """True at tokens, False at padding; None where all are tokens."""
        if self.mask is None:
            return None
        now = self.mask[:, -self.width :]
        return None if bool(now.all()) else now

    @cached_property
    def position(self) -> Int[Tensor, "row pos"]:
        """Index of each token in its row, padding not counted; -1 at padding."""
        if self.mask is None:
            index = torch.arange(self.past, self.past + self.width, device=self.device)
            return index.expand(self.rows, -1)
        count = self.mask.long().cumsum(-1) - 1
        return count.masked_fill(~self.mask, -1)[:, -self.width :]

    @cached_property
    def generated(self) -> Int[Tensor, "row pos"]:
        """Index of each token in the answer; negative in the prompt and at padding.

        Raises:
            HlensError: The end of the prompt is not known.
        """
        if self.spans.n_prompt is not None:
            length = self._per_row(self.spans.n_prompt, "n_prompt")
            return (self.position - length[:, None]).masked_fill(self.position < 0, -1)
        if self.clock is None:
            raise HlensError(
                "a scope within prompt or answer needs to know where the prompt ends: generate "
                "with model.generate, or give model.editing(..., n_prompt=...)"
            )
        if self.clock < 0:
            return torch.full((self.rows, self.width), -1, device=self.device)
        back = torch.arange(self.width - 1, -1, -1, device=self.device)
        index = (self.clock - back).expand(self.rows, -1)
        return index if self.not_padding is None else index.masked_fill(~self.not_padding, -1)

    @cached_property
    def in_answer(self) -> Bool[Tensor, "row pos"]:
        """True inside the answer span; at all generated tokens where no span was given."""
        if self.spans.answer is None:
            return self.generated >= 0
        span = self._per_row(self.spans.answer, "answer").reshape(-1, 2)
        return (self.position >= span[:, :1]) & (self.position < span[:, 1:])

    def _per_row(self, value: object, name: str) -> Tensor:
        given = torch.as_tensor(value, device=self.device)
        if given.dim() == (0 if name == "n_prompt" else 1):
            given = given.expand(self.rows, *given.shape)
        if len(given) != self.rows:
            raise HlensError(
                f"{name} was given for {len(given)} rows, the model reads {self.rows}; give one "
                "for each row of the batch"
            )
        return given


class TokenTracker:
    """Holds the batch of the forward pass that is running; None between forward passes."""

    def __init__(self, model: Network, spans: RowSpans) -> None:
        self.clock = model.clock
        self.spans = spans
        self.batch: TokenBatch | None = None

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forward pre-hook of the body."""
        ids = args[0] if args else kwargs.get("input_ids")
        tokens = ids if isinstance(ids, Tensor) else kwargs["inputs_embeds"]
        cache = kwargs.get("past_key_values")
        mask = kwargs.get("attention_mask")
        rows, width = tokens.shape[:2]
        past = int(cache.get_seq_length()) if cache is not None else 0
        shape = (rows, past + width)
        # A mask of more axes says which token sees which, not where padding is.
        mask = mask.bool() if isinstance(mask, Tensor) and mask.shape == shape else None
        ended = self.clock.ended
        if ended is not None and len(ended) == rows and bool(ended.any()):
            # While rows are generated together, those that have ended are fed padding.
            mask = tokens.new_ones(shape, dtype=torch.bool) if mask is None else mask.clone()
            mask[:, -1] &= ~ended.to(mask.device)
        self.batch = TokenBatch(
            rows=rows,
            width=width,
            past=past,
            mask=mask,
            ids=ids if isinstance(ids, Tensor) else None,
            clock=self.clock.generated,
            spans=self.spans,
            device=tokens.device,
        )

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Forward hook of the body."""
        self.batch = None


@contextmanager
def tracking_tokens(model: Network, spans: RowSpans) -> Iterator[TokenTracker]:
    """Follow which tokens the model, or its bridge, is reading."""
    tracker = TokenTracker(model, spans)
    twin = model.bridge.original_model
    # Some models (OPT) run their decoder past the body; the body is run without them, too.
    ways = [model.hf, model.body, twin, getattr(twin, "base_model", twin)]
    with ExitStack() as stack:
        for way in {id(way): way for way in ways}.values():
            stack.enter_context(hook_input(way, tracker.enter, with_kwargs=True))
            # Called even when the pass fails, so that no later pass sees tokens of this one.
            stack.enter_context(hook_output(way, tracker.leave, always_call=True))
        yield tracker
