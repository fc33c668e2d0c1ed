"""Gates that read a detector: edit only while the risk is high, or only answers that begin risky.

The risk of an answer that is being written is the mean of its tokens' scores so far, as a monitor
reads it, a thought included. It is read from the activations as the edit finds them, layer by layer
(`hlens.monitor.before_edits`), so that a detector does not take its own edit for low risk. What
remains of the edit in it: edits of lower layers at the same token, and earlier tokens that were
edited, by way of their keys and values. A receipt counts how often the gate switched.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from hlens.errors import HlensError
from hlens.metrics import Metric
from hlens.model import Decide, Gate, Model, TokenBatch
from hlens.monitor.before import REGION, token_by_token
from hlens.monitor.watching import TokenScores, watching
from hlens.types import Detector, NeuronSet


def risk_above(detector: Detector, threshold: float, *, metric: Metric | None = None) -> Gate:
    """Edit a token where the risk of the answer before it is at or above a threshold.

    Before the first token of an answer there is no risk, which counts as the lowest.

    Args:
        detector: Reads a mean over answer or response.
        threshold: Log-odds of the answer so far, such as ``threshold_of(detector, 0.1).score``.
        metric: The detector's formula, where it is not one of `hlens.metrics`.

    Raises:
        HlensError: A threshold that is no number. A detector that cannot be read is refused when
            the block is entered.
    """
    threshold = _check_threshold(threshold)

    name = f"while risk is {threshold:g} or more"
    return _gate(name, detector, _RunningMean, threshold, metric)


def prompt_risk_above(
    detector: Detector, threshold: float, *, metric: Metric | None = None
) -> Gate:
    """Edit all of an answer where the risk at its prompt's last token is at or above a threshold.

    Args:
        detector: One of the region ``"last_prompt"``.
        threshold: Log-odds, as `hlens.monitor.score_prompts` gives them.
        metric: The detector's formula, where it is not one of `hlens.metrics`.

    Raises:
        HlensError: A threshold that is no number, or a detector of other tokens.
    """
    if detector.region != REGION:
        raise HlensError(
            f"the detector reads {detector.region!r}; before an answer only {REGION!r} is there: "
            f'measure and find with region="{REGION}", or take risk_above'
        )
    threshold = _check_threshold(threshold)
    name = f"where prompt risk is {threshold:g} or more"
    return _gate(name, token_by_token(detector), _PromptEnds, threshold, metric)


def _gate(
    name: str,
    detector: Detector,
    state: "type[_RunningMean] | type[_PromptEnds]",
    threshold: float,
    metric: Metric | None,
) -> Gate:
    """A gate that keeps what it has read in a state of its own for each block."""

    @contextmanager
    def watch(model: Model, edited: Sequence[NeuronSet]) -> Iterator[Decide]:
        own = state(threshold)
        # What reads the prompt reads it unedited: the prompt is never edited.
        where: dict[str, Any] = {"n_prompt": 0} if state is _PromptEnds else {"edited": edited}
        with watching(
            model, detector, on_scores=own.keep, metric=metric, may_be_empty=True, **where
        ):
            yield own.decide

    return Gate(name, watch, _values(detector, threshold))


def _check_threshold(threshold: float) -> float:
    """An infinite one is allowed: a gate that is always open, or never."""
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        raise HlensError(f"threshold={threshold!r:.60}; expected a number, in log-odds")
    if threshold != threshold:
        raise HlensError("threshold is NaN; expected a number, in log-odds")
    return float(threshold)


def _values(detector: Detector, threshold: float) -> tuple[Tensor, ...]:
    return detector.weights, torch.tensor([float(detector.bias), threshold])


class _RunningMean:
    """The risk of each answer of a batch so far."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.read: TokenScores | None = None  # of the last pass, not added up yet
        self.first = -1  # number of the batch's first answer
        self.total = self.count = torch.zeros(0)

    def keep(self, scores: TokenScores) -> None:
        self.read = scores

    def decide(self, batch: TokenBatch, first: int) -> Bool[Tensor, " row"]:
        """Where the mean over the tokens of earlier passes reaches the threshold."""
        if first != self.first:
            self.first, self.read = first, None
            self.total = torch.zeros(batch.rows, dtype=torch.float64)
            self.count = torch.zeros_like(self.total)
        if self.read is not None:
            own = (self.read.generated[:, -1] >= 0).cpu()
            self.total += torch.where(own, self.read.score[:, -1].cpu().double(), 0.0)
            self.count += own
            self.read = None
        mean = self.total / self.count  # NaN before the first token
        return torch.where(self.count > 0, mean, -torch.inf) >= self.threshold


class _PromptEnds:
    """The risk at the last token of each prompt of a batch."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.read = torch.zeros(0)  # scores at the last tokens of the last pass
        self.first = -1
        self.is_open = torch.zeros(0, dtype=torch.bool)

    def keep(self, scores: TokenScores) -> None:
        self.read = scores.score[:, -1].cpu()

    def decide(self, batch: TokenBatch, first: int) -> Bool[Tensor, " row"]:
        """The same at every token of an answer."""
        if first != self.first:
            # Several answers may share the pass that read their prompt.
            ends = self.read.repeat_interleave(batch.rows // len(self.read))
            self.first, self.is_open = first, ends >= self.threshold
        return self.is_open
