"""Which tokens of an example are asked about, and how what they give becomes one number."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hlens import lookup
from hlens.errors import HlensError
from hlens.metrics import NEEDS, Metric
from hlens.types import Example

POSITIONS = ("read", "predicted")
REDUCTIONS = ("mean", "max", "last", "first")
Span = tuple[int, int]


def _answer(example: Example) -> list[Span]:
    return [(example.start, example.stop)]


def _response(example: Example) -> list[Span]:
    return [(example.n_prompt, len(example.token_ids))]


def _prompt(example: Example) -> list[Span]:
    return [(0, example.n_prompt)]


def _other(example: Example) -> list[Span]:
    """The paper's "other tokens": all but the answer, prompt and template included."""
    return [(0, example.start), (example.stop, len(example.token_ids))]


def _response_other(example: Example) -> list[Span]:
    before = (example.n_prompt, max(example.n_prompt, example.start))
    return [before, (max(example.n_prompt, example.stop), len(example.token_ids))]


def _last_prompt(example: Example) -> list[Span]:
    return [(max(0, example.n_prompt - 1), example.n_prompt)]


def _first_answer(example: Example) -> list[Span]:
    return [(example.start, example.start + 1)]


REGIONS: Mapping[str, Callable[[Example], list[Span]]] = {
    "answer": _answer,
    "response": _response,
    "prompt": _prompt,
    "other": _other,
    "response_other": _response_other,
    "last_prompt": _last_prompt,
    "first_answer": _first_answer,
}


@dataclass(frozen=True)
class Ask:
    """One number asked of every neuron: a formula, over some tokens, reduced in some way.

    Attributes:
        metric: The formula.
        region: Name of the tokens; a key of `REGIONS`.
        reduce: ``"mean"``, ``"max"`` (the largest value), ``"last"`` or ``"first"`` token.
        position: ``"read"`` takes the neurons where a token is the input (as the paper does),
            ``"predicted"`` one position earlier, where the token is the output.
        spans: Where the region is in an example, when it is none of `REGIONS`.
    """

    metric: Metric
    region: str
    reduce: str = "mean"
    position: str = "read"
    spans: Callable[[Example], list[Span]] | None = None

    def __post_init__(self) -> None:
        if self.spans is None and self.region not in REGIONS:
            raise lookup.unknown("region", self.region, REGIONS)
        for what, given, known in (
            ("reduction", self.reduce, REDUCTIONS),
            ("position", self.position, POSITIONS),
        ):
            if given not in known:
                raise lookup.unknown(what, given, known)
        if NEEDS.get(self.metric) == "direction" and self.position == "read":
            raise HlensError(
                f"{self.name} is of the token that a position predicts, and position='read' takes "
                "the tokens where they are read; pass position='predicted'"
            )

    @property
    def key(self) -> tuple[str, str]:
        """Metric and region, as `Contributions` names them."""
        return self.name, self.region

    @property
    def name(self) -> str:
        """Name of the metric."""
        return getattr(self.metric, "__name__", type(self.metric).__name__)

    @property
    def described(self) -> str:
        """Name of the region with what departs from the paper's way, as `Contributions` keeps it.

        >>> from hlens import metrics
        >>> Ask(metrics.cett, "answer").described
        'answer'
        >>> Ask(metrics.cett, "answer", "max", "predicted").described
        'answer:max:predicted'
        """
        parts = [self.region]
        parts += [self.reduce] if self.reduce != "mean" else []
        return ":".join(parts + ([self.position] if self.position != "read" else []))

    def positions(self, example: Example) -> np.ndarray:
        """Indices of the tokens at which the neurons are taken, ascending; may be empty."""
        spans = (self.spans or REGIONS[self.region])(example)
        found = np.concatenate([np.arange(start, stop) for start, stop in spans])
        if self.position == "predicted":
            found = found - 1
            found = found[found >= 0]  # nothing predicts the first token
        if self.reduce == "first":
            return found[:1]
        return found[-1:] if self.reduce == "last" else found


def told_apart(asks: Sequence[Ask]) -> list[Ask]:
    """The asks, each once.

    Raises:
        HlensError: Two metrics have one name, by which their results could not be told apart.
    """
    once = list(dict.fromkeys(asks))
    counts = Counter(ask.key for ask in once)
    twice = [name for (name, _), n in counts.items() if n > 1]
    if twice:
        raise HlensError(
            f"two metrics are named {twice[0]!r}; results go by name, so give each a name of its "
            "own (a lambda has none)"
        )
    return once


def check_not_empty(asks: list[Ask], examples: list[Example], drop_empty: bool) -> None:
    """Raise `HlensError` when an ask finds no token in an example, saying in how many.

    With `drop_empty`, only when it finds none in all of them.
    """
    for ask in asks:
        empty = [e.question_id for e in examples if not len(ask.positions(e))]
        if len(empty) > (len(examples) - 1 if drop_empty else 0):
            mend = "choose another region" if drop_empty else "leave them out with drop_empty=True"
            raise HlensError(
                f"region {ask.described!r} is empty in {len(empty)} of {len(examples)} examples "
                f"(first: {empty[0]!r}); {mend}"
            )
