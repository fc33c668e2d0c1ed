"""Repeatable sampling: every sample draws from a seed of its own, whatever its batch."""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hlens.checks import check_real, check_whole
from hlens.errors import HlensError
from hlens.model.network import Network
from hlens.model.prefix import can_share_prefixes, common_length, repeat_rows
from hlens.model.widening import widen
from hlens.types import Thought

MOST_NEW_TOKENS = 100_000
LEAST_TEMPERATURE = 1e-3  # below, float32 has no probabilities left
FEW_ROWS = 8  # which cost nearly what half as many do


@dataclass(frozen=True)
class Settings:
    """How to sample; the defaults are those of arXiv 2512.01797.

    Attributes:
        max_new_tokens: Where to cut a response; 1 or more.
        temperature: 0 decodes greedily; else from 0.001 to 100.
        top_k: Keep the k likeliest tokens; 0 keeps all.
        top_p: Keep the smallest set of tokens with this mass, above 0 and at most 1.
        until_newline: End a response at its first newline, as text to be continued ends; the
            token that holds the newline is left out, as an end-of-turn token is.

    Raises:
        HlensError: A setting that is no number, or out of its limits.
    """

    max_new_tokens: int = 50
    temperature: float | int = 1.0
    top_k: int = 50
    top_p: float | int = 0.9
    until_newline: bool = False

    def __post_init__(self) -> None:
        limits: dict[str, Any] = {"least": 1, "most": MOST_NEW_TOKENS}
        checked = {
            "max_new_tokens": check_whole("max_new_tokens", self.max_new_tokens, **limits),
            "temperature": check_real("temperature", self.temperature, most=100),
            "top_k": check_whole("top_k", self.top_k),
            "top_p": check_real("top_p", self.top_p, above=0, most=1),
        }
        if 0 < checked["temperature"] < LEAST_TEMPERATURE:
            raise HlensError(
                f"temperature={self.temperature!r}; expected 0, which is greedy, or a number from "
                f"{LEAST_TEMPERATURE:g} to 100"
            )
        for name, value in checked.items():  # a scalar of numpy as the number that it is
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Generation:
    """One continuation; prints as its text.

    Attributes:
        text: Decoded behind the thought, special tokens left out (empty without a tokenizer).
        token_ids: The new tokens, the end-of-turn token left out.
        logprobs: Log-probability of each under the unwarped model, in nats.
        finish_reason: ``"stop"`` (the model ended it, or a newline) or ``"length"``.
        thought: What it begins with, where the model thinks aloud.
    """

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: str
    thought: Thought | None = None

    def __str__(self) -> str:
        return self.text


def mix_seed(*parts: object) -> int:
    """One 63-bit seed out of several parts, the same on every machine.

    >>> mix_seed(0, "q1", 2) == mix_seed(0, "q1", 2) != mix_seed(0, "q1", 3)
    True
    """
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class EndOfReply:
    """Which tokens end a response; also a stopping criterion of ``generate``."""

    def __init__(self, model: Network, until_newline: bool) -> None:
        self._model, self._until_newline = model, until_newline
        self._known = dict.fromkeys(model.stop_ids, True)

    def __getitem__(self, token: int) -> bool:
        """Whether a token ends the response that it is in."""
        if token not in self._known:
            # A newline is a character of its own in every vocabulary, so one token tells.
            self._known[token] = self._until_newline and "\n" in self._model.decode([token])
        return self._known[token]

    def __call__(
        self, input_ids: Int[Tensor, "row pos"], *_: Any, **__: Any
    ) -> Bool[Tensor, " row"]:
        """Whether each row ends with its last token."""
        ends = [self[token] for token in input_ids[:, -1].tolist()]
        return torch.tensor(ends, device=input_ids.device)


class SeededSampler:
    """Logits processor that picks each row's token from that row's own random numbers.

    It runs inside greedy decoding and leaves only the picked token finite, so that a sample does
    not depend on its batch (but for rounding: a batch of another shape may round its logits
    differently, and a draw within that rounding of a boundary may fall to the neighbouring token).
    """

    def __init__(self, settings: Settings, seeds: Sequence[int], model: Network) -> None:
        self.settings = settings
        self.model = model
        self.clock = model.clock
        self.ends = EndOfReply(model, settings.until_newline)
        n = settings.max_new_tokens
        self.uniforms = torch.stack([draw_uniforms(n, seed) for seed in seeds])
        self.rows = torch.arange(len(seeds))  # that are in the batch
        self.logprobs: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        step = len(self.logprobs)
        logprobs = torch.log_softmax(scores.float(), dim=-1)
        # One logit that is NaN makes them all NaN; else the first token would be drawn for ever.
        if bool(logprobs[:, 0].isnan().any()):
            raise HlensError(
                f"{self.model.name} gives logits that are NaN at token {step} of a reply: it "
                f"overflows in {self.model.dtype}; load it with dtype='bfloat16' or 'float32'"
            )
        token = self.pick(input_ids, logprobs)
        drawn = torch.full((len(self.uniforms),), torch.nan)
        drawn[self.rows] = logprobs.gather(1, token).squeeze(1).cpu()
        self.logprobs.append(drawn)
        self.clock.generated = step
        self.clock.end(self.ends(token))
        return torch.full_like(scores, -torch.inf).scatter(1, token, 0.0)

    def pick(self, input_ids: Tensor, logprobs: Tensor) -> Int[Tensor, "row one"]:
        """The next token of each row of the batch."""
        uniforms = self.uniforms[self.rows, len(self.logprobs)]
        return pick_tokens(logprobs, uniforms, self.settings)

    @property
    def ended(self) -> Bool[Tensor, " row"]:
        """Which rows of the batch have ended."""
        assert self.clock.ended is not None  # once a token was drawn
        return self.clock.ended

    def keep(self, unfinished: Bool[Tensor, " row"]) -> None:
        """Go on with these rows of the batch alone."""
        self.rows = self.rows[unfinished.cpu()]
        self.clock.ended = None


class HalfHasEnded:
    """A stopping criterion of ``generate``: ends it, for all rows, when half of them have ended."""

    def __init__(self, sampler: SeededSampler) -> None:
        self._sampler = sampler

    def __call__(
        self, input_ids: Int[Tensor, "row pos"], *_: Any, **__: Any
    ) -> Bool[Tensor, " row"]:
        """Whether each row ends here."""
        ended = self._sampler.ended
        many = len(ended) >= FEW_ROWS and 2 * int(ended.sum()) >= len(ended)
        return torch.ones_like(ended) if many else ended


def draw_uniforms(n: int, seed: int) -> Float[Tensor, " token"]:
    """One random number for each token of a reply, float64, of its seed alone."""
    own = torch.Generator().manual_seed(seed)
    return torch.rand(n, generator=own, dtype=torch.float64)


def pick_tokens(
    logprobs: Float[Tensor, "row token"], uniforms: Float[Tensor, " row"], settings: Settings
) -> Int[Tensor, "row one"]:
    """The token that each row's random number picks; the likeliest at temperature 0."""
    if settings.temperature == 0:
        return logprobs.argmax(dim=-1, keepdim=True)
    k = min(settings.top_k or logprobs.shape[-1], logprobs.shape[-1])
    top = torch.topk(logprobs / settings.temperature, k, dim=-1)
    mass = torch.softmax(widen(top.values), dim=-1)
    before = mass.cumsum(dim=-1) - mass
    mass = torch.where(before < settings.top_p, mass, 0.0)  # always keeps the first
    edges = mass.cumsum(dim=-1)
    draw = uniforms[:, None].to(edges.device) * edges[:, -1:]
    rank = torch.searchsorted(edges, draw, right=True)
    # Rounding can put a draw past the last token that is kept.
    rank = torch.minimum(rank, (mass > 0).sum(dim=-1, keepdim=True) - 1)
    return top.indices.gather(1, rank.to(top.indices.device))


@singledispatch
def generate_batch(
    model: Network,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[Sequence[int]],
    *,
    settings: Settings,
    share_beginning: bool = False,
) -> list[list[Generation]]:
    """Continue prompts in one batch: left-padded, the samples of a prompt sharing its prefill.

    `seeds` are one for each sample of each prompt, as many for every prompt. With
    `share_beginning`, what all prompts begin with is read once, and answers that have ended leave
    the batch; not for edits given row by row.
    An engine (`hlens.engines`) registers its own way for its kind of model.
    """
    model.check_prompts(prompts, new=settings.max_new_tokens)
    n = len(seeds[0])
    longest = max(map(len, prompts)) + settings.max_new_tokens
    common = _shareable_beginning(model, prompts, longest) if share_beginning else 0
    ids, mask = _left_pad(model, prompts, common)
    sampler = SeededSampler(settings, [seed for row in seeds for seed in row], model)
    model.clock.generated = -1
    try:
        with torch.inference_mode():
            past = _prefill(model, ids, mask, common, n)
            ids, mask = (each.repeat_interleave(n, 0) for each in (ids, mask))
            # Apple's GPU is asked a token later whether it may stop.
            may_leave = share_beginning and not model.clock.holds and ids.device.type != "mps"
            tokens = _write(model, ids, mask, past, sampler, may_leave=may_leave)
    finally:
        model.clock.stop()
    logprobs = torch.stack(sampler.logprobs, dim=1)
    rows = enumerate(zip(tokens.tolist(), logprobs, strict=True))
    flat = [finish(model, prompts[i // n], row, lp, sampler.ends) for i, (row, lp) in rows]
    return [flat[i * n : (i + 1) * n] for i in range(len(prompts))]


def _write(
    model: Network, ids: Tensor, mask: Tensor, past: Any, sampler: SeededSampler, *, may_leave: bool
) -> Int[Tensor, "row token"]:
    """The tokens of each row, padded behind its end.

    Most replies end long before the limit, and a batch is read as long as its longest row is
    written. So ``generate`` is stopped each time that half of its rows have ended, and called again
    with the keys and values of the others.
    """
    from transformers import StoppingCriteriaList

    limit = sampler.settings.max_new_tokens
    tokens = torch.full((len(ids), limit), model.pad_id)
    half = HalfHasEnded(sampler) if may_leave else sampler.ends
    while True:
        done, width = len(sampler.logprobs), ids.shape[1]
        _forget_earlier_batch(model)
        bare = _without_defaults(model, limit - done)
        out = bare.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=bare.generation_config,
            logits_processor=[sampler],
            stopping_criteria=StoppingCriteriaList([half]),
            **({} if past is None else {"past_key_values": past}),
        )
        written = out.sequences[:, width:]
        tokens[sampler.rows, done : done + written.shape[1]] = written.cpu()
        unfinished = ~sampler.ended
        if done + written.shape[1] == limit or not bool(unfinished.any()):
            return tokens
        kept = unfinished.nonzero().flatten()
        sampler.keep(unfinished)
        ids = out.sequences[kept]
        mask = torch.cat([mask, mask.new_ones(written.shape)], dim=1)[kept]
        past = out.get("past_key_values")  # what has none is read anew
        if past is not None:
            past.reorder_cache(kept)


def _forget_earlier_batch(model: Network) -> None:
    """Take away what Qwen-VL and GLM-4V keep of the rows that they read last: shifts of positions.

    Those of text are zero, and ``generate`` makes them anew for as many rows as there are.
    """
    body: Any = model.body
    if getattr(body, "rope_deltas", None) is not None:
        body.rope_deltas = None


def _without_defaults(model: Network, max_new_tokens: int) -> Any:
    """The Hugging Face model with a generation config of ours, of which it inherits no field.

    What a config that is passed to ``generate`` leaves open is filled from the model's own, and
    with it penalties, forced tokens, beams, caches, time limits: all but the stop tokens goes. A
    shallow copy shares modules and hooks, so that neither user nor other threads see a change.
    """
    from transformers import GenerationConfig

    bare = copy.copy(model.hf)
    bare.generation_config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,  # the sampler draws; see SeededSampler
        use_cache=True,
        return_dict_in_generate=True,
        eos_token_id=list(model.stop_ids) or None,
        pad_token_id=model.pad_id,
    )
    return bare


def _left_pad(
    model: Network, prompts: Sequence[Sequence[int]], common: int
) -> tuple[Tensor, Tensor]:
    """Ids and mask, padded on the left or, with a common beginning, directly after it."""
    width = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), width), model.pad_id)
    mask = torch.zeros((len(prompts), width), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        rest = width - len(prompt) + common
        ids[row, :common], ids[row, rest:] = torch.tensor([*prompt]).tensor_split([common])
        mask[row, :common] = mask[row, rest:] = 1
    return ids.to(model.device), mask.to(model.device)


def _shareable_beginning(model: Network, prompts: Sequence[Sequence[int]], longest: int) -> int:
    """Number of tokens that all prompts begin with, leaving each at least one of its own."""
    if len(prompts) < 2:
        return 0
    common = min(common_length(prompts), min(map(len, prompts)) - 1)
    # The padding comes after them, where a window or a state would count it.
    return common if common and can_share_prefixes(model, longest) else 0


def _prefill(model: Network, ids: Tensor, mask: Tensor, common: int, n: int) -> Any:
    """Keys and values that rows share: the common beginning, and each prompt of n samples."""
    past = None
    if common:
        past = _extend_cache(model, ids[:1, :common], mask[:1, :common], None)
        repeat_rows(past, 1, len(ids))
    if n > 1 and ids.shape[1] > common + 1 and bool(mask[:, -2].all()):
        past = _extend_cache(model, ids[:, :-1], mask[:, :-1], past)
    if past is not None and n > 1:
        repeat_rows(past, len(ids), n)
    return past


def _extend_cache(model: Network, ids: Tensor, mask: Tensor, past: Any) -> Any:
    """The cache after reading the tokens that it does not hold yet."""
    begin = 0 if past is None else int(past.get_seq_length())
    positions = (mask.cumsum(-1) - 1).clamp_min(0)[:, begin:]
    return model.body(
        input_ids=ids[:, begin:],
        attention_mask=mask,
        past_key_values=past,
        use_cache=True,
        **model.position_kwargs(positions),
    ).past_key_values


def finish(
    model: Network, prompt: Sequence[int], row: list[int], logprobs: Tensor, ends: EndOfReply
) -> Generation:
    """Cut a row at the token that ends it."""
    end = next((i for i, token in enumerate(row) if ends[token]), None)
    kept = row[:end]
    text, thought = model.read_reply(prompt, kept)
    reason = "length" if end is None else "stop"
    return Generation(text, tuple(kept), tuple(logprobs[: len(kept)].tolist()), reason, thought)
