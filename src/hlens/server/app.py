"""Routes: chats, completions, risks, models, health, counters and a page."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from hlens.counting import count
from hlens.errors import HlensError, first_line
from hlens.monitor.requests import batcher_of
from hlens.server import replies, risk
from hlens.server.bodies import Chat, Completion, Conversations, RequestError, asked_of, parse
from hlens.server.counters import Counters, log_to_stderr, write_log
from hlens.server.desk import Desk, FullError
from hlens.server.jobs import GONE, GoneError, Job, unless_gone
from hlens.server.offer import POLICIES, Offer
from hlens.server.page import POLICY, page
from hlens.server.prompts import encode_conversation, encode_prompt
from hlens.server.refusals import refusal_of
from hlens.server.replies import Choice, Reply
from hlens.server.writing import begin

_Body = TypeVar("_Body", bound=BaseModel)
LOCAL = ("127.0.0.1", "localhost", "[::1]", "::1")
GRACE = 30  # seconds that answers have to end when the server is told to stop
LAST_WORDS = 2  # of these, for saying that they were cut


@dataclass(eq=False)
class Service:
    """What the routes of one server share."""

    offer: Offer
    desk: Desk
    counters: Counters
    encoder: ThreadPoolExecutor
    encoding: int = 0  # texts that wait for the encoder

    async def encode(self, call: Callable[..., Any], *args: Any) -> Any:
        """Call something in the thread that encodes, so that a long text holds nobody else up.

        Raises:
            FullError: As many texts wait there as answers may wait.
        """
        if self.encoding >= self.offer.limits.waiting:
            raise FullError(f"{count(self.encoding, 'text')} wait to be read; ask again later")
        self.encoding += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.encoder, call, *args)
        finally:
            self.encoding -= 1


def serve(offer: Offer, *, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve until the process is told to stop; answers that are being written may end.

    Raises:
        HlensError: An address of others without a key, one that cannot be had, or a detector or
            dose that the engine cannot use.
    """
    if offer.api_key is None and host not in LOCAL:
        raise HlensError(
            f"host {host} is reached by others, and there is no key; set HLENS_API_KEY, or serve "
            "on 127.0.0.1"
        )
    log_to_stderr()
    server = make_server(make_app(offer), host, port)
    write_log("serving", url=f"http://{host}:{port}", model=offer.name)
    try:
        server.run()
    except SystemExit:  # how uvicorn says that it cannot bind
        raise HlensError(f"cannot serve on {host}:{port}; is the port taken?") from None


def make_server(app: FastAPI, host: str, port: int) -> uvicorn.Server:
    """What serves an application; told to stop, it lets answers end for a while."""
    return _Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=GRACE,
        )
    )


class _Server(uvicorn.Server):
    """Tells clients whose answers outlast the grace so, before their connections are cut."""

    async def shutdown(self, sockets: Any = None) -> None:
        """Let answers end for a while; then end what is left."""
        desk = self.config.app.state.service.desk  # pyright: ignore
        timer = asyncio.get_running_loop().call_later(GRACE - LAST_WORDS, desk.cut)
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()


def make_app(offer: Offer) -> FastAPI:
    """The application; its thread starts with it.

    Raises:
        HlensError: A detector or dose that the engine cannot use.
    """
    desk = Desk(
        lambda: batcher_of(offer.model, offer.readable, offer.doses, most_rows=offer.limits.rows),
        offer.limits.waiting,
    )
    _ = offer.encoding, offer.decoding  # copied now, not while the first client waits
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

    @app.api_route("/", methods=["GET", "HEAD"])
    async def show_page() -> Response:
        return HTMLResponse(shown, headers={"Content-Security-Policy": POLICY})

    @app.api_route("/health", methods=["GET", "HEAD"])
    async def health() -> Response:
        body = {"status": desk.health, "held": len(desk.held)}
        return JSONResponse(body, status_code=200 if desk.health == "ok" else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.counters.text(), media_type="text/plain; version=0.0.4")

    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        _check_client(request, offer)
        return JSONResponse({"object": "list", "data": list(_models(offer).values())})

    @app.get("/v1/models/{name:path}")
    async def model(request: Request, name: str) -> Response:
        _check_client(request, offer)
        _check_model(offer, name)
        return JSONResponse(_models(offer)[name])

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        async def ask(body: Chat, began: float) -> Response:
            turns = [message.turn for message in body.messages]
            prompts = [await service.encode(encode_conversation, offer, turns)]
            return await _answer(service, request, body, prompts, turns, began)

        return await _handle(service, request, Chat, ask)

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        async def ask(body: Completion, began: float) -> Response:
            texts = body.prompts
            if len(texts) > offer.limits.choices:
                said = (
                    f"{count(len(texts), 'prompt')}; this server takes at most "
                    f"{offer.limits.choices}"
                )
                raise RequestError(400, "too_many_choices", said, "prompt")
            prompts = [await service.encode(encode_prompt, offer, one) for one in texts]
            return await _answer(service, request, body, prompts, texts, began)

        return await _handle(service, request, Completion, ask)

    @app.post("/v1/risk")
    async def risks(request: Request) -> Response:
        async def ask(body: Conversations, began: float) -> Response:
            if body.model is not None:
                _check_model(offer, body.model)
            if body.model in offer.doses:
                said = "conversations are read by the model itself, not under a dose"
                raise RequestError(400, "invalid_value", said, "model")
            work = risk.score(desk, offer, body, service.encode)
            detector, found = await unless_gone(request, work)
            seconds = time.monotonic() - began
            service.counters.ended("/v1/risk", 200, seconds)
            write_log("risk", detector=detector, n=len(found), seconds=round(seconds, 4))
            head = {"object": "list", "model": offer.name, "detector": detector}
            if body.domain:
                head["read_as"] = offer.read_as(detector, body.domain) or "all domains together"
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
    ask: Callable[[_Body, float], Awaitable[Response]],
) -> Response:
    """Check who asks and what, and answer; errors in the protocol's form.

    `ask` is given the body, and when it began to come; what it answers it counts itself.
    """
    path, began = request.scope["path"], time.monotonic()
    try:
        _check_client(request, service.offer)
        service.desk.check_room()
        raw = await _read_body(request, service.offer.limits.body)
        return await ask(await service.encode(parse, kind, raw), began)
    except (GoneError, ClientDisconnect):
        service.counters.ended(path, GONE, time.monotonic() - began)
        write_log("left", path=path, seconds=round(time.monotonic() - began, 4))
        return Response(status_code=GONE)
    except Exception as error:
        refused = refusal_of(error)
        service.counters.ended(path, refused.status, time.monotonic() - began)
        told = {} if refused.status < 500 else {"error": first_line(error)}
        write_log("refused", path=path, status=refused.status, code=refused.code, **told)
        raise refused from error


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


def _check_client(request: Request, offer: Offer) -> None:
    """Raise `RequestError` for a client without the key, or where there is none, from elsewhere."""
    if offer.api_key is None:
        # A page of another site can have its own name point at this machine.
        host = request.headers.get("host", "").rsplit(":", 1)[0]
        if host not in LOCAL:
            said = f"host {host!r:.60}; a server without a key answers as {' or '.join(LOCAL)}"
            raise RequestError(403, "host_not_allowed", said)
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
        "policies": {name: POLICIES[name] for name in offer.allowed},
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
    began: float,
) -> Response:
    """Write all answers to a request, at once or as a stream."""
    offer = service.offer
    _check_model(offer, body.model)
    seed = secrets.randbits(31) if body.seed is None else body.seed
    asked = await service.encode(asked_of, body, prompts, offer, seed)
    answers = await begin(service.desk, offer, asked)
    chat = isinstance(body, Chat)
    logprobs = isinstance(body, Chat) and bool(body.logprobs)
    job = Job(
        counters=service.counters,
        request=request,
        reply=Reply(offer, body.model, chat),
        answers=answers,
        choices=[
            Choice(one.asked, i, seed, body.hlens.tokens, logprobs) for i, one in enumerate(answers)
        ],
        texts=texts,
        n_prompt=sum(map(len, prompts)),
        began=began,
    )
    if not body.stream:
        return await job.whole()
    with_usage = body.stream_options is not None and body.stream_options.include_usage
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        job.stream(with_usage), media_type="text/event-stream", headers=headers
    )
