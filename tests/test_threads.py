"""Threads that share a model meet neither each other's edits nor each other's readings."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch

import architectures
import hlens
from hlens.errors import HlensError
from hlens.interventions import GENERATED, scale
from hlens.model import Model, Settings, capturing, next_token_logprobs
from hlens.monitor import monitor
from hlens.types import Detector

HOW = Settings(12, temperature=0.0)
PROMPTS = [[3, 4, 5, 6], [7, 8, 9]]


@pytest.fixture(scope="module")
def model() -> Model:
    return hlens.load((architectures.llama(), None))


@pytest.fixture(scope="module")
def some(model: Model) -> hlens.NeuronSet:
    members = frozenset((layer, neuron) for layer in range(3) for neuron in range(30))
    return hlens.NeuronSet(members, model.n_layers, model.d_mlp)


def test_an_edit_acts_in_its_own_thread_alone(model: Model, some: hlens.NeuronSet) -> None:
    edit = scale(0.0).on(GENERATED)
    plain = model.generate_many(PROMPTS, HOW)
    with model.editing(some, edit) as alone:
        edited = model.generate_many(PROMPTS, HOW)
    assert edited != plain
    begin = Barrier(2)

    def write(under_edit: bool) -> tuple[list, str]:
        if not under_edit:
            begin.wait()
            return [model.generate_many(PROMPTS, HOW) for _ in range(3)], ""
        with model.editing(some, edit) as receipt:
            begin.wait()
            found = model.generate_many(PROMPTS, HOW)
        return [found], str(receipt)

    for _ in range(5):
        with ThreadPoolExecutor(2) as pool:
            (ours, receipt), (theirs, _) = pool.map(write, [True, False])
        assert ours == [edited]
        assert receipt == str(alone)
        assert theirs == [plain] * 3


def test_an_edit_whose_model_ran_in_another_thread_touched_nothing(
    model: Model, some: hlens.NeuronSet
) -> None:
    plain = model.generate_many(PROMPTS, HOW)
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(HlensError, match="inside the block, in its thread"),
        model.editing(some, scale(0.0)),
    ):
        assert pool.submit(model.generate_many, PROMPTS, HOW).result() == plain


def test_readings_are_of_their_own_thread(model: Model) -> None:
    weights = torch.randn(3, 56, generator=torch.Generator().manual_seed(0))
    detector = Detector(weights, 0.1, provenance=model.provenance)
    jobs = [
        lambda: [m.score for m in monitor(model, detector, PROMPTS, settings=HOW)],
        lambda: [p.tolist() for _, p in next_token_logprobs(model, PROMPTS)],
        lambda: _residual(model, PROMPTS[0]),
        lambda: _residual(model, PROMPTS[1]),
    ]
    alone = [job() for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            assert [f.result() for f in [pool.submit(job) for job in jobs]] == alone


def _residual(model: Model, prompt: list[int]) -> list:
    seen: list = []
    with capturing(model, residual=lambda _, out: seen.append(out.tolist())), torch.no_grad():
        model.body(input_ids=torch.tensor([prompt]), use_cache=False)
    return seen
