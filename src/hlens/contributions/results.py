"""From the values of batches to `Contributions`, neuron-major: in memory, or in a folder.

Into a folder batches are written shard by shard, so that a run that is killed loses its last shard
at most. When all are there, each ask is sealed: one file of its own, written a piece at a time, so
that the values are never in memory as a whole.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from torch import Tensor

from hlens import store
from hlens.contributions.engine import Job
from hlens.contributions.plan import Batch
from hlens.contributions.regions import Ask
from hlens.contributions.schedule import auto_tokens
from hlens.errors import HlensError
from hlens.model import Model
from hlens.types import Contributions, Example

# A kill costs a shard at most; smaller ones would spend their time in fsync.
_SHARD_BYTES = 1 << 27
# A chunk that was stored: indices of examples, and their values of each ask, memory-mapped.
Stored = tuple[tuple[int, ...], Sequence[Tensor]]


@dataclass(eq=False)
class InMemory:
    """Takes chunks as they come and holds every value once.

    Columns are filled in the order in which examples are run, and put in order at the end, neurons
    at a time: both write along contiguous memory, and neither needs a second copy.
    """

    model: Model
    examples: Sequence[Example]
    asks: Sequence[Ask]
    order: list[int] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    def take(self, members: Sequence[int], values: Tensor) -> None:
        """Keep a chunk."""
        if not self.values:
            shape = (self.model.n_layers, self.model.d_mlp, len(self.examples))
            self.values = [torch.empty(shape, dtype=values.dtype) for _ in self.asks]
        start = len(self.order)
        for whole, part in zip(self.values, values, strict=True):
            whole[:, :, start : start + len(members)] = part.permute(1, 2, 0)
        self.order += members

    def contributions(self, number: int, kept: Sequence[int]) -> Contributions:
        """One ask's contributions for the kept examples; once for each ask."""
        values = self.values[number]
        columns = torch.argsort(torch.tensor(self.order))[torch.tensor(kept)]
        if len(kept) < len(self.examples):
            values = values[:, :, columns]
        else:
            for layer in values:
                layer[:] = layer[:, columns]
        examples = [self.examples[index] for index in kept]
        return contributions_of(values.permute(2, 0, 1), examples, self.asks[number], self.model)


def contributions_of(
    values: Tensor, examples: Sequence[Example], ask: Ask, model: Model
) -> Contributions:
    return Contributions(
        values=values,
        labels=torch.tensor([example.hallucinated for example in examples]),
        groups=tuple(example.group for example in examples),
        domains=tuple(example.domain for example in examples),
        question_ids=tuple(example.question_id for example in examples),
        n_tokens=torch.tensor([example.stop - example.start for example in examples]),
        region=ask.label,
        metric=ask.name,
        provenance=model.provenance,
    )


def path_of(ask: Ask, folder: Path) -> Path:
    """File of one ask.

    >>> from hlens import metrics
    >>> path_of(Ask(metrics.cett, "answer", reduce="max"), Path("runs")).as_posix()
    'runs/cett.answer-max.safetensors'
    """
    return folder / f"{ask.name}.{ask.label.replace(':', '-')}.safetensors"


def measure_stored(job: Job, folder: Path) -> dict[tuple[str, str], Contributions]:
    """Measure shard by shard, then seal one file for each ask; what is current is kept."""
    identity = identity_of(job)
    missing = [ask for ask in job.asks if not _is_current(path_of(ask, folder), identity)]
    shards = store.Shards(folder / "shards", identity, auto_tokens(job.model))
    if missing:
        chunks = _run_shards(job, shards)
        for ask in missing:
            _seal(job, ask, chunks, path_of(ask, folder), identity)
    shards.remove()
    return {ask.key: store.load_contributions(path_of(ask, folder)) for ask in job.asks}


def _run_shards(job: Job, shards: store.Shards) -> list[Stored]:
    """The shards' chunks, after running those that are not there."""
    parts = _cut(job, job.batches(shards.tokens))
    waiting = [n for n, part in enumerate(parts) if not shards.has(n, _members(job, part))]
    done = len(job.examples) - sum(len(_members(job, parts[number])) for number in waiting)
    for number in waiting:
        chunks = list(job.run(parts[number], done))
        members = [index for part, _ in chunks for index in part]
        values = torch.cat([values for _, values in chunks], dim=1)
        shards.save(number, members, values, experts=job.model.experts)
        done += len(members)
    return [shards.load(number) for number in range(len(parts))]


def _is_current(path: Path, identity: str) -> bool:
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
    per_example = model.n_layers * model.d_mlp * len(job.asks) * job.dtype.itemsize
    parts: list[list[Batch]] = [[]]
    for batch in batches:
        if len(_members(job, [*parts[-1], batch])) * per_example > _SHARD_BYTES and parts[-1]:
            parts.append([])
        parts[-1].append(batch)
    return parts


def _members(job: Job, part: Sequence[Batch]) -> list[int]:
    return [index for batch in part for index in job.members(batch)]


def _seal(job: Job, ask: Ask, chunks: Sequence[Stored], path: Path, identity: str) -> None:
    """Write one ask's contributions, read from the memory-mapped chunks."""
    number, kept, model = job.asks.index(ask), job.kept(ask), job.model
    without_values = torch.empty(len(kept), model.n_layers, model.d_mlp, device="meta")
    data = contributions_of(without_values, [job.examples[i] for i in kept], ask, model)

    order = torch.tensor([index for members, _ in chunks for index in members])
    columns = torch.argsort(order)[torch.tensor(kept)]

    def read(layer: int, part: slice) -> Tensor:
        rows = [values[number][:, layer, part] for _, values in chunks]
        return torch.cat(rows)[columns].T

    dtype = chunks[0][1][number].dtype
    store.write_contributions(data, path, dtype=dtype, read=read, identity=identity)


def identity_of(job: Job) -> str:
    """Hash of all that the values depend on: what two runs must share to share their shards."""
    formulas = [[_formula(ask), ask.label] for ask in job.asks]
    settings = formulas, str(job.dtype), job.batch_size
    model = [job.model.fingerprint, str(job.model.dtype), settings]
    digest = hashlib.sha256(json.dumps(model).encode())
    for example in job.examples:
        span = (example.n_prompt, example.start, example.stop, example.hallucinated)
        span += (example.n_thought,) * bool(example.n_thought)
        about = (example.question_id, example.group, example.domain, example.sample, *span)
        digest.update(json.dumps([*about, example.token_ids.tolist()]).encode())
    return digest.hexdigest()


def _formula(ask: Ask) -> str:
    """Name of a metric; for one from outside hlens, with a hash of what it computes."""
    if (getattr(ask.metric, "__module__", "") or "").startswith("hlens."):
        return ask.name
    return f"{ask.name} {hashlib.sha256(repr(_computes(ask.metric)).encode()).hexdigest()}"


def _computes(thing: Any, depth: int = 4) -> Any:
    """What a function computes, as far as code, constants and closure say it."""
    if isinstance(thing, partial):
        return _computes(thing.func), [_computes(v) for v in (*thing.args, *thing.keywords.items())]
    code = thing if isinstance(thing, CodeType) else getattr(thing, "__code__", None)
    if code is None or depth == 0:  # a function may be in its own closure
        plain = isinstance(thing, str | int | float | bool | None | tuple)
        return thing if plain else type(thing).__qualname__
    inner = [*code.co_consts, *(getattr(thing, "__defaults__", None) or ())]
    inner += [cell.cell_contents for cell in getattr(thing, "__closure__", None) or ()]
    return code.co_code, code.co_names, [_computes(each, depth - 1) for each in inner]
