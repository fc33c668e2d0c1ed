"""Which tokens of an example are asked about, and how their values become one number."""

import re
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass

import numpy as np

from hlens import lookup
from hlens.errors import HlensError
from hlens.metrics import Metric, name_of, needs_of
from hlens.types import Example

POSITIONS = ("read", "predicted")
REDUCTIONS = ("mean", "max", "last", "first", "routed")
Span = tuple[int, int]


def _behind_thought(example: Example) -> int:
    """First token of the response behind its thought."""
    return example.n_prompt + example.n_thought


REGIONS: Mapping[str, Callable[[Example], list[Span]]] = {
    "answer": lambda example: [(example.start, example.stop)],
    "response": lambda example: [(_behind_thought(example), len(example.token_ids))],
    "thought": lambda example: [(example.n_prompt, _behind_thought(example))],
    "prompt": lambda example: [(0, example.n_prompt)],
    # The paper's "other tokens": all but the answer, prompt and template included.
    "other": lambda example: [(0, example.start), (example.stop, len(example.token_ids))],
    "response_other": lambda example: [
        (_behind_thought(example), max(_behind_thought(example), example.start)),
        (max(_behind_thought(example), example.stop), len(example.token_ids)),
    ],
    "last_prompt": lambda example: [(max(0, example.n_prompt - 1), example.n_prompt)],
    "first_answer": lambda example: [(example.start, example.start + 1)],
}
_ONE_TOKEN = re.compile(r"(prompt|answer)([+-]\d{1,4})")


def find_region(name: str) -> Callable[[Example], list[Span]]:
    """Where a region is in an example: one of `REGIONS`, or one token by its number.

    ``"answer+2"`` is the third token of the answer, ``"answer-1"`` the one before it, and
    ``"prompt-1"`` the last of the prompt; an example that is too short has none.

    >>> import torch
    >>> example = Example(torch.arange(9), 4, 5, 7, False, "q", "g", "d")
    >>> [find_region(name)(example) for name in ("answer+1", "answer+2", "answer-1", "prompt-1")]
    [[(6, 7)], [], [(4, 5)], [(3, 4)]]

    Raises:
        HlensError: No region has that name.
    """
    if name in REGIONS:
        return REGIONS[name]
    found = _ONE_TOKEN.fullmatch(name)
    if not found or (found[1] == "prompt" and found[2][0] == "+"):
        raise lookup.unknown("region", name, [*REGIONS, "answer+0", "prompt-1"])
    number = int(found[2])
    if found[1] == "prompt":
        return lambda example: _token(example.n_prompt + number, 0, example.n_prompt)
    return lambda example: _token(example.start + number, 0, example.stop)


def _token(at: int, start: int, stop: int) -> list[Span]:
    return [(at, at + 1)] if start <= at < stop else []


@dataclass(frozen=True)
class Ask:
    """One number asked of every neuron: a formula, over some tokens, reduced in some way.

    Attributes:
        metric: The formula.
        region: Name of the tokens, as `find_region` takes it.
        reduce: ``"mean"``, ``"max"`` (the largest value), ``"last"`` or ``"first"`` token, or
            ``"routed"``: the mean over the tokens that a mixture routes to the neuron's expert (0
            where there are none; of a dense model the mean).
        position: ``"read"`` takes the neurons where a token is the input (as the paper does),
            ``"predicted"`` one position earlier, where the token is the output.
        spans: Where the region is in an example, for a region that is not in `REGIONS`.
    """

    metric: Metric
    region: str
    _: KW_ONLY
    reduce: str = "mean"
    position: str = "read"
    spans: Callable[[Example], list[Span]] | None = None
    counts: bool = False  # of the tokens that are routed, by which a sum over them is divided

    def __post_init__(self) -> None:
        if self.spans is None:
            find_region(self.region)  # which refuses what it does not know
        for what, given, known in (
            ("reduction", self.reduce, REDUCTIONS),
            ("position", self.position, POSITIONS),
        ):
            if given not in known:
                raise lookup.unknown(what, given, known)
        if self.reduce == "routed" and needs_of(self.metric):
            raise HlensError(
                f"{self.name} needs the answer's logits, and reduce='routed' is of metrics that do "
                "not; take reduce='mean'"
            )
        if "direction" in needs_of(self.metric) and self.position == "read":
            raise HlensError(
                f"{self.name} depends on the token that a position predicts, and position='read' "
                "takes the tokens where they are read; pass position='predicted'"
            )

    @property
    def key(self) -> tuple[str, str]:
        """Name of the metric and region, as `measure_many` names results."""
        return self.name, self.region

    @property
    def name(self) -> str:
        """Name of the metric."""
        return name_of(self.metric)

    @property
    def label(self) -> str:
        """The region, with reduction and position where they differ from the paper's.

        >>> from hlens import metrics
        >>> Ask(metrics.cett, "answer").label
        'answer'
        >>> Ask(metrics.cett, "answer", reduce="max", position="predicted").label
        'answer:max:predicted'
        """
        unlike = [part for part in (self.reduce, self.position) if part not in ("mean", "read")]
        return ":".join([self.region, *unlike])

    def positions(self, example: Example) -> np.ndarray:
        """Indices of the tokens at which the neurons are read, ascending; may be empty."""
        spans = (self.spans or find_region(self.region))(example)
        indices = np.concatenate([np.arange(0), *(np.arange(*span) for span in spans)])
        if self.position == "predicted":
            indices = indices[indices > 0] - 1  # nothing predicts the first token
        taken = {"first": slice(1), "last": slice(-1, None)}
        return indices[taken.get(self.reduce, slice(None))]
