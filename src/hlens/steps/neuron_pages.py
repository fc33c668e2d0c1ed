"""What the report shows of single neurons and tokens: read from the model, then kept as text."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import torch
from jaxtyping import Float
from torch import Tensor

from hlens.display import display_name
from hlens.errors import HlensError
from hlens.figures.explorer import Neuron, NeuronPage, Strip
from hlens.figures.overlap_explorer import members_in_order
from hlens.model import Model, rows_of
from hlens.monitor.reading import read_neurons
from hlens.monitor.token_strips import read_tokens
from hlens.steps.answers import examples, questions
from hlens.steps.detection import Split, contributions, detector, split
from hlens.steps.domains import compared, neuron_sets
from hlens.steps.sources import model
from hlens.steps.step import Storage, step
from hlens.store import write_text
from hlens.store.checked import read_json
from hlens.types import Contributions, Detector, Example, NeuronSet, Question

PROMPT_TOKENS = 24  # how much of a long prompt a strip shows
STRIPS = 4  # answers shown token by token, half of each label


def neuron_pages(
    model: Model,
    detector: Detector | NeuronSet,
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
        detector: Its neurons, or those of a set, are described, heaviest first.
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
    described = detector.selected if isinstance(detector, Detector) else detector
    weights = described.weights or {}
    heaviest = sorted(weights, key=lambda neuron: (-abs(weights[neuron]), neuron))
    chosen = list(heaviest[:most] if neurons is None else neurons)
    values = data.rows([layer * data.d_mlp + neuron for layer, neuron in chosen]).float()
    order = values.abs().argsort(dim=1, descending=True)  # a push down is a contribution, too
    tops = order[:, :strongest].tolist()
    bottoms = order[:, strongest:][:, -weakest:].tolist() if weakest else [[] for _ in chosen]
    needed = sorted({column for row in (*tops, *bottoms) for column in row})
    readings = {
        column: read_neurons(model, examples[column].token_ids.tolist(), chosen)
        for column in needed
    }
    unembedding = _unembedding(model) if words else None
    pages = {}
    for row, neuron in enumerate(chosen):
        most_active, least_active = (
            tuple(
                _strip(
                    model, examples[column], readings[column][neuron], values[row, column].item()
                )
                for column in columns
            )
            for columns in (tops[row], bottoms[row])
        )
        promoted = _promoted(model, neuron, words, unembedding)
        pages[neuron] = NeuronPage(most_active, least_active, *promoted)
    return pages


def domain_pages(
    model: Model,
    sets: Sequence[NeuronSet],
    data: Contributions,
    examples: Sequence[Example],
    *,
    most: int = 24,
    strongest: int = 2,
) -> dict[str, dict[Neuron, NeuronPage]]:
    """Pages of the neurons that most domains share, in each domain, for the overlap explorer.

    Args:
        model: The model that the contributions were measured on.
        sets: The neurons of each domain, named by it.
        data: Contributions of these domains.
        examples: The examples that were measured; those of other domains are left out.
        most: Number of neurons: those of most sets first, then those that weigh most in theirs.
        strongest: Answers of each domain where a neuron contributes most.

    Returns:
        For each domain the pages by (layer, neuron); see `neuron_pages`.

    Raises:
        HlensError: As `neuron_pages` does.
    """
    flat, _ = members_in_order(sets)
    neurons = [(int(i) // data.d_mlp, int(i) % data.d_mlp) for i in flat[:most]]
    if not neurons:
        return {}
    made = {}
    for one in sets:
        rows = [row for row, domain in enumerate(data.domains) if domain == one.name]
        own = [example for example in examples if example.domain == one.name]
        made[one.name] = neuron_pages(
            model, one, data.select(rows), own, neurons=neurons, strongest=strongest, weakest=0
        )
    return made


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
    # Worked examples, or a context, end in a blank line: the question follows the last one.
    near = example.token_ids[start : example.n_prompt].tolist()
    blank = [i for i in range(len(near)) if "\n\n" in model.decode(near[max(0, i - 1) : i + 1])]
    if blank and blank[-1] + 1 < len(near):
        start += blank[-1] + 1
    ids = example.token_ids.tolist()[start:]
    tokens = [model.tokenizer.decode([token], skip_special_tokens=False) for token in ids]
    shown: list[float | None] = [
        value if token >= example.n_prompt else None for token, value in enumerate(values)
    ]
    judged = "hallucinated" if example.hallucinated else "correct"
    more = ("… ",) if start else ()
    return Strip(
        (*more, *tokens),
        (*(None for _ in more), *shown[start:]),
        f"{judged} · {display_name('domains', example.domain)} · contribution {total:.3g}",
    )


def _unembedding(model: Model) -> Float[Tensor, "vocab d_model"] | None:
    """The matrix, also where it is quantised or offloaded: then it is unpacked here, once."""
    module = model.hf.get_output_embeddings()
    return None if module is None else rows_of(module).T.detach()


def _promoted(
    model: Model, neuron: Neuron, n: int, unembedding: Float[Tensor, "vocab d_model"] | None
) -> tuple[tuple[tuple[str, float], ...], tuple[tuple[str, float], ...]]:
    if unembedding is None:
        return (), ()
    layer, index = neuron
    row = model.mlps[layer].rows(torch.tensor([index]))[0]
    logits: Float[Tensor, " vocab"] = unembedding @ row.to(unembedding)
    logits = (logits - logits.mean()).float().cpu()
    n = min(n, len(logits) // 2)
    up, down = logits.topk(n), (-logits).topk(n)
    return (
        tuple((_word(model, i), v) for v, i in zip(*map(Tensor.tolist, up), strict=True)),
        tuple((_word(model, i), -v) for v, i in zip(*map(Tensor.tolist, down), strict=True)),
    )


def _word(model: Model, token: int) -> str:
    return model.tokenizer.decode([token], skip_special_tokens=False)


class _StripRow(TypedDict):
    tokens: list[str]
    values: list[float | None]
    caption: str


class _PageRow(TypedDict):
    neuron: tuple[int, int]
    strongest: list[_StripRow]
    weakest: list[_StripRow]
    promotes: list[tuple[str, float]]
    suppresses: list[tuple[str, float]]


class _DomainPageRow(_PageRow):
    domain: str


class _TokenRow(TypedDict):
    tokens: list[str]
    risk: list[float | None]
    n_prompt: int
    verdict: str


def _save_pages(pages: Mapping[Neuron, NeuronPage], file: Path) -> None:
    _save_json([{"neuron": neuron, **asdict(page)} for neuron, page in pages.items()], file)


def _save_json(rows: list[dict[str, Any]], file: Path) -> None:
    write_text(file, json.dumps(rows, ensure_ascii=False) + "\n")


def _load_pages(file: Path) -> dict[Neuron, NeuronPage]:
    rows = read_json(file, shape=list[_PageRow])
    return {(row["neuron"][0], row["neuron"][1]): _page_from(row) for row in rows}


def _page_from(row: Mapping[str, Any]) -> NeuronPage:
    return NeuronPage(
        strongest=tuple(map(_strip_from, row["strongest"])),
        weakest=tuple(map(_strip_from, row["weakest"])),
        promotes=tuple((token, logit) for token, logit in row["promotes"]),
        suppresses=tuple((token, logit) for token, logit in row["suppresses"]),
    )


def _save_by_domain(pages: Mapping[str, Mapping[Neuron, NeuronPage]], file: Path) -> None:
    _save_json(
        [
            {"domain": domain, "neuron": neuron, **asdict(page)}
            for domain, own in pages.items()
            for neuron, page in own.items()
        ],
        file,
    )


def _load_by_domain(file: Path) -> dict[str, dict[Neuron, NeuronPage]]:
    made: dict[str, dict[Neuron, NeuronPage]] = {}
    for row in read_json(file, shape=list[_DomainPageRow]):
        layer, neuron = row["neuron"]
        made.setdefault(row["domain"], {})[layer, neuron] = _page_from(row)
    return made


def _strip_from(row: Mapping[str, Any]) -> Strip:
    return Strip(tuple(row["tokens"]), tuple(row["values"]), row["caption"])


@step(
    needs=(detector, contributions, examples, model),
    storage=Storage(".json", _save_pages, _load_pages),
    name="neuron_pages",
    verb="run",
)
def pages(
    detector: Detector, contributions: Contributions, examples: list[Example], model: Model
) -> dict[Neuron, NeuronPage]:
    """What each neuron promotes, and the answers where it is strongest, for the report's map."""
    return neuron_pages(model, detector, contributions, examples)


@step(
    needs=(compared, neuron_sets, examples, model),
    storage=Storage(".json", _save_by_domain, _load_by_domain),
    verb="run",
)
def pages_by_domain(
    compared: Contributions, neuron_sets: list[NeuronSet], examples: list[Example], model: Model
) -> dict[str, dict[Neuron, NeuronPage]]:
    """What the most shared neurons promote, and their strongest answers in each domain."""
    return domain_pages(model, neuron_sets, compared, examples)


@step(
    needs=(detector, split, examples, questions, model),
    storage=Storage(".json", _save_json, partial(read_json, shape=list[_TokenRow])),
    verb="run",
)
def token_risks(
    detector: Detector,
    split: Split,
    examples: list[Example],
    questions: list[Question],
    model: Model,
) -> list[dict[str, Any]]:
    """The risk at each token of a few held-out answers, half of each label, for the report.

    Returns:
        For each answer its ``tokens`` from the question on, the ``risk`` at each (None in the
        prompt), ``n_prompt`` and ``verdict``: the arguments of `hlens.figures.tokens`. None for a
        detector without neurons.
    """
    if not len(detector.selected):
        return []  # the risk is the same at every token
    held_out = set(split.test.question_ids)
    asked = {(q.domain, q.id): q.text for q in questions}
    own = [example for example in examples if example.question_id in held_out]
    chosen = [
        example
        for label in (True, False)
        for example in [e for e in own if e.hallucinated is label][: STRIPS // 2]
    ]
    return [read_tokens(model, detector, e, asked[e.domain, e.question_id]) for e in chosen]
