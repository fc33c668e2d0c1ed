"""The largest memory of its own that a process had during a block, and its time; Linux only."""

import ctypes
import gc
import threading
import time
from pathlib import Path

OWN = ("RssAnon:", "RssShmem:", "VmSwap:")


class Peak:
    """``with Peak() as seen: ...``; ``seen.megabytes`` above what was held, and ``seen.seconds``.

    Pages of files do not count: they come as they are first read, and go as the system likes. What
    the process had free is given back first, or the block would find room in it.
    """

    def __enter__(self) -> "Peak":
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        self.before = held()
        self.most = self.before
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        self.began = time.perf_counter()
        return self

    def watch(self) -> None:
        while not self.over.wait(0.002):
            self.most = max(self.most, held())

    def __exit__(self, *error: object) -> None:
        self.seconds = time.perf_counter() - self.began
        self.over.set()
        self.thread.join()
        self.megabytes = (self.most - self.before) / 1024


def held() -> int:
    """KB of this process but for pages of files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(OWN))
