"""Detectors and neuron sets: one safetensors file each, with all other values in its header.

Files are written whole or not at all, and one file holding everything can never be half of two
runs. A detector has a JSON copy beside it for people and other programs; it is never read back.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
import torch
from torch import Tensor

from hlens.errors import HlensError
from hlens.store.atomic import write_text
from hlens.store.neuron_tables import neuron_rows
from hlens.store.tensor_file import (
    provenance_from_json,
    read_tensors,
    safetensors_path,
    write_tensors,
)
from hlens.types import Calibration, Detector, NeuronSet, Provenance

_FORMAT = "1"
_FIELDS = [field.name for field in fields(Detector) if field.name != "weights"]


def save_detector(detector: Detector, path: str | Path) -> Path:
    """Write a detector as ``NAME.safetensors``, and ``NAME.json`` to be read by people.

    The suffix of `path` may be left out; the safetensors file is returned.
    """
    flat = detector.weights.detach().cpu().float().flatten()
    index = flat.nonzero().flatten()
    about: dict[str, Any] = {"shape": list(detector.weights.shape)}
    about |= {name: getattr(detector, name) for name in _FIELDS}
    about["fit"] = dict(detector.fit)
    path = safetensors_path(path)
    readable = _json(about | {"neurons": neuron_rows(detector.selected)}, indent=1)
    write_text(path.with_suffix(".json"), readable + "\n")
    return _save(path, "detector", {"index": index, "weight": flat[index]}, about)


def read_detector(path: str | Path) -> Detector:
    """Read a file that `save_detector` wrote; the suffix may be left out.

    Raises:
        HlensError: No such file, or a file of another kind.
    """
    tensors, about = _read(path, "detector")
    weights = torch.zeros(int(np.prod(about["shape"])))
    weights[tensors["index"]] = tensors["weight"]
    values: dict[str, Any] = {name: about[name] for name in _FIELDS}
    values["domains"] = tuple(about["domains"])
    values["provenance"] = provenance_from_json(about["provenance"])
    if calibration := about["calibration"]:
        knots = {name: tuple(calibration[name]) for name in ("scores", "probabilities")}
        values["calibration"] = Calibration(**(calibration | knots))
    return Detector(weights.reshape(about["shape"]), **values)


def save_neurons(neurons: NeuronSet, path: str | Path) -> Path:
    """Write a neuron set as ``NAME.safetensors``; the suffix may be left out."""
    members = list(neurons)
    tensors = {"members": torch.tensor(members, dtype=torch.int64).reshape(-1, 2)}
    if neurons.weights is not None:
        known = [neurons.weights.get(member, float("nan")) for member in members]
        tensors["weight"] = torch.tensor(known, dtype=torch.float64)
    about = {"shape": [neurons.n_layers, neurons.d_mlp], "model": neurons.model}
    return _save(safetensors_path(path), "neurons", tensors, about | {"name": neurons.name})


def read_neurons(path: str | Path) -> NeuronSet:
    """Read a file that `save_neurons` wrote; the suffix may be left out.

    Raises:
        HlensError: No such file, or a file of another kind.
    """
    tensors, about = _read(path, "neurons")
    members = [(int(a), int(b)) for a, b in tensors["members"].tolist()]
    weights = None
    if "weight" in tensors:
        pairs = zip(members, tensors["weight"].tolist(), strict=True)
        weights = {member: weight for member, weight in pairs if weight == weight}
    name, model = about["name"], about["model"]
    return NeuronSet(frozenset(members), *about["shape"], weights=weights, model=model, name=name)


def import_coefficients(
    path: str | Path,
    *,
    n_layers: int,
    d_mlp: int,
    metric: str = "cett",
    region: str = "answer",
    provenance: Provenance | None = None,
) -> Detector:
    """A detector from the coefficients of the official classifier, kept as ``.npz``.

    A joblib file can run code when it is opened, so hlens opens none. If you trust the file,
    extract its numbers once, in the environment that wrote it::

        import joblib, numpy
        fitted = joblib.load("classifier.pkl")
        numpy.savez("classifier.npz", coef=fitted.coef_, intercept=fitted.intercept_)

    Args:
        path: The ``.npz`` with ``coef`` (layers concatenated, as in the official code) and
            ``intercept``.
        n_layers: Layers of the model.
        d_mlp: Neurons in each layer.
        metric: Formula of the contributions that the coefficients apply to.
        region: Tokens that they were averaged over.
        provenance: The model, when it is known.

    Raises:
        HlensError: No such file, not an ``.npz``, arrays missing, or of another length.
    """
    path = Path(path)
    if not path.is_file() or not is_zipfile(path):
        fact = "is no .npz file" if path.is_file() else "does not exist"
        raise HlensError(
            f"{path} {fact}; joblib and pickle files are never opened: keep coef_ and intercept_ "
            "with numpy.savez(..., coef=..., intercept=...)"
        )
    coef, intercept = _coefficients(path)
    if len(coef) != n_layers * d_mlp or len(intercept) != 1:
        raise HlensError(
            f"{path} holds {len(coef)} coefficients and {len(intercept)} intercepts; expected "
            f"{n_layers} layers x {d_mlp} neurons = {n_layers * d_mlp} and 1: is it this model's?"
        )
    weights = torch.from_numpy(coef.astype(np.float32)).reshape(n_layers, d_mlp)
    return Detector(
        weights,
        float(intercept[0]),
        metric,
        region,
        fit={"imported": path.name},
        provenance=provenance or Provenance(),
    )


def _save(path: Path, kind: str, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> Path:
    # One entry: safetensors writes several in an order that differs from run to run.
    header = {"hlens": _json({"kind": kind, "format": _FORMAT, "about": about})}
    write_tensors(path, tensors, metadata=header)
    return path


def _read(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    path = safetensors_path(path)
    if not path.is_file():
        raise HlensError(
            f"no {kind} at {path}; run the step that makes it, or give a file, a folder or "
            "owner/name on the hub"
        )
    tensors, metadata = read_tensors(path)
    try:
        header = json.loads(metadata.get("hlens", "{}"))
    except json.JSONDecodeError:
        header = {}
    if not isinstance(header, dict) or not {"kind", "format", "about"} <= set(header):
        raise HlensError(f"{path} was not written by hlens; expected {kind}, format {_FORMAT}")
    if (header["kind"], header["format"]) != (kind, _FORMAT):
        raise HlensError(
            f"{path} holds {header['kind']}, format {header['format']}; "
            f"expected {kind}, format {_FORMAT}"
        )
    return tensors, header["about"]


def _coefficients(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        if not {"coef", "intercept"} <= set(arrays):
            raise HlensError(f"{path} holds {sorted(arrays)}; expected arrays coef and intercept")
        try:
            return np.ravel(arrays["coef"]), np.ravel(arrays["intercept"])
        except ValueError as error:
            raise HlensError(f"{path} holds objects; expected plain arrays of numbers") from error


def _json(about: Mapping[str, Any], indent: int | None = None) -> str:
    return json.dumps(about, ensure_ascii=False, indent=indent, default=_plain)


def _plain(value: Any) -> Any:
    """Dataclasses as dicts, numbers of numpy and torch as plain ones; all else cannot be JSON."""
    if hasattr(value, "item"):
        return value.item()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise HlensError(f"{value!r} ({type(value).__name__}) cannot be saved; give plain JSON values")
