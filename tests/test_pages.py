"""Neuron pages: the right answers, the right words, and the values that were measured."""

import pytest
import torch

import hlens
from hlens.contributions import measure
from hlens.errors import HlensError
from hlens.model import Model
from hlens.monitor.reading import read_neurons
from hlens.steps.neuron_pages import neuron_pages
from hlens.types import Contributions, Detector, Example
from tiny_study import tiny_model


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    seed = torch.Generator().manual_seed(0)
    return [
        Example(
            torch.randint(3, 250, (14,), generator=seed),
            8,
            9,
            13,
            i % 2 == 0,
            f"q{i}",
            f"g{i}",
            "x",
        )
        for i in range(9)
    ]


@pytest.fixture(scope="module")
def data(model: Model, examples: list[Example]) -> Contributions:
    return measure(model, examples, metric=hlens.metrics.cett)


@pytest.fixture(scope="module")
def detector(data: Contributions) -> Detector:
    weights = torch.zeros(data.n_layers, data.d_mlp)
    weights[0, 3], weights[1, 5], weights[1, 7] = 2.0, -1.0, 0.1
    return Detector(weights, 0.0, "cett")


def test_values_of_tokens_mean_what_was_measured(
    model: Model, examples: list[Example], data: Contributions
) -> None:
    reading = read_neurons(model, examples[4].token_ids.tolist(), [(0, 3), (1, 5)])
    for layer, neuron in reading:
        mean = sum(reading[layer, neuron][9:13]) / 4
        assert mean == pytest.approx(float(data.values[4, layer, neuron]), rel=2e-3)


def test_the_strongest_answers_are_the_strongest(
    model: Model, examples: list[Example], data: Contributions, detector: Detector
) -> None:
    pages = neuron_pages(model, detector, data, examples, most=2, strongest=2, weakest=1)
    assert list(pages) == [(0, 3), (1, 5)]
    values = data.values[:, 0, 3].float()
    order = values.argsort(descending=True).tolist()
    captions = [strip.caption for strip in (*pages[0, 3].strongest, *pages[0, 3].weakest)]
    wanted = [order[0], order[1], order[-1]]
    assert captions == [
        f"{'hallucinated' if examples[i].hallucinated else 'correct'} · x · "
        f"contribution {values[i]:.3g}"
        for i in wanted
    ]
    strip = pages[0, 3].strongest[0]
    assert [value is None for value in strip.values] == [True] * 8 + [False] * 6


def test_promoted_words_are_those_of_the_output_row(
    model: Model, examples: list[Example], data: Contributions, detector: Detector
) -> None:
    page = neuron_pages(model, detector, data, examples, most=1, words=4)[0, 3]
    logits = model.hf.get_output_embeddings().weight @ model.w_out(0)[3]
    logits = (logits - logits.mean()).detach()
    assert [value for _, value in page.promotes] == pytest.approx(logits.topk(4).values.tolist())
    assert [value for _, value in page.suppresses] == pytest.approx(
        (-(-logits).topk(4).values).tolist()
    )


def test_reading_leaves_no_hook(model: Model, examples: list[Example]) -> None:
    read_neurons(model, examples[0].token_ids.tolist(), [(0, 1)])
    assert not any(module._forward_hooks for module in model.down_projections)


def test_other_examples_are_refused(
    model: Model, examples: list[Example], data: Contributions, detector: Detector
) -> None:
    with pytest.raises(HlensError, match="do not match"):
        neuron_pages(model, detector, data, examples[1:])
    plain = hlens.load((model.hf, None), name="plain")
    with pytest.raises(HlensError, match="no tokenizer"):
        neuron_pages(plain, detector, data, examples)
