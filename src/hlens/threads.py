"""How many threads the libraries below take, said before they are loaded.

Problem: OpenMP, below torch and BLAS, starts a thread for each core that it sees, also where a
container may use fewer; and while they have nothing to do, its threads spin. Two processes on two
cores then wait for each other's spinning.

Idea: three environment variables that these libraries read once, when they are loaded. What the
user has set is left as it is, and where torch is loaded already nothing would be read.
"""

import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from hlens.errors import HlensError

OURS = "HLENS_THREADS"
READ = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MOST = 4096
CGROUP = Path("/sys/fs/cgroup")


def settle_threads(environment: MutableMapping[str, str] = os.environ) -> None:
    """Say how many threads there may be, and that idle ones sleep.

    ``HLENS_THREADS`` sets their number, and goes before all others. Without it, and where the user
    set none of the libraries' own numbers, there are as many as cores are free to us, if a
    container has fewer of them than the machine.

    Raises:
        HlensError: As of `asked_threads`.
    """
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    asked, limit = asked_threads(environment), quota()
    if asked:
        environment.update(dict.fromkeys(READ, str(asked)))
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(asked)
    elif limit < cores() and not any(name in environment for name in READ):
        environment.update(dict.fromkeys(READ, str(limit)))


def asked_threads(environment: Mapping[str, str] = os.environ) -> int:
    """What ``HLENS_THREADS`` says; 0 where it is not set.

    Raises:
        HlensError: It is no whole number from 1 on.
    """
    given = environment.get(OURS, "")
    if given and not (given.isascii() and given.isdigit() and 1 <= int(given) <= MOST):
        raise HlensError(f"{OURS}={given!r:.40}; expected a whole number from 1 to {MOST}")
    return int(given or 0)


def cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def quota(folder: Path = CGROUP) -> int:
    """Cores' worth of time that the container may take, rounded up; `cores` where it says none."""
    try:
        if (folder / "cpu.max").exists():
            allowed, period = (folder / "cpu.max").read_text().split()
        else:
            allowed, period = (
                (folder / "cpu" / f"cpu.cfs_{name}_us").read_text().strip()
                for name in ("quota", "period")
            )
        share = -(-int(allowed) // int(period))
    except (OSError, ValueError, ZeroDivisionError):  # no such container, or no limit ("max")
        return cores()
    return share if share > 0 else cores()
