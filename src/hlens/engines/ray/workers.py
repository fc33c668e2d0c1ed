"""Blocks of work, done by a pool of Ray Data's actors."""

# Where Ray is not installed, pyright takes this folder, of the same name, for it.
# pyright: reportAttributeAccessIssue=false

import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hlens.engines.ray.cluster import connect, ray, size_of_pool
from hlens.errors import HlensError
from hlens.model import Model
from hlens.work import Work

Load = Callable[[], Model]


@dataclass(frozen=True)
class RayWorkers:
    """Actors of a Ray cluster that do blocks of work (`hlens.work.Workers`).

    Attributes:
        load: Loads the model on another machine.
        address: Of the cluster; see `hlens.engines.ray.open_model`, also for what follows.
        workers: The number of actors; 0 for as many as fit.
        cpus: Of an actor; 0 for the threads of this process, or one beside a GPU.
        gpus: Of an actor.
    """

    load: Load
    address: str = "auto"
    workers: int = 0
    cpus: int = 0
    gpus: float | int = 0
    continues = False

    def own(self, numbers: Sequence[int]) -> list[int]:
        """All of them."""
        return list(numbers)

    def results(
        self, work: Work, numbers: Sequence[int], folder: Path | None
    ) -> Iterator[tuple[int, Any]]:
        """Number and result of each block, as they come.

        Raises:
            HlensError: No cluster, no room for an actor, or a machine loads another model.
        """
        if not numbers:
            return
        connect(self.address)
        cpus = self.cpus or (1 if self.gpus else torch.get_num_threads())
        size = size_of_pool(self.workers, cpus=cpus, gpus=self.gpus, blocks=len(numbers))
        # Kept by this process for as long as actors may start anew.
        sent = ray.put((work.maker(), Seen.of(work.model), torch.get_num_threads()))
        blocks = ray.data.from_items(
            [{"number": number} for number in numbers], override_num_blocks=len(numbers)
        )
        done = blocks.map_batches(
            Actor,
            fn_constructor_kwargs={"load": self.load, "sent": sent},
            batch_size=1,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=size),
            num_cpus=cpus,
            num_gpus=self.gpus or None,
        )
        for row in done.iter_rows():
            if row["error"]:
                raise HlensError(row["error"])
            yield row["number"], row["result"]


@dataclass(frozen=True)
class Seen:
    """What must be the same of a model wherever it runs: else bits differ.

    Attributes:
        weights: Their fingerprint.
        tokenizer: Its fingerprint.
        dtype: What the model computes in.
        device: The kind of device.
    """

    weights: str
    tokenizer: str
    dtype: str
    device: str

    @classmethod
    def of(cls, model: Model) -> "Seen":
        """Those of a model."""
        tokenizer = model.provenance.tokenizer
        return cls(model.fingerprint, tokenizer, str(model.dtype), model.device.type)

    def check(self, other: "Seen", where: str) -> None:
        """Raise `HlensError` where a model on another machine is not this one."""
        for name, here in vars(self).items():
            there = getattr(other, name)
            if there != here:
                raise HlensError(
                    f"the model's {name} on {where}: {there:.40}, and here {here:.40}; give every "
                    "machine the same model, in one dtype and on one kind of device"
                )


class Actor:
    """Loads the model once on its machine and does blocks of work with it."""

    def __init__(self, load: Load, sent: Any) -> None:
        self._load, self._sent = load, sent
        self._work: Work | None = None

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        number = int(batch["number"][0])
        result, error = None, ""
        try:
            result = self._own_work().run(number)
        except HlensError as refused:  # one line, which Ray's traceback would hide
            error = str(refused)
        held = np.empty(1, object)
        held[0] = result
        return {"number": np.array([number]), "result": held, "error": np.array([error])}

    def _own_work(self) -> Work:
        if self._work is None:
            make, seen, threads = ray.get(self._sent)
            torch.set_num_threads(threads)
            model = self._load()
            seen.check(Seen.of(model), f"machine {platform.node()}")
            self._work = make(model)
        assert self._work is not None
        return self._work
