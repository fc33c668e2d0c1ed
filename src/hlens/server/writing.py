"""One answer: its tokens as they come, its policy, and its fate."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from hlens.errors import first_line
from hlens.model import Settings
from hlens.monitor.flagging import Flagging
from hlens.monitor.policies import Action, Risk
from hlens.monitor.requests import Reading, Writing
from hlens.server.desk import Desk, StoppedError
from hlens.server.offer import Offer
from hlens.server.text import UNFINISHED, Decoder, Stopper
from hlens.thoughts import may_be_opening


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


class EngineError(Exception):
    """What kept the engine from writing or reading; not the client's fault."""


async def begin(desk: Desk, offer: Offer, asked: Sequence[Asked]) -> "list[Answering]":
    """Ask for all answers of a request: all of them, or none.

    Where a prompt is read before, and what was read says so, its answers are withheld unwritten.

    Raises:
        FullError: More answers would be held than the operator allows.
        StoppedError: The engine writes no more.
        EngineError: It could not read the prompts.
    """
    risks = await _read_prompts(desk, offer, asked)
    answers = [Answering(offer, one, *risk) for one, risk in zip(asked, risks, strict=True)]
    desk.ask(*(one.writing() for one in answers if not one.is_withheld))
    return answers


async def _read_prompts(
    desk: Desk, offer: Offer, asked: Sequence[Asked]
) -> list[tuple[float, bool]]:
    """Of each answer the risk where its prompt ends, and whether that is flagged."""
    gate = asked[0].gate
    if gate is None:
        return [(math.nan, False)] * len(asked)
    prompts = {id(one.prompt): one.prompt for one in asked}  # several answers share one
    scores = await read(desk, list(prompts.values()), gate)
    ends = {key: float(own[-1]) for key, own in zip(prompts, scores, strict=True)}
    rule = offer.rule(gate, asked[0].threshold, asked[0].domain)
    found = {k: (offer.probability(gate, s, asked[0].domain), rule(s)) for k, s in ends.items()}
    return [found[id(one.prompt)] for one in asked]


async def read(desk: Desk, rows: Sequence[Sequence[int]], detector: str) -> list[np.ndarray]:
    """Log-odds of each token of texts that are written.

    Raises:
        FullError: As many requests are held as the operator allows.
        StoppedError: The engine reads no more, or the server is shutting down.
        EngineError: What kept it from reading.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[np.ndarray]] = loop.create_future()

    def settle(set_it: Callable[[Any], None]) -> Callable[[Any], None]:
        def tell(what: Any) -> None:
            _call_in(loop, lambda: future.done() or set_it(what))

        return tell

    desk.ask(Reading(rows, detector, settle(future.set_result), settle(future.set_exception)))
    try:
        return await future
    except StoppedError:
        raise
    except Exception as error:
        raise EngineError(first_line(error)) from error


def _call_in(loop: asyncio.AbstractEventLoop, call: Callable[[], Any]) -> None:
    """Call something in the web application's thread."""
    with suppress(RuntimeError):  # it has ended, and nobody waits there
        loop.call_soon_threadsafe(call)


class Answering:
    """One answer, between the thread of the model, which calls, and the client's, which waits."""

    def __init__(self, offer: Offer, asked: Asked, prompt_risk: float, is_risky: bool) -> None:
        self.offer, self.asked = offer, asked
        self.loop = asyncio.get_running_loop()
        self.queue: asyncio.Queue[_Told | str | Exception] = asyncio.Queue()
        self.prompt_risk, self.is_risky = prompt_risk, is_risky  # where the prompt ends
        self.is_left = False  # nobody waits any more
        self.raw = ""  # what was written while it may yet be a tag
        self.reason = ""
        self.risk = self.score = math.nan
        self.n_tokens = self.n_answer = 0  # with its thought, and behind it
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

    def writing(self) -> Writing:
        """What is asked of the engine."""
        asked = self.asked
        return Writing(
            prompt=asked.prompt,
            settings=asked.settings,
            seed=asked.seed,
            on_token=self._take,
            on_end=self._tell,
            on_error=self._tell,
            is_wanted=lambda: not self.is_left,
            detector=asked.detector,
            dose=asked.dose,
        )

    # --- In the thread of the model ---------------------------------------------------------------

    def _take(self, risk: Risk, logprob: float) -> Action:
        if self.is_left:
            return "stop"
        is_open = self._is_open(risk)
        self._tell(_Told(risk, logprob, is_open))
        if self.asked.policy != "stop" or self.rule is None or risk.in_thought or is_open:
            return "go"
        return "stop" if self.rule(risk.score) else "go"

    def _is_open(self, risk: Risk) -> bool:
        """Whether all that was written may yet be the beginning of a thought's tag."""
        if risk.n_thought or len(self.raw) < risk.index:  # it was decided before
            return False
        self.raw += risk.text or UNFINISHED
        return may_be_opening(self.offer.model.tokenizer, self.raw)

    def _tell(self, event: "_Told | str | Exception") -> None:
        _call_in(self.loop, lambda: self.queue.put_nowait(event))

    # --- In the client's --------------------------------------------------------------------------

    async def events(self) -> AsyncIterator[Piece | Fate]:
        """The pieces of the answer, and its fate at the end.

        Raises:
            StoppedError: The server was told to stop before the answer was whole.
            EngineError: What kept the engine from writing.
        """
        abstains = self.asked.policy == "abstain"
        held: list[Piece] = []  # of an answer that may yet be withheld
        if not self.is_withheld:
            async for piece in self._pieces():
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
        flagged = self.rule is not None and self.n_answer > 0 and self.rule(self.score)
        if flagged or self.reason == "risk":
            status = STATUS[policy]
        cut = self.reason == "risk" or status == "abstained"
        reason = "content_filter" if cut else self.reason
        if not self.n_answer:  # within a thought, which is not calibrated
            return Fate(reason, status, n_tokens=self.n_tokens, prompt_risk=prompt_risk)
        return Fate(reason, status, self.risk, self.score, self.n_tokens, prompt_risk)

    async def _pieces(self) -> AsyncIterator[Piece]:
        """What can be given, token by token."""
        thought, said = Decoder(self.offer.decoding), Decoder(self.offer.decoding)
        stopper = Stopper(self.asked.stop)
        open_tokens: list[_Told] = []
        async for told in self._told():
            open_tokens.append(told)
            if told.is_open:
                continue
            for one in open_tokens:
                token = self._token(one, in_thought=one.risk.index < told.risk.n_thought)
                if token.in_thought:
                    yield Piece(thought=thought.add(token.id), tokens=(token,))
                else:
                    yield Piece(stopper.add(said.add(token.id)), tokens=(token,))
            open_tokens.clear()
            if stopper.met:
                self.reason = "stop"
                self.leave()
                break
        for one in open_tokens:  # the answer ended there: it was no tag
            yield Piece(stopper.add(said.add(one.risk.token_id)), tokens=(self._token(one),))
        rest = "" if stopper.met else stopper.add(said.rest()) + stopper.rest()
        if last := thought.rest():
            yield Piece(thought=last)
        if rest:
            yield Piece(rest)

    async def _told(self) -> AsyncIterator["_Told"]:
        """What the engine tells, until it has no more to tell."""
        while True:
            event = await self.queue.get()
            if isinstance(event, StoppedError):
                raise event
            if isinstance(event, Exception):
                raise EngineError(first_line(event)) from event
            if isinstance(event, str):
                self.reason = event
                return
            risk = event.risk
            self.n_tokens += 1
            self.n_answer = risk.index + 1 - risk.n_thought
            self.risk, self.score = self._in_domain(risk), risk.score
            yield event

    def _token(self, told: "_Told", *, in_thought: bool = False) -> Token:
        risk = told.risk
        probability = self._in_domain(risk)
        return Token(risk.token_id, risk.text, probability, risk.score, told.logprob, in_thought)

    def _in_domain(self, risk: Risk) -> float:
        """The probability, of the question's domain where the client says it."""
        if not self.asked.domain or self.asked.detector is None:
            return risk.probability
        return self.offer.probability(self.asked.detector, risk.score, self.asked.domain)


@dataclass(frozen=True)
class _Told:
    """What the engine tells of a token; `is_open`: it may belong to a thought's tag."""

    risk: Risk
    logprob: float
    is_open: bool


def _joined(pieces: Sequence[Piece]) -> Piece:
    tokens = tuple(token for piece in pieces for token in piece.tokens)
    content = "".join(piece.content for piece in pieces)
    return Piece(content, "".join(piece.thought for piece in pieces), tokens)
