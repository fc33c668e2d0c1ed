"""watching: read the detector's neurons, and no others, while the model runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hlens import metrics
from hlens.contributions.reducing import post_gain
from hlens.errors import HlensError
from hlens.metrics import Metric, factors_of, name_of, needs_of
from hlens.model import MlpActs, Model, Read, RowSpans, TokenBatch, tracking_tokens
from hlens.monitor.before_edits import BeforeEdits
from hlens.monitor.token_sum import LayerNeurons, TokenSum
from hlens.types import Detector, NeuronSet

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
    *,
    on_scores: Callable[[TokenScores], None],
    n_prompt: int | None = None,
    metric: Metric | None = None,
    may_be_empty: bool = False,
    edited: Sequence[NeuronSet] = (),
) -> Iterator[Watch]:
    """Score every generated token as the model reads it, from the detector's neurons only.

    Works around `Model.generate`, ``model.hf.generate`` and the bridge's own generation.

    Args:
        model: The model that the detector was found on.
        detector: A linear reading of a metric, averaged over answer or response.
        on_scores: Called once a forward pass with the scores of its tokens.
        n_prompt: Length of the prompt, where hlens does not generate itself.
        metric: The detector's formula, where it is not one of `hlens.metrics`.
        may_be_empty: Accept that no generated token was read.
        edited: Neurons that are edited within the block; each layer is read as its edit finds it
            (see `hlens.monitor.before_edits`).

    Raises:
        HlensError: The detector reads another model, region or metric than can be read here; on
            leaving, no generated token was read.
    """
    metric = readable_metric(model, detector, metric)
    watch = Watch(int((detector.weights != 0).sum()))
    with ExitStack() as stack:
        stack.enter_context(model.clock.holding_rows())
        tracker = stack.enter_context(tracking_tokens(model, RowSpans(n_prompt)))
        norms = model.w_norms
        layers = {
            layer: _layer_neurons(model, detector, layer, norms[layer])
            for layer in range(model.n_layers)
            if bool((detector.weights[layer] != 0).any())
        }

        def finish(batch: TokenBatch, score: Tensor) -> None:
            watch.tokens += int((batch.generated >= 0).sum())
            on_scores(TokenScores(score + float(detector.bias), batch.generated, batch))

        before = _before_edits(model, edited, layers)

        def batch_now() -> TokenBatch | None:
            return None if model.prefix_trials.running else tracker.batch

        reader = _Reader(metric, layers, before, batch_now, finish)
        for layer in layers:
            for mlp in model.running(layer):
                if layer in before:
                    stack.enter_context(before[layer].holding(mlp))
                stack.enter_context(mlp.reading(reader.read(layer)))
        yield watch
    if not watch.tokens and not may_be_empty:
        raise HlensError("the monitor read no generated token; generate inside the block")


def readable_metric(model: Model, detector: Detector, metric: Metric | None) -> Metric:
    """The detector's metric; raises `HlensError` unless it can be read while this model writes."""
    shape = (model.n_layers, model.d_mlp)
    if tuple(detector.weights.shape) != shape:
        raise HlensError(
            f"the detector reads {tuple(detector.weights.shape)} layers x neurons, {model.name} "
            f"has {shape}; monitor the model that it was found on"
        )
    detector.provenance.check_same_model(model.provenance, "monitored model")
    if detector.region not in REGIONS:
        raise HlensError(
            f"the detector reads {detector.region!r}; while the model writes only a mean over "
            f"{' or '.join(REGIONS)} can be read: find a detector on one of them"
        )
    if metric is not None and name_of(metric) != detector.metric:
        raise HlensError(
            f"the detector reads {detector.metric}, and metric= is {name_of(metric)}; give the "
            "formula that its contributions were measured with"
        )
    metric = metric or metrics.by_name(detector.metric)
    if needs_of(metric):
        raise HlensError(
            f"{detector.metric} needs the {' and '.join(sorted(needs_of(metric)))} of a finished "
            "answer; find a detector on cett to monitor with it"
        )
    if not bool((detector.weights != 0).any()):
        raise HlensError("the detector has no neurons; find one with a larger C")
    return metric


@dataclass(eq=False)
class _Reader:
    """Adds up the layers' shares of each token's score."""

    metric: Metric
    layers: Mapping[int, LayerNeurons]
    before: Mapping[int, BeforeEdits]  # of the edited ones among them
    batch: Callable[[], TokenBatch | None]
    finish: Callable[[TokenBatch, Tensor], None]
    sum: Tensor | None = None

    def __post_init__(self) -> None:
        factors = factors_of(self.metric)
        self.token_sum = TokenSum(factors, list(self.layers.values())) if factors else None

    def read(self, layer: int) -> Read:
        neurons, before = self.layers[layer], self.before.get(layer)
        is_first, is_last = layer == min(self.layers), layer == max(self.layers)

        def read(acts: MlpActs, output: Tensor) -> None:
            batch = self.batch()
            if batch is None or (batch.clock == -1 and batch.spans.n_prompt is None):
                return  # a prompt is being read
            output = output.reshape(-1, output.shape[-1])
            if before is None:
                act = acts.weighted_columns(neurons.columns)
            else:
                act, output = before.restore(acts, output)
            # Many tokens are summed layer by layer: to hold all layers' outputs would cost memory.
            if self.token_sum is not None and batch.width == 1:
                self.token_sum.add(act, output)
                if is_last:
                    self.sum = self.token_sum.score()[:, None]
            else:
                share = self.metric(neurons.trace(act, output)).float() @ neurons.weights
                share = share.reshape(batch.rows, batch.width)
                self.sum = share if is_first or self.sum is None else self.sum + share.to(self.sum)
            if is_last and self.sum is not None:
                score, self.sum = self.sum, None
                self.finish(batch, score)

        return read


def _before_edits(
    model: Model, edited: Sequence[NeuronSet], layers: Mapping[int, LayerNeurons]
) -> dict[int, BeforeEdits]:
    """What holds the activations of each layer that is read and edited."""
    own = {
        layer: sorted({neuron for one in edited for neuron in one.in_layer(layer)})
        for layer in layers
    }
    return {
        layer: BeforeEdits(model.mlps[layer], torch.tensor(some), layers[layer].columns.cpu())
        for layer, some in own.items()
        if some
    }


def _layer_neurons(
    model: Model, detector: Detector, layer: int, w_norms: Float[Tensor, " neuron"]
) -> LayerNeurons:
    columns = detector.weights[layer].nonzero().flatten()
    rows = model.mlps[layer].rows(columns)
    weights = detector.weights[layer][columns].to(rows.device, torch.float32)
    norms, there = w_norms[columns].to(rows.device), columns.to(rows.device)
    return LayerNeurons(there, weights, rows, norms, post_gain(model, layer))
