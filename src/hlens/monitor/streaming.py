"""monitor: write under watch, token by token; risks: read an answer that is already written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial, singledispatch
from inspect import signature

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hlens.checks import check_seed, check_whole
from hlens.errors import HlensError
from hlens.metrics import Metric
from hlens.model import Generation, Model, SeededSampler, Settings, mix_seed
from hlens.monitor.policies import Policy, Risk, watch_only
from hlens.monitor.reading import score_tokens
from hlens.monitor.watching import TokenScores, watching
from hlens.thoughts import find_thought
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
) -> "list[Answer]":
    """Write one batch under watch; `first` is the index of its first prompt.

    An engine (`hlens.engines`) registers its own way for its kind of model.
    """
    loop = _Loop(model, detector, prompts, SeededSampler(settings, seeds, model), first)
    watch = watching(model, detector, on_scores=loop.keep_scores, metric=metric, may_be_empty=True)
    with watch, torch.inference_mode():
        loop.run(settings.max_new_tokens, on_token, policy)
    return loop.answers


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
class _Loop:
    """One batch, written step by step; `first` is the index of its first prompt."""

    model: Model
    detector: Detector
    prompts: Sequence[Sequence[int]]
    sampler: SeededSampler
    first: int
    scores: TokenScores | None = None  # of the tokens that were just read

    def __post_init__(self) -> None:
        ids = [torch.tensor(prompt, dtype=torch.long) for prompt in self.prompts]
        pad = partial(pad_sequence, batch_first=True, padding_side="left")
        self.ids = pad(ids, padding_value=self.model.pad_id).to(self.model.device)
        self.mask = pad([torch.ones_like(row) for row in ids]).to(self.model.device)
        self.answers = [Answer(self.first + row) for row in range(len(ids))]

    def keep_scores(self, scores: TokenScores) -> None:
        self.scores = scores

    def run(
        self, max_new_tokens: int, on_token: Callable[[Risk], None] | None, policy: Policy
    ) -> None:
        """Read and write in turn; the last token is read, too, for its risk."""
        self.model.clock.generated = -1
        try:
            for step in range(max_new_tokens + 1):
                logits = self._read(step)
                self._assess(on_token, policy)
                if step == max_new_tokens or not self._write(logits):
                    break
        finally:
            self.model.clock.stop()

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

    def _assess(self, on_token: Callable[[Risk], None] | None, policy: Policy) -> None:
        """The risk of the tokens that were just read, for the answers still being written."""
        if self.scores is None:
            return
        scores = self.scores.score[:, -1].tolist()
        for answer, score in zip(self.answers, scores, strict=True):
            if answer.reason:
                continue
            prompt = self.prompts[answer.row - self.first]
            assess(self.model, self.detector, answer, score, prompt, on_token, policy)

    def _write(self, logits: Tensor) -> bool:
        """Choose the next token of every unfinished answer; False when all are finished."""
        if all(answer.reason for answer in self.answers):
            return False
        tokens = self.sampler(self.ids, logits).argmax(dim=-1, keepdim=True)
        drawn = zip(tokens[:, 0].tolist(), self.sampler.logprobs[-1].tolist(), strict=True)
        for answer, (token, logprob) in zip(self.answers, drawn, strict=True):
            if answer.reason:
                continue
            if self.sampler.ends[token]:
                answer.reason = "stop"
            else:
                answer.tokens.append(token)
                answer.logprobs.append(logprob)
        done = torch.tensor([[bool(each.reason)] for each in self.answers], device=tokens.device)
        self.model.clock.end(done[:, 0])
        self.ids = tokens.masked_fill(done, self.model.pad_id)
        self.mask = torch.cat([self.mask, torch.ones_like(self.ids)], dim=1)
        return not all(answer.reason for answer in self.answers)


def _finished(
    model: Model, detector: Detector, prompts: Sequence[Sequence[int]], answer: "Answer"
) -> Monitored:
    text, thought = model.read_reply(prompts[answer.row], answer.tokens)
    tokens, logprobs = tuple(answer.tokens), tuple(answer.logprobs)
    generation = Generation(text, tokens, logprobs, answer.reason or "length", thought)
    n_neurons = int((detector.weights != 0).sum())
    return Monitored(generation, tuple(answer.risks), answer.flagged_at, n_neurons)


def assess(
    model: Model,
    detector: Detector,
    answer: "Answer",
    score: float,
    prompt: Sequence[int],
    on_token: Callable[[Risk], None] | None,
    policy: Policy,
) -> None:
    """Give an answer the risk of its next token, and do what the policy says."""
    risk = _add_risk(model, detector, answer, score, prompt)
    if on_token:
        on_token(risk)
    action = policy(risk)
    if action != "go" and answer.flagged_at is None:
        answer.flagged_at = risk.index
    if action == "stop":
        answer.reason = "risk"


def _add_risk(
    model: Model, detector: Detector, answer: Answer, score: float, prompt: Sequence[int]
) -> Risk:
    """The risk of an answer's next token, from its own score and those before it."""
    index = len(answer.risks)
    thought = find_thought(model.tokenizer, prompt, answer.tokens[: index + 1])
    n_thought = thought.n_tokens if thought else 0
    answer.scores.append(score)
    own = answer.scores[n_thought:] or answer.scores
    mean = torch.tensor(sum(own) / len(own))
    calibrate = detector.calibration or torch.sigmoid
    token = answer.tokens[index]
    text = "" if model.tokenizer is None else model.decode([token])
    risk = Risk(
        answer.row, index, token, text, score, float(mean), float(calibrate(mean)), n_thought
    )
    answer.risks.append(risk)
    return risk
