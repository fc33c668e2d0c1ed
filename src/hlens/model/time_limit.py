"""A limit of time for code from outside that is pure Python, such as a chat template's loops."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, Timer, get_ident


@contextmanager
def limiting_time(seconds: float) -> Iterator[None]:
    """Raise `TimeoutError` in a block of this thread that has not ended after so many seconds."""
    thread, lock, ended = ctypes.c_ulong(get_ident()), Lock(), False

    def interrupt() -> None:
        with lock:
            if not ended:
                raised = ctypes.py_object(TimeoutError)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, raised)

    timer = Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            ended = True
        timer.cancel()
