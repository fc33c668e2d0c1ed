"""Sets of neurons as CSV, JSON and safetensors, and official coefficients as npz."""

import io
import math
import random
from pathlib import Path
from typing import Any

import numpy as np

from campaign.mutations import hostile_array, mutate_archive, mutate_file
from campaign.targets.detectors import check_detector
from campaign.trials import RIGHT, Plan, WrongError, storing
from hlens import store
from hlens.types import NeuronSet

SHARE = 1.5
KEEPS_INPUT = True
LAYERS, NEURONS = 3, 16


def prepare(home: Path) -> None:
    """One set in each form."""
    folder = home / "neurons"
    if folder.is_dir():
        return
    weights = {(0, 3): 1.25, (2, 5): -0.5, (1, 1): 0.125, (0, 0): 0.0625}
    neurons = NeuronSet(
        frozenset(weights), LAYERS, NEURONS, weights=weights, model="f" * 64, name="mine"
    )
    for suffix in ("csv", "json"):
        store.export_neurons(neurons, folder / f"neurons.{suffix}")
    store.save_neurons(neurons, folder / "neurons.safetensors")
    (folder / "coefficients.npz").write_bytes(_packed(*_coefficients()))


def _coefficients() -> tuple[np.ndarray, np.ndarray]:
    values = np.zeros((1, LAYERS * NEURONS), np.float64)
    values[0, [3, 17, 37]] = 1.25, 0.125, -0.5
    return values, np.array([0.25])


def _packed(coef: np.ndarray, intercept: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez(out, coef=coef, intercept=intercept)
    return out.getvalue()


def make(draw: random.Random, home: Path, folder: Path) -> Plan:
    """One of the files, damaged."""
    name = draw.choice(sorted(path.name for path in (home / "neurons").iterdir()))
    data = (home / "neurons" / name).read_bytes()
    if name.endswith(".npz") and draw.random() < 0.5:
        arrays = list(_coefficients())
        at = draw.randrange(2)
        arrays[at], said = hostile_array(draw, arrays[at])
        written, same, said = _packed(*arrays), said == "big-endian", f"array {at}: {said}"
    else:
        mutate = mutate_archive if name.endswith(".npz") else None
        mutated = mutate(draw, data) if mutate else mutate_file(draw, name, data)
        written, same, said = mutated.data, mutated.harmless, mutated.said
    (folder / name).write_bytes(written)
    return {"said": f"{name}: {said}", "file": name, "same": same}


def check(plan: Plan, home: Path, folder: Path) -> str:
    """What loads is a set of neurons inside its model, and is written as it was read."""
    path = folder / plan["file"]
    if path.suffix == ".npz":
        detector = store.import_coefficients(path, n_layers=LAYERS, d_mlp=NEURONS)
        check_detector(detector)
        if plan["same"] and sorted(detector.selected.members) != [(0, 3), (1, 1), (2, 5)]:
            raise WrongError("other neurons: what must not matter changed them")
        return RIGHT
    shape: dict[str, Any] = {"n_layers": LAYERS, "d_mlp": NEURONS} if path.suffix == ".csv" else {}
    neurons = store.load_neurons(path, **shape)
    check_neurons(neurons)
    for suffix in ("csv", "json", "safetensors"):
        write = store.save_neurons if suffix == "safetensors" else store.export_neurons
        with storing():
            stored = write(neurons, home / f"stored-neurons.{suffix}")
            again = store.load_neurons(stored, **_shape(neurons, suffix))
        if again.members != neurons.members or (again.weights or {}) != (neurons.weights or {}):
            raise WrongError(f"written otherwise: as {suffix} it is another set")
    if plan["same"]:
        alike = store.load_neurons(home / "neurons" / plan["file"], **shape)
        if (alike.members, alike.weights) != (neurons.members, neurons.weights):
            raise WrongError("other neurons: what must not matter changed them")
    return RIGHT


def _shape(neurons: NeuronSet, suffix: str) -> dict[str, Any]:
    known = {"n_layers": neurons.n_layers, "d_mlp": neurons.d_mlp}
    return known if suffix == "csv" else {}


def check_neurons(neurons: NeuronSet) -> None:
    """Raise `WrongError` unless all that a set holds is of its kind."""
    sizes = (neurons.n_layers, neurons.d_mlp)
    if not all(type(size) is int and 0 < size < 2**31 for size in sizes):
        raise WrongError(f"shape: {sizes!r:.60}")
    for layer, neuron in neurons.members:
        if type(layer) is not int or type(neuron) is not int:
            raise WrongError(f"addresses: {layer!r:.30}, {neuron!r:.30}")
    for member, weight in (neurons.weights or {}).items():
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not is_number or not math.isfinite(weight) or member not in neurons.members:
            raise WrongError(f"weights: {member} has {weight!r:.30}")
    if not isinstance(neurons.name, str) or not isinstance(neurons.model, str | None):
        raise WrongError(f"texts: {neurons.name!r:.30}, {neurons.model!r:.30}")
    if neurons.n_layers * neurons.d_mlp < 1 << 20 and sum(neurons.per_layer()) != len(neurons):
        raise WrongError("neurons: not all of them are in a layer")
    repr(neurons)
