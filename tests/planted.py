"""Evidence of no model: random, with a signal planted in one reading at a time."""

from dataclasses import replace

import numpy as np
import torch

from hlens.types import Contributions, Evidence
from synthetic import made

TEXT = frozenset({"questions", "answers", "n_tokens", "starts"})  # what text alone gives
N_LAYERS, D_MODEL, N_HEADS, N_SAMPLES, N_SIGNALS, N_FEATURES = 3, 8, 2, 5, 8, 20


def evidence(
    n: int = 240, per_group: int = 2, signal: str = "", shift: float = 3.0, seed: int = 0
) -> Evidence:
    """Random evidence on `n` examples; `signal` names what follows the label.

    Args:
        n: Examples.
        per_group: Examples of each group.
        signal: A field of `Evidence`, ``"contributions"``, ``"n_tokens"``, ``"drift"`` (the last
            layer turns away from the one before), or ``"text"`` for all that text alone gives; none
            by default.
        shift: How far the planted signal moves, in its standard deviations.
        seed: Seed.
    """
    draw = np.random.default_rng(seed + 1000)
    other = np.random.default_rng(seed + 3000)  # a draw of its own, so that no number moved
    signals = TEXT if signal == "text" else {signal}
    planted = {(1, 5): 3 * shift} if signal == "contributions" else None
    data = made(n, d_mlp=6, n_layers=N_LAYERS, planted=planted, per_group=per_group, seed=seed)
    labels = data.labels.numpy()
    up = {name: shift * labels * (name in signals) for name in vars_of()}

    def tokens(name: str) -> tuple[tuple[float, ...], ...]:
        sizes = data.n_tokens.tolist()
        base = 1.0 + 2.0 * up[name]
        return tuple(tuple(draw.gamma(2.0, b, size)) for size, b in zip(sizes, base, strict=True))

    def count(name: str, low: int) -> torch.Tensor:
        return torch.from_numpy(draw.integers(low, low + 9, n) + (4 * up[name]).astype(int))

    def state(*shape: int, name: str) -> torch.Tensor:
        noise = draw.normal(size=(n, *shape))
        noise[(slice(None), *(1,) * len(shape))] += up[name]
        return torch.from_numpy(noise).float()

    def numbers(width: int, name: str) -> torch.Tensor:
        noise = other.normal(size=(n, width))
        noise[:, 1] += up[name]
        return torch.from_numpy(noise).float()

    n_tokens = count("n_tokens", 1) if "n_tokens" in signals else data.n_tokens
    data = replace(data, n_tokens=n_tokens)
    n_prompt, before = count("n_prompt", 20), count("starts", 0)
    found = Evidence(
        contributions=data,
        questions=_words("questions" in signals, labels, draw),
        contexts=("a context",) * n,
        answers=("name0",) * n
        if signal == "samples"
        else _words("answers" in signals, labels, draw),
        responses=("a response",) * n,
        n_prompt=n_prompt,
        n_response=before + n_tokens + count("n_response", 0),
        starts=n_prompt + before,
        logprobs=tuple(tuple(-x for x in row) for row in tokens("logprobs")),
        entropies=tokens("entropies"),
        activations=_like(data, signal == "activations", shift, seed),
        residual=state(N_LAYERS, D_MODEL, name="residual"),
        residual_last=state(N_LAYERS, D_MODEL, name="residual_last"),
        lookback=state(N_LAYERS, N_HEADS, name="lookback").sigmoid(),
        lens=numbers(N_SIGNALS, name="lens"),
        sae_features=numbers(N_FEATURES, name="sae_features").clamp_min(0.0),
        measured={"otherwise": _like(data, False, shift, seed + 1)},
        p_true=torch.from_numpy(draw.normal(size=n) - up["p_true"]).float().sigmoid(),
        **_samples(labels, draw, signal),
    )
    return replace(found, residual_last=turned(found)) if signal == "drift" else found


def turned(found: Evidence) -> torch.Tensor:
    """The last layer goes on from the one before it, and only where the answer is true."""
    assert found.residual_last is not None
    states, true = found.residual_last.clone(), ~found.labels
    states[true, 2] = states[true, 1] + 0.3 * states[true, 2]
    return states


def vars_of() -> list[str]:
    return [*Evidence.__dataclass_fields__, "n_tokens"]


def _words(planted: bool, labels: np.ndarray, draw: np.random.Generator):
    kinds = [["alder", "birch", "cedar", "dogwood"], ["elm", "fir", "gorse", "hazel"]]
    noise = ["one", "two", "three", "four", "five"]
    chosen = [kinds[int(y)] if planted else kinds[0] + kinds[1] for y in labels]
    return tuple(f"{draw.choice(kind)} {draw.choice(noise)}" for kind in chosen)


def _like(data: Contributions, planted: bool, shift: float, seed: int) -> Contributions:
    draw = np.random.default_rng(seed + 2000)
    values = torch.from_numpy(draw.gamma(2.0, 1.0, size=tuple(data.values.shape))).float()
    if planted:
        values[:, 0, 3] += 3 * shift * data.labels
    return replace(data, values=values, metric="activation")


def _samples(labels: np.ndarray, draw: np.random.Generator, signal: str) -> dict[str, object]:
    """Samples that say one thing, or many things where the label is a hallucination."""
    names = [f"name{i}" for i in range(40)]
    scattered = labels if signal == "samples" else draw.random(len(labels)) < 0.5
    texts = [
        tuple(draw.choice(names, N_SAMPLES)) if apart else ("name0",) * N_SAMPLES
        for apart in scattered
    ]
    spread = np.where(labels & (signal == "sample_states"), 5.0, 1.0)
    states = draw.normal(size=(len(labels), N_SAMPLES, D_MODEL)) * spread[:, None, None]
    logprobs = [tuple(-draw.gamma(2.0, 1.0, N_SAMPLES)) for _ in labels]
    return {
        "samples": tuple(texts),
        "sample_logprobs": tuple(logprobs),
        "sample_states": torch.from_numpy(states).float(),
    }
