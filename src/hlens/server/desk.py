"""The thread that owns the model, and who waits for it.

Problem: a model is run by one thread, hooks act in the thread that set them, and a web application
waits for hundreds of clients in another.

Idea: what is asked goes through a queue of a fixed length; the thread takes what is there, does a
stretch of work, and looks again. A full queue is said at once, so that nobody waits in vain.
"""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from hlens.counting import count
from hlens.monitor.requests import Batcher, Reading, Writing

Asked = Writing | Reading
FAILING = 8  # errors in a row


class FullError(Exception):
    """More is held than the operator allows."""


class StoppedError(Exception):
    """The engine has failed, or the server is shutting down."""


@dataclass(eq=False)
class Desk:
    """Takes requests from any thread; `make` is called in the model's own."""

    make: Callable[[], Batcher]
    most: int
    failure: Exception | None = None  # of the engine, after which nothing is taken
    errors_in_a_row: int = 0
    held: dict[int, Asked] = field(default_factory=dict)
    _inbox: "queue.SimpleQueue[Asked | None]" = field(default_factory=queue.SimpleQueue)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    def start(self) -> None:
        """Start the thread; returns when its batcher is made.

        Raises:
            HlensError: The batcher cannot be made.
        """
        made: queue.SimpleQueue[Batcher | Exception] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(made,), name="model", daemon=True)
        self._thread.start()
        if isinstance(first := made.get(), Exception):
            raise first

    def ask(self, *asked: Asked) -> None:
        """Take some requests: all of them, or none.

        Raises:
            FullError: More would be held than the operator allows.
            StoppedError: The engine has failed, or the server is shutting down.
        """
        with self._lock:
            if self.failure is not None or self._closed:
                raise StoppedError(str(self.failure or "the server is shutting down"))
            if len(self.held) + len(asked) > self.most:
                raise FullError(
                    f"{len(self.held)} of {count(self.most, 'answer')} are held; ask again later"
                )
            for one in map(self._telling, asked):
                self.held[id(one)] = one
                self._inbox.put(one)

    def check_room(self) -> None:
        """Raise what `ask` would for one request more, before any work is done for it."""
        self.ask()
        if len(self.held) >= self.most:
            raise FullError(f"{count(self.most, 'answer')} are held; ask again later")

    @property
    def health(self) -> str:
        """``"ok"``, ``"failing"`` where nothing but errors came of late, or ``"stopped"``."""
        if self.failure is not None:
            return "stopped"
        return "failing" if self.errors_in_a_row >= FAILING else "ok"

    def close(self) -> None:
        """Finish what is held, and end the thread."""
        with self._lock:
            self._closed = True
        self._inbox.put(None)
        self._thread.join()

    def cut(self) -> None:
        """End what is held with an error: the server is told to stop, and waits no longer."""
        self._fail(StoppedError("the server is shutting down"))

    def _telling(self, asked: Asked) -> Asked:
        """The request, which leaves the desk when it is told of its end."""
        told: list[Asked] = []

        def leaving(tell: Callable[[Any], None]) -> Callable[[Any], None]:
            def tell_and_leave(what: Any) -> None:
                with self._lock:
                    self.held.pop(id(told[0]), None)
                    failed = isinstance(what, Exception)
                    self.errors_in_a_row = self.errors_in_a_row + 1 if failed else 0
                tell(what)

            return tell_and_leave

        ends = {"on_error": leaving(asked.on_error)}
        if isinstance(asked, Writing):
            told.append(replace(asked, on_end=leaving(asked.on_end), **ends))
        else:
            told.append(replace(asked, on_scores=leaving(asked.on_scores), **ends))
        return told[0]

    def _run(self, made: "queue.SimpleQueue[Batcher | Exception]") -> None:
        try:
            batcher = self.make()
        except Exception as error:
            made.put(error)
            return
        made.put(batcher)
        try:
            while self._take(batcher):
                if batcher.busy:
                    batcher.step()
        except Exception as error:  # of the engine itself: whoever waits must hear of it
            self._fail(error)

    def _take(self, batcher: Batcher) -> bool:
        """Give the batcher what has come; wait where it has nothing to do. False at the end."""
        while True:
            try:
                asked = self._inbox.get(block=not batcher.busy and not self._closed)
            except queue.Empty:
                return batcher.busy or not self._closed
            if asked is not None:
                batcher.add(asked)

    def _fail(self, error: Exception) -> None:
        with self._lock:
            self.failure = error
            held = list(self.held.values())
        for asked in held:
            asked.on_error(error)
