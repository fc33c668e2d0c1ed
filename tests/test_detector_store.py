"""A saved detector is the same detector: every score, every word; no file is trusted blindly."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from hlens.errors import HlensError
from hlens.store import (
    export_neurons,
    import_coefficients,
    load_detector,
    load_neurons,
    save_detector,
    save_neurons,
    to_folder,
)
from hlens.store.detectors import read_neurons
from hlens.types import Calibration, Detector, NeuronSet, Provenance
from synthetic import made


def found() -> Detector:
    draw = torch.Generator().manual_seed(0)
    weights = torch.randn(2, 12, generator=draw) * (torch.rand(2, 12, generator=draw) < 0.4)
    return Detector(
        weights=weights,
        bias=-0.1234567890123456,
        domains=("general", "science"),
        threshold=0.3,
        calibration=Calibration((-1.0, 0.0, 2.5), (0.1, 0.4, 0.9), "platt", 0.031),
        fit={"C": np.float64(0.5), "gap": 1e-7, "n": np.int64(10), "note": "ü"},
        provenance=Provenance("tiny", "abc", "main", "tok", "r", (("torch", "2.6"),)),
    )


def test_a_loaded_detector_is_equal_to_the_bit(tmp_path: Path) -> None:
    detector = found()
    path = save_detector(detector, tmp_path / "detector")
    assert path.name == "detector.safetensors"
    for name in ("detector", "detector.safetensors"):
        again = load_detector(tmp_path / name)
        assert torch.equal(again.weights, detector.weights)
        data = made(20)
        assert torch.equal(again(data), detector(data))
        assert torch.equal(again.probability(data), detector.probability(data))
        for field in ("bias", "metric", "region", "domains", "threshold", "calibration"):
            assert getattr(again, field) == getattr(detector, field)
        assert again.fit == {"C": 0.5, "gap": 1e-7, "n": 10, "note": "ü"}
        assert again.provenance == detector.provenance
    assert save_detector(again, tmp_path / "b").read_bytes() == path.read_bytes()


def test_people_and_other_programs_can_read_the_neurons(tmp_path: Path) -> None:
    detector = found()
    save_detector(detector, tmp_path / "d")
    readable = json.loads((tmp_path / "d.json").read_text())
    assert len(readable["neurons"]) == len(detector.selected)
    assert readable["fit"]["C"] == 0.5
    table = pd.read_csv(export_neurons(detector.selected, tmp_path / "n.csv"))
    assert {(a, b) for a, b in zip(table.layer, table.neuron, strict=True)} == set(
        detector.selected.members
    )
    assert table.weight.is_monotonic_decreasing
    listed = json.loads(export_neurons(detector.neurons, tmp_path / "n.json").read_text())
    assert (listed["n_layers"], listed["d_mlp"], listed["model"]) == (2, 12, "abc")
    with pytest.raises(HlensError, match=r"expected \.csv or \.json"):
        export_neurons(detector.neurons, tmp_path / "n.txt")


def test_neuron_sets_come_back_equal(tmp_path: Path) -> None:
    plain = NeuronSet(frozenset({(0, 1), (1, 2)}), 2, 12)
    some = replace(plain, weights={(0, 1): 0.25}, model="abc", name="mine")
    for neurons in (plain, some, found().neurons, replace(plain, members=frozenset())):
        assert read_neurons(save_neurons(neurons, tmp_path / "set")) == neurons
    assert load_neurons(tmp_path / "set").name == "set"  # figures need a name


def test_a_shared_folder_loads_as_what_was_shared(tmp_path: Path) -> None:
    detector, some = found(), replace(found().neurons, name="mine")
    to_folder(detector, tmp_path / "d", note="*A note.*")
    assert torch.equal(load_detector(tmp_path / "d").weights, detector.weights)
    assert load_neurons(tmp_path / "d", name="H") == replace(detector.neurons, name="H")
    assert "*A note.*" in (tmp_path / "d" / "README.md").read_text()
    assert load_neurons(to_folder(some, tmp_path / "n")) == some
    assert load_neurons(tmp_path / "n" / "neurons.csv", n_layers=2, d_mlp=12).members == (
        some.members
    )
    (tmp_path / "n" / "README.md").write_text("mine")
    with pytest.raises(HlensError, match="was not written by hlens and is kept"):
        to_folder(some, tmp_path / "n")


def test_a_path_is_never_looked_for_on_the_hub() -> None:
    with pytest.raises(HlensError, match="no detector at owner/name"):
        load_detector(Path("owner/name"))


def test_a_missing_broken_or_foreign_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(HlensError, match=r"no detector at .*nowhere\.safetensors"):
        load_detector(tmp_path / "nowhere")
    save_neurons(found().neurons, tmp_path / "set")
    with pytest.raises(HlensError, match="holds neurons, format 1; expected detector"):
        load_detector(tmp_path / "set")
    (tmp_path / "cut.safetensors").write_bytes(b"no header")
    with pytest.raises(HlensError, match="is no safetensors file"):
        load_detector(tmp_path / "cut")


def test_what_is_no_json_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(HlensError, match="cannot be saved"):
        save_detector(replace(found(), fit={"probe": object()}), tmp_path / "d")
    assert not list(tmp_path.iterdir())


def test_official_coefficients_score_as_the_estimator_did(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    data = made(60)
    X = data.values.reshape(60, -1).numpy()
    fitted = LogisticRegression(C=1.0, solver="liblinear", l1_ratio=1).fit(X, data.labels.numpy())
    np.savez(tmp_path / "c.npz", coef=fitted.coef_, intercept=fitted.intercept_)
    detector = import_coefficients(tmp_path / "c.npz", n_layers=2, d_mlp=12)
    np.testing.assert_allclose(detector(data), fitted.decision_function(X), rtol=1e-4, atol=1e-5)
    with pytest.raises(HlensError, match="3 layers x 12 neurons = 36"):
        import_coefficients(tmp_path / "c.npz", n_layers=3, d_mlp=12)
    np.savez(tmp_path / "w.npz", weights=fitted.coef_)
    with pytest.raises(HlensError, match="expected arrays coef and intercept"):
        import_coefficients(tmp_path / "w.npz", n_layers=2, d_mlp=12)


class _Loud:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was opened",))


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "c.joblib").write_bytes(pickle.dumps(_Loud()))
    with pytest.raises(HlensError, match="never opened"):
        import_coefficients(tmp_path / "c.joblib", n_layers=2, d_mlp=12)
    loud = np.empty(1, dtype=object)
    loud[0] = _Loud()
    np.savez(tmp_path / "evil.npz", coef=loud, intercept=np.zeros(1))
    with pytest.raises(HlensError, match="objects"):
        import_coefficients(tmp_path / "evil.npz", n_layers=2, d_mlp=12)
