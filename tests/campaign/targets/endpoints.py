"""Judges at an endpoint that answers as no endpoint should: slow, huge, broken, curious.

The endpoint is a server in this process. Whatever it says, each response gets a judgement in
time, the key is told to nobody, and a verdict is only what the reply says.
"""

import json
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any
from unittest.mock import patch

from campaign.mutations import TEXTS, mutate_bytes, mutate_json, write_json
from campaign.trials import RIGHT, Plan, WrongError
from hlens.judges import llm
from hlens.types import Question, Response, Verdict

SHARE = 0.3
KEEPS_INPUT = True
KEY = "sk-very-secret-0123456789"
LONGEST = 20  # seconds of one response: the time-out and the retries below take two
VERDICTS = ("correct", "incorrect", "refused", "cannot tell")


def prepare(home: Path) -> None:
    """Nothing: each trial has a server of its own."""


def make(draw: random.Random, home: Path, folder: Path) -> Plan:
    """What the endpoint says, as raw bytes in a file, and how it sends them."""
    verdict = draw.choice(VERDICTS)
    said = {"verdict": verdict, "answer": "Paris"}
    content, expected, what = _content(draw, said)
    reply: Any = {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]}
    status, headers = "200 OK", {"Content-Type": "application/json"}
    body = json.dumps(reply).encode(errors="surrogatepass")
    way = draw.choice(("plain", "plain", "plain", "json", "bytes", "status", "redirect", "headers"))
    if way == "json":
        changed, what = mutate_json(draw, reply)
        body, expected = write_json(changed).encode(errors="surrogatepass"), None
    elif way == "bytes":
        mutated = mutate_bytes(draw, body)
        body, what, expected = mutated.data, mutated.said, None
    elif way == "status":
        code = draw.choice((400, 401, 403, 404, 418, 429, 500, 503, 599, 204, 206, 999))
        words = draw.choice((f"bad key {KEY}", f"Bearer {KEY}", *TEXTS, "line\nline\nline"))
        error = {"error": {"message": words}} if draw.random() < 0.7 else words
        status, body, expected = f"{code} x", json.dumps(error).encode(), None
        headers["Retry-After"] = draw.choice(("1e9", "nan", "-1", "soon", "0", "Wed, 21 Oct 2026"))
        what = f"status {code}"
    elif way == "redirect":
        status = draw.choice(("301 x", "302 x", "307 x", "308 x"))
        headers["Location"] = draw.choice(("/elsewhere", "file:///etc/passwd", "ftp://x/", "\x00"))
        expected, what = None, f"a redirect to {headers['Location']!r}"
    elif way == "headers":
        name, value = draw.choice(
            (
                ("Content-Length", "10"),
                ("Content-Length", "-1"),
                ("Content-Length", "99999999999"),
                ("Content-Encoding", "gzip"),
                ("Transfer-Encoding", "chunked"),
                ("X-Long", "x" * 100_000),
                ("Content-Type", "text/html; charset=utf-7"),
            )
        )
        headers[name], expected, what = value, None, f"{name}: {value:.20}"
    sending = "whole"
    if draw.random() < 0.06:
        sending = draw.choice(("drip", "endless", "silent", "closed"))
    if sending != "whole":
        expected, what = None, f"{sending}, {what}"
    head = f"HTTP/1.1 {status}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    (folder / "reply.bin").write_bytes(head.encode() + b"Connection: close\r\n\r\n" + body)
    return {"said": what, "expected": expected, "sending": sending}


def _content(draw: random.Random, said: dict[str, str]) -> tuple[str, str | None, str]:
    """What the judge says, the verdict that must come of it, and what was done to it."""
    text = json.dumps(said)
    verdict = said["verdict"]
    ways: dict[str, tuple[str, str | None]] = {
        "as asked": (text, verdict),
        "fenced": (f"```json\n{text}\n```", verdict),
        "a thought before": (f"Let me think. It is so.\n\n{text}", verdict),
        "prose behind": (f"{text}\n\nThat is why.", verdict),
        "blanks round it": (" " * 60_000 + text + "\n" * 60_000, None),
        "keys in capitals": (text.upper(), None),
        "a word alone": (verdict, "unscored"),
        "an empty text": ("", "unscored"),
        "blanks alone": (" " * 60_000, "unscored"),
        "open fence": ("```json" + " " * 60_000 + "x", "unscored"),
        "brackets without end": ("[" * 100_000, "unscored"),
        "braces without end": ('{"a":' * 100_000, "unscored"),
        "braces and braces": ("{" * 30_000 + "}" * 30_000, "unscored"),
        "an unknown verdict": ('{"verdict": "so so"}', "unscored"),
        "a list of verdicts": ('{"verdict": ["correct"]}', "unscored"),
        "hostile answer": (json.dumps({**said, "answer": draw.choice(TEXTS)}), None),
        "a byte order mark": ("\ufeff" + text, verdict),
    }
    what = draw.choice(sorted(ways))
    return *ways[what], what


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    reply: bytes = b""
    sending: str = "whole"
    asked: list[bytes]


class _Handler(BaseRequestHandler):
    server: _Server  # type: ignore[assignment]

    def handle(self) -> None:
        with suppress(OSError):
            self.request.settimeout(5)
            self.server.asked.append(self.request.recv(65536))
            WAYS[self.server.sending](self.request, self.server.reply)


def _send_drip(to: socket.socket, reply: bytes) -> None:
    for at in range(min(len(reply), 2000)):
        to.sendall(reply[at : at + 1])
        time.sleep(0.1)


def _send_endless(to: socket.socket, reply: bytes) -> None:
    to.sendall(reply)
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        to.sendall(b" " * (1 << 20))


def _send_silent(to: socket.socket, reply: bytes) -> None:
    time.sleep(LONGEST)


WAYS: dict[str, Callable[[socket.socket, bytes], None]] = {
    "whole": lambda to, reply: to.sendall(reply),
    "drip": _send_drip,
    "endless": _send_endless,
    "silent": _send_silent,
    "closed": lambda to, reply: to.sendall(reply[: len(reply) // 2]),
}


def check(plan: Plan, home: Path, folder: Path) -> str:
    """A judgement in time that is what the reply says, and the key kept."""
    question = Question("1", "mine", "What is the capital of France?", ("Paris",))
    response = Response(question, "It is Paris.", (1, 2, 3), 1)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.asked = []
        server.reply, server.sending = (folder / "reply.bin").read_bytes(), plan["sending"]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            return _judge(plan, response, f"http://127.0.0.1:{server.server_address[1]}/v1", server)
        finally:
            server.shutdown()


def _judge(plan: Plan, response: Response, url: str, server: _Server) -> str:
    since = time.monotonic()
    with patch.dict(os.environ, {"OPENAI_API_KEY": KEY}):
        endpoint = llm.Endpoint(
            "mine", url, timeout=1.0, retries=1, wait=0.0, sleep=lambda seconds: None
        )
        try:
            (judged,) = llm.judge_all([response], endpoint)
        except ValueError as error:
            if KEY in str(error):
                raise WrongError(f"the key: {str(error)[:200]}") from None
            raise
    if time.monotonic() - since > LONGEST:
        raise WrongError(f"late: {time.monotonic() - since:.0f} seconds for one response")
    if KEY in judged.reason:
        raise WrongError(f"the key: {judged.reason[:200]}")
    if len(server.asked) > 8:
        raise WrongError(f"asked {len(server.asked)} times")
    if plan["expected"] is not None:
        expected = llm.VERDICTS.get(plan["expected"], Verdict.UNSCORED)
        if judged.verdict is not expected:
            raise WrongError(f"verdict: {judged.verdict}, the reply says {plan['expected']}")
    start, stop = judged.answer or (0, 1)
    if not 0 <= start < stop <= len(response.text):
        raise WrongError(f"span: {judged.answer}")
    return RIGHT
