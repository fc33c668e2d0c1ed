"""From the values of batches to `Contributions`, neuron-major: in memory, or in a folder.

Into a folder batches are written block by block, so that a run that is killed loses its last block
at most, and so that several workers may share them. When all are there, each ask is sealed: one
file of its own, written a piece at a time, so that the values are never in memory as a whole.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from torch import Tensor

from hlens import store
from hlens.contributions.cut import Cut
from hlens.contributions.engine import Chunk, Job, job_of
from hlens.contributions.plan import Batch
from hlens.contributions.regions import Ask
from hlens.contributions.schedule import auto_tokens
from hlens.errors import HlensError
from hlens.model import Model
from hlens.types import Contributions, Example
from hlens.work import HERE

# A kill costs a block at most; smaller ones would spend their time in fsync.
_BLOCK_BYTES = 1 << 27
_BLOCKS = 256  # that a small measurement is cut into, if it has so many batches
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
    """Measure block by block, then seal one file for each ask; what is current is kept."""
    identity = identity_of(job)
    missing = [ask for ask in job.asks if not _is_current(path_of(ask, folder), identity)]
    workers = job.model.workers
    plan = lambda: cut(job, auto_tokens(job.model)).to_row()  # noqa: E731
    blocks = store.Blocks(folder / "blocks", identity, plan, beside=workers.continues)
    if missing:
        chunks = _run_blocks(job, blocks)
        for ask in missing:
            _seal(job, ask, chunks, path_of(ask, folder), identity)
    blocks.remove()
    return {ask.key: store.load_contributions(path_of(ask, folder)) for ask in job.asks}


def chunks(job: Job) -> Iterator[Chunk]:
    """The values of all examples, a batch or a block at a time, none of them kept."""
    tokens, workers = auto_tokens(job.model), job.model.workers
    if workers is HERE:
        yield from job.run(job.batches(tokens))
        return
    work = Measuring(job, cut(job, tokens))
    done = 0
    for _, (members, values) in workers.results(work, range(len(work.cut.blocks)), None):
        yield members, values
        done += len(members)
        if job.progress is not None:
            job.progress(done, len(job.examples))


def _run_blocks(job: Job, blocks: store.Blocks) -> list[Stored]:
    """The blocks' chunks, after doing those that are not there."""
    n_rows = len(job.responses)
    work = Measuring(job, Cut.from_row(blocks.plan, n_rows=n_rows, where=str(blocks.path)))
    members = [work.members(number) for number in range(len(work.cut.blocks))]
    waiting = [number for number, own in enumerate(members) if not blocks.has(number, own)]
    mine = set(job.model.workers.own(range(len(members))))
    total = sum(len(members[number]) for number in mine)
    done = total - sum(len(members[number]) for number in mine.intersection(waiting))
    for number, (rows, values) in job.model.workers.results(work, waiting, blocks.folder):
        blocks.save(number, rows, values, experts=job.model.experts)
        done += len(rows)
        if job.progress is not None:
            job.progress(done, total)
    return [blocks.load(number) for number in range(len(members))]


@dataclass(frozen=True, eq=False)
class Measuring:
    """A measurement as work in blocks (`hlens.work.Work`); a block gives one `Chunk`."""

    job: Job
    cut: Cut

    @property
    def model(self) -> Model:
        return self.job.model

    def maker(self) -> Callable[[Model], "Measuring"]:
        """What makes the same work of another copy of the model."""
        job = self.job
        return partial(_measuring, job.examples, job.asks, job.dtype, job.batch_size, self.cut)

    def members(self, number: int) -> tuple[int, ...]:
        """Indices of the examples of a block."""
        return tuple(i for batch in self.cut.blocks[number] for i in self.job.members(batch))

    def run(self, number: int) -> Chunk:
        with threads(self.cut.threads):
            chunks = list(self._own.run(self.cut.blocks[number]))
        members = tuple(index for part, _ in chunks for index in part)
        return members, torch.cat([values for _, values in chunks], dim=1)

    @cached_property
    def _own(self) -> Job:
        """The job, by the beginnings of the cut; progress is told by blocks."""
        return replace(self.job, beginnings=self.cut.beginnings, progress=None)


def _measuring(
    examples: Sequence[Example],
    asks: Sequence[Ask],
    dtype: torch.dtype,
    batch_size: int | None,
    cut: Cut,
    model: Model,
) -> Measuring:
    return Measuring(job_of(model, examples, asks, dtype=dtype, batch_size=batch_size), cut)


def cut(job: Job, tokens: int) -> Cut:
    """Batches of so many tokens in blocks.

    A block is a batch, or several that are small beside the whole: there are some hundreds of them,
    so that many workers can share them, whatever their number.
    """
    model, batches = job.model, job.batches(tokens)
    per_example = model.n_layers * model.d_mlp * len(job.asks) * job.dtype.itemsize
    most = min(_BLOCK_BYTES, per_example * len(job.examples) // _BLOCKS)
    blocks: list[list[Batch]] = [[]]
    held = 0
    for batch in batches:
        size = len(job.members(batch)) * per_example
        if blocks[-1] and held + size > most:
            blocks.append([])
            held = 0
        blocks[-1].append(batch)
        held += size
    return Cut.of(job.begun(), blocks)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Compute in so many threads of the CPU: another number may round sums otherwise."""
    before = torch.get_num_threads()
    if number == before:
        yield
        return
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _is_current(path: Path, identity: str) -> bool:
    if not path.exists():
        return False
    if store.contributions_metadata(path)["identity"] != identity:
        raise HlensError(
            f"{path} holds another run (other examples, model or settings); remove it, or store "
            "into a new folder"
        )
    return True


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
    """Hash of all that the values depend on: what two runs must share to share their blocks."""
    formulas = [[_formula(ask), ask.label] for ask in job.asks]
    settings = formulas, str(job.dtype), job.batch_size
    model = [job.model.fingerprint, str(job.model.dtype), settings]
    model += [job.model.rounding] * bool(job.model.rounding)
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
