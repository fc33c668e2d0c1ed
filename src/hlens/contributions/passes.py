"""Forward passes without unembedding, in which shared tokens are run only once.

The tokens that all rows begin with (the system turn of a chat template) are the trunk, run once. A
prompt that several rows share is run once per prompt, and each answer on its own::

    trunk            prompt             answer
    [system turn] -> [question 1]   ->  [answer a]
                                    ->  [answer b]
                  -> [question 2]   ->  [answer c]

Several spans of one response are rows that are read from one sequence. Each pass reads the keys and
values of those to its left, and results add up along the way: if a region spans prompt and answer,
one part of its mean comes from the prompt's pass, the rest from the answer's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hlens.contributions.reducing import Reducer
from hlens.contributions.regions import Ask
from hlens.contributions.rows import Piece, ResponseRows, Row, lay_out
from hlens.model import Model
from hlens.model.prefix import Prefix, run_with_prefixes

# Results of a batch: [ask, example, layer, neuron], float32, on the CPU.
Results = Tensor
_NONE = torch.zeros(0, dtype=torch.long)


@dataclass(frozen=True, eq=False)
class Trunk:
    """What all rows begin with.

    Each combination of positions that is asked of these tokens is reduced once, however many rows
    ask for it.
    """

    length: int = 0
    prefixes: Sequence[Prefix] = ()  # keys and values, which the sequences of a batch read first
    places: dict[tuple[bytes, ...], int] = field(default_factory=dict)  # by positions, in `results`
    results: Tensor | None = None  # [ask, place, layer, neuron], summed; None: nothing is asked

    def add_to(self, results: Results, rows: Sequence[Row], asks: Sequence[Ask]) -> Results:
        """Add what was asked of these tokens to the rows' results, in place."""
        if self.results is None:
            return results
        for slot, row in enumerate(rows):
            key = _positions_key(row, self.length)
            for number, ask in enumerate(asks):
                if not key[number]:
                    continue
                own, common = results[number, slot], self.results[number, self.places[key]]
                if ask.reduce == "max":
                    torch.maximum(own, common, out=own)
                else:
                    own.add_(common, alpha=row.weights[number])
        return results


def run_trunk(reducer: Reducer, rows: Sequence[Row], length: int) -> Trunk:
    """Run the first `length` tokens, which all rows share."""
    if length == 0:
        return Trunk()
    # The longest of those that ask alike: shorter rows may end before the trunk does.
    distinct = {_positions_key(row, length): row for row in sorted(rows, key=len)}
    pieces = [Piece(row, 0, 0, length) for row in distinct.values()]
    # Summed, not averaged: rows that ask for the same positions may divide by different counts.
    prefix, results = _run(reducer, pieces, [], None, keep=True, summed=True)
    places = {key: place for place, key in enumerate(distinct)}
    return Trunk(length, [prefix], places, results)


def run_rows(reducer: Reducer, responses: Sequence[ResponseRows], trunk: Trunk) -> Results:
    """Run each response as one sequence; results are of all its rows, response after response."""
    rows = [row for own in responses for row in own]
    pieces = [
        Piece(row, number, trunk.length, len(row))
        for number, own in enumerate(responses)
        for row in own
    ]
    results = _run(reducer, pieces, trunk.prefixes, None)[1]
    return trunk.add_to(or_empty(results, reducer, len(rows)), rows, reducer.asks)


def run_groups(reducer: Reducer, groups: Sequence[Sequence[ResponseRows]], trunk: Trunk) -> Results:
    """Run the prompt of each group once, then all responses on its keys and values."""
    members = [(number, own) for number, group in enumerate(groups) for own in group]
    rows = [row for _, own in members for row in own]
    # The prompts: one sequence for each group, read by every row of it. All rows of a response end
    # their prompt where its longest row does, since that is the row that is run.
    prompts = [
        Piece(row, number, trunk.length, own[0].n_prefix) for number, own in members for row in own
    ]
    prefix, results = _run(reducer, prompts, trunk.prefixes, None, keep=True)
    # The answers: one sequence for each response, after the trunk and the prompt of its group.
    before = [*trunk.prefixes, prefix.pick(torch.tensor([number for number, _ in members]))]
    answers = [
        Piece(row, number, own[0].n_prefix, len(row))
        for number, (_, own) in enumerate(members)
        for row in own
    ]
    results = _run(reducer, answers, before, results)[1]
    return trunk.add_to(or_empty(results, reducer, len(rows)), rows, reducer.asks)


def _run(
    reducer: Reducer,
    pieces: Sequence[Piece],
    before: Sequence[Prefix],
    begun: Results | None,
    *,
    keep: bool = False,
    summed: bool = False,
) -> tuple[Prefix, Results | None]:
    """One forward pass over pieces, after the prefixes `before`; results add to `begun`.

    With `keep`, the prefix that is returned holds the pass's own keys and values.
    """
    tokens: dict[int, Tensor] = {}
    for piece in pieces:  # of the pieces of one sequence, the longest is run
        tokens[piece.sequence] = max(tokens.get(piece.sequence, _NONE), piece.token_ids, key=len)
    sequences = [tokens[number] for number in range(len(tokens))]
    ids = right_padded(sequences, reducer.model)
    reducer.begin(lay_out(pieces, ids, summed=summed))
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    _, prefix = run_with_prefixes(reducer.model, ids, lengths, before, keep=keep)
    return prefix, collect(reducer, len(pieces), begun)


def _positions_key(row: Row, length: int) -> tuple[bytes, ...]:
    """What a row asks of its first tokens, as a key."""
    return tuple(positions[positions < length].tobytes() for positions in row.positions)


def right_padded(sequences: Sequence[Tensor], model: Model) -> Tensor:
    """Token ids as one tensor on the model's device.

    Padding is token 0: nothing reads it, and the tokenizer's own padding may lie outside the
    model's vocabulary.
    """
    return pad_sequence(list(sequences), batch_first=True).long().to(model.device)


def collect(reducer: Reducer, n_examples: int, begun: Results | None = None) -> Results | None:
    """A pass's results by example, added to those of passes before; None if nothing was asked."""
    if reducer.readout is None:
        return begun
    reducer.wait()
    slots = reducer.readout.slots
    one_each = slots.shape[1] == 1 and bool((slots[:, 0] == torch.arange(len(slots))).all())
    if begun is None and one_each:
        return reducer.results[:, :, :, 0].transpose(1, 2)  # a view: nothing has to be moved
    begun = or_empty(begun, reducer, n_examples)
    sequences, members = (slots >= 0).nonzero(as_tuple=True)
    to = slots[sequences, members]
    for number, ask in enumerate(reducer.asks):
        reduced = reducer.results[number][:, sequences, members].transpose(0, 1)
        if ask.reduce == "max":
            begun[number, to] = torch.maximum(begun[number, to], reduced)
        else:
            begun[number, to] += reduced
    return begun


def or_empty(results: Results | None, reducer: Reducer, n_examples: int) -> Results:
    """The results; where there are none, those of no token: 0 for sums, -inf for maxima."""
    if results is not None:
        return results
    model, asks = reducer.model, reducer.asks
    results = torch.zeros(len(asks), n_examples, model.n_layers, model.d_mlp)
    results[[ask.reduce == "max" for ask in asks]] = -torch.inf
    return results
