"""What each neuron says and where it speaks: the words of its output row, its strongest answers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hlens.errors import HlensError
from hlens.figures.explorer import Neuron, NeuronPage, Strip
from hlens.metrics import cett
from hlens.model import Model
from hlens.types import Contributions, Detector, Example, MlpTrace

PROMPT_TOKENS = 24  # how much of a long prompt a strip shows

Reading = Mapping[Neuron, list[float]]


def neuron_pages(
    model: Model,
    detector: Detector,
    data: Contributions,
    examples: Sequence[Example],
    *,
    neurons: Sequence[Neuron] | None = None,
    most: int = 24,
    strongest: int = 2,
    weakest: int = 1,
    words: int = 8,
) -> dict[Neuron, NeuronPage]:
    """A page for each of the heaviest neurons, for the explorer and the report.

    Args:
        model: The model that the contributions were measured on.
        detector: Its neurons are described, heaviest first.
        data: Contributions; they choose the answers of each neuron.
        examples: The examples that were measured, in the order of `data`.
        neurons: The neurons to describe; the heaviest of the detector when None.
        most: Number of neurons, where none are named.
        strongest: Answers shown where the neuron contributes most.
        weakest: Answers shown where it contributes least.
        words: Tokens that its output row promotes, and as many that it suppresses.

    Returns:
        The pages by (layer, neuron). Values of tokens are CETT. Promoted tokens are those that the
        neuron's row of W_out raises on the direct path, the final norm left out, per unit of
        positive activation. Each answer is read by the model once.

    Raises:
        HlensError: The examples are not those of the contributions, or the model has no tokenizer.
    """
    _check(model, data, examples)
    weights = detector.selected.weights or {}
    heaviest = sorted(weights, key=lambda neuron: (-abs(weights[neuron]), neuron))
    chosen = list(heaviest[:most] if neurons is None else neurons)
    values = data.neuron_major[[layer * data.d_mlp + neuron for layer, neuron in chosen]].float()
    order = values.argsort(dim=1, descending=True)
    tops = order[:, :strongest].tolist()
    bottoms = order[:, strongest:][:, -weakest:].tolist() if weakest else [[] for _ in chosen]
    needed = sorted({at for row in (*tops, *bottoms) for at in row})
    readings = {at: read(model, examples[at], chosen) for at in needed}
    found = {}
    for row, neuron in enumerate(chosen):
        shown, weak = (
            tuple(
                _strip(model, examples[at], readings[at][neuron], values[row, at].item())
                for at in places
            )
            for places in (tops[row], bottoms[row])
        )
        found[neuron] = NeuronPage(shown, weak, *_words(model, neuron, words))
    return found


def read(model: Model, example: Example, neurons: Sequence[Neuron]) -> Reading:
    """CETT of some neurons at every token of one example."""
    kept: dict[int, MlpTrace] = {}
    ids = example.token_ids.to(model.device)[None]
    with torch.no_grad(), _watching(model, {layer for layer, _ in neurons}, kept):
        model.body(input_ids=ids, use_cache=False)
    found = {}
    for layer in kept:
        own = [neuron for at, neuron in neurons if at == layer]
        trace = kept[layer]
        some = MlpTrace(trace.act[..., own], trace.out, trace.w_out[own])
        values = cett(some).float().cpu()
        found |= {(layer, neuron): values[:, i].tolist() for i, neuron in enumerate(own)}
    return found


@contextmanager
def _watching(model: Model, layers: set[int], kept: dict[int, MlpTrace]) -> Iterator[None]:
    def keep(layer: int) -> Any:
        def hook(module: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
            kept[layer] = MlpTrace(args[0][0], output[0], model.w_out(layer))

        return hook

    handles = [model.down_projections[at].register_forward_hook(keep(at)) for at in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _check(model: Model, data: Contributions, examples: Sequence[Example]) -> None:
    if model.tokenizer is None:
        raise HlensError(
            "neuron pages show tokens, and the model has no tokenizer; load it with one"
        )
    same = len(examples) == len(data) and all(
        one.question_id == of for one, of in zip(examples, data.question_ids, strict=True)
    )
    if not same:
        raise HlensError(
            f"{len(examples)} examples do not match contributions of {len(data)}; give the "
            "examples that were measured, in their order"
        )


def _strip(model: Model, example: Example, values: list[float], total: float) -> Strip:
    start = max(0, example.n_prompt - PROMPT_TOKENS)
    ids = example.token_ids.tolist()[start:]
    tokens = [model.tokenizer.decode([token], skip_special_tokens=False) for token in ids]
    shown: list[float | None] = [
        value if at >= example.n_prompt else None for at, value in enumerate(values)
    ]
    judged = "hallucinated" if example.hallucinated else "correct"
    more = ("… ",) if start else ()
    return Strip(
        (*more, *tokens),
        (*(None for _ in more), *shown[start:]),
        f"{judged} · {example.domain} · contribution {total:.3g}",
    )


def _words(
    model: Model, neuron: Neuron, n: int
) -> tuple[tuple[tuple[str, float], ...], tuple[tuple[str, float], ...]]:
    unembedding = model.hf.get_output_embeddings()
    if unembedding is None or n == 0:
        return (), ()
    layer, index = neuron
    logits: Float[Tensor, " vocab"] = unembedding.weight.detach() @ model.w_out(layer)[index]
    logits = (logits - logits.mean()).float().cpu()
    n = min(n, len(logits) // 2)
    up, down = logits.topk(n), (-logits).topk(n)
    return (
        tuple((_word(model, i), v) for v, i in zip(*map(Tensor.tolist, up), strict=True)),
        tuple((_word(model, i), -v) for v, i in zip(*map(Tensor.tolist, down), strict=True)),
    )


def _word(model: Model, token: int) -> str:
    return model.tokenizer.decode([token], skip_special_tokens=False)
