"""Forward passes without unembedding, in which no stretch of tokens is run twice.

What all examples begin with (the system turn of a chat template) is run once for all, what some of
them go on with (their common prompt) once for these, and the rest for each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hlens.contributions.reducing import Reducer
from hlens.contributions.regions import Ask
from hlens.contributions.taking import shares, taking, wants
from hlens.contributions.tasks import Task
from hlens.model import Model
from hlens.model.prefix import Prefix, run_with_prefixes

# Results of a batch: [ask, example, layer, neuron], float32, on the CPU.
Results = Tensor


@dataclass(frozen=True)
class Piece:
    """The stretch ``[start, stop)`` of an example's tokens, run as one row with those like it.

    Attributes:
        task: The example.
        row: The row of the forward pass; several examples may read one.
        start: First token.
        stop: One past the last.
    """

    task: Task
    row: int
    start: int
    stop: int

    @property
    def token_ids(self) -> Tensor:
        """The tokens of the row."""
        return self.task.token_ids[self.start : self.stop]


@dataclass(frozen=True, eq=False)
class Trunk:
    """What all examples begin with.

    Attributes:
        length: In tokens; may be 0.
        prefix: Its keys and values.
        asked: What is asked of it, each combination of positions once, and its place.
        results: ``[ask, place, layer, neuron]`` summed over positions; None where none is asked.
    """

    length: int = 0
    prefix: Prefix | None = None
    asked: dict[tuple[bytes, ...], int] | None = None
    results: Tensor | None = None

    @property
    def prefixes(self) -> list[Prefix]:
        """What the rows of a batch read first."""
        return [self.prefix] if self.prefix else []

    def add_to(self, results: Results, tasks: Sequence[Task], asks: Sequence[Ask]) -> Results:
        """Bring what was asked of these tokens to the examples' results, in place."""
        if self.results is None or self.asked is None:
            return results
        for slot, task in enumerate(tasks):
            key = _asked(task, self.length)
            place, share = self.asked[key], shares(asks, task.positions)
            for number, ask in enumerate(asks):
                if not key[number]:
                    continue
                here, there = results[number, slot], self.results[number, place]
                if ask.reduce == "max":
                    torch.maximum(here, there, out=here)
                else:
                    here.add_(there, alpha=share[number])
        return results


def run_trunk(
    model: Model, reducer: Reducer, tasks: Sequence[Task], asks: Sequence[Ask], length: int
) -> Trunk:
    """Run the first `length` tokens, which all examples share."""
    if length == 0:
        return Trunk()
    distinct = {_asked(task, length): task for task in tasks}
    pieces = [Piece(task, 0, 0, length) for task in distinct.values()]
    prefix, results = _run(model, reducer, pieces, asks, [], None, keep=True, summed=True)
    asked = {key: place for place, key in enumerate(distinct)}
    return Trunk(length, prefix, asked, results)


def run_rows(
    model: Model, reducer: Reducer, tasks: Sequence[Task], asks: Sequence[Ask], trunk: Trunk
) -> Results:
    """Run each example as a row of its own."""
    pieces = [Piece(task, row, trunk.length, len(task)) for row, task in enumerate(tasks)]
    results = _run(model, reducer, pieces, asks, trunk.prefixes, None)[1]
    return trunk.add_to(or_nothing(results, reducer, asks, len(tasks)), tasks, asks)


def run_groups(
    model: Model,
    reducer: Reducer,
    groups: Sequence[Sequence[Task]],
    asks: Sequence[Ask],
    trunk: Trunk,
) -> Results:
    """Run the prompt of each group once, then all answers upon its keys and values."""
    members = [(row, task) for row, group in enumerate(groups) for task in group]
    prompts = [Piece(task, row, trunk.length, task.n_prefix) for row, task in members]
    prefix, results = _run(model, reducer, prompts, asks, trunk.prefixes, None, keep=True)
    before = [*trunk.prefixes, prefix.pick(torch.tensor([row for row, _ in members]))]
    answers = [Piece(task, row, task.n_prefix, len(task)) for row, (_, task) in enumerate(members)]
    results = _run(model, reducer, answers, asks, before, results)[1]
    results = or_nothing(results, reducer, asks, len(members))
    return trunk.add_to(results, [task for _, task in members], asks)


def _run(
    model: Model,
    reducer: Reducer,
    pieces: Sequence[Piece],
    asks: Sequence[Ask],
    before: Sequence[Prefix],
    begun: Results | None,
    keep: bool = False,
    summed: bool = False,
) -> tuple[Prefix, Results | None]:
    """One forward pass over pieces; their results come on top of what was begun."""
    rows = {piece.row: piece.token_ids for piece in pieces}
    ids = right_padded([rows[row] for row in range(len(rows))], model)
    wanted = [
        wants(asks, piece.task.positions, piece.row, slot, piece.start, piece.stop, summed)
        for slot, piece in enumerate(pieces)
    ]
    reducer.begin(taking(wanted, ids.shape[0], ids.shape[1], model.device))
    lengths = torch.tensor([len(rows[row]) for row in range(len(rows))])
    _, prefix = run_with_prefixes(model, ids, lengths, before, keep=keep)
    return prefix, collect(reducer, asks, len(pieces), begun)


def _asked(task: Task, length: int) -> tuple[bytes, ...]:
    """What an example asks of its first tokens, as a key."""
    return tuple(at[at < length].tobytes() for at in task.positions)


def right_padded(rows: Sequence[Tensor], model: Model) -> Tensor:
    """Rows of token ids as one tensor on the model's device.

    Padding is token 0: nothing reads it, and a tokenizer's own may be none of the model's.
    """
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = tokens
    return ids.to(model.device)


def collect(
    reducer: Reducer, asks: Sequence[Ask], n_examples: int, begun: Results | None
) -> Results | None:
    """Bring a pass's results to their examples, on top of what other passes began.

    Returns:
        None where neither this pass nor another was asked anything.
    """
    if reducer.taking is None:
        return begun
    reducer.wait()
    slots = reducer.taking.slots
    if begun is None and _is_plain(slots):
        return reducer.results[:, :, :, 0].transpose(1, 2)
    begun = or_nothing(begun, reducer, asks, n_examples)
    rows, members = (slots >= 0).nonzero(as_tuple=True)
    to = slots[rows, members]
    for number, ask in enumerate(asks):
        found = reducer.results[number][:, rows, members].transpose(0, 1)
        if ask.reduce == "max":
            begun[number, to] = torch.maximum(begun[number, to], found)
        else:
            begun[number, to] += found
    return begun


def or_nothing(
    results: Results | None, reducer: Reducer, asks: Sequence[Ask], n_examples: int
) -> Results:
    """The results, or those over no token: sums of zero, and the least of all maxima."""
    if results is not None:
        return results
    results = torch.zeros(len(asks), n_examples, reducer.model.n_layers, reducer.model.d_mlp)
    for number, ask in enumerate(asks):
        if ask.reduce == "max":
            results[number] = -torch.inf
    return results


def _is_plain(slots: Tensor) -> bool:
    """One example a row, in order: then there is nothing to bring anywhere."""
    return slots.shape[1] == 1 and bool((slots[:, 0] == torch.arange(len(slots))).all())
