"""Requests that come while others are written: each with its own detector, dose, limits and end.

Problem: `monitor` takes all prompts at once and returns when the last is answered. A server has
never all of them: they come, want their tokens as they are written, and go in the middle.

Idea: a batcher holds what was asked, and does one stretch of work at a time on it. A request says
itself what becomes of its tokens: `on_token` is told each one as soon as the model has read it, and
may end the answer; `on_end` is told how it ended. So whoever serves knows no engine, and an engine
knows no server.

Example: three requests of one detector, one of them at another dose. The local engine writes two
waves, of two rows and of one; vLLM writes all three in the passes that it makes anyway.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import singledispatch

import numpy as np
import torch

from hlens.errors import HlensError
from hlens.model import Model, Pairs, SeededSampler, Settings
from hlens.monitor.policies import Action, Risk
from hlens.monitor.reading import score_tokens
from hlens.monitor.streaming import Answer, WritingLoop
from hlens.monitor.watching import watching
from hlens.types import Detector

MOST_ROWS = 32
MOST_TOKENS = 16_384  # of a wave, padding included: what its keys and values take


@dataclass(frozen=True, eq=False)
class Writing:
    """One answer that is asked for.

    Attributes:
        prompt: Token ids that the model can read.
        settings: How to sample, and where to cut.
        seed: Of the sample.
        on_token: Told the risk of each token once it was read, and its log-probability; what it
            returns, ``"go"`` or ``"stop"``, decides whether the answer goes on.
        on_end: Told ``"stop"``, ``"length"``, ``"risk"``, which is where `on_token` stopped it, or
            ``"unwanted"``.
        on_error: Told what kept the answer from being written.
        is_wanted: Whether anybody still waits; an answer that nobody waits for is not begun.
        detector: Which of the batcher's detectors watches; None for none, whose risks are NaN.
        dose: Which of the batcher's doses is given; None for none.
    """

    prompt: Sequence[int]
    settings: Settings
    seed: int
    on_token: Callable[[Risk, float], Action]
    on_end: Callable[[str], None]
    on_error: Callable[[Exception], None]
    is_wanted: Callable[[], bool] = lambda: True
    detector: str | None = None
    dose: str | None = None


@dataclass(frozen=True, eq=False)
class Reading:
    """Texts that are written already, whose tokens a detector is to score.

    Attributes:
        rows: Token ids of each text, prompt and answer.
        detector: Which of the batcher's detectors reads.
        on_scores: Told the log-odds of each token of each text.
        on_error: Told what kept them from being read.
    """

    rows: Sequence[Sequence[int]]
    detector: str
    on_scores: Callable[[list[np.ndarray]], None]
    on_error: Callable[[Exception], None]


@dataclass(frozen=True, eq=False)
class Dose:
    """An edit by constant factors: as pairs, and as the folder of its adapter."""

    pairs: Pairs
    folder: str


class Batcher(ABC):
    """What writes and reads on behalf of requests; for one thread, that of the model."""

    @abstractmethod
    def add(self, asked: Writing | Reading) -> None:
        """Take a request."""

    @abstractmethod
    def step(self) -> None:
        """Do a stretch of work on what was taken; errors go to the requests they belong to."""

    @property
    @abstractmethod
    def busy(self) -> bool:
        """Whether anything was taken and is not done."""


@singledispatch
def batcher_of(
    model: Model,
    detectors: Mapping[str, Detector],
    doses: Mapping[str, Dose],
    *,
    most_rows: int = MOST_ROWS,
) -> Batcher:
    """What writes on behalf of requests; an engine (`hlens.engines`) registers its own.

    Args:
        model: The model.
        detectors: By name; each must be readable while this model writes.
        doses: By name.
        most_rows: Answers that are written at once.

    Raises:
        HlensError: A detector or a dose that this engine cannot use.
    """
    return Waves(model, detectors, doses, most_rows)


@dataclass(eq=False)
class Waves(Batcher):
    """The local engine: requests that can be one batch are written as one, the next ones after it.

    What comes while a wave is written waits for its end.
    """

    model: Model
    detectors: Mapping[str, Detector]
    doses: Mapping[str, Dose]
    most_rows: int
    waiting: deque[Writing | Reading] = field(default_factory=deque)

    def add(self, asked: Writing | Reading) -> None:
        """Take a request."""
        self.waiting.append(asked)

    @property
    def busy(self) -> bool:
        """Whether anything waits."""
        return bool(self.waiting)

    def step(self) -> None:
        """Read the first, or write it with all that can be of its batch."""
        first = self.waiting.popleft()
        if isinstance(first, Reading):
            self._read(first)
            return
        if not first.is_wanted():
            first.on_end("unwanted")
            return
        wave = [first, *self._like(first)]
        done: set[int] = set()
        try:
            self._write(wave, done)
        except Exception as error:  # whatever it is, those who wait must hear of it
            for row, one in enumerate(wave):
                if row not in done:
                    one.on_error(error)

    def _like(self, first: Writing) -> list[Writing]:
        """Take out of the queue what can be written in one batch with `first`."""
        alike, rest = [], deque()
        longest = _length(first)
        while self.waiting:
            one = self.waiting.popleft()
            if isinstance(one, Writing) and not one.is_wanted():
                one.on_end("unwanted")
                continue
            if isinstance(one, Writing) and _kind(one) == _kind(first):
                width = max(longest, _length(one))
                if len(alike) + 2 <= self.most_rows and width * (len(alike) + 2) <= MOST_TOKENS:
                    alike.append(one)
                    longest = width
                    continue
            rest.append(one)
        self.waiting = rest
        return alike

    def _write(self, wave: Sequence[Writing], done: set[int]) -> None:
        """Write a wave to its end; `done` gathers the rows that were told of theirs."""
        model, settings = self.model, [one.settings for one in wave]
        detector = None if wave[0].detector is None else self.detectors[wave[0].detector]
        longest = max(settings, key=lambda one: one.max_new_tokens)
        sampler = SeededSampler(longest, [one.seed for one in wave], model)

        def decide(answer: Answer, risk: Risk) -> Action:
            return wave[answer.row].on_token(risk, answer.logprobs[risk.index])

        def on_end(answer: Answer) -> None:
            done.add(answer.row)
            wave[answer.row].on_end(answer.reason or "")

        def on_nan(answer: Answer) -> None:
            done.add(answer.row)
            wave[answer.row].on_error(
                HlensError(f"{model.name} gives logits that are NaN: it overflows in {model.dtype}")
            )

        prompts, limits = [one.prompt for one in wave], [one.max_new_tokens for one in settings]
        loop = WritingLoop(
            model,
            detector,
            prompts,
            sampler,
            decide=decide,
            on_end=on_end,
            on_nan=on_nan,
            limits=limits,
        )
        dose = self.doses[wave[0].dose].pairs if wave[0].dose else ()
        with ExitStack() as stack:
            if detector is not None:
                # Entered before the dose, whose neurons are read as it finds them.
                edited = [neurons for neurons, _ in dose]
                keep = {"on_scores": loop.keep_scores, "edited": edited, "may_be_empty": True}
                stack.enter_context(watching(model, detector, **keep))
            if dose:
                stack.enter_context(model.editing(dose))
            stack.enter_context(torch.inference_mode())
            loop.run()

    def _read(self, asked: Reading) -> None:
        try:
            detector = self.detectors[asked.detector]
            asked.on_scores(score_tokens(self.model, detector, asked.rows))
        except Exception as error:
            asked.on_error(error)


def _kind(one: Writing) -> tuple[object, ...]:
    """What all rows of a batch have in common."""
    return one.detector, one.dose, replace(one.settings, max_new_tokens=1)


def _length(one: Writing) -> int:
    return len(one.prompt) + one.settings.max_new_tokens
