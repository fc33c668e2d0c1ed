"""From question to example: what is asked, what the model said, and which tokens answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from jaxtyping import Int
from torch import Tensor

from hlens.errors import HlensError


class Verdict(StrEnum):
    """What a judge may say of a response."""

    CORRECT = "correct"
    HALLUCINATED = "hallucinated"
    REFUSED = "refused"
    UNSCORED = "unscored"


@dataclass(frozen=True)
class Question:
    """One question with its gold answers.

    Attributes:
        id: Unique within its domain.
        domain: Name of the domain it belongs to.
        text: The question itself, without an answering instruction.
        answers: Gold answer first, then aliases. Empty: the model should abstain.
        choices: Options, where the question has them.
        context: Text that the question is about, or empty.
        group: What must never be split over train and test (the fact, the entity); the id when
            nothing is given.
        meta: ``format`` (short_answer, completion, mcq, label, numeric, free_text), ``judge``,
            ``difficulty`` and whatever a domain adds. Plain JSON values.
    """

    id: str
    domain: str
    text: str
    answers: tuple[str, ...]
    choices: tuple[str, ...] = ()
    context: str = ""
    group: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise HlensError(f"question {self.id!r} has no text; give every question a text")
        if not self.group:
            object.__setattr__(self, "group", f"{self.domain}/{self.id}")


@dataclass(frozen=True)
class Thought:
    """What a model writes for itself before it answers; no part of the answer.

    Attributes:
        text: The thought, without its tags.
        n_tokens: How many of a response's tokens it takes: tags, and the space behind, included.
        finished: Whether a closing tag ended it; an unfinished thought has no answer behind it.
    """

    text: str
    n_tokens: int
    finished: bool = True


@dataclass(frozen=True)
class Response:
    """One sampled continuation.

    Attributes:
        question: What was asked.
        text: The decoded response behind its thought, special tokens left out.
        token_ids: Prompt and response, thought included, as they were generated: without padding
            and without the end-of-turn token.
        n_prompt: How many of `token_ids` are prompt.
        logprobs: Log-probability (nats) of each response token under the model (temperature 1).
        finish_reason: ``"stop"`` (the model ended) or ``"length"`` (cut at the token limit).
        seed: Seed of this very sample.
        sample: Index among the samples of its question.
        thought: What the response begins with, where the model thinks aloud (`hlens.thoughts`).
        written_in: The dtype in which it was written, where that was not the model's own: a copy
            in bfloat16 may write what is then measured in float32. Else empty.
    """

    question: Question
    text: str
    token_ids: tuple[int, ...]
    n_prompt: int
    logprobs: tuple[float, ...] = ()
    finish_reason: str = "stop"
    seed: int = 0
    sample: int = 0
    thought: Thought | None = None
    written_in: str = ""

    @property
    def n_thought(self) -> int:
        """How many tokens after the prompt are its thought."""
        return self.thought.n_tokens if self.thought else 0


@dataclass(frozen=True)
class Judgement:
    """A verdict on a response, with the judge's reason in words.

    `answer` is the stretch of the response's text, as character offsets ``[start, stop)``, that
    the judge takes for the answer; ``None`` means the whole response.
    """

    response: Response
    verdict: Verdict
    reason: str = ""
    answer: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Example:
    """A labelled token sequence: ``token_ids[start:stop]`` is the answer span.

    Attributes:
        token_ids: Prompt and response, as they were generated.
        n_prompt: How many of them are prompt.
        start: First token of the answer.
        stop: One past its last token.
        hallucinated: The label.
        question_id: Id of its question.
        group: Group of its question (never split over train and test).
        domain: Domain of its question.
        sample: Index among the samples of its question.
        n_thought: How many tokens after the prompt are a thought.
        span: Index among the examples of its response, where several spans of it are labelled.
    """

    token_ids: Int[Tensor, " pos"]
    n_prompt: int
    start: int
    stop: int
    hallucinated: bool
    question_id: str
    group: str
    domain: str
    sample: int = 0
    n_thought: int = 0
    span: int = 0

    def __post_init__(self) -> None:
        n = len(self.token_ids)
        if not (0 <= self.n_prompt <= n and 0 <= self.start < self.stop <= n):
            raise HlensError(
                f"example {self.question_id!r}: span [{self.start}, {self.stop}) with prompt "
                f"length {self.n_prompt} does not fit {n} tokens; a span needs at least one token"
            )
        if self.span < 0:
            raise HlensError(
                f"example {self.question_id!r}: span is {self.span}; expected 0 or more"
            )
        if not 0 <= self.n_thought <= n - self.n_prompt:
            raise HlensError(
                f"example {self.question_id!r}: a thought of {self.n_thought} tokens does not fit "
                f"a response of {n - self.n_prompt}; give the tokens after the prompt that are it"
            )
