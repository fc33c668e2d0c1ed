"""What a forward pass is reading: which token of which row, padding apart.

Edits and monitors act on some tokens only. A forward pass knows no prompt and no answer; this is
where that is worked out, from the attention mask, the cache and the model's clock.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from hlens.errors import HlensError

if TYPE_CHECKING:
    from hlens.model.lens import Model


@dataclass(frozen=True, eq=False)
class Marks:
    """Where prompt and answer stand in the rows that will be read, in tokens without padding.

    Attributes:
        n_prompt: Length of the prompt of each row, or one for all rows.
        answer: Answer span ``[start, stop)`` of each row, or one for all rows.
    """

    n_prompt: int | Sequence[int] | None = None
    answer: tuple[int, int] | Sequence[tuple[int, int]] | None = None


@dataclass(frozen=True, eq=False)
class Reading:
    """The tokens that one forward pass reads.

    Attributes:
        rows: Size of the batch.
        width: Columns of the batch that are read now.
        past: Columns that were read before and rest in the cache.
        mask: True at tokens, False at padding, over past and present; None without padding.
        ids: Token ids, where the model was given ids.
        clock: The model's clock: -1 while a prompt is read, else the index of the generated token
            in the last column; None outside of generation.
        marks: What the caller said of prompt and answer.
        device: Device of the batch.
    """

    rows: int
    width: int
    past: int
    mask: Bool[Tensor, "row column"] | None
    ids: Int[Tensor, "row pos"] | None
    clock: int | None
    marks: Marks
    device: torch.device

    @cached_property
    def real(self) -> Bool[Tensor, "row pos"] | None:
        """True at tokens, False at padding; None where all are tokens."""
        if self.mask is None:
            return None
        now = self.mask[:, -self.width :]
        return None if bool(now.all()) else now

    @cached_property
    def token(self) -> Int[Tensor, "row pos"]:
        """Index of each token in its row, padding not counted; -1 at padding."""
        if self.mask is None:
            index = torch.arange(self.past, self.past + self.width, device=self.device)
            return index.expand(self.rows, -1)
        count = self.mask.long().cumsum(-1) - 1
        return count.masked_fill(~self.mask, -1)[:, -self.width :]

    @cached_property
    def generated(self) -> Int[Tensor, "row pos"]:
        """Index of each token in the answer; negative in the prompt.

        Raises:
            HlensError: Nobody said where the prompt ends.
        """
        if self.marks.n_prompt is not None:
            length = self._per_row(self.marks.n_prompt, "n_prompt")
            return (self.token - length[:, None]).masked_fill(self.token < 0, -1)
        if self.clock is None:
            raise HlensError(
                "a scope within prompt or answer needs to know where the prompt ends: generate "
                "with model.generate, or give model.editing(..., n_prompt=...)"
            )
        if self.clock < 0:
            return torch.full((self.rows, self.width), -1, device=self.device)
        back = torch.arange(self.width - 1, -1, -1, device=self.device)
        index = (self.clock - back).expand(self.rows, -1)
        return index if self.real is None else index.masked_fill(~self.real, -1)

    @cached_property
    def in_answer(self) -> Bool[Tensor, "row pos"]:
        """True inside the answer span; all that is generated where no span was given."""
        if self.marks.answer is None:
            return self.generated >= 0
        span = self._per_row(self.marks.answer, "answer").reshape(-1, 2)
        return (self.token >= span[:, :1]) & (self.token < span[:, 1:])

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


class Tracker:
    """Holds what is being read; None between forward passes."""

    def __init__(self, model: "Model", marks: Marks) -> None:
        self.clock = model.clock
        self.marks = marks
        self.reading: Reading | None = None

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forward pre-hook of the body."""
        ids = args[0] if args else kwargs.get("input_ids")
        read = ids if isinstance(ids, Tensor) else kwargs["inputs_embeds"]
        cache = kwargs.get("past_key_values")
        mask = kwargs.get("attention_mask")
        rows, width = read.shape[:2]
        past = int(cache.get_seq_length()) if cache is not None else 0
        usable = isinstance(mask, Tensor) and mask.shape == (rows, past + width)
        seen = mask.bool() if usable else None  # pyright: ignore[reportOptionalMemberAccess]
        self.reading = Reading(
            rows=rows,
            width=width,
            past=past,
            mask=self._without_ended(seen, rows, past + width, read.device),
            ids=ids if isinstance(ids, Tensor) else None,
            clock=self.clock.generated,
            marks=self.marks,
            device=read.device,
        )

    def _without_ended(
        self, mask: Tensor | None, rows: int, columns: int, device: torch.device
    ) -> Tensor | None:
        """While rows are written together, those that have ended are fed padding."""
        ended = self.clock.ended
        if ended is None or len(ended) != rows or not bool(ended.any()):
            return mask
        if mask is None:
            mask = torch.ones(rows, columns, dtype=torch.bool, device=device)
        else:
            mask = mask.clone()
        mask[:, -1] &= ~ended.to(device)
        return mask

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Forward hook of the body."""
        self.reading = None


@contextmanager
def tracking(model: "Model", marks: Marks) -> Iterator[Tracker]:
    """Follow what the model, or its bridge, reads."""
    tracker = Tracker(model, marks)
    twin = model.bridge.original_model
    bodies = {id(body): body for body in (model.body, getattr(twin, "base_model", twin))}
    handles = []
    for body in bodies.values():
        handles.append(body.register_forward_pre_hook(tracker.enter, with_kwargs=True))
        handles.append(body.register_forward_hook(tracker.leave, always_call=True))
    try:
        yield tracker
    finally:
        for handle in handles:
            handle.remove()
