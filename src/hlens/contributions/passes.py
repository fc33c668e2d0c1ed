"""Forward passes without unembedding: plain ones, and such that share a prompt's prefill."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hlens.contributions.reducing import Reducer
from hlens.contributions.regions import Ask
from hlens.contributions.taking import taking, wants
from hlens.contributions.tasks import Task
from hlens.model import Model

# Results of a batch: [ask, example, layer, neuron], float32, on the CPU.
Results = Tensor


def run_plain(
    model: Model, reducer: Reducer, tasks: Sequence[Task], asks: Sequence[Ask]
) -> Results:
    """Run examples as right-padded rows.

    No mask is given: attention is causal, so that a token never sees the padding to its right.
    """
    ids = right_padded([task.token_ids for task in tasks], model)
    wanted = [wants(asks, task.positions, row, row, 0, len(task)) for row, task in enumerate(tasks)]
    reducer.begin(taking(wanted, ids.shape[0], ids.shape[1], model.device))
    model.body(input_ids=ids, use_cache=False)
    return collect(reducer, asks, len(tasks), None)


def run_shared(
    model: Model,
    reducer: Reducer,
    groups: Sequence[Sequence[Task]],
    asks: Sequence[Ask],
) -> Results:
    """Run each group's common prompt once, then all answers upon its keys and values.

    Only for models and examples that `can_share`. Groups hold examples of the same prompt.
    """
    members = [(row, task) for row, group in enumerate(groups) for task in group]
    prompts = right_padded([group[0].token_ids[: group[0].n_prefix] for group in groups], model)
    n_prompts = [group[0].n_prefix for group in groups]
    width = prompts.shape[1]
    wanted = [
        wants(asks, task.positions, row, slot, 0, n_prompts[row])
        for slot, (row, task) in enumerate(members)
    ]
    reducer.begin(taking(wanted, len(groups), width, model.device))
    past = model.body(input_ids=prompts, use_cache=True).past_key_values
    results = collect(reducer, asks, len(members), None)
    rows = torch.tensor([row for row, _ in members])
    past.batch_select_indices(rows.to(model.device))
    wanted = [
        wants(asks, task.positions, slot, slot, task.n_prefix, len(task))
        for slot, (_, task) in enumerate(members)
    ]
    answers = right_padded([task.token_ids[task.n_prefix :] for _, task in members], model)
    reducer.begin(taking(wanted, len(members), answers.shape[1], model.device))
    continued(model, past, answers, torch.tensor(n_prompts)[rows], width)
    return collect(reducer, asks, len(members), results)


def continued(
    model: Model, past: Any, ids: Tensor, n_prompts: Tensor, width: int, run: Any = None
) -> Any:
    """Run rows upon a cache whose prompts are right-padded to `width`.

    Args:
        model: The model.
        past: Keys and values of the prompts, one row for each row of `ids`.
        ids: The tokens that follow, right-padded.
        n_prompts: How many tokens of each row the cache holds.
        width: Columns of the cache.
        run: What is run: the model without its unembedding, or ``model.hf``.
    """
    n_rows, length = ids.shape
    mask = torch.ones(n_rows, width + length, dtype=torch.long)
    mask[:, :width] = torch.arange(width) < n_prompts[:, None]
    positions = n_prompts[:, None] + torch.arange(length)
    return (run or model.body)(
        input_ids=ids,
        attention_mask=mask.to(ids.device),
        past_key_values=past,
        use_cache=True,
        **model.position_kwargs(positions.to(ids.device)),
    )


def can_share(model: Model, tasks: Sequence[Task]) -> bool:
    """True where a prompt's padded cache serves its answers exactly.

    A sliding window counts places in the cache, padding included, so it must be no shorter than
    the longest example; and a layer that keeps a state instead of keys and values would have read
    the padding.
    """
    config = getattr(model.hf.config, "text_config", None) or model.hf.config
    window = getattr(config, "sliding_window", None)
    longest = max(task.n_prefix for task in tasks)
    longest += max(len(task) - task.n_prefix for task in tasks)
    if window is not None and longest > window:
        return False
    two = right_padded([torch.tensor([0, 0])], model)
    if not model.position_kwargs(two):
        return False
    with torch.inference_mode():
        past = getattr(model.body(input_ids=two, use_cache=True), "past_key_values", None)
    keys = [getattr(layer, "keys", None) for layer in getattr(past, "layers", None) or [None]]
    return hasattr(past, "batch_select_indices") and all(
        key is not None and key.shape[-2] == 2 for key in keys
    )


def right_padded(rows: Sequence[Tensor], model: Model) -> Tensor:
    """Rows of token ids as one tensor on the model's device."""
    ids = torch.full((len(rows), max(map(len, rows))), model.pad_id)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = tokens
    return ids.to(model.device)


def collect(
    reducer: Reducer, asks: Sequence[Ask], n_examples: int, before: Results | None
) -> Results:
    """Bring a pass's results to their examples, on top of those of the pass before."""
    if before is None and reducer.taking is not None and _is_plain(reducer.taking.slots):
        wait(reducer.results)
        return reducer.results[:, :, :, 0].transpose(1, 2)
    shape = (len(asks), n_examples, reducer.model.n_layers, reducer.model.d_mlp)
    if before is None:
        before = torch.zeros(shape)
        for number, ask in enumerate(asks):
            if ask.reduce == "max":
                before[number] = -torch.inf
    if reducer.taking is None:
        return before
    wait(reducer.results)
    slots = reducer.taking.slots
    rows, members = (slots >= 0).nonzero(as_tuple=True)
    to = slots[rows, members]
    for number, ask in enumerate(asks):
        found = reducer.results[number][:, rows, members].transpose(0, 1)
        if ask.reduce == "max":
            before[number, to] = torch.maximum(before[number, to], found)
        else:
            before[number, to] += found
    return before


def _is_plain(slots: Tensor) -> bool:
    """One example a row, in order: then there is nothing to bring anywhere."""
    return slots.shape[1] == 1 and bool((slots[:, 0] == torch.arange(len(slots))).all())


def wait(results: Tensor) -> None:
    """Wait until a GPU has carried off what it computed."""
    if results.is_pinned():
        torch.cuda.synchronize()
