"""Laws of the contribution formulas: on a trace by hand, and through measure on real models."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial, wraps
from typing import Any

import pytest
import torch
from torch import Tensor

import architectures
import hlens.model
from hlens import metrics
from hlens.contributions import measure, measure_many
from hlens.errors import HlensError
from hlens.metrics import Metric, factors_of, needs_of
from hlens.model import Model, Settings
from hlens.monitor import monitor, risks
from hlens.types import Contributions, Detector, Example, MlpTrace
from test_measure import close, example, model, several, tiny

__all__ = ["model"]  # the fixture of all architectures


def trace(bias: float = 0.0, seed: int = 0) -> MlpTrace:
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    act, w_out = normal(2, 5, 7), normal(7, 4)
    out = act @ w_out + bias * normal(4)
    whole = {"direction": normal(2, 5, 4), "gradient": normal(2, 5, 7), "post_gain": normal(4)}
    return MlpTrace(act, out, w_out, **whole)


def name_of(metric: Metric) -> str:
    return getattr(metric, "__name__", "")


FORMULAS = [metrics.by_name(name) for name in metrics.names()]
FACTORED = [metric for metric in FORMULAS if factors_of(metric)]
NEEDY = [metric for metric in FORMULAS if needs_of(metric)]
every_metric = pytest.mark.parametrize("metric", FORMULAS, ids=name_of)


@every_metric
def test_a_metric_has_one_value_a_position_and_neuron(metric: Metric) -> None:
    mlp = trace()
    value = metric(mlp)
    assert value.shape == mlp.act.shape
    assert value.dtype == torch.float32
    half = replace(mlp, act=mlp.act.bfloat16(), out=mlp.out.bfloat16(), w_out=mlp.w_out.bfloat16())
    assert metric(half).dtype == torch.float32
    torch.testing.assert_close(metric(half), value, rtol=0.1, atol=0.1)


@every_metric
def test_a_silent_mlp_gives_zeros_and_no_nan(metric: Metric) -> None:
    mlp = trace()
    silent = replace(mlp, act=mlp.act * 0, out=mlp.out * 0)
    assert torch.equal(metric(silent), torch.zeros_like(mlp.act))


@pytest.mark.parametrize("metric", FACTORED, ids=name_of)
@pytest.mark.parametrize("gain", [True, False])
def test_the_factors_are_those_of_the_formula(metric: Metric, gain: bool) -> None:
    mlp = trace(bias=1.0) if gain else replace(trace(bias=1.0), post_gain=None)
    factors = factors_of(metric)
    assert factors is not None
    value = factors.act(mlp.act)
    value = value if factors.pos is None else value * factors.pos(mlp.out, mlp.post_gain)[..., None]
    value = value if factors.neuron is None else value * factors.neuron(mlp)
    close(value, metric(mlp), 1e-6)


@every_metric
def test_scaling_an_activation_is_scaling_its_row(metric: Metric) -> None:
    mlp = trace(bias=1.0)
    alpha = torch.tensor([1.0, 0.0, 3.0, 0.5, 1.0, 2.0, 1.0])
    # The gradient by an activation is taken behind it: it sees the scaled row, not the scaled act.
    assert mlp.gradient is not None
    louder = replace(mlp, act=mlp.act * alpha)
    longer = replace(mlp, w_out=mlp.w_out * alpha[:, None], gradient=mlp.gradient * alpha)
    if metric is metrics.activation:  # by definition it does not see the row
        close(metric(louder), metric(mlp) * alpha)
        close(metric(longer), metric(mlp))
    else:
        close(metric(louder), metric(longer))


def test_projection_sums_to_one_without_bias() -> None:
    close(metrics.projection(trace()).sum(-1), torch.ones(2, 5))
    assert (metrics.projection(trace(bias=1.0)).sum(-1) - 1).abs().max() > 0.01


def test_cett_sums_to_one_or_more_without_bias() -> None:
    assert (metrics.cett(trace()).sum(-1) >= 1).all()


def test_magnitudes_are_those_of_the_signed() -> None:
    mlp = trace()
    close(metrics.signed_cett(mlp).abs(), metrics.cett(mlp))


def test_post_norm_is_cett_of_the_gained_output() -> None:
    mlp = trace()
    assert mlp.post_gain is not None
    gained = MlpTrace(mlp.act, mlp.out * mlp.post_gain, mlp.w_out * mlp.post_gain)
    close(metrics.post_norm(mlp), metrics.cett(gained))


@pytest.mark.parametrize("metric", NEEDY, ids=name_of)
def test_what_a_metric_lacks_is_named(metric: Metric) -> None:
    bare = replace(trace(), direction=None, gradient=None)
    with pytest.raises(
        HlensError, match=f"{name_of(metric)} needs {next(iter(needs_of(metric)))}="
    ):
        metric(bare)


def test_names_are_looked_up_with_help() -> None:
    assert metrics.names() == [name_of(metric) for metric in FORMULAS]
    assert {"cett", "projection", "gradient_x_activation"} <= set(metrics.names())
    with pytest.raises(HlensError, match="did you mean 'cett'"):
        metrics.by_name("cet")


# Through measure, on real architectures

PLAIN = [metric for metric in FORMULAS if metric not in NEEDY]
Found = dict[tuple[str, str], Contributions]


def all_metrics(model: Model, items: list[Example], batch_size: int | None = None) -> Found:
    """Every formula: those that need the logits where tokens are predicted, the rest anywhere."""
    plain = measure_many(
        model, items, metrics=PLAIN, regions=["answer", "other"], batch_size=batch_size
    )
    needy = measure_many(
        model,
        items,
        metrics=NEEDY,
        regions=["answer"],
        position="predicted",
        batch_size=batch_size,
    )
    return plain | needy


def test_every_formula_by_hand_on_a_bridge_cache_gives_the_same(model: Model) -> None:
    items = several(3)
    found = measure_many(model, items, metrics=PLAIN, regions=["answer"])
    for row, item in enumerate(items):
        with torch.inference_mode():
            _, cache = model.run_with_cache(item.token_ids[None])
        for layer in range(model.n_layers):
            trace = MlpTrace.from_cache(cache, model.bridge, layer)
            for metric in PLAIN:
                value = metric(trace)[0, item.start : item.stop].mean(0)
                close(found[name_of(metric), "answer"].values[row, layer], value)


def test_what_needs_the_logits_by_hand_on_a_bridge_cache_gives_the_same() -> None:
    model, item = tiny("llama"), example(1)
    found = measure_many(
        model, [item], metrics=NEEDY, regions=["first_answer"], position="predicted"
    )
    ids, at, target = item.token_ids[None], item.start - 1, int(item.token_ids[item.start])
    acts: list[Tensor] = []
    last: list[Tensor] = []
    hooks = [
        down.register_forward_pre_hook(lambda m, a: acts.append(a[0]))
        for down in model.down_projections
    ]
    norm: Any = model.body.norm
    hooks.append(norm.register_forward_pre_hook(lambda m, a: last.append(a[0].detach())))
    with torch.enable_grad():
        logprobs = model.hf(ids).logits[0].log_softmax(-1)
        span = torch.arange(item.start, item.stop)
        slopes = torch.autograd.grad(logprobs[span - 1, item.token_ids[span]].sum(), acts)
    for hook in hooks:
        hook.remove()
    scale = (last[0].square().mean(-1, keepdim=True) + norm.variance_epsilon).sqrt()
    direction = model.hf.lm_head.weight[target].detach() * norm.weight.detach() / scale
    with torch.inference_mode():
        _, cache = model.run_with_cache(ids)
    for layer, gradient in enumerate(slopes):
        trace = MlpTrace.from_cache(
            cache, model.bridge, layer, direction=direction, gradient=gradient
        )
        for metric in NEEDY:
            close(found[name_of(metric), "first_answer"].values[0, layer], metric(trace)[0, at])


def same(a: Found, b: Found, limit: float = 1e-5) -> None:
    assert a.keys() == b.keys()
    for key in a:
        scale = float(b[key].values.abs().max())
        assert float((a[key].values - b[key].values).abs().max()) <= limit * scale, key


def test_a_batch_is_as_one_at_a_time(model: Model) -> None:
    items = several(5)
    same(all_metrics(model, items), all_metrics(model, items, batch_size=1))


def test_padding_changes_nothing(model: Model) -> None:
    items = [example(1, 6, 5), example(2, 9, 5)]
    longer = [*items, example(3, 16, 9)]
    short, padded = all_metrics(model, items), all_metrics(model, longer)
    same({key: data.select([0, 1]) for key, data in padded.items()}, short)


@pytest.mark.parametrize("name", architectures.DENSE)
def test_scaling_activations_in_a_model_is_scaling_rows(name: str) -> None:
    hf: Any = architectures.DENSE[name]()
    scaled = hlens.model.load((hf, None))
    layer, neurons, alpha = 1, [3, 11], 2.5
    with torch.no_grad():
        scaled.w_out(layer)[neurons] *= alpha
    items = several(3)
    with scaling(tiny(name), layer, neurons, alpha):
        louder = all_metrics(tiny(name), items)
    longer = all_metrics(scaled, items)
    for key in [key for key in longer if key[0] == "activation"]:
        a, b = louder.pop(key).values, longer.pop(key).values
        b[:, layer, neurons] *= alpha
        close(a, b)
    same(louder, longer)


@contextmanager
def scaling(model: Model, layer: int, neurons: list[int], alpha: float) -> Iterator[None]:
    def louder(module: Any, args: tuple[Tensor]) -> tuple[Tensor]:
        act = args[0].clone()
        act[..., neurons] *= alpha
        return (act,)

    hook = model.down_projections[layer].register_forward_pre_hook(louder)
    try:
        yield
    finally:
        hook.remove()


def logprob(model: Model, item: Example) -> float:
    with torch.no_grad():
        logits = model.hf(item.token_ids[None]).logits[0].double()
    logprobs = logits.log_softmax(-1)
    span = range(item.start, item.stop)
    return sum(float(logprobs[t - 1, item.token_ids[t]]) for t in span)


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2", "falcon"])
def test_gradient_x_activation_is_the_slope_under_scaling(name: str) -> None:
    """d log p / d alpha at alpha = 1 is the sum of a dL/da over all positions."""
    model, item = tiny(name), example(1)
    kinds = measure_many(
        model, [item], metrics=[metrics.gradient_x_activation], regions=["prompt", "response"]
    )
    n = item.n_prompt, len(item.token_ids) - item.n_prompt
    total = torch.stack([d.values[0] * k for d, k in zip(kinds.values(), n, strict=True)]).sum(0)
    for layer, neuron in [(0, 3), (1, 11), (2, 40)]:
        step = 0.02
        with scaling(model, layer, [neuron], 1 + step):
            above = logprob(model, item)
        with scaling(model, layer, [neuron], 1 - step):
            below = logprob(model, item)
        slope = (above - below) / (2 * step)
        assert float(total[layer, neuron]) == pytest.approx(slope, rel=0.02, abs=2e-4)


@pytest.mark.parametrize(
    "name", ["llama", "gemma2", "gemma3", "olmo2", "gpt2", "gpt_neox", "falcon"]
)
def test_direct_logit_attribution_is_what_a_neuron_adds_to_the_logit(name: str) -> None:
    """Taking the neuron's own write out of the last residual stream, all norm scales held fixed."""
    model, item = tiny(name), example(1)
    data = measure(
        model,
        [item],
        metric=metrics.direct_logit_attribution,
        region="first_answer",
        position="predicted",
    )
    at, target = item.start - 1, int(item.token_ids[item.start])
    seen: dict[Any, tuple[Tensor, Tensor]] = {}

    def keep(module: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
        seen[module] = args[0][0, at].detach().clone(), output[0, at].detach().clone()

    layer, neuron = 1, 5
    down = model.down_projections[layer]
    final = next(getattr(model.body, n) for n in _FINAL if hasattr(model.body, n))
    post = getattr(_block(model)[layer], "post_feedforward_layernorm", None)
    hooks = [m.register_forward_hook(keep) for m in (down, final, post) if m is not None]
    with torch.no_grad():
        model.hf(item.token_ids[None])
    for hook in hooks:
        hook.remove()
    write = seen[down][0][neuron] * model.w_out(layer)[neuron]
    if post is not None:
        write = _slope(post, seen[post][0], write)
    expected = (
        _slope(final, seen[final][0], write) @ model.hf.get_output_embeddings().weight[target]
    )
    close(data.values[0, layer, neuron], expected.detach(), 1e-4)


_FINAL = ("norm", "ln_f", "final_layer_norm")


def _block(model: Model) -> Any:
    return getattr(model.body, "layers", None) or model.body.h


def _slope(norm: Any, x: Tensor, write: Tensor) -> Tensor:
    """What `write` is after the norm, whose scale is held at that of x."""
    eps = getattr(norm, "eps", None) or norm.variance_epsilon
    centred = isinstance(norm, torch.nn.LayerNorm) or type(norm).__name__.startswith("Cohere")
    centre: Callable[[Tensor], Tensor] = (lambda v: v - v.mean()) if centred else (lambda v: v)
    scale = (centre(x).square().mean() + eps).sqrt()
    gain = norm.weight + 1 if type(norm).__name__.startswith("Gemma") else norm.weight
    return centre(write) / scale * gain


@pytest.mark.parametrize("name", architectures.SCALED_LOGITS)
def test_direct_logit_attribution_is_in_logits_where_a_model_scales_them(name: str) -> None:
    """Of the last layer's neurons, and with them of everything before the final norm."""
    model, item = hlens.model.load((architectures.SCALED_LOGITS[name](), None)), example(1)
    data = measure(
        model,
        [item],
        metric=metrics.direct_logit_attribution,
        region="first_answer",
        position="predicted",
    )
    at, target = item.start - 1, int(item.token_ids[item.start])
    seen: list[Tensor] = []
    down, final = (
        model.down_projections[-1],
        next(getattr(model.body, n) for n in _FINAL if hasattr(model.body, n)),
    )
    hooks = [
        down.register_forward_hook(lambda m, a, o: seen.append(a[0][0, at].detach())),
        final.register_forward_hook(lambda m, a, o: seen.append(a[0][0, at].detach())),
    ]
    with torch.no_grad():
        logits = model.hf(item.token_ids[None]).logits[0, at]
        bare = model.hf.get_output_embeddings()(final.forward(seen[1]))
    for hook in hooks:
        hook.remove()
    scale = float(logits[target] / bare[target])
    assert abs(scale - 1) > 0.1
    write = seen[0][:, None] * model.w_out(model.n_layers - 1)
    write *= getattr(model.hf.config, "residual_multiplier", 1.0)
    rows = torch.stack([_slope(final, seen[1], row) for row in write])
    expected = rows @ model.hf.get_output_embeddings().weight[target] * scale
    close(data.values[0, -1], expected.detach(), 1e-4)


def test_direct_logit_attribution_asks_for_predicted_positions() -> None:
    with pytest.raises(HlensError, match="position='predicted'"):
        measure(tiny("llama"), several(2), metric=metrics.direct_logit_attribution)


@pytest.mark.parametrize("name", ["gemma2", "gemma3", "olmo2"])
def test_post_norm_reads_the_gain_of_its_architecture(name: str) -> None:
    model, item = tiny(name), example(1)
    data = measure(model, [item], metric=metrics.post_norm, region="first_answer")
    layer = 1
    post = _block(model)[layer].post_feedforward_layernorm
    seen: list[Tensor] = []
    hooks = [
        model.down_projections[layer].register_forward_hook(lambda m, a, o: seen.append(a[0])),
        post.register_forward_hook(lambda m, a, o: seen.append(o)),
    ]
    with torch.no_grad():
        model.hf(item.token_ids[None])
    for hook in hooks:
        hook.remove()
    act, normed = (each[0, item.start] for each in seen)
    gain = post.weight + 1 if name.startswith("gemma") else post.weight
    out = act @ model.w_out(layer)
    scale = (out.square().mean() + 1e-6).sqrt()
    written = (act[:, None] * model.w_out(layer) * gain / scale).norm(dim=1)
    close(data.values[0, layer], (written / normed.norm()).detach(), 1e-4)
    cache = model.run_with_cache(item.token_ids[None])[1]
    by_hand = metrics.post_norm(MlpTrace.from_cache(cache, model.bridge, layer))
    close(by_hand[0, item.start].detach(), data.values[0, layer])


# Metrics of a user's own


def gained(mlp: MlpTrace) -> Tensor:
    """Reads the gain of the norm behind the MLP, under a name that hlens does not know."""
    assert mlp.post_gain is not None
    written = mlp.act.float() * (mlp.w_out.float() * mlp.post_gain).sum(-1)
    return written / (mlp.out.float() * mlp.post_gain).norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("name", ["gemma2", "olmo2"])
def test_a_metric_of_any_name_is_given_the_gain_wherever_it_is_measured(name: str) -> None:
    model = tiny(name)
    item = example(1)
    item = replace(item, start=item.n_prompt, stop=len(item.token_ids))
    data = measure(model, [item], metric=gained)
    largest = measure(model, [item], metric=gained, reduce="max")
    _, cache = model.run_with_cache(item.token_ids[None])
    for layer in range(model.n_layers):
        by_hand = gained(MlpTrace.from_cache(cache, model.bridge, layer))[0, item.start :].detach()
        close(data.values[0, layer], by_hand.mean(0))
        close(largest.values[0, layer], by_hand.amax(0))
    weights = torch.zeros(model.n_layers, model.d_mlp)
    weights[0, 3], weights[2, 7] = 2.0, -1.5
    detector = Detector(weights, -0.3, "gained", "answer", provenance=model.provenance)
    prompt = item.token_ids[: item.n_prompt].tolist()
    (watched,) = monitor(
        model,
        detector,
        [prompt],
        settings=Settings(max_new_tokens=5, temperature=0.0),
        metric=gained,
    )
    tokens = torch.tensor([*prompt, *watched.generation.token_ids])
    written = replace(item, token_ids=tokens, start=item.n_prompt, stop=len(tokens))
    expected = float(detector(measure(model, [written], metric=gained)))
    assert watched.score == pytest.approx(expected, abs=1e-4)
    read = risks(model, detector, tokens.tolist(), item.n_prompt, metric=gained)
    assert read[-1].score == pytest.approx(expected, abs=1e-4)


def test_another_metric_than_the_detectors_is_not_watched() -> None:
    model = tiny("llama")
    weights = torch.ones(model.n_layers, model.d_mlp)
    detector = Detector(weights, 0.0, "cett", "answer", provenance=model.provenance)
    with pytest.raises(HlensError, match="reads cett, and metric= is gained"):
        monitor(model, detector, [[3, 4]], metric=gained)


def test_a_metric_may_need_both_and_a_partial_needs_the_same() -> None:
    @metrics.metric("direction", "gradient")
    def both(mlp: MlpTrace, times: float = 1.0) -> Tensor:
        logit, slope = metrics.direct_logit_attribution(mlp), metrics.gradient_x_activation(mlp)
        return times * (logit + slope)

    twice = partial(both, times=2.0)
    assert needs_of(both) == needs_of(twice) == {"direction", "gradient"}
    model, items = tiny("gemma2"), several(3)
    found = measure_many(
        model, items, metrics=[*NEEDY, both, twice], regions=["answer"], position="predicted"
    )
    logit, slope, one, two = (data.values for data in found.values())
    close(one, logit + slope)
    close(two, 2 * one)


def test_a_need_that_there_is_not_is_an_error() -> None:
    with pytest.raises(HlensError, match="did you mean 'gradient'"):
        metrics.metric("gradients")


def test_a_wrapper_does_not_inherit_the_factors() -> None:
    """It computes something else than what it wraps, whose attributes functools.wraps copies."""

    @wraps(metrics.cett)
    def rooted(mlp: MlpTrace) -> Tensor:
        return metrics.cett(mlp).sqrt()

    assert factors_of(metrics.cett) is not None
    assert factors_of(rooted) is None
    model, items = tiny("llama"), several(2)
    root, plain = (
        measure(model, items, metric=m, region="first_answer") for m in (rooted, metrics.cett)
    )
    close(root.values, plain.values.sqrt())
