"""monitor: write under watch, token by token; risks: read an answer that is already written."""

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import partial, singledispatch
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hlens.checks import check_seed, check_whole
from hlens.errors import HlensError
from hlens.metrics import Metric
from hlens.model import Generation, Model, SeededSampler, Settings, mix_seed
from hlens.monitor.policies import Action, Policy, Risk, watch_only
from hlens.monitor.reading import score_tokens
from hlens.monitor.recalibrating import warn_of_another_region
from hlens.monitor.watching import TokenScores, watching
from hlens.thoughts import TAIL, find_thought, may_close, may_still_think
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
class Answer:
    """One answer while it is written; `row` is the index of its prompt."""

    row: int
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    risks: list[Risk] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    flagged_at: int | None = None
    reason: str | None = None
    n_thought: int = 0  # tokens of thought, as far as they are written
    may_think: bool = True  # that more tokens of thought may come is not ruled out

    def count_thought(self, tokenizer: Any, prompt: Sequence[int], n: int) -> int:
        """How many of its first `n` tokens are thought; asked in turn, so that little is read."""
        if not self.may_think:
            return self.n_thought
        if n > TAIL and not may_close(tokenizer, self.tokens[n - TAIL : n]):
            self.n_thought = n if self.n_thought else 0
            return self.n_thought
        written = self.tokens[:n]
        thought = find_thought(tokenizer, prompt, written)
        self.n_thought = thought.n_tokens if thought else 0
        if thought is None:
            self.may_think = may_still_think(tokenizer, written)
        else:  # behind its end may come space that is counted to it
            self.may_think = self.n_thought == n
        return self.n_thought


Decide = Callable[[Answer, Risk], Action]  # asked of each token, once it was read


def monitor(
    model: Model,
    detector: Detector,
    prompts: Sequence[Sequence[int]],
    *,
    settings: Settings | None = None,
    seed: int = 0,
    on_token: Callable[[Risk], None] | None = None,
    policy: Policy = watch_only,
    batch_size: int = 32,
    metric: Metric | None = None,
) -> list[Monitored]:
    """Continue prompts, and score the risk of each token as soon as the model has read it.

    The tokens are those of `Model.generate_many` with the same settings and seed; the score of a
    finished answer is that of measuring it afterwards over the whole response, without its thought.

    Args:
        model: The model that the detector was found on.
        detector: Reads a mean over answer or response; while the model writes, both are all tokens
            so far.
        prompts: Token ids, from `Model.encode`.
        settings: Sampling settings; default greedy, 50 tokens.
        seed: Seed of the samples.
        on_token: Called with each risk, in the order of reading.
        policy: What to do about a risk (`at_probability`, or a function of your own).
        batch_size: Prompts at a time.
        metric: The detector's formula, where it is not one of `hlens.metrics`.

    Raises:
        HlensError: No prompts or such as the model cannot read, a number out of its limits, or a
            detector that cannot be read here.
    """
    if not prompts:
        raise HlensError("no prompts to monitor; give one or more, from model.encode(text)")
    settings = settings or Settings(temperature=0.0)
    seed, batch_size = check_seed(seed), check_whole("batch_size", batch_size, least=1)
    model.check_prompts(prompts, new=settings.max_new_tokens)
    warn_of_another_region(detector)
    monitored: list[Monitored] = []
    for start in range(0, len(prompts), batch_size):
        batch = prompts[start : start + batch_size]
        seeds = [mix_seed(seed, start + i) for i in range(len(batch))]
        options = {"settings": settings, "seeds": seeds, "first": start, "metric": metric}
        answers = write_watched(model, detector, batch, on_token=on_token, policy=policy, **options)
        monitored += [_finished(model, detector, prompts, answer) for answer in answers]
    return monitored


@singledispatch
def write_watched(
    model: Model,
    detector: Detector,
    prompts: Sequence[Sequence[int]],
    *,
    settings: Settings,
    seeds: Sequence[int],
    first: int,
    on_token: Callable[[Risk], None] | None,
    policy: Policy,
    metric: Metric | None,
) -> list[Answer]:
    """Write one batch under watch; `first` is the index of its first prompt.

    An engine (`hlens.engines`) registers its own way for its kind of model.
    """
    sampler = SeededSampler(settings, seeds, model)
    loop = WritingLoop(
        model,
        detector,
        prompts,
        sampler,
        limits=[settings.max_new_tokens] * len(prompts),
        decide=deciding(on_token, policy),
        first=first,
    )
    watch = watching(model, detector, on_scores=loop.keep_scores, metric=metric, may_be_empty=True)
    with watch, torch.inference_mode():
        loop.run()
    return loop.answers


def deciding(on_token: Callable[[Risk], None] | None, policy: Policy) -> Decide:
    """What is to be done about a token: it is told, then the policy is asked."""

    def decide(answer: Answer, risk: Risk) -> Action:
        if on_token:
            on_token(risk)
        return policy(risk)

    return decide


def risks(
    model: Model,
    detector: Detector,
    token_ids: Sequence[int],
    n_prompt: int,
    *,
    metric: Metric | None = None,
) -> tuple[Risk, ...]:
    """The risk of each token of an answer that is already written.

    Args:
        model: The model that the detector was found on.
        detector: Reads a mean over answer or response.
        token_ids: Prompt and answer.
        n_prompt: Length of the prompt.
        metric: The detector's formula, where it is not one of `hlens.metrics`.

    Raises:
        HlensError: No token after the prompt, or a detector that cannot be read here.
    """
    if not 0 < n_prompt < len(token_ids):
        raise HlensError(
            f"n_prompt={n_prompt} of {len(token_ids)} tokens leaves no prompt or no answer to read"
        )
    model.check_prompts([token_ids])
    (scores,) = score_tokens(model, detector, [token_ids], metric=metric)
    answer = Answer(0)
    for index, score in enumerate(scores[n_prompt:].tolist()):
        answer.tokens.append(int(token_ids[n_prompt + index]))
        _add_risk(model, detector, answer, score, token_ids[:n_prompt])
    return tuple(answer.risks)


@dataclass
class WritingLoop:
    """One batch, written step by step.

    Attributes:
        model: The model.
        detector: What watches, in a block of `watching` around `run`; None for nothing: then every
            score is NaN.
        prompts: Token ids.
        sampler: Draws the tokens.
        limits: Where to cut each answer.
        decide: Asked of each token of an answer, once it was read.
        on_end: Told of each answer as soon as it is finished, its reason set.
        on_nan: Told of an answer whose logits are NaN, which then ends while the others go on; None
            ends them all with an error.
        first: Index of the first prompt.
        scores: Of the tokens that were just read.
    """

    model: Model
    detector: Detector | None
    prompts: Sequence[Sequence[int]]
    sampler: SeededSampler
    _: KW_ONLY
    limits: Sequence[int]
    decide: Decide
    on_end: Callable[[Answer], None] = lambda answer: None
    on_nan: Callable[[Answer], None] | None = None
    first: int = 0
    scores: TokenScores | None = None

    def __post_init__(self) -> None:
        ids = [torch.tensor(prompt, dtype=torch.long) for prompt in self.prompts]
        pad = partial(pad_sequence, batch_first=True, padding_side="left")
        self.ids = pad(ids, padding_value=self.model.pad_id).to(self.model.device)
        self.mask = pad([torch.ones_like(row) for row in ids]).to(self.model.device)
        self.answers = [Answer(self.first + row) for row in range(len(ids))]

    def keep_scores(self, scores: TokenScores) -> None:
        self.scores = scores

    def run(self) -> None:
        """Read and write in turn; the last token is read, too, for its risk."""
        self.model.clock.generated = -1
        try:
            for step in range(max(self.limits) + 1):
                logits = self._read(step)
                if step:
                    self._assess()
                if not self._write(logits):
                    break
        finally:
            self.model.clock.stop()

    def _end(self, answer: Answer, reason: str) -> None:
        answer.reason = reason
        self.on_end(answer)

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

    def _assess(self) -> None:
        """The risk of the tokens that were just read, for the answers still being written."""
        if self.scores is None:
            scores = [math.nan] * len(self.answers)
        else:
            scores = self.scores.score[:, -1].tolist()
        rows = zip(self.answers, scores, self.prompts, self.limits, strict=True)
        for answer, score, prompt, limit in rows:
            if answer.reason:
                continue
            reason = assess(self.model, self.detector, answer, score, prompt, self.decide)
            if reason or len(answer.tokens) == limit:
                self._end(answer, reason or "length")

    def _write(self, logits: Tensor) -> bool:
        """Choose the next token of every unfinished answer; False when all are finished."""
        if all(answer.reason for answer in self.answers):
            return False
        if self.on_nan is not None:
            logits = self._without_nan(logits, self.on_nan)
        tokens = self.sampler(self.ids, logits).argmax(dim=-1, keepdim=True)
        drawn = zip(tokens[:, 0].tolist(), self.sampler.logprobs[-1].tolist(), strict=True)
        for answer, (token, logprob) in zip(self.answers, drawn, strict=True):
            if answer.reason:
                continue
            if self.sampler.ends[token]:
                self._end(answer, "stop")
            else:
                answer.tokens.append(token)
                answer.logprobs.append(logprob)
        done = torch.tensor([[bool(each.reason)] for each in self.answers], device=tokens.device)
        self.model.clock.end(done[:, 0])
        self.ids = tokens.masked_fill(done, self.model.pad_id)
        self.mask = torch.cat([self.mask, torch.ones_like(self.ids)], dim=1)
        return not all(answer.reason for answer in self.answers)

    def _without_nan(self, logits: Tensor, tell: Callable[[Answer], None]) -> Tensor:
        """End the answers whose logits are NaN, and give them any others."""
        is_nan = logits.float().sum(dim=-1).isnan()
        for answer, ends in zip(self.answers, is_nan.tolist(), strict=True):
            if ends and not answer.reason:
                answer.reason = "nan"
                tell(answer)
        return logits.masked_fill(is_nan[:, None], 0.0)


def _finished(
    model: Model, detector: Detector, prompts: Sequence[Sequence[int]], answer: Answer
) -> Monitored:
    text, thought = model.read_reply(prompts[answer.row], answer.tokens)
    tokens, logprobs = tuple(answer.tokens), tuple(answer.logprobs)
    generation = Generation(text, tokens, logprobs, answer.reason or "length", thought)
    n_neurons = int((detector.weights != 0).sum())
    return Monitored(generation, tuple(answer.risks), answer.flagged_at, n_neurons)


def assess(
    model: Model,
    detector: Detector | None,
    answer: Answer,
    score: float,
    prompt: Sequence[int],
    decide: Decide,
) -> str | None:
    """Give an answer the risk of its next token, and ask what to do; a reason where it ends."""
    risk = _add_risk(model, detector, answer, score, prompt)
    action = decide(answer, risk)
    if action != "go" and answer.flagged_at is None:
        answer.flagged_at = risk.index
    return "risk" if action == "stop" else None


def _add_risk(
    model: Model, detector: Detector | None, answer: Answer, score: float, prompt: Sequence[int]
) -> Risk:
    """The risk of an answer's next token, from its own score and those before it."""
    index = len(answer.risks)
    n_thought = answer.count_thought(model.tokenizer, prompt, index + 1)
    answer.scores.append(score)
    own = answer.scores[n_thought:] or answer.scores
    mean = torch.tensor(sum(own) / len(own))
    calibrate = (detector and detector.calibration) or torch.sigmoid
    token = answer.tokens[index]
    text = "" if model.tokenizer is None else model.decode([token])
    risk = Risk(
        answer.row, index, token, text, score, float(mean), float(calibrate(mean)), n_thought
    )
    answer.risks.append(risk)
    return risk
