"""What is run for an example: its tokens up to the last one that is asked about."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from torch import Tensor

from hlens.contributions.regions import Ask
from hlens.metrics import NEEDS
from hlens.types import Example


@dataclass(frozen=True, eq=False)
class Task:
    """An example as it is run.

    Attention is causal, so that no token behind the last asked position has a say in the result;
    and the prefix that several examples share ends before it, so that each has a token of its own.

    Attributes:
        example: The example.
        token_ids: Its tokens up to the last one that matters.
        n_prefix: How many of them other answers to the same prompt may share.
        positions: For each ask, the indices of the tokens at which the neurons are taken.
    """

    example: Example
    token_ids: Int[Tensor, " pos"]
    n_prefix: int
    positions: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.token_ids)


def task_of(example: Example, asks: Sequence[Ask]) -> Task:
    """Cut an example to what the asks need."""
    positions = [ask.positions(example) for ask in asks]
    needed = 1 + max((int(at[-1]) for at in positions if len(at)), default=0)
    kinds = {NEEDS.get(ask.metric) for ask in asks}
    if "direction" in kinds:  # the token that the last position predicts
        needed += 1
    if "gradient" in kinds:  # the answer, whose log-probability is differentiated
        needed = max(needed, example.stop)
    tokens = example.token_ids[:needed]
    return Task(example, tokens, min(example.n_prompt, len(tokens) - 1), positions)


def shared_length(tasks: Sequence[Task], overhead: int) -> int:
    """How many tokens are run once for all examples: what they begin with, where it pays.

    Args:
        tasks: All examples.
        overhead: What a pass costs besides its tokens, in tokens.
    """
    length = common_length(tasks)
    prompts = {bytes(task.token_ids[: task.n_prefix].cpu().numpy()) for task in tasks}
    return length if length * (len(prompts) - 1) > overhead else 0


def common_length(tasks: Sequence[Task]) -> int:
    """How many tokens all examples begin with, within their prompts."""
    length = min(task.n_prefix for task in tasks)
    first = tasks[0].token_ids[:length]
    for task in tasks:
        differs = (task.token_ids[:length] != first[:length]).nonzero()
        length = int(differs[0]) if len(differs) else length
    return length


def longest_row(tasks: Sequence[Task]) -> int:
    """Tokens of the longest row that a batch may have, the padding of its prompt included."""
    rest = max(len(task) - task.n_prefix for task in tasks)
    return max(task.n_prefix for task in tasks) + rest
