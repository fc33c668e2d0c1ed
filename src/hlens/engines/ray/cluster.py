"""The cluster: connecting to it, and how many actors it has room for."""

# Where Ray is not installed, pyright takes this folder, of the same name, for it.
# pyright: reportAttributeAccessIssue=false

import logging
import os
import socket
import time
from collections.abc import Mapping

from hlens.errors import HlensError, first_line

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as Ray will have it; quiet
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # of a lost machine it writes pages

try:
    import ray  # pyright: ignore[reportMissingImports]
    import ray.data  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise HlensError(
        f"the engine ray needs Ray ({first_line(error)}): pip install 'hlens[ray]'"
    ) from None

_READERS = 1  # CPUs that Ray Data's own tasks need; with none left they wait for ever
_SECONDS_FREEING = 60  # for actors of the work before to end
_SECONDS = 10  # for a cluster to answer; Ray itself tries for minutes


def connect(address: str) -> None:
    """Join the cluster, unless this process belongs to one already.

    Raises:
        HlensError: There is none at this address.
    """
    if ray.is_initialized():
        return
    host, is_place, port = address.rpartition(":")
    try:
        if is_place and port.isdecimal():
            socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS).close()
        ray.init(
            address=address,
            include_dashboard=False if address == "local" else None,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    except (ValueError, RuntimeError, OSError, OverflowError) as error:
        reason = first_line(error).rstrip(".")
        raise HlensError(
            f"no Ray cluster at {address!r} ({reason}); start one (`ray start --head`), or give "
            'address = "local" for this machine alone'
        ) from None
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)


def size_of_pool(wanted: int, *, cpus: int, gpus: float | int, blocks: int) -> int:
    """How many actors to start: those that were asked for, or as many as fit.

    One CPU stays free for Ray Data's own tasks, and no more actors are started than there are
    blocks.

    Raises:
        HlensError: There is no room for them.
    """
    goal = max(1, wanted or min(blocks, _room(ray.cluster_resources(), cpus, gpus)))
    free = ray.available_resources()
    until = time.monotonic() + _SECONDS_FREEING
    # Actors of the work before may still be on their way out; there may also be no such room.
    while (
        _room(free, cpus, gpus) < goal <= _room(ray.cluster_resources(), cpus, gpus)
        and time.monotonic() < until
    ):
        time.sleep(0.5)
        free = ray.available_resources()
    fitting = _room(free, cpus, gpus)
    if fitting < max(1, wanted):
        beside = f" and {gpus:g} GPUs" if gpus else ""
        count = f"{wanted} workers" if wanted > 1 else "a worker"
        free_now = f"{free.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} GPUs free"
        raise HlensError(
            f"the Ray cluster has {free_now}; {count} of {cpus:g} CPUs{beside} each, with one CPU "
            "left for Ray's own readers, do not fit: set fewer workers or cpus in [engine] options "
            "or fewer threads (OMP_NUM_THREADS), or wait for the cluster"
        )
    return max(1, min(wanted or fitting, blocks))


def _room(resources: Mapping[str, float], cpus: int, gpus: float | int) -> int:
    """How many actors fit, with a CPU left for Ray Data's own tasks."""
    fitting = int((resources.get("CPU", 0) - _READERS) // cpus)
    return min(fitting, int(resources.get("GPU", 0) // gpus)) if gpus else fitting
