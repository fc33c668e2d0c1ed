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

With ``engine = "vllm"`` among the options each actor boots vLLM, and so does this process; the
numbers are then vLLM's, which round by what is run together.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hlens import lookup
from hlens.checks import check_real, check_whole
from hlens.errors import HlensError
from hlens.metrics import Metric
from hlens.model import Model

OPTIONS = ("address", "workers", "cpus", "gpus", "engine", "engine_options")
ENGINES = ("local", "vllm")


def rounding_of(options: Mapping[str, Any]) -> str:
    """Whose rounding its numbers bear: that of the actors' engine."""
    check_options(options)
    engine, own = _engine_of(options)
    return engine.rounding_of(own)


def check_measuring(options: Mapping[str, Any], metric: Metric) -> None:
    """It measures whatever the actors' engine does."""
    engine, own = _engine_of(options)
    engine.check_measuring(own, metric)


def open_model(source: Any, options: Mapping[str, Any], **loading: Any) -> Model:
    """A model of this process, which Ray's actors load, too, to sample and measure.

    Args:
        source: An alias, a hub id, a folder or a ``.gguf`` file that every machine finds.
        options: ``address`` of the cluster: ``"auto"`` (the default) for the one that this machine
            belongs to, ``"local"`` for one of this machine alone, or ``"HOST:PORT"``; ``workers``,
            the number of actors (0, the default: as many as fit); ``cpus`` of an actor (0, the
            default: as many as torch has threads here, or one beside a GPU); ``gpus`` of an actor
            (0, the default); ``engine``, what an actor runs the model with, ``"local"`` (the
            default) or ``"vllm"``, and ``engine_options`` of that engine.
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

    engine, own = _engine_of(options)
    pool = {k: v for k, v in options.items() if k not in ("engine", "engine_options")}
    workers = RayWorkers(partial(engine.open_model, named, own, **loading), **pool)
    return engine.open_model(source, own, **loading).with_workers(workers)


def _engine_of(options: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """What runs the model in an actor, and its own options."""
    engine = lookup.member("engines", options.get("engine", "local"))
    return engine, options.get("engine_options", {})


def check_options(options: Mapping[str, Any]) -> None:
    """Raise `HlensError` for an option that there is not, or a value that cannot be one."""
    for name, value in options.items():
        if name not in OPTIONS:
            raise lookup.unknown("option of the engine ray", str(name), OPTIONS)
        where = f"option {name} of the engine ray"
        if name == "address":
            if not isinstance(value, str) or not value.strip():
                raise HlensError(f'{where} is {value!r:.60}; expected "auto", "local" or HOST:PORT')
        elif name == "gpus":
            check_real(where, value, most=1024)
        elif name == "engine":
            if value not in ENGINES:
                raise HlensError(f'{where} is {value!r:.60}; expected "local" or "vllm"')
        elif name == "engine_options":
            if not isinstance(value, Mapping):
                raise HlensError(f"{where} is {value!r:.60}; expected a table of options")
        else:
            check_whole(where, value, most=100_000)
