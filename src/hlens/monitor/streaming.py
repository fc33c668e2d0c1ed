"""monitor: write under watch, token by token; and read the risk of what is written already."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import signature

import torch
from torch import Tensor

from hlens.errors import HlensError
from hlens.model import Generation, Model, SeededSampler, Settings, mix_seed
from hlens.monitor.policies import Policy, Risk, watch_only
from hlens.monitor.watching import TokenScores, check, reading_neurons, watching
from hlens.types import Detector


@dataclass(frozen=True)
class Monitored:
    """An answer and its risk.

    Attributes:
        generation: The answer; ``finish_reason`` is ``"risk"`` where a policy stopped it.
        risks: The risk of each of its tokens.
        flagged_at: Index of the first token at which the policy flagged or stopped, or None.
        n_neurons: Neurons that were read at each token.
    """

    generation: Generation
    risks: tuple[Risk, ...]
    flagged_at: int | None
    n_neurons: int

    @property
    def touched(self) -> int:
        """The receipt: tokens x neurons that were read."""
        return len(self.risks) * self.n_neurons

    @property
    def score(self) -> float:
        """The detector's score of the whole answer (log-odds); NaN of an empty one."""
        return self.risks[-1].score if self.risks else float("nan")

    @property
    def probability(self) -> float:
        """Probability of hallucination of the whole answer; NaN of an empty one."""
        return self.risks[-1].probability if self.risks else float("nan")


@dataclass
class _Row:
    """The state of one answer while it is written."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    risks: list[Risk] = field(default_factory=list)
    total: float = 0.0
    flagged_at: int | None = None
    reason: str | None = None


def monitor(
    model: Model,
    detector: Detector,
    prompts: Sequence[Sequence[int]],
    settings: Settings | None = None,
    *,
    seed: int = 0,
    on_token: Callable[[Risk], None] | None = None,
    policy: Policy = watch_only,
    batch_size: int = 32,
) -> list[Monitored]:
    """Continue prompts and say how risky each token is as soon as the model has read it.

    The tokens are those of `Model.generate_many` with the same settings and seed; the score of a
    finished answer is that of measuring it afterwards over the whole response.

    Args:
        model: The model that the detector was found on.
        detector: Reads a mean over answer or response; while writing, all tokens so far are it.
        prompts: Token ids, from `Model.encode`.
        settings: Sampling settings; default greedy, 50 tokens.
        seed: Seed of the samples.
        on_token: Called with each risk, in the order of reading.
        policy: What to do about a risk (`at_probability`, or a function of your own).
        batch_size: Prompts at a time.

    Raises:
        HlensError: No prompts, or a detector that cannot be read here.
    """
    check(model, detector)
    if not prompts:
        raise HlensError("no prompts to monitor; give one or more, from model.encode(text)")
    how = settings or Settings(temperature=0.0)
    found: list[Monitored] = []
    for start in range(0, len(prompts), batch_size):
        batch = prompts[start : start + batch_size]
        seeds = [mix_seed(seed, start + i) for i in range(len(batch))]
        loop = _Loop(model, detector, batch, SeededSampler(how, seeds, model), start)
        found += loop.run(how.max_new_tokens, on_token or (lambda risk: None), policy)
    return found


def risks(
    model: Model, detector: Detector, token_ids: Sequence[int], n_prompt: int
) -> tuple[Risk, ...]:
    """The risk of each token of an answer that is written already.

    Raises:
        HlensError: No token after the prompt, or a detector that cannot be read here.
    """
    if not 0 < n_prompt < len(token_ids):
        raise HlensError(
            f"n_prompt={n_prompt} of {len(token_ids)} tokens leaves no prompt or no answer to read"
        )
    seen: list[TokenScores] = []
    ids = torch.tensor([list(token_ids)], device=model.device)
    with watching(model, detector, seen.append, n_prompt), torch.inference_mode():
        model.body(input_ids=ids, use_cache=False)
    row = _Row()
    for index, score in enumerate(seen[0].score[0, n_prompt:].tolist()):
        row.tokens.append(int(token_ids[n_prompt + index]))
        _note(model, detector, row, 0, score)
    return tuple(row.risks)


class _Loop:
    """One batch, written step by step."""

    def __init__(
        self,
        model: Model,
        detector: Detector,
        prompts: Sequence[Sequence[int]],
        sampler: SeededSampler,
        first: int,
    ) -> None:
        self.model, self.detector, self.sampler, self.first = model, detector, sampler, first
        width = max(map(len, prompts))
        self.ids = torch.full((len(prompts), width), model.pad_id, device=model.device)
        self.mask = torch.zeros_like(self.ids)
        for row, prompt in enumerate(prompts):
            self.ids[row, width - len(prompt) :] = torch.tensor(prompt, device=model.device)
            self.mask[row, width - len(prompt) :] = 1
        self.rows = [_Row() for _ in prompts]
        self.scores: TokenScores | None = None

    def run(
        self, max_new_tokens: int, on_token: Callable[[Risk], None], policy: Policy
    ) -> list[Monitored]:
        self.model.clock.generated = -1
        try:
            with torch.inference_mode(), reading_neurons(self.model, self.detector, self._hear):
                for step in range(max_new_tokens + 1):
                    logits = self._read(step)
                    self._tell(on_token, policy)
                    if step == max_new_tokens or not self._write(logits):
                        break
        finally:
            self.model.clock.stop()
        return [self._finished(row) for row in self.rows]

    def _hear(self, scores: TokenScores) -> None:
        self.scores = scores

    def _read(self, step: int) -> Tensor:
        """Read the newest tokens; logits of what comes next."""
        positions = (self.mask.cumsum(-1) - 1).clamp_min(0)
        takes_last = "logits_to_keep" in signature(self.model.hf.forward).parameters
        out = self.model.hf(
            input_ids=self.ids,
            attention_mask=self.mask,
            past_key_values=self.past if step else None,
            use_cache=True,
            **self.model.position_kwargs(positions[:, -self.ids.shape[1] :]),
            **({"logits_to_keep": 1} if takes_last else {}),
        )
        self.past = out.past_key_values
        return out.logits[:, -1]

    def _tell(self, on_token: Callable[[Risk], None], policy: Policy) -> None:
        """The risk of the tokens that were just read, for the rows that are still written."""
        if self.scores is None:
            return
        for at, (row, score) in enumerate(
            zip(self.rows, self.scores.score[:, -1].tolist(), strict=True)
        ):
            if row.reason:
                continue
            risk = _note(self.model, self.detector, row, self.first + at, score)
            on_token(risk)
            action = policy(risk)
            if action != "go" and row.flagged_at is None:
                row.flagged_at = risk.index
            if action == "stop":
                row.reason = "risk"

    def _write(self, logits: Tensor) -> bool:
        """Choose the next token of every row that is still written; False when all are done."""
        if all(row.reason for row in self.rows):
            return False
        tokens = self.sampler(self.ids, logits).argmax(dim=-1, keepdim=True)
        logprobs = self.sampler.logprobs[-1].tolist()
        for row, token, logprob in zip(self.rows, tokens[:, 0].tolist(), logprobs, strict=True):
            if row.reason:
                continue
            if token in self.model.stop_ids:
                row.reason = "stop"
            else:
                row.tokens.append(token)
                row.logprobs.append(logprob)
        done = torch.tensor([[bool(row.reason)] for row in self.rows], device=tokens.device)
        self.model.clock.end(done[:, 0])
        self.ids = tokens.masked_fill(done, self.model.pad_id)
        self.mask = torch.cat([self.mask, torch.ones_like(self.ids)], dim=1)
        return not all(row.reason for row in self.rows)

    def _finished(self, row: _Row) -> Monitored:
        text = "" if self.model.tokenizer is None else self.model.decode(row.tokens)
        made = Generation(text, tuple(row.tokens), tuple(row.logprobs), row.reason or "length")
        n_neurons = int((self.detector.weights != 0).sum())
        return Monitored(made, tuple(row.risks), row.flagged_at, n_neurons)


def _note(model: Model, detector: Detector, row: _Row, at: int, score: float) -> Risk:
    """The risk of a row's next token, from its own score and those before it."""
    index = len(row.risks)
    row.total += score
    mean = torch.tensor(row.total / (index + 1))
    calibrate = detector.calibration or torch.sigmoid
    token = row.tokens[index]
    text = "" if model.tokenizer is None else model.decode([token])
    risk = Risk(at, index, token, text, score, float(mean), float(calibrate(mean)))
    row.risks.append(risk)
    return risk
