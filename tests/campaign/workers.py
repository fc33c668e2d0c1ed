"""Processes in which inputs are read, so that a crash or a hang is a failure like others."""

import logging
import multiprocessing
import os
import resource
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from campaign import trials
from campaign.trials import FAILED, Outcome

LONGEST = 60  # seconds of one input
LONGEST_START = 900  # seconds until the originals are made
MEMORY = 24 << 30  # bytes; an input that asks for more gets a MemoryError


def outcomes(name: str, seed: int, n: int, home: Path, failures: Path) -> Iterator[Outcome]:
    """The outcomes of `n` inputs; a process that dies or hangs costs the input it was at."""
    spawn = multiprocessing.get_context("spawn")
    number = 0
    while number < n:
        ours, theirs = spawn.Pipe(duplex=False)
        arguments = (theirs, name, seed, range(number, n), home, failures)
        worker = spawn.Process(target=_work, args=arguments, daemon=True)
        worker.start()
        theirs.close()
        limit = LONGEST_START
        why = ""
        try:
            while number < n:
                if not ours.poll(limit * max(1.0, os.getloadavg()[0])):  # others may be at work
                    why = f"hangs: no answer in {limit} seconds"
                    break
                try:
                    outcome = ours.recv()
                except EOFError:
                    worker.join()
                    if limit == LONGEST_START:
                        raise RuntimeError(f"{name}: the originals cannot be made") from None
                    why = f"dies: exit code {worker.exitcode}"
                    break
                limit = LONGEST
                if isinstance(outcome, str):
                    raise RuntimeError(f"{name}, input {number} cannot be made: {outcome}")
                if outcome is not None:  # None: the originals are made
                    yield outcome
                    number += 1
        finally:
            worker.kill()
            worker.join()
        if why:
            yield Outcome(name, seed, number, FAILED, "", why, why.split(":")[0])
            number += 1


def _work(
    pipe: Connection, name: str, seed: int, numbers: range, home: Path, failures: Path
) -> None:
    settle()
    log = (home / "stderr.txt").open("a")
    sys.stderr = sys.stdout = log
    with trials.inside(home):
        trials.target(name).prepare(Path())
    pipe.send(None)
    for number in numbers:
        try:
            pipe.send(trials.run(name, seed, number, home=home, failures=failures))
        except Exception:  # of the campaign itself: what hlens raises is an outcome
            pipe.send(traceback.format_exc())


def settle() -> None:
    """Equal runs are equal, a greedy input meets a limit, and warnings are not shown."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("hlens").addHandler(logging.NullHandler())
    logging.getLogger("hlens").propagate = False
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
