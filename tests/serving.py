"""A server on a port of its own, in this process."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import openai
import uvicorn

from hlens.server import Offer, make_app
from hlens.server.app import make_server


@dataclass(frozen=True)
class Served:
    url: str
    app: Any
    server: uvicorn.Server
    clients: list[openai.OpenAI] = field(default_factory=list)

    @property
    def desk(self) -> Any:
        return self.app.state.service.desk

    def client(self, key: str = "none") -> openai.OpenAI:
        self.clients.append(openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0))
        return self.clients[-1]

    def wait_until_held(self, n: int, seconds: float = 30) -> None:
        """Until so many requests are held."""
        self._wait(lambda held: held >= n, seconds)

    def wait_until_idle(self, seconds: float = 30) -> None:
        """Until nothing is held: what clients left is ended, too."""
        self._wait(lambda held: held == 0, seconds)

    def _wait(self, is_there: Callable[[int], bool], seconds: float) -> None:
        limit = time.monotonic() + seconds
        while not is_there(len(self.desk.held)):
            assert time.monotonic() < limit, f"{len(self.desk.held)} requests are held"
            time.sleep(0.005)


@contextmanager
def serving(offer: Offer) -> Iterator[Served]:
    app = make_app(offer)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        server = make_server(app, "127.0.0.1", port)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        served = Served(f"http://127.0.0.1:{port}", app, server)
        try:
            yield served
        finally:
            for client in served.clients:
                client.close()
            server.should_exit = True
            thread.join(30)
