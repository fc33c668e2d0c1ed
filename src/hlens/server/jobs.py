"""The answers to one request, from the engine to the client: at once, or as a stream."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from hlens.errors import first_line
from hlens.server import replies
from hlens.server.counters import Counters, facts_of, write_log
from hlens.server.offer import Offer
from hlens.server.refusals import refusal_of
from hlens.server.replies import Choice, Reply
from hlens.server.writing import Answering, Fate, Piece

_Found = TypeVar("_Found")
GONE = 499  # what is counted where the client has gone


class GoneError(Exception):
    """The client has gone."""


async def unless_gone(request: Request, work: Awaitable[_Found]) -> _Found:
    """What the work gives; it ends where the client goes.

    Raises:
        GoneError: The client has gone.
    """
    doing = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_wait_until_gone(request))
    try:
        await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise GoneError
        return doing.result()
    finally:
        gone.cancel()
        doing.cancel()


async def _wait_until_gone(request: Request) -> None:
    with suppress(RuntimeError):
        while (await request.receive())["type"] != "http.disconnect":
            pass


@dataclass(eq=False)
class Job:
    """The answers to one request, from the engine to the client."""

    counters: Counters
    request: Request
    reply: Reply
    answers: Sequence[Answering]
    choices: list[Choice]
    texts: Any
    n_prompt: int
    began: float

    async def whole(self) -> Response:
        """All answers in one piece.

        Raises:
            EngineError: What kept the engine from writing.
            StoppedError: The server was told to stop before the answers were whole.
            GoneError: The client has gone.
        """
        try:
            await unless_gone(self.request, self._gather())
        finally:
            leave(self.answers)
        self._end(200)
        return JSONResponse(self.reply.whole(self.choices, self.n_prompt))

    async def _gather(self) -> None:
        async for choice, event in self._events():
            if isinstance(event, Fate):
                choice.fate = event
            else:
                choice.add(event)

    async def stream(self, with_usage: bool) -> AsyncIterator[bytes]:
        """Parts of all answers, as they come."""
        status = GONE  # where it goes in the middle, nothing below is reached
        try:
            if self.reply.chat:
                for choice in self.choices:
                    yield replies.line(self.reply.begun(choice))
            async for choice, event in self._events():
                if isinstance(event, Fate):
                    choice.fate = event
                    yield replies.line(self.reply.ended(choice, event))
                elif event.content or event.thought or choice.with_tokens or choice.with_logprobs:
                    choice.content += event.content
                    yield replies.line(self.reply.piece(choice, event))
            if with_usage:
                yield replies.line(self.reply.used(self.choices, self.n_prompt))
            yield replies.DONE
            status = 200
        except Exception as error:
            refused = refusal_of(error)
            status = refused.status
            write_log("error", path=self.path, id=self.reply.id, error=first_line(error))
            yield replies.line(replies.error_of(status, refused.code, str(refused)))
        finally:
            self._end(status)

    async def _events(self) -> AsyncIterator[tuple[Choice, Piece | Fate]]:
        """Events of all answers, in the order in which they come."""
        if len(self.answers) == 1:
            async for event in self.answers[0].events():
                yield self.choices[0], event
            return
        merged: asyncio.Queue[tuple[Choice, Piece | Fate] | Exception | None] = asyncio.Queue()

        async def pump(choice: Choice, answer: Answering) -> None:
            try:
                async for event in answer.events():
                    merged.put_nowait((choice, event))
                merged.put_nowait(None)
            except Exception as error:
                merged.put_nowait(error)

        pairs = zip(self.choices, self.answers, strict=True)
        tasks = [asyncio.create_task(pump(*pair)) for pair in pairs]
        try:
            left = len(tasks)
            while left:
                event = await merged.get()
                if isinstance(event, Exception):
                    raise event
                if event is None:
                    left -= 1
                else:
                    yield event
        finally:
            for task in tasks:
                task.cancel()

    @property
    def path(self) -> str:
        """Of the route; the request's own URL may hold what its Host header says."""
        return self.request.scope["path"]

    def _end(self, status: int) -> None:
        """Let the engine stop what nobody waits for; count and log what became of the rest."""
        leave(self.answers)
        seconds = time.monotonic() - self.began
        self.counters.ended(self.path, status, seconds)
        self.counters.count(self.choices, self.n_prompt)
        facts = facts_of(self.offer, self.choices, self.texts)
        write_log(
            "answered", path=self.path, status=status, id=self.reply.id, model=self.reply.model,
            prompt_tokens=self.n_prompt, seconds=round(seconds, 4), **facts,
        )  # fmt: skip

    @property
    def offer(self) -> Offer:
        """What is offered."""
        return self.reply.offer


def leave(answers: Sequence[Answering]) -> None:
    """Let the engine end answers that nobody waits for."""
    for one in answers:
        one.leave()
