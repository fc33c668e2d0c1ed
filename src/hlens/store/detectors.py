"""Detectors and neuron sets: one safetensors file each, with all that is no tensor in its header.

A file is whole or not there, so one file holds everything. Beside a detector stands a JSON copy
for people and other programs; it is never read back.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from hlens.errors import HlensError
from hlens.store.atomic import write_bytes, write_text
from hlens.store.exchange import neuron_rows
from hlens.types import Calibration, Detector, NeuronSet, Provenance

_FORMAT = "1"


def save_detector(detector: Detector, path: str | Path) -> Path:
    """Write a detector as ``NAME.safetensors``, and ``NAME.json`` to be read by people.

    Args:
        detector: What was found.
        path: Where; the suffix may be left out.

    Returns:
        The safetensors file.
    """
    flat = detector.weights.detach().cpu().float().flatten()
    index = flat.nonzero().flatten()
    about = {
        "shape": list(detector.weights.shape),
        "bias": detector.bias,
        "metric": detector.metric,
        "region": detector.region,
        "domains": list(detector.domains),
        "threshold": detector.threshold,
        "calibration": asdict(detector.calibration) if detector.calibration else None,
        "fit": dict(detector.fit),
        "provenance": asdict(detector.provenance),
    }
    stem = _stem(path)
    readable = _json(about | {"neurons": neuron_rows(detector.selected)}, indent=1)
    write_text(stem.with_name(stem.name + ".json"), readable + "\n")
    return _save(stem, "detector", {"index": index, "weight": flat[index]}, about)


def load_detector(path: str | Path) -> Detector:
    """Read what `save_detector` wrote; the suffix may be left out.

    Raises:
        HlensError: No such file, or a file of another kind.
    """
    tensors, about = _load(path, "detector")
    weights = torch.zeros(int(np.prod(about["shape"])))
    weights[tensors["index"]] = tensors["weight"]
    calibration = about["calibration"]
    if calibration is not None:
        knots = {name: tuple(calibration[name]) for name in ("scores", "probabilities")}
        calibration = Calibration(**(calibration | knots))
    return Detector(
        weights=weights.reshape(about["shape"]),
        bias=about["bias"],
        metric=about["metric"],
        region=about["region"],
        domains=tuple(about["domains"]),
        threshold=about["threshold"],
        calibration=calibration,
        fit=about["fit"],
        provenance=_provenance(about["provenance"]),
    )


def save_neurons(neurons: NeuronSet, path: str | Path) -> Path:
    """Write a neuron set as ``NAME.safetensors``; the suffix may be left out."""
    members = list(neurons)
    tensors = {"members": torch.tensor(members, dtype=torch.int64).reshape(-1, 2)}
    if neurons.weights is not None:
        known = [neurons.weights.get(member, float("nan")) for member in members]
        tensors["weight"] = torch.tensor(known, dtype=torch.float64)
    about = {"shape": [neurons.n_layers, neurons.d_mlp], "model": neurons.model}
    return _save(_stem(path), "neurons", tensors, about | {"name": neurons.name})


def load_neurons(path: str | Path) -> NeuronSet:
    """Read what `save_neurons` wrote; the suffix may be left out.

    Raises:
        HlensError: No such file, or a file of another kind.
    """
    tensors, about = _load(path, "neurons")
    members = [(int(a), int(b)) for a, b in tensors["members"].tolist()]
    weights = None
    if "weight" in tensors:
        pairs = zip(members, tensors["weight"].tolist(), strict=True)
        weights = {member: weight for member, weight in pairs if weight == weight}
    name, model = about["name"], about["model"]
    return NeuronSet(frozenset(members), *about["shape"], weights=weights, model=model, name=name)


def import_coefficients(
    path: str | Path,
    n_layers: int,
    d_mlp: int,
    metric: str = "cett",
    region: str = "answer",
    provenance: Provenance | None = None,
) -> Detector:
    """A detector from the coefficients of the official classifier, kept as ``.npz``.

    A joblib file can run code when it is opened, so hlens opens none. Where you trust the file,
    take its numbers out once, in the environment that wrote it::

        import joblib, numpy
        fitted = joblib.load("classifier.pkl")
        numpy.savez("classifier.npz", coef=fitted.coef_, intercept=fitted.intercept_)

    Args:
        path: The ``.npz`` with ``coef`` (layers end to end, as the official code flattens them)
            and ``intercept``.
        n_layers: Layers of the model.
        d_mlp: Neurons in each layer.
        metric: Formula that the coefficients read.
        region: Tokens that they read.
        provenance: The model, when it is known.

    Raises:
        HlensError: No such file, no ``.npz``, arrays missing, or of another length.
    """
    path = Path(path)
    if not path.is_file() or not is_zipfile(path):
        what = "is no .npz file" if path.is_file() else "does not exist"
        raise HlensError(
            f"{path} {what}; joblib and pickle files are never opened: keep coef_ and intercept_ "
            "with numpy.savez(..., coef=..., intercept=...)"
        )
    coef, intercept = _coefficients(path)
    if len(coef) != n_layers * d_mlp or len(intercept) != 1:
        raise HlensError(
            f"{path} holds {len(coef)} coefficients and {len(intercept)} intercepts; expected "
            f"{n_layers} layers x {d_mlp} neurons = {n_layers * d_mlp} and 1: is it this model's?"
        )
    weights = torch.from_numpy(coef.astype(np.float32)).reshape(n_layers, d_mlp)
    fit = {"imported": path.name}
    about = provenance or Provenance()
    return Detector(weights, float(intercept[0]), metric, region, fit=fit, provenance=about)


def _save(stem: Path, kind: str, tensors: dict[str, Tensor], about: Mapping[str, Any]) -> Path:
    path = stem.with_name(stem.name + ".safetensors")
    # One entry: safetensors writes several in an order that differs from run to run.
    header = {"hlens": _json({"kind": kind, "format": _FORMAT, "about": about})}
    write_bytes(path, to_bytes(tensors, metadata=header))
    return path


def _load(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    stem = _stem(path)
    path = stem.with_name(stem.name + ".safetensors")
    if not path.is_file():
        raise HlensError(f"no {kind} at {path}; run the step that makes it first")
    try:
        with safe_open(path, framework="pt") as file:
            header = _header(file.metadata())
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise HlensError(f"{path} is no safetensors file ({error}); make it again") from error
    if header.get("kind") != kind or header.get("format") != _FORMAT:
        given = f"{header.get('kind', 'something else')}, format {header.get('format', 'none')}"
        raise HlensError(f"{path} holds {given}; expected {kind}, format {_FORMAT}")
    return tensors, header["about"]


def _header(metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """What hlens wrote into the header; empty where another program wrote the file."""
    try:
        header = json.loads((metadata or {}).get("hlens", "{}"))
    except json.JSONDecodeError:
        return {}
    return header if isinstance(header, dict) else {}


def _coefficients(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        if not {"coef", "intercept"} <= set(arrays):
            raise HlensError(f"{path} holds {sorted(arrays)}; expected arrays coef and intercept")
        try:
            return np.ravel(arrays["coef"]), np.ravel(arrays["intercept"])
        except ValueError as error:
            raise HlensError(f"{path} holds objects; expected plain arrays of numbers") from error


def _provenance(about: Mapping[str, Any]) -> Provenance:
    versions = tuple((name, version) for name, version in about["versions"])
    return Provenance(**{**about, "versions": versions})


def _json(about: Mapping[str, Any], indent: int | None = None) -> str:
    return json.dumps(about, ensure_ascii=False, indent=indent, default=_plain)


def _plain(value: Any) -> Any:
    """Numbers of numpy and torch as plain ones; anything else is no JSON."""
    if hasattr(value, "item"):
        return value.item()
    raise HlensError(f"{value!r} ({type(value).__name__}) cannot be saved; give plain JSON values")


def _stem(path: str | Path) -> Path:
    path = Path(path)
    return path.with_suffix("") if path.suffix in (".safetensors", ".json") else path
