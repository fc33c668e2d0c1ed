"""Processes in which inputs are read, so that a crash or a hang is a failure like others."""

import logging
import multiprocessing
import os
import resource
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from campaign import trials
from campaign.trials import FAILED, Outcome

LONGEST = 60  # seconds of one input
LONGEST_START = 900  # seconds until the originals are made
MEMORY = 10 << 30  # bytes; an input that asks for more gets a MemoryError


def count() -> int:
    """How many processes work at a time: one a core, at most four, for each takes some memory."""
    return min(4, os.cpu_count() or 1)


def shared_outcomes(
    name: str, seed: int, n: int, homes: Sequence[Path], failures: Path
) -> list[Outcome]:
    """The outcomes of `n` inputs, shared by as many processes as there are homes.

    An input is that of its number, whichever process reads it.
    """
    shares = [range(first, n, len(homes)) for first in range(len(homes))]
    with ThreadPoolExecutor(len(homes)) as threads:
        parts = threads.map(
            lambda share, home: list(outcomes(name, seed, share, home, failures)), shares, homes
        )
        return sorted((one for part in parts for one in part), key=lambda one: one.number)


def outcomes(
    name: str, seed: int, numbers: Sequence[int], home: Path, failures: Path
) -> Iterator[Outcome]:
    """The outcomes of some inputs; a process that dies or hangs costs the input it was at."""
    spawn = multiprocessing.get_context("spawn")
    done = 0
    while done < len(numbers):
        ours, theirs = spawn.Pipe(duplex=False)
        arguments = (theirs, name, seed, numbers[done:], home, failures)
        worker = spawn.Process(target=_work, args=arguments, daemon=True)
        worker.start()
        theirs.close()
        limit = LONGEST_START
        why = ""
        try:
            while done < len(numbers):
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
                    raise RuntimeError(f"{name}, input {numbers[done]} cannot be made: {outcome}")
                if outcome is not None:  # None: the originals are made
                    yield outcome
                    done += 1
        finally:
            worker.kill()
            worker.join()
        if why:
            yield Outcome(name, seed, numbers[done], FAILED, "", why, why.split(":")[0])
            done += 1


def _work(
    pipe: Connection, name: str, seed: int, numbers: Sequence[int], home: Path, failures: Path
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
