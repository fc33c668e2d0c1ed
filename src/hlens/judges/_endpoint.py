"""A chat endpoint that speaks OpenAI's protocol, with retries, and a cache of its replies on disk.

Plain urllib: one POST to ``<url>/chat/completions`` is all that is needed. The key comes from the
environment.
"""

import contextlib
import http.client
import json
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hlens import store
from hlens.errors import HlensError

log = logging.getLogger("hlens")
LOCAL = ("localhost", "127.0.0.1", "::1")
LONGEST_WAIT = 60.0
TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
TRANSIENT_ERRORS = (OSError, http.client.HTTPException, ValueError, LookupError, TypeError)


class UnreachableError(Exception):
    """No usable reply after all retries."""


@dataclass(frozen=True)
class Endpoint:
    """Where an LLM judge is asked.

    Attributes:
        model: Name of the model at the endpoint.
        url: Base address, up to and including ``/v1``.
        key_variable: Environment variable that holds the key; a local endpoint may need none.
        timeout: Seconds to wait for a reply.
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
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise HlensError(f"endpoint {self.url!r}; expected https://HOST/v1 or http://localhost")
        if parts.scheme == "http" and parts.hostname not in LOCAL and self.key:
            raise HlensError(f"endpoint {self.url!r} would send the key in clear; use https")
        if parts.hostname not in LOCAL and not self.key:
            raise HlensError(f"no key for {parts.hostname}; set {self.key_variable}")

    @property
    def key(self) -> str:
        """The key, read from the environment at each use and stored nowhere."""
        return os.environ.get(self.key_variable, "")

    def reply(self, messages: Sequence[dict[str, str]]) -> str:
        """The assistant's next turn.

        Raises:
            UnreachableError: Every attempt met a transient failure.
            HlensError: The endpoint refuses (a wrong key, an unknown model).
        """
        reason = ""
        for attempt in range(self.retries + 1):
            try:
                return self._ask(messages)
            except urllib.error.HTTPError as error:
                if error.code not in TRANSIENT:
                    raise HlensError(
                        f"{self.url} refused with status {error.code}: {_error_text(error)}; check "
                        f"the model name, the address and {self.key_variable}"
                    ) from error
                reason, pause = f"status {error.code}", _retry_after(error)
            except TRANSIENT_ERRORS as error:
                reason, pause = f"{type(error).__name__}: {error}", None
            if attempt < self.retries:
                wait = pause if pause is not None else self.wait * 2**attempt
                log.info("judge: %s; trying again in %.1f s", reason, min(wait, LONGEST_WAIT))
                self.sleep(min(wait, LONGEST_WAIT))
        raise UnreachableError(reason)

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
        with self._opener.open(request, timeout=self.timeout) as answer:
            reply: Any = json.loads(answer.read())
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


def _error_text(error: urllib.error.HTTPError) -> str:
    """The endpoint's error message, in one short line."""
    text = error.read(2000).decode(errors="replace")
    with contextlib.suppress(ValueError, LookupError, TypeError):
        text = json.loads(text)["error"]["message"]
    return " ".join(str(text).split())[:200] or "nothing said"


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
