"""Reading the detector's neurons, and no others, while the model runs."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hlens import metrics
from hlens.contributions.reducing import post_gain
from hlens.errors import HlensError
from hlens.metrics import FACTORS, NEEDS, Metric
from hlens.model import Model, RowSpans, TokenBatch, tracking_tokens
from hlens.monitor.together import Part, Together
from hlens.types import Detector

REGIONS = ("answer", "response")


@dataclass
class Watch:
    """What a monitor has read so far.

    Attributes:
        n_neurons: Neurons that it reads.
        tokens: Tokens that it read; padding and prompts are not counted.
    """

    n_neurons: int
    tokens: int = 0

    @property
    def touched(self) -> int:
        """Tokens x neurons that were read."""
        return self.tokens * self.n_neurons


@dataclass(frozen=True, eq=False)
class TokenScores:
    """Scores of the tokens of one forward pass.

    Attributes:
        score: Log-odds of each token alone: bias + weights x contributions at this token.
        generated: Index of each token in the answer; negative in the prompt.
        batch: The tokens that were read.
    """

    score: Float[Tensor, "row pos"]
    generated: Int[Tensor, "row pos"]
    batch: TokenBatch


@contextmanager
def watching(
    model: Model,
    detector: Detector,
    tell: Callable[[TokenScores], None],
    n_prompt: int | None = None,
) -> Iterator[Watch]:
    """Score every generated token as the model reads it, from the detector's neurons only.

    Works around `Model.generate`, ``model.hf.generate`` and the bridge's own generation.

    Args:
        model: The model that the detector was found on.
        detector: A linear reading of a metric, averaged over answer or response.
        tell: Called once a forward pass with the scores of its tokens.
        n_prompt: Length of the prompt, where hlens does not generate itself.

    Raises:
        HlensError: The detector reads another model, region or metric than can be read here; on
            leaving, no generated token was read.
    """
    with reading_neurons(model, detector, tell, n_prompt) as watch:
        yield watch
    if not watch.tokens:
        raise HlensError("the monitor read no generated token; generate inside the block")


@contextmanager
def reading_neurons(
    model: Model,
    detector: Detector,
    tell: Callable[[TokenScores], None],
    n_prompt: int | None = None,
) -> Iterator[Watch]:
    """Like `watching`, but that no token is read is no error: an answer may be empty."""
    check(model, detector)
    watch = Watch(int((detector.weights != 0).sum()))
    with ExitStack() as stack:
        tracker = stack.enter_context(tracking_tokens(model, RowSpans(n_prompt)))
        reader = _Reader(model, detector, lambda: tracker.batch, tell, watch)
        for layer in reader.layers:
            for module in _modules(model, layer):
                stack.callback(module.register_forward_hook(reader.hook(layer)).remove)
        yield watch


def check(model: Model, detector: Detector) -> None:
    """Raise `HlensError` unless this detector can be read while this model writes."""
    detector.provenance.check_same_model(model.provenance, "monitored model")
    shape = (model.n_layers, model.d_mlp)
    if tuple(detector.weights.shape) != shape:
        raise HlensError(
            f"the detector reads {tuple(detector.weights.shape)} layers x neurons, {model.name} "
            f"has {shape}; monitor the model that it was found on"
        )
    if detector.region not in REGIONS:
        raise HlensError(
            f"the detector reads {detector.region!r}; while the model writes only a mean over "
            f"{' or '.join(REGIONS)} can be read: find a detector on one of them"
        )
    if metrics.by_name(detector.metric) in NEEDS:
        raise HlensError(
            f"{detector.metric} needs the {NEEDS[metrics.by_name(detector.metric)]} of a finished "
            "answer; find a detector on cett to monitor with it"
        )
    if not bool((detector.weights != 0).any()):
        raise HlensError("the detector has no neurons; find one with a larger C")


class _Reader:
    """Adds up the layers' shares of each token's score."""

    def __init__(
        self,
        model: Model,
        detector: Detector,
        batch: Callable[[], TokenBatch | None],
        tell: Callable[[TokenScores], None],
        watch: Watch,
    ) -> None:
        self.metric: Metric = metrics.by_name(detector.metric)
        self.bias = float(detector.bias)
        self.batch = batch
        self.tell = tell
        self.watch = watch
        self.sum: Tensor | None = None
        self.parts = {
            layer: _part(model, detector, layer)
            for layer in range(model.n_layers)
            if bool((detector.weights[layer] != 0).any())
        }
        self.layers = list(self.parts)
        factors = FACTORS.get(self.metric)
        self.together = Together(factors, list(self.parts.values())) if factors else None

    def hook(self, layer: int) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
        part = self.parts[layer]
        is_first, is_last = layer == self.layers[0], layer == self.layers[-1]

        def read(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
            batch = self.batch()
            if batch is None or (batch.clock == -1 and batch.spans.n_prompt is None):
                return  # a prompt is being read
            act = args[0].index_select(-1, part.at)
            # Many columns are summed layer by layer: to hold all layers' outputs would cost memory.
            if self.together is not None and batch.width == 1:
                self._gather(self.together, act, output, is_last)
            else:
                share = self.metric(part.trace(act, output)).float() @ part.weights
                share = share.reshape(batch.rows, batch.width)
                self.sum = share if is_first or self.sum is None else self.sum + share.to(self.sum)
            if is_last:
                self._finish(batch)

        return read

    def _gather(self, together: Together, act: Tensor, output: Tensor, is_last: bool) -> None:
        together.add(act.reshape(-1, act.shape[-1]), output.reshape(-1, output.shape[-1]))
        if is_last:
            self.sum = together.score()[:, None]

    def _finish(self, batch: TokenBatch) -> None:
        score, self.sum = self.sum, None
        if score is None:
            return
        generated = batch.generated
        self.watch.tokens += int((generated >= 0).sum())
        self.tell(TokenScores(score + self.bias, generated, batch))


def _part(model: Model, detector: Detector, layer: int) -> Part:
    at = detector.weights[layer].nonzero().flatten()
    w_out = model.w_out(layer)
    return Part(
        at=at.to(w_out.device),
        weights=detector.weights[layer][at].to(w_out.device, torch.float32),
        rows=w_out[at.to(w_out.device)],
        norms=model.w_norms[layer][at].to(w_out.device),
        gain=post_gain(model, layer),
    )


def _modules(model: Model, layer: int) -> list[nn.Module]:
    plain = model.down_projections[layer]
    twin = model.bridge.blocks[layer].mlp.out.original_component
    return [plain] if twin is plain else [plain, twin]
