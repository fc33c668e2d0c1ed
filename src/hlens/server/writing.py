"""One answer: its tokens as they come, its policy, and its fate."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hlens.model import Settings
from hlens.monitor.flagging import Flagging
from hlens.monitor.policies import Action, Risk
from hlens.monitor.requests import Reading, Writing
from hlens.server.desk import Desk
from hlens.server.offer import Offer
from hlens.server.text import Decoder, Stopper


@dataclass(frozen=True)
class Asked:
    """What is asked of one answer.

    Attributes:
        prompt: Token ids.
        settings: How to sample.
        seed: Of this very answer.
        stop: Words that end the answer, and are no part of it.
        dose: Of the offer's doses; None for none.
        detector: What watches; None for nothing.
        gate: What is read before a word is written; None for nothing.
        domain: Domain of the question, where the client says it.
        policy: What is done from the threshold on.
        threshold: From where on; None for the offer's.
    """

    prompt: Sequence[int]
    settings: Settings
    seed: int
    stop: Sequence[str] = ()
    dose: str | None = None
    detector: str | None = None
    gate: str | None = None
    domain: str = ""
    policy: str = "watch"
    threshold: Flagging | None = None


@dataclass(frozen=True)
class Token:
    """A token that was written; its risk is of the answer up to here, NaN where nothing watches."""

    id: int
    text: str
    risk: float
    score: float
    logprob: float
    in_thought: bool


@dataclass(frozen=True)
class Piece:
    """What can be given of an answer; a thought as it was written, its tags included."""

    content: str = ""
    thought: str = ""
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True)
class Fate:
    """How an answer ended.

    Attributes:
        reason: ``"stop"``, ``"length"``, or ``"content_filter"`` where a policy ended or withheld
            it.
        status: ``"ok"``, ``"flagged"``, ``"stopped"``, ``"abstained"`` or ``"route"``.
        risk: Probability of hallucination of the whole answer; NaN where nothing watched.
        score: Its log-odds.
        n_tokens: How many were written.
        prompt_risk: The probability where the prompt ends; NaN where nothing read it.
    """

    reason: str
    status: str
    risk: float = math.nan
    score: float = math.nan
    n_tokens: int = 0
    prompt_risk: float = math.nan


STATUS = {"flag": "flagged", "stop": "stopped", "abstain": "abstained", "route": "route"}


async def begin(desk: Desk, offer: Offer, asked: Sequence[Asked]) -> "list[Answering]":
    """Ask for some answers to one prompt: all of them, or none.

    Where the prompt is read before, and what was read says so, they are withheld unwritten.

    Raises:
        FullError: More answers would be held than the operator allows.
        StoppedError: The engine writes no more.
        Exception: What kept it from reading the prompt.
    """
    prompt_risk, is_flagged = await _read_prompt(desk, offer, asked[0])
    answers = [Answering(offer, one, prompt_risk, is_flagged) for one in asked]
    desk.ask(*(one.request() for one in answers if not one.is_withheld))
    return answers


async def _read_prompt(desk: Desk, offer: Offer, asked: Asked) -> tuple[float, bool]:
    """The risk where the prompt ends, and whether it is flagged."""
    if asked.gate is None:
        return math.nan, False
    (scores,) = await read(desk, [asked.prompt], asked.gate)
    score = float(scores[-1])
    risk = offer.probability(asked.gate, score, asked.domain)
    return risk, offer.rule(asked.gate, asked.threshold, asked.domain)(score)


async def read(desk: Desk, rows: Sequence[Sequence[int]], detector: str) -> list[np.ndarray]:
    """Log-odds of each token of texts that are written.

    Raises:
        FullError: As many requests are held as the operator allows.
        Exception: What kept the engine from reading.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[np.ndarray]] = loop.create_future()

    def settle(set_it: Callable[[Any], None]) -> Callable[[Any], None]:
        def tell(what: Any) -> None:
            _call_in(loop, lambda: future.done() or set_it(what))

        return tell

    desk.ask(Reading(rows, detector, settle(future.set_result), settle(future.set_exception)))
    return await future


def _call_in(loop: asyncio.AbstractEventLoop, call: Callable[[], Any]) -> None:
    """Call something in the web application's thread."""
    with suppress(RuntimeError):  # it has ended, and nobody waits there
        loop.call_soon_threadsafe(call)


class Answering:
    """Between the thread of the model, which calls, and the client's, which waits."""

    def __init__(self, offer: Offer, asked: Asked, prompt_risk: float, is_risky: bool) -> None:
        self.offer, self.asked = offer, asked
        self.loop = asyncio.get_running_loop()
        self.queue: asyncio.Queue[tuple[Risk, float] | str | Exception] = asyncio.Queue()
        self.prompt_risk, self.is_risky = prompt_risk, is_risky  # where the prompt ends
        self.is_left = False  # nobody waits any more
        self.reason = ""
        self.risk = self.score = math.nan
        self.n_tokens = 0
        self.rule: Callable[[float], bool] | None = None
        if asked.detector is not None and asked.policy != "watch":
            self.rule = offer.rule(asked.detector, asked.threshold, asked.domain)

    @property
    def is_withheld(self) -> bool:
        """Whether the prompt alone keeps the answer from being written."""
        return self.is_risky and self.asked.policy in ("abstain", "route")

    def leave(self) -> None:
        """Let the engine end the answer: nobody waits for it."""
        self.is_left = True

    async def events(self) -> AsyncIterator[Piece | Fate]:
        """The pieces of the answer, and its fate at the end.

        Raises:
            Exception: What kept the engine from writing.
        """
        abstains = self.asked.policy == "abstain"
        held: list[Piece] = []  # of an answer that may yet be withheld
        if not self.is_withheld:
            async for piece in self._written():
                if abstains:
                    held.append(piece)
                else:
                    yield piece
        fate = self._fate()
        if fate.status == "abstained":
            yield Piece(self.offer.abstention)
        elif held:
            yield _joined(held)
        yield fate

    def _fate(self) -> Fate:
        policy, prompt_risk = self.asked.policy, self.prompt_risk
        if self.is_withheld:
            return Fate("content_filter", STATUS[policy], prompt_risk=prompt_risk)
        status = "flagged" if self.is_risky and policy != "watch" else "ok"
        # At the end, as a threshold of whole answers is meant; a stopped one was flagged.
        flagged = self.rule is not None and self.n_tokens > 0 and self.rule(self.score)
        if flagged or self.reason == "risk":
            status = STATUS[policy]
        cut = self.reason == "risk" or status == "abstained"
        reason = "content_filter" if cut else self.reason
        return Fate(reason, status, self.risk, self.score, self.n_tokens, prompt_risk)

    # --- In the thread of the model ---------------------------------------------------------------

    def request(self) -> Writing:
        asked = self.asked
        return Writing(
            prompt=asked.prompt,
            settings=asked.settings,
            seed=asked.seed,
            on_token=self._take,
            on_end=self._tell,
            on_error=self._tell,
            detector=asked.detector,
            dose=asked.dose,
        )

    def _take(self, risk: Risk, logprob: float) -> Action:
        if self.is_left:
            return "stop"
        self._tell((risk, logprob))
        ends = self.asked.policy == "stop" and not risk.in_thought
        return "stop" if ends and self.rule is not None and self.rule(risk.score) else "go"

    def _tell(self, event: tuple[Risk, float] | str | Exception) -> None:
        _call_in(self.loop, lambda: self.queue.put_nowait(event))

    # --- In the client's --------------------------------------------------------------------------

    async def _written(self) -> AsyncIterator[Piece]:
        thought, said = Decoder(self.offer.decoding), Decoder(self.offer.decoding)
        stopper = Stopper(self.asked.stop)
        while True:
            event = await self.queue.get()
            if isinstance(event, Exception):
                raise event
            if isinstance(event, str):
                self.reason = event
                break
            risk, logprob = self._in_domain(event[0]), event[1]
            self.n_tokens += 1
            self.risk, self.score = risk.probability, risk.score
            token = _token(risk, logprob)
            if risk.in_thought:
                yield Piece(thought=thought.add(risk.token_id), tokens=(token,))
                continue
            yield Piece(stopper.add(said.add(risk.token_id)), tokens=(token,))
            if stopper.met:
                self.reason = "stop"
                break
        rest = thought.rest(), "" if stopper.met else stopper.add(said.rest()) + stopper.rest()
        if any(rest):
            yield Piece(rest[1], rest[0])

    def _in_domain(self, risk: Risk) -> Risk:
        """The risk with the probability of the question's domain, where the client says it."""
        if not self.asked.domain or self.asked.detector is None:
            return risk
        probability = self.offer.probability(self.asked.detector, risk.score, self.asked.domain)
        return replace(risk, probability=probability)


def _joined(pieces: Sequence[Piece]) -> Piece:
    tokens = tuple(token for piece in pieces for token in piece.tokens)
    content = "".join(piece.content for piece in pieces)
    return Piece(content, "".join(piece.thought for piece in pieces), tokens)


def _token(risk: Risk, logprob: float) -> Token:
    return Token(risk.token_id, risk.text, risk.probability, risk.score, logprob, risk.in_thought)
