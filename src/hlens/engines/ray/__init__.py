"""Ray: sampling and measuring are spread over the machines of a cluster.

Problem: thousands of questions and examples take hours on one machine, and a cluster has many.

Idea: both are work in blocks, cut before anyone begins (`hlens.work`). Ray Data gives each of a
pool of actors, which have loaded the model themselves, one block at a time, and does again what a
lost machine did not finish; results come back to this process, which keeps them as it keeps its
own. So they are those of the local engine, to the bit, on machines of one kind. All else that runs
the model (edits, rivals that read its inside) runs in this process.

    cluster      Ray's connection: who is there, how many actors fit
    workers      the actor, and the blocks that go to it and come back

Example, a recipe's section, for a cluster whose machines have four GPUs each::

    [engine]
    name = "ray"
    options = {address = "auto", gpus = 1}
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hlens import model
from hlens.checks import check_real, check_whole
from hlens.errors import HlensError
from hlens.lookup import unknown
from hlens.metrics import Metric

OPTIONS = ("address", "workers", "cpus", "gpus")


def rounding_of(options: Mapping[str, Any]) -> str:
    """Whose rounding its numbers bear: the local engine's."""
    check_options(options)
    return ""


def check_measuring(options: Mapping[str, Any], metric: Metric) -> None:
    """It measures whatever the local engine does."""


def open_model(source: Any, options: Mapping[str, Any], **loading: Any) -> model.Model:
    """A model of this process, which Ray's actors load, too, to sample and measure.

    Args:
        source: An alias, a hub id, a folder or a ``.gguf`` file that every machine finds.
        options: ``address`` of the cluster: ``"auto"`` (the default) for the one that this machine
            belongs to, ``"local"`` for one of this machine alone, or ``"HOST:PORT"``; ``workers``,
            the number of actors (0, the default: as many as fit); ``cpus`` of an actor (0, the
            default: as many as torch has threads here, or one beside a GPU); ``gpus`` of an actor
            (0, the default).
        **loading: What `hlens.engines.load` is given.

    Raises:
        HlensError: Ray is not installed, the model cannot be loaded by name, or it is no option.
    """
    check_options(options)
    if not isinstance(source, str | Path):
        raise HlensError(
            "the engine ray loads the model on every machine, so it takes an alias, a hub id, a "
            f"folder or a .gguf file, not an open model ({type(source).__name__})"
        )
    # A folder by its whole path: actors work in folders of their own.
    named = str(Path(source).absolute()) if Path(source).exists() else str(source)
    from hlens.engines.ray.workers import RayWorkers  # which needs Ray

    workers = RayWorkers(partial(model.load, named, **loading), **options)
    return model.load(source, **loading).with_workers(workers)


def check_options(options: Mapping[str, Any]) -> None:
    """Raise `HlensError` for an option that there is not, or a value that cannot be one."""
    for name, value in options.items():
        if name not in OPTIONS:
            raise unknown("option of the engine ray", str(name), OPTIONS)
        where = f"option {name} of the engine ray"
        if name == "address":
            if not isinstance(value, str) or not value.strip():
                raise HlensError(f'{where} is {value!r:.60}; expected "auto", "local" or HOST:PORT')
        elif name == "gpus":
            check_real(where, value, most=1024)
        else:
            check_whole(where, value, most=100_000)
