"""Routes: chats, completions, risks, models, health, counters and a page."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from hlens.errors import HlensError, first_line
from hlens.model import mix_seed
from hlens.monitor.requests import batcher_of
from hlens.server import replies, risk
from hlens.server.bodies import Chat, Completion, Conversations, RequestError, asked_of, parse
from hlens.server.counters import Counters, facts_of, log_to_stderr, write_log
from hlens.server.desk import Desk, FullError, StoppedError
from hlens.server.offer import POLICIES, Offer
from hlens.server.page import POLICY, page
from hlens.server.prompts import encode_conversation, encode_prompt
from hlens.server.replies import Choice, Reply
from hlens.server.writing import Answering, Fate, Piece, begin

_Body = TypeVar("_Body", bound=BaseModel)
GRACE = 30  # seconds that answers have to end when the server is told to stop


@dataclass(eq=False)
class Service:
    """What the routes of one server share."""

    offer: Offer
    desk: Desk
    counters: Counters
    encoder: ThreadPoolExecutor

    async def encode(self, call: Callable[..., Any], *args: Any) -> Any:
        """Call something in the thread that encodes, so that a long text holds nobody else up."""
        return await asyncio.get_running_loop().run_in_executor(self.encoder, call, *args)


def serve(offer: Offer, *, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve until the process is told to stop; answers that are being written may end.

    Raises:
        HlensError: An address of others without a key, one that cannot be had, or a detector or
            dose that the engine cannot use.
    """
    if offer.api_key is None and host not in ("127.0.0.1", "localhost", "::1"):
        raise HlensError(
            f"host {host} is reached by others, and there is no key; set HLENS_API_KEY, or serve "
            "on 127.0.0.1"
        )
    log_to_stderr()
    options: dict[str, Any] = {"timeout_graceful_shutdown": GRACE, "lifespan": "on"}
    config = uvicorn.Config(
        make_app(offer), host=host, port=port, log_config=None, access_log=False, **options
    )
    server = uvicorn.Server(config)
    write_log("serving", url=f"http://{host}:{port}", model=offer.name)
    try:
        server.run()
    except SystemExit:  # how uvicorn says that it cannot bind
        raise HlensError(f"cannot serve on {host}:{port}; is the port taken?") from None


def make_app(offer: Offer) -> FastAPI:
    """The application; its thread starts with it.

    Raises:
        HlensError: A detector or dose that the engine cannot use.
    """
    desk = Desk(
        lambda: batcher_of(offer.model, offer.readable, offer.doses, most_rows=offer.limits.rows),
        offer.limits.waiting,
    )
    desk.start()
    service = Service(offer, desk, Counters(desk), ThreadPoolExecutor(1, "encode"))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(desk.close)
        service.encoder.shutdown()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.service = service
    _add_errors(app)
    shown = page()

    @app.get("/")
    async def show_page() -> Response:
        return HTMLResponse(shown, headers={"Content-Security-Policy": POLICY})

    @app.get("/health")
    async def health() -> Response:
        failed = desk.failure is not None
        body = {"status": "failed" if failed else "ok", "held": len(desk.held)}
        return JSONResponse(body, status_code=503 if failed else 200)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.counters.text(), media_type="text/plain; version=0.0.4")

    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        _check_key(request, offer)
        return JSONResponse({"object": "list", "data": list(_models(offer).values())})

    @app.get("/v1/models/{name:path}")
    async def model(request: Request, name: str) -> Response:
        _check_key(request, offer)
        _check_model(offer, name)
        return JSONResponse(_models(offer)[name])

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        async def ask(body: Chat) -> Response:
            turns = [message.turn for message in body.messages]
            prompt = await service.encode(encode_conversation, offer, turns)
            return await _answer(service, request, body, [prompt], turns)

        return await _handle(service, request, Chat, ask)

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        async def ask(body: Completion) -> Response:
            texts = body.prompts
            prompts = [await service.encode(encode_prompt, offer, one) for one in texts]
            return await _answer(service, request, body, prompts, texts)

        return await _handle(service, request, Completion, ask)

    @app.post("/v1/risk")
    async def risks(request: Request) -> Response:
        async def ask(body: Conversations) -> Response:
            if body.model is not None:
                _check_model(offer, body.model)
            began = time.monotonic()
            detector, found = await risk.score(desk, offer, body, service.encode)
            service.counters.seconds.labels("/v1/risk").observe(time.monotonic() - began)
            write_log("risk", detector=detector, n=len(found), seconds=time.monotonic() - began)
            head = {"object": "list", "model": offer.name, "detector": detector}
            return JSONResponse(head | {"data": found})

        return await _handle(service, request, Conversations, ask)

    return app


def _add_errors(app: FastAPI) -> None:
    """Give every error in the protocol's form, and no other."""

    def reply(status: int, code: str, said: str, param: str | None = None) -> Response:
        headers = {"Retry-After": "1"} if status == 429 else None
        if status == 401:
            headers = {"WWW-Authenticate": "Bearer"}
        body = replies.error_of(status, code, said, param)
        return JSONResponse(body, status_code=status, headers=headers)

    @app.exception_handler(RequestError)
    async def refused(request: Request, error: RequestError) -> Response:
        return reply(error.status, error.code, str(error), error.param)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        return reply(error.status_code, code, f"{request.url.path:.200}: {error.detail}")

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        write_log("error", path=request.url.path, error=first_line(error))
        return reply(500, "internal_error", "an error of the server's own; its log says more")


async def _handle(
    service: Service,
    request: Request,
    kind: type[_Body],
    ask: Callable[[_Body], Awaitable[Response]],
) -> Response:
    """Check who asks and what, and answer; errors in the protocol's form."""
    path, status = request.url.path, 500
    try:
        _check_key(request, service.offer)
        body = parse(kind, await _read_body(request, service.offer.limits.body))
        try:
            response = await ask(body)
        except (HlensError, FullError, StoppedError, ExceptionGroup) as error:
            raise _refusal_of(error) from error
        status = response.status_code
        return response
    except RequestError as error:
        status = error.status
        write_log("refused", path=path, status=status, code=error.code)
        raise
    finally:
        service.counters.requests.labels(path, str(status)).inc()


def _refusal_of(error: Exception) -> Exception:
    """What the client is told, where the error is about its request."""
    if isinstance(error, ExceptionGroup):  # of readings that were asked for together
        return _refusal_of(error.exceptions[0])
    if isinstance(error, FullError):
        return RequestError(429, "queue_full", str(error))
    if isinstance(error, StoppedError):
        return RequestError(503, "stopped", str(error))
    return (
        RequestError(400, "invalid_value", str(error)) if isinstance(error, HlensError) else error
    )


async def _read_body(request: Request, most: int) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # which no form of another site's page can send
        said = f"content type {kind or 'none'!r:.60}; expected application/json"
        raise RequestError(415, "unsupported_media_type", said)
    declared = request.headers.get("content-length", "")
    body = bytearray()
    if not (declared.isdigit() and int(declared) > most):
        async for part in request.stream():
            body += part
            if len(body) > most:
                break
        else:
            return bytes(body)
    raise RequestError(413, "request_too_large", f"a body of more than {most} bytes")


def _check_key(request: Request, offer: Offer) -> None:
    if offer.api_key is None:
        return
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    given = key.encode("utf-8", "replace")
    if kind.lower() != "bearer" or not secrets.compare_digest(given, offer.api_key.encode()):
        raise RequestError(
            401, "invalid_api_key", "no key, or another one; give it as a bearer token"
        )


def _check_model(offer: Offer, name: str) -> None:
    if name != offer.name and name not in offer.doses:
        known = ", ".join([offer.name, *offer.doses])
        raise RequestError(
            404, "model_not_found", f"no model {name!r:.80}; there is {known}", "model"
        )


def _models(offer: Offer) -> dict[str, dict[str, Any]]:
    """What clients may name as the model: the model itself, and each dose of it."""
    detectors = {
        name: {
            "reads": one.region,
            "domains": list(one.domains),
            "neurons": len(one.selected),
            "threshold": offer.rule_name(name, None),
            "false_alarms": sorted({t.false_alarms for t in one.thresholds}),
        }
        for name, one in offer.detectors.items()
    }
    own = {
        "detectors": detectors,
        "policies": {name: POLICIES[name] for name in offer.policies},
        "max_tokens": offer.limits.new_tokens,
        "chat": bool(getattr(offer.model.tokenizer, "chat_template", None)),
    }
    return {
        name: {"id": name, "object": "model", "created": 0, "owned_by": "hlens", "hlens": own}
        | ({"parent": offer.name} if name in offer.doses else {})
        for name in (offer.name, *offer.doses)
    }


async def _answer(
    service: Service,
    request: Request,
    body: Chat | Completion,
    prompts: Sequence[Sequence[int]],
    texts: Any,
) -> Response:
    """Write all answers to a request, at once or as a stream."""
    offer = service.offer
    _check_model(offer, body.model)
    seed = secrets.randbits(31) if body.seed is None else body.seed
    asked = [
        [asked_of(body, prompt, offer, mix_seed(seed, i)) for i in range(body.n or 1)]
        for prompt in prompts
    ]
    if (n := sum(map(len, asked))) > offer.limits.choices:
        said = f"{n} answers; this server gives at most {offer.limits.choices} to a request"
        raise RequestError(400, "too_many_choices", said, "n")
    answers: list[Answering] = []
    try:
        for of_prompt in asked:
            answers += await begin(service.desk, offer, of_prompt)
    except BaseException:
        _leave(answers)
        raise
    chat = isinstance(body, Chat)
    logprobs = chat and bool(body.logprobs)
    choices = [
        Choice(one.asked, i, seed, body.hlens.tokens, logprobs) for i, one in enumerate(answers)
    ]
    job = _Job(
        service, request, Reply(offer, body.model, chat), answers, choices, texts,
        n_prompt=sum(map(len, prompts)),
    )  # fmt: skip
    if not body.stream:
        return await job.whole()
    with_usage = body.stream_options is not None and body.stream_options.include_usage
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        job.stream(with_usage), media_type="text/event-stream", headers=headers
    )


def _leave(answers: Sequence[Answering]) -> None:
    for one in answers:
        one.leave()


@dataclass(eq=False)
class _Job:
    """The answers to one request, from the engine to the client."""

    service: Service
    request: Request
    reply: Reply
    answers: Sequence[Answering]
    choices: list[Choice]
    texts: Any
    n_prompt: int

    def __post_init__(self) -> None:
        self.began = time.monotonic()

    async def whole(self) -> Response:
        """All answers in one piece; none where the client has gone."""
        gather = asyncio.create_task(self._gather())
        gone = asyncio.create_task(_wait_until_gone(self.request))
        status = 500
        try:
            await asyncio.wait({gather, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not gather.done():
                status = 499
                return Response(status_code=499)
            gather.result()
            status = 200
            return JSONResponse(self.reply.whole(self.choices, self.n_prompt))
        finally:
            gone.cancel()
            gather.cancel()
            self._end(status)

    async def _gather(self) -> None:
        async for choice, event in self._events():
            if isinstance(event, Fate):
                choice.fate = event
            else:
                choice.add(event)

    async def stream(self, with_usage: bool) -> AsyncIterator[bytes]:
        """Parts of all answers, as they come."""
        status = 499  # what is left where the client goes in the middle
        try:
            if self.reply.chat:
                for choice in self.choices:
                    yield replies.line(self.reply.begun(choice))
            async for choice, event in self._events():
                if isinstance(event, Fate):
                    choice.fate = event
                    yield replies.line(self.reply.ended(choice, event))
                elif event.content or event.thought or choice.with_tokens:
                    choice.content += event.content
                    yield replies.line(self.reply.piece(choice, event))
            if with_usage:
                yield replies.line(self.reply.used(self.choices, self.n_prompt))
            yield replies.DONE
            status = 200
        except Exception as error:
            status = 500
            yield replies.line(replies.error_of(500, "engine_failed", first_line(error)))
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

    def _end(self, status: int) -> None:
        """Let the engine stop what nobody waits for; count and log what became of the rest."""
        _leave(self.answers)
        seconds, path = time.monotonic() - self.began, self.request.url.path
        self.service.counters.seconds.labels(path).observe(seconds)
        self.service.counters.count(self.choices, self.n_prompt)
        facts = facts_of(self.service.offer, self.choices, self.texts)
        write_log(
            "answered", path=path, status=status, id=self.reply.id, model=self.reply.model,
            prompt_tokens=self.n_prompt, seconds=round(seconds, 4), **facts,
        )  # fmt: skip


async def _wait_until_gone(request: Request) -> None:
    with suppress(RuntimeError):
        while (await request.receive())["type"] != "http.disconnect":
            pass
