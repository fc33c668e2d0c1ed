"""A measurement that a kill does not cost more than its last shard."""

from collections.abc import Sequence
from pathlib import Path

import torch

from hlens import store
from hlens.contributions.engine import Job, auto_tokens
from hlens.contributions.gathering import Measured, identity_of
from hlens.contributions.plan import Batch
from hlens.contributions.regions import Ask
from hlens.errors import HlensError
from hlens.types import Contributions

# A shard is what a kill may cost; smaller ones would spend their time in fsync.
_SHARD_BYTES = 1 << 27


def path_of(ask: Ask, folder: Path) -> Path:
    """File of one ask.

    >>> from hlens import metrics
    >>> path_of(Ask(metrics.cett, "answer", "max"), Path("runs")).as_posix()
    'runs/cett.answer-max.safetensors'
    """
    return folder / f"{ask.name}.{ask.described.replace(':', '-')}.safetensors"


def measure_stored(job: Job, folder: Path) -> dict[tuple[str, str], Contributions]:
    """Measure shard by shard, then seal one file for each ask; what stands is not done again.

    Raises:
        HlensError: The folder holds another run's files, or a damaged one.
    """
    identity = identity_of(job.model, job.examples, job.asks, job.dtype, job.batch_size)
    missing = [ask for ask in job.asks if not _stands(path_of(ask, folder), identity)]
    if missing:
        _complete(job, folder, identity, missing)
    else:
        store.Shards(folder / "shards", identity, 0).remove()
    return {ask.key: store.load_contributions(path_of(ask, folder)) for ask in job.asks}


def _complete(job: Job, folder: Path, identity: str, missing: Sequence[Ask]) -> None:
    shards = store.Shards(folder / "shards", identity, auto_tokens(job.model))
    parts = _cut(job, job.batches(shards.tokens))
    waiting = [n for n, part in enumerate(parts) if not shards.has(n, _rows(part))]
    done = len(job.examples) - sum(_size(parts[number]) for number in waiting)
    for number in waiting:
        chunks = list(job.run(parts[number], done))
        rows = [index for members, _ in chunks for index in members]
        shards.save(number, rows, torch.cat([values for _, values in chunks], dim=1))
        done += _size(parts[number])
    measured = Measured(job.model, job.examples, [shards.load(n) for n in range(len(parts))])
    for number, ask in enumerate(job.asks):
        if ask in missing:
            measured.sealed(number, ask, job.kept(ask), path_of(ask, folder), identity)
    shards.remove()


def _stands(path: Path, identity: str) -> bool:
    if not path.exists():
        return False
    if store.contributions_metadata(path)["identity"] != identity:
        raise HlensError(
            f"{path} holds another run (other examples, model or settings); remove it, or store "
            "into a new folder"
        )
    return True


def _cut(job: Job, batches: Sequence[Batch]) -> list[list[Batch]]:
    """Batches in lists, one for each shard."""
    model = job.model
    example = model.n_layers * model.d_mlp * len(job.asks) * job.dtype.itemsize
    parts: list[list[Batch]] = []
    for batch in batches:
        if parts and (_size(parts[-1]) + len(batch.members)) * example <= _SHARD_BYTES:
            parts[-1].append(batch)
        else:
            parts.append([batch])
    return parts


def _rows(part: Sequence[Batch]) -> list[int]:
    return [index for batch in part for index in batch.members]


def _size(part: Sequence[Batch]) -> int:
    return sum(len(batch.members) for batch in part)
