"""A chat endpoint that speaks OpenAI's protocol, with retries, and a cache of its replies on disk.

Plain urllib: one POST to ``<url>/chat/completions`` is all that is needed. The key comes from the
environment, and is taken out of all that the endpoint says. An endpoint is not trusted: what it
sends is read up to a limit, and for so long.
"""

import contextlib
import http.client
import json
import logging
import os
import queue
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import SplitResult, quote, urlsplit

from hlens import store
from hlens.checks import check_real, check_whole
from hlens.errors import HlensError

log = logging.getLogger("hlens")
LOCAL = ("localhost", "127.0.0.1", "::1")
LONGEST_WAIT = 60.0
TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
TRANSIENT_ERRORS = (
    OSError,
    http.client.HTTPException,
    ValueError,
    LookupError,
    TypeError,
    RecursionError,
)
_BEARER = re.compile(r"\bBearer +[^\s\"',;}]+", re.IGNORECASE)  # of any key
LONGEST_REPLY = 4 * 2**20  # bytes
T = TypeVar("T")


class UnreachableError(Exception):
    """No usable reply after all retries."""


class _RefusedError(Exception):
    """A reply with a status of failure: the status, what was said, and how long to wait."""

    def __init__(self, status: int, said: str, pause: float | None) -> None:
        super().__init__(f"status {status}")
        self.status, self.said, self.pause = status, said, pause


@dataclass(frozen=True)
class Endpoint:
    """Where an LLM judge is asked.

    Attributes:
        model: Name of the model at the endpoint.
        url: Base address, up to and including ``/v1``.
        key_variable: Environment variable that holds the key; a local endpoint may need none.
        timeout: Seconds to wait for a reply, all in all, however slowly it comes.
        retries: How often a transient failure (time-out, rate limit, server error) is retried.
        wait: Seconds before the first retry; doubled for each further one, unless the endpoint
            sends Retry-After.
        max_tokens: Where to cut a reply.
        sleep: Called with the seconds to wait; a test passes its own.
    """

    model: str
    url: str = "https://api.openai.com/v1"
    key_variable: str = "OPENAI_API_KEY"
    timeout: float = 60.0
    retries: int = 5
    wait: float = 1.0
    max_tokens: int = 200
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def __post_init__(self) -> None:
        parts = self._parts()
        if parts.username or parts.password or parts.query or parts.fragment:
            # An address is shown and written into recipes.
            raise HlensError(
                f"the address of an endpoint at {parts.hostname} holds a user, a query or a "
                f"fragment; put the key into {self.key_variable}, and end the address with /v1"
            )
        if self.key and not (self.key.isascii() and self.key.isprintable()):
            raise HlensError(f"{self.key_variable} holds characters that no key has; set it anew")
        check_real("timeout", self.timeout, above=0, most=86_400)
        check_whole("retries", self.retries, most=1000)
        check_real("wait", self.wait, most=86_400)
        check_whole("max_tokens", self.max_tokens, least=1)
        if parts.scheme == "http" and parts.hostname not in LOCAL and self.key:
            raise HlensError(f"endpoint {self.url!r} would send the key in clear; use https")
        if parts.hostname not in LOCAL and not self.key:
            raise HlensError(f"no key for {parts.hostname}; set {self.key_variable}")

    def _parts(self) -> SplitResult:
        parts = None
        with contextlib.suppress(ValueError):  # a port that is none
            found = urlsplit(self.url)
            is_right = found.scheme in ("http", "https") and found.hostname and found.port != 0
            parts = found if is_right else None
        if parts is None or not self.url.isascii() or not self.url.isprintable() or " " in self.url:
            # Without what stands before an @, which may be a key.
            shown = self.url.rpartition("@")[2].partition("?")[0]
            raise HlensError(f"endpoint {shown!r}; expected https://HOST/v1 or http://localhost")
        return parts

    @property
    def key(self) -> str:
        """The key, read from the environment at each use and stored nowhere."""
        return os.environ.get(self.key_variable, "").strip()

    def reply(self, messages: Sequence[dict[str, str]]) -> str:
        """The assistant's next turn.

        Raises:
            UnreachableError: Every attempt met a transient failure.
            HlensError: The endpoint refuses (a wrong key, an unknown model).
        """
        reason = ""
        for attempt in range(self.retries + 1):
            try:
                return self._without_key(_within(self.timeout, lambda: self._ask(messages)))
            except _RefusedError as refused:
                if refused.status not in TRANSIENT:
                    raise HlensError(
                        f"{self.url} refused with status {refused.status}: "
                        f"{self._without_key(refused.said)[:200] or 'nothing said'}; check the "
                        f"model name, the address and {self.key_variable}"
                    ) from None
                reason, pause = f"status {refused.status}", refused.pause
            except TRANSIENT_ERRORS as error:
                said = self._without_key(" ".join(str(error).split()))[:200]
                reason, pause = f"{type(error).__name__}: {said}", None
            if attempt < self.retries:
                wait = pause if pause is not None else self.wait * 2**attempt
                log.info("judge: %s; trying again in %.1f s", reason, min(wait, LONGEST_WAIT))
                self.sleep(min(wait, LONGEST_WAIT))
        raise UnreachableError(reason)

    def _without_key(self, text: str) -> str:
        """A text without the key: an endpoint may send back what it was sent."""
        for secret in filter(None, (self.key, quote(self.key, safe=""))):
            text = text.replace(secret, "[key]")
        return _BEARER.sub("[key]", text)

    def _ask(self, messages: Sequence[dict[str, str]]) -> str:
        body = {
            "model": self.model,
            "messages": list(messages),
            "temperature": 0,
            "max_tokens": self.max_tokens,
            "response_format": {"type": "json_object"},
        }
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/chat/completions", json.dumps(body).encode(), headers
        )
        ends = time.monotonic() + self.timeout
        try:
            with self._opener.open(request, timeout=self.timeout) as answer:
                reply: Any = json.loads(_read(answer, ends))
        except urllib.error.HTTPError as error:
            with error:
                said = _error_text(_read(error, ends))
            raise _RefusedError(error.code, said, _retry_after(error)) from None
        content = reply["choices"][0]["message"]["content"]
        if not isinstance(content, str):
            raise TypeError("the reply holds no text")
        return content

    @property
    def _opener(self) -> urllib.request.OpenerDirector:
        """Follows no redirect, and uses no proxy for a local endpoint."""
        is_local = urlsplit(self.url).hostname in LOCAL
        proxies = [urllib.request.ProxyHandler({})] if is_local else []
        return urllib.request.build_opener(_NoRedirect(), *proxies)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    try:
        return max(0.0, float(error.headers.get("Retry-After", "")))
    except ValueError:
        return None


def _error_text(body: bytes) -> str:
    """The endpoint's error message, in one line."""
    text = body.decode(errors="backslashreplace")
    with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError):
        text = json.loads(text)["error"]["message"]
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def _read(answer: Any, ends: float) -> bytes:
    """A body that is neither too long nor too slow: a time-out is else one of each read."""
    body = b""
    while chunk := answer.read1(2**16):
        body += chunk
        if len(body) > LONGEST_REPLY:
            raise ValueError(f"a reply of more than {LONGEST_REPLY:,} bytes")
        if time.monotonic() > ends:
            raise TimeoutError("the reply came too slowly")
    return body


def _within(seconds: float, call: Callable[[], T]) -> T:
    """What a call returns or raises, if it does within so many seconds.

    In a thread of its own, since a head sent byte by byte would pass every time-out of a socket.
    """
    done: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            done.put((call(), None))
        except BaseException as error:  # which the caller raises
            done.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        value, error = done.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no reply within {seconds:g} s") from None
    if error is not None:
        raise error
    return cast(T, value)


class DiskCache(MutableMapping[str, str]):
    """Replies by key (a hex digest), one small file each; delete the folder to clear it."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def __getitem__(self, key: str) -> str:
        try:
            return self._path(key).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise KeyError(key) from None

    def __setitem__(self, key: str, value: str) -> None:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        store.write_text(path, value)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._path(key).unlink()

    def __iter__(self) -> Iterator[str]:
        return (path.stem for path in sorted(self.folder.glob("??/*.json")))

    def __len__(self) -> int:
        return sum(1 for _ in self)
