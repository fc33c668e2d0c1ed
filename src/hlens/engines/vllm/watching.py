"""Scores of tokens: while vLLM writes them, or of texts that are written."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hlens.engines.vllm.measuring import neuron_factors, run_once
from hlens.engines.vllm.metrics import check_metric
from hlens.engines.vllm.model import VllmModel, in_one_line
from hlens.engines.vllm.sampling import drawn, params_of
from hlens.engines.vllm.wire import pack, unpack
from hlens.metrics import Metric, cett, factors_of
from hlens.model import EndOfReply, Settings
from hlens.monitor.policies import Policy, Risk
from hlens.monitor.reading import Neuron, check_finite, read_neurons, score_tokens
from hlens.monitor.streaming import Answer, assess, deciding, write_watched
from hlens.monitor.watching import readable_metric
from hlens.types import Detector


@score_tokens.register
def score(
    model: VllmModel,
    detector: Detector,
    rows: Sequence[Sequence[int]],
    *,
    metric: Metric | None = None,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Float[np.ndarray, " pos"]]:
    """Log-odds of each token of each text; vLLM makes its batches itself."""
    if not rows:
        return []
    found = _read(model, _plan_of(model, detector, metric), rows)
    if progress is not None:
        progress(len(rows), len(rows))
    bias = float(detector.bias)
    scores = [read[:, 0].double().numpy() + bias for read in found]
    check_finite(model, scores)
    return scores


@read_neurons.register
def read(
    model: VllmModel, token_ids: Sequence[int], neurons: Sequence[Neuron]
) -> dict[Neuron, list[float]]:
    """CETT of some neurons at every token of one text."""
    model.need_eager("reading neurons")
    weights = torch.zeros(model.n_layers, model.d_mlp, len(neurons))
    for number, (layer, neuron) in enumerate(neurons):
        weights[layer, neuron, number] = 1.0
    (values,) = _read(model, mixing(model, cett, weights), [token_ids])
    return {neuron: values[:, number].tolist() for number, neuron in enumerate(neurons)}


@write_watched.register
def write(
    model: VllmModel,
    detector: Detector,
    prompts: Sequence[Sequence[int]],
    *,
    settings: Settings,
    seeds: Sequence[int],
    first: int,
    on_token: Callable[[Risk], None] | None,
    policy: Policy,
    metric: Metric | None,
) -> list[Answer]:
    """Write under watch. The policy is asked when an answer is whole, and cuts it where it says.

    The tokens up to there are the same: none depends on what follows it.
    """
    model.call("watch", _plan_of(model, detector, metric))
    try:
        # One token more is asked for, and thrown away, so that the last one is read, too.
        pairs = enumerate(zip(prompts, seeds, strict=True))
        params = [params_of(model, settings, s, tokens=len(p), id=i) for i, (p, s) in pairs]
        with in_one_line(f"vLLM cannot sample {model.name}"):
            outputs = model.run(prompts, params)
        watched = model.call("watched")
    finally:
        model.call("watch", None)
    ends, decide = EndOfReply(model, settings.until_newline), deciding(on_token, policy)
    answers = []
    for row, (prompt, output) in enumerate(zip(prompts, outputs, strict=True)):
        tokens, logprobs = drawn(model, output)
        tokens = tokens[: settings.max_new_tokens]
        end = next((i for i, token in enumerate(tokens) if ends[token]), None)
        kept = tokens[:end]
        answer = Answer(first + row, reason="length" if end is None else "stop")
        answer.tokens = kept
        scores = _summed(watched, row, len(kept))[:, 0] + float(detector.bias)
        for score in scores.tolist():
            if (reason := assess(model, detector, answer, score, prompt, decide)) is not None:
                answer.reason, answer.tokens = reason, kept[: len(answer.risks)]
                break
        answer.logprobs = logprobs[: len(answer.tokens)].tolist()
        answers.append(answer)
    return answers


def _read(
    model: VllmModel, plan: dict[str, Any], rows: Sequence[Sequence[int]]
) -> list[Float[Tensor, "pos number"]]:
    """What a plan reads at every token of each text."""
    model.check_prompts(rows, new=1)
    model.call("watch", plan)
    try:
        with in_one_line(f"vLLM cannot read {model.name}"):
            model.run(rows, [run_once(tokens=0, id=number) for number in range(len(rows))])
        watched = model.call("watched")
    finally:
        model.call("watch", None)
    return [_summed(watched, number, len(row)) for number, row in enumerate(rows)]


def _summed(watched: list[dict[str, Any]], name: int, n: int) -> Float[Tensor, "pos number"]:
    """The first `n` tokens of a request: each worker's neurons add their own share."""
    shares = [unpack(of[str(name)])[:n] for of in watched if str(name) in of]
    return torch.stack(shares).sum(0) if shares else torch.zeros(0, 1)


def _plan_of(model: VllmModel, detector: Detector, metric: Metric | None) -> dict[str, Any]:
    """What a worker reads for a detector: one number a token.

    Raises:
        HlensError: A detector that cannot be read while this model writes.
    """
    model.need_eager("watching")
    metric = readable_metric(model, detector, metric)
    return mixing(model, metric, detector.weights[..., None].float())


def mixing(
    model: VllmModel, metric: Metric, weights: Float[Tensor, "layer neuron number"]
) -> dict[str, Any]:
    """What a worker reads for numbers that are weighted sums over neurons."""
    check_metric(metric)
    factors = factors_of(metric)
    if factors is not None and factors.neuron is not None:
        weights = weights * neuron_factors(model, metric)[..., None]
    layers = {}
    for layer, own in enumerate(weights):
        columns = own.any(dim=-1).nonzero().flatten()
        if len(columns):
            gain = model.gains.get(layer)
            mix = pack(own[columns])
            layers[str(layer)] = [columns.tolist(), mix, None if gain is None else pack(gain)]
    return {"metric": metric.__name__, "numbers": weights.shape[-1], "layers": layers}
