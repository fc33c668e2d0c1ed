"""Nothing makes a float64 tensor on a device that has none, as Apple's GPU, or mixes devices."""

import pytest
import torch

import architectures
import hlens
import no_float64
from hlens import metrics
from hlens.contributions import measure, measure_many
from hlens.interventions import folded, scale, steer
from hlens.model import Model, Settings, widening
from hlens.types import Detector, NeuronSet
from test_measure import several

TYPE = no_float64.set_up()
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(params=["llama", "gemma3", "qwen3_moe"])
def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Model, Model]:
    """A model on the CPU, and the same on the device."""
    monkeypatch.setattr(widening, "WITHOUT_FLOAT64", {TYPE.type})
    build = {**architectures.DENSE, **architectures.MIXTURES}[request.param]
    plain, moved = build(), no_float64.move(build())
    for hf in (plain, moved):
        hf.set_attn_implementation("eager")
    return hlens.load((plain, None)), hlens.load((moved, None))


def test_the_device_refuses_float64_and_other_devices() -> None:
    values = torch.ones(2, device=TYPE)
    assert values.device.type == TYPE.type
    for wide in (values.double, lambda: torch.zeros(2, device=TYPE, dtype=torch.float64)):
        with pytest.raises(TypeError, match="float64"):
            wide()
    with pytest.raises(RuntimeError, match="mixes tensors"):
        values + torch.ones(2)
    assert widening.widen(torch.ones(2)).dtype == torch.float64


def test_measuring(pair: tuple[Model, Model]) -> None:
    every = [metrics.by_name(each) for each in metrics.names()]
    reading = [each for each in every if not metrics.needs_of(each)]
    # The place that torch keeps for further devices has no thread for gradients.
    predicting = [each for each in every if metrics.needs_of(each) == {"direction"}]
    assert torch.equal(pair[0].w_norms, pair[1].w_norms)
    assert pair[0].fingerprint == pair[1].fingerprint
    for chosen, position in ((reading, "read"), (predicting, "predicted")):
        one, two = (
            measure_many(each, several(3), metrics=chosen, regions=["answer"], position=position)
            for each in pair
        )
        for key in one:
            torch.testing.assert_close(two[key].values, one[key].values, rtol=1e-3, atol=1e-5)


def test_writing_editing_and_folding(pair: tuple[Model, Model]) -> None:
    shape = pair[0].n_layers, pair[0].d_mlp
    neurons = NeuronSet(frozenset({(0, 3), (1, 5)}), *shape)
    drawn = Settings(6, 1.0)
    written = []
    for model in pair:
        own = [model.generate_many([[3, 4, 5], [6, 7]], drawn, seed=3)]
        for edit in (scale(0.0), steer(torch.ones(shape), 0.5)):
            with model.editing(neurons, edit):
                own.append(model.generate_many([[3, 4, 5], [6, 7]], drawn, seed=3))
        with folded(model, neurons, scale(0.0)):
            own.append(model.generate_many([[3, 4, 5], [6, 7]], drawn, seed=3))
        written.append([[reply.token_ids for reply in each] for each in own])
    assert written[0] == written[1]


def test_monitoring(pair: tuple[Model, Model]) -> None:
    item = several(3)[1]
    scored = []
    for model in pair:
        values = measure(model, several(3), region="response")
        weights = torch.zeros(model.n_layers, model.d_mlp)
        weights[0, 3], weights[2, 7] = 1.0, -2.0
        detector = Detector(
            weights=weights,
            bias=0.1,
            metric="cett",
            region="response",
            provenance=values.provenance,
        )
        watched = hlens.monitor.risks(model, detector, item.token_ids.tolist(), item.n_prompt)
        scored.append([each.score for each in watched])
    assert scored[0] == pytest.approx(scored[1], rel=1e-3, abs=1e-5)
