"""A saved detector is the same detector: every score, every word; no file is trusted blindly."""

import json
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import hlens
from hlens.errors import HlensError
from hlens.probe import SparseProbe
from hlens.store import (
    export_neurons,
    import_coefficients,
    load_detector,
    load_neurons,
    save_detector,
    save_neurons,
    to_folder,
)
from hlens.store.arrays import read_array
from hlens.store.detectors import read_neurons
from hlens.store.tensor_file import read_tensors, write_tensors
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
        means=tuple((0.5 - torch.rand(int((weights != 0).sum()), generator=draw)).tolist()),
        spreads=tuple((0.1 + torch.rand(int((weights != 0).sum()), generator=draw)).tolist()),
    )


def test_an_h_neuron_raises_the_score_when_it_is_amplified() -> None:
    """Of a signed metric the sign of the weight alone does not say so."""
    weights = torch.tensor([[1.0, -1.0, 0.0], [2.0, -3.0, 0.0]])
    detector = Detector(weights, 0.0, means=(0.5, 0.5, -0.5, -0.5), spreads=(1.0, 2.0, 3.0, 4.0))
    assert detector.neurons.members == {(0, 0), (1, 1)}
    assert detector.truth_neurons.members == {(0, 1), (1, 0)}
    assert detector.selected.weights == {(0, 0): 1.0, (0, 1): -2.0, (1, 0): -6.0, (1, 1): 12.0}
    plain = Detector(weights, 0.0)  # from before, or imported: taken for positive
    assert plain.neurons.members == {(0, 0), (1, 0)}
    assert plain.selected.weights == {(0, 0): 1.0, (0, 1): -1.0, (1, 0): 2.0, (1, 1): -3.0}
    with pytest.raises(HlensError, match="3 means for 4 neurons"):
        Detector(weights, 0.0, means=(1.0, 1.0, 1.0))
    with pytest.raises(HlensError, match="one of the spreads"):
        Detector(weights, 0.0, spreads=(1.0, 1.0, 1.0, float("nan")))


@pytest.mark.parametrize("metric", ["cett", "signed_cett"])
def test_the_signs_of_what_is_found_are_those_of_doses(metric: str) -> None:
    """The mean score of the examples rises with a dose of H-neurons, and falls with truth."""
    data = made(200, n_layers=2, d_mlp=30, seed=1)
    values = data.values - (2.0 if metric == "signed_cett" else 0.0)
    data = replace(data, values=values, metric=metric)
    detector = hlens.find(data, SparseProbe(C=3.0, scale="feature"), calibration=None)
    assert len(detector.neurons)
    assert len(detector.truth_neurons)
    for neurons, sign in ((detector.neurons, 1), (detector.truth_neurons, -1)):
        for layer, neuron in neurons:
            dosed = data.values.clone()
            dosed[:, layer, neuron] *= 2
            rise = detector(replace(data, values=dosed)).mean() - detector(data).mean()
            assert sign * rise > 0


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
        for field in (
            "bias", "metric", "region", "domains", "threshold", "calibration", "means", "spreads",
        ):  # fmt: skip
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
    assert table.weight.abs().is_monotonic_decreasing
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


# Files that another program wrote, or changed


def altered(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> Path:
    """A saved file after a change of its tensors and of what its header says, without its hash."""
    tensors, metadata = read_tensors(path)
    header = json.loads(metadata["hlens"])
    del header["sha256"]  # as in a file of an earlier version
    change(header["about"], tensors)
    write_tensors(path, tensors, metadata={"hlens": json.dumps(header)})
    return path


def put(place: str, value: Any) -> Callable[[dict[str, Any], dict[str, Any]], object]:
    return lambda about, tensors: about.update({place: value})


def tensor(place: str, value: Any) -> Callable[[dict[str, Any], dict[str, Any]], object]:
    return lambda about, tensors: tensors.update({place: torch.as_tensor(value)})


FALLING = {"scores": [1.0, 0.0], "probabilities": [0.0, 1.0], "method": "platt", "ece": 0.0}
CHECKED = "|Type-check error"  # which tests alone raise, before hlens looks


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("shape", -1), "no detector that can be read"),
        (put("shape", [-1, 4]), "n_layers=-1; expected a whole number from 1"),
        (put("shape", [10_000, 10**8]), "neurons; expected 67,108,864 at most"),
        (put("shape", [10**30, 4]), "n_layers=10{30}; expected"),
        (put("bias", None), "bias=None; expected a number"),
        (put("bias", float("nan")), "bias=nan; expected a number"),
        (put("threshold", "0"), "threshold='0'; expected a number"),
        (put("metric", 5), "metric of a detector: got 5"),
        (put("domains", [5]), "domains of a detector"),
        (put("fit", [1]), "fit of a detector: got a list of 1"),
        (put("provenance", {"versions": [], "model": 5}), "model=5 of a provenance"),
        (put("provenance", None), "no detector that can be read"),
        (put("calibration", {"scores": []}), "lacks 'probabilities'"),
        (
            put("calibration", FALLING | {"scores": [0.0, 1.0], "probabilities": [1.0, 0.0]}),
            "falls",
        ),
        (put("calibration", FALLING), "ascending scores"),
        (lambda about, tensors: about.pop("region"), "lacks 'region'"),
        (lambda about, tensors: tensors.pop("weight"), "lacks 'weight'"),
        (tensor("index", [0, 0]), "indices repeat"),
        (tensor("index", [0, 10**9]), "not all from 0 to 7"),
        (tensor("index", [0, -1]), "not all from 0 to 7"),
        (tensor("index", [0.0, 1.0]), r"index is torch\.float32"),
        (tensor("weight", [1.0, float("nan")]), "not all finite"),
        (tensor("weight", [1, 2]), r"weights are torch\.int64"),
        (tensor("weight", [1.0]), "expected one int64 index for each weight"),
    ],
)  # fmt: skip
def test_an_altered_detector_is_one_line(tmp_path: Path, change: Any, said: str) -> None:
    weights = torch.tensor([[0.5, 0, 0, 0], [0, 0, 0, -1.0]])
    path = save_detector(Detector(weights, 0.0), tmp_path / "d")
    with pytest.raises(HlensError, match=said + CHECKED) as raised:
        load_detector(altered(path, change))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("shape", [2]), "no neurons that can be read"),
        (put("name", {}), "name={} of a neuron set"),
        (put("model", 5), "model=5 of a neuron set"),
        (put("model", 0), "model=0 of a neuron set"),
        (tensor("members", [[0, 1], [0, 1]]), "or one is there twice"),
        (tensor("members", [[0.5, 1], [0, 1]]), "no whole numbers"),
        (tensor("members", [[0, 1, 2], [0, 1, 3]]), "expected a pair"),
        (tensor("members", [[0, 4], [1, 1]]), "L0N4 is out of range"),
        (tensor("weight", [float("inf"), 1.0]), "weight of L0N1=inf"),
        (tensor("weight", [1.0]), "no neurons that can be read"),
    ],
)
def test_an_altered_neuron_set_is_one_line(tmp_path: Path, change: Any, said: str) -> None:
    neurons = NeuronSet(frozenset({(0, 1), (1, 3)}), 2, 4, weights={(0, 1): 1.0, (1, 3): 2.0})
    path = save_neurons(neurons, tmp_path / "n")
    with pytest.raises(HlensError, match=said + CHECKED):
        load_neurons(altered(path, change))


def test_a_file_that_is_no_safetensors_file_is_one_line(tmp_path: Path) -> None:
    deep = b'{"__metadata__":' + b'{"a":' * 5000 + b"1" + b"}" * 5001
    for header in (
        b"",
        b"{",
        b'{"__metadata__":null}',
        deep,
        b'{"x":{"dtype":"F32","shape":[2000000000000],"data_offsets":[0,8]}}',
    ):
        for length in (len(header), 2**62, 0):
            (tmp_path / "d.safetensors").write_bytes(length.to_bytes(8, "little") + header)
            with pytest.raises(HlensError, match=r"d\.safetensors"):
                load_detector(tmp_path / "d")
    nested = json.dumps({"kind": "detector", "format": "1", "about": 0}).replace("0", "[" * 10**5)
    write_tensors(tmp_path / "d.safetensors", {}, metadata={"hlens": nested})
    with pytest.raises(HlensError, match="was not written by hlens"):
        load_detector(tmp_path / "d")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("layer,neuron\n0,1\n0,1\n", "L0N1, which is there before"),
        ("layer,neuron,weight\n0,1,=1+2\n", "weight '=1\\+2'; expected a finite number"),
        ("layer,neuron\n0,1,5,6\n", "line 2 has 4 fields, its header 2"),
        ("layer,neuron\n0,=1\n", "has no address"),
        ("layer,neuron\n1_0,1\n", "has no address"),
        ("layer,neuron\n0,1e400\n", "has no address"),
        ("layer,neuron\n0,99\n", "L0N99 is out of range"),
        ("layer,address\n0,L1N1\n", "addresses that differ"),
        ('layer,neuron\n0,"1\n', "not CSV"),
        (f"layer,neuron\n0,{'1' * 200_000}\n", "has no address"),
        ("layer,neuron\n0,1\udcff\n", "not UTF-8"),
    ],
)
def test_neurons_of_a_bad_csv_are_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "n.csv").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(HlensError, match=said):
        load_neurons(tmp_path / "n.csv", n_layers=2, d_mlp=4)


def test_neurons_of_a_csv_with_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_bytes("\ufefflayer,neuron,weight\r\n1,2,-0.5\r\n0,1,\r\n".encode())
    read = load_neurons(tmp_path / "n.csv", n_layers=2, d_mlp=4)
    assert set(read) == {(1, 2), (0, 1)}
    assert read.weights == {(1, 2): -0.5}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"neurons": [{"layer": true, "neuron": 1}], "n_layers": 2, "d_mlp": 4}', "no address"),
        ('{"neurons": [], "n_layers": "2", "d_mlp": 4}', "n_layers='2'; expected a whole number"),
        ('{"neurons": [], "shape": 5}', "shape is 5"),
        ('{"neurons": [], "shape": [2, 4], "name": 5}', "name is 5; expected text"),
        ('{"neurons": [], "shape": [2, 5]}', "holds neurons of 2 layers x 5, and n_layers=2"),
        ("[" * 100_000, "not JSON"),
        ('{"neurons": [], "shape": [2, 4], "model": []}', "model is \\[\\]; expected text"),
        ('{"neurons": 3}', "holds no list of neurons"),
    ],
)
def test_neurons_of_a_bad_json_are_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "n.json").write_text(text)
    given = {"n_layers": 2, "d_mlp": 4} if "[2, 5]" in text else {}
    with pytest.raises(HlensError, match=said):
        load_neurons(tmp_path / "n.json", **given)


def test_half_of_a_character_in_a_header_is_refused(tmp_path: Path) -> None:
    path = save_detector(Detector(torch.eye(2), 0.0, region="answer"), tmp_path / "d")
    about = read_tensors(path)[1]["hlens"].replace('"answer"', '"answe\\ud800"')
    write_tensors(path, read_tensors(path)[0], metadata={"hlens": about})
    with pytest.raises(HlensError, match="was not written by hlens"):
        load_detector(path)


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


ARRAYS = {
    "huge": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }", bytes(8)),
    "negative": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", bytes(8)),
    "objects": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", bytes(8)),
    "texts": npy("{'descr': '<U2', 'fortran_order': False, 'shape': (1,), }", bytes(8)),
    "nan": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", b"\xff" * 8),
    "too large for float32": npy(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", struct.pack("<d", 1e300)
    ),
    "no literal": npy("{'descr': __import__('os').getcwd()}"),
    "no Python": npy("{'descr': '<f8', (\n\x0c"),
    "empty": b"",
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_a_bad_array_is_one_line_and_takes_no_memory(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.npy").write_bytes(ARRAYS[kind])
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("coef.npy", ARRAYS[kind])
        archive.writestr("intercept.npy", ARRAYS[kind])
    tracemalloc.start()
    for read in (
        lambda: read_array(tmp_path / "a.npy"),
        lambda: import_coefficients(tmp_path / "c.npz", n_layers=1, d_mlp=1),
    ):
        with pytest.raises(HlensError, match=r"not an array of numbers|not finite"):
            read()
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_a_damaged_or_swollen_archive_is_one_line(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "c.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("coef.npy", bytes(10_000_000))
        archive.writestr("intercept.npy", bytes(100))
    with pytest.raises(HlensError, match="more than 8 numbers as coef"):
        import_coefficients(tmp_path / "c.npz", n_layers=2, d_mlp=4)
    np.savez(tmp_path / "d.npz", coef=np.arange(8.0), intercept=[0.5])
    whole = (tmp_path / "d.npz").read_bytes()
    detector = import_coefficients(tmp_path / "d.npz", n_layers=2, d_mlp=4)
    assert detector.weights.flatten().tolist() == list(range(8))
    for place in range(30, len(whole), 7):
        (tmp_path / "d.npz").write_bytes(
            whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :]
        )
        try:
            import_coefficients(tmp_path / "d.npz", n_layers=2, d_mlp=4)
        except HlensError:
            continue


def test_a_detector_does_not_take_the_place_of_another_file(tmp_path: Path) -> None:
    detector = Detector(torch.eye(2), 0.0)
    (tmp_path / "config.json").write_text('{"of": "my model"}')
    with pytest.raises(HlensError, match=r"config\.json exists and hlens did not write it"):
        save_detector(detector, tmp_path / "config")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    for name in ("mine.csv", "mine.json"):
        (tmp_path / name).write_text("layer;neuron\n")
        with pytest.raises(HlensError, match="hlens did not write it"):
            export_neurons(detector.neurons, tmp_path / name)
        export_neurons(detector, tmp_path / f"new-{name}")
        export_neurons(detector, tmp_path / f"new-{name}")


@pytest.mark.parametrize("what", ["detector", "neurons"])
def test_any_byte_that_changed_is_seen(tmp_path: Path, what: str) -> None:
    """A shared file has no stamp beside it: what it holds is bound to what was written."""
    if what == "detector":
        path, load = save_detector(found(), tmp_path / what), load_detector
    else:
        path, load = save_neurons(found().neurons, tmp_path / what), load_neurons
    whole = path.read_bytes()
    load(path)
    begin = 8 + struct.unpack("<Q", whole[:8])[0]  # of the values, behind the header
    values, digit = range(begin, len(whole)), whole.index(b"abc" if what == "neurons" else b"0.123")
    for place in (*values, digit + 2):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(HlensError, match="is not what was written") as raised:
            load(path)
        assert "\n" not in str(raised.value)


def test_a_file_of_before_there_were_hashes_is_read(tmp_path: Path) -> None:
    path = altered(save_detector(found(), tmp_path / "d"), lambda about, tensors: None)
    assert torch.equal(load_detector(path).weights, found().weights)
