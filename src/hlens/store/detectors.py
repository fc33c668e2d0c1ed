"""Detectors and neuron sets: one safetensors file each, with all other values in its header.

Files are written whole or not at all, and one file holding everything can never be half of two
runs. A detector has a JSON copy beside it for people and other programs; it is never read back.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
import torch
from torch import Tensor

from hlens.errors import HlensError, first_line
from hlens.store.arrays import read_arrays
from hlens.store.atomic import check_replaceable, write_text
from hlens.store.neuron_tables import neuron_rows
from hlens.store.tensor_file import (
    provenance_from_json,
    read_tensors,
    safetensors_path,
    write_tensors,
)
from hlens.types import (
    Calibration,
    Detector,
    Estimate,
    NeuronSet,
    Provenance,
    ReadAnswers,
    Threshold,
    as_experts,
)
from hlens.types.neurons import check_shape

_FORMAT = "1"
_MOST_BYTES = 1 << 30
_FIELDS = [field.name for field in fields(Detector) if field.name != "weights"]
# Files of earlier versions lack them.
_NEWER = ("thresholds", "calibrated_on", "calibrations", "home", "means", "spreads")


def save_detector(detector: Detector, path: str | Path) -> Path:
    """Write a detector as ``NAME.safetensors``, and ``NAME.json`` to be read by people.

    The suffix of `path` may be left out; the safetensors file is returned.
    """
    flat = detector.weights.detach().cpu().float().flatten()
    index = flat.nonzero().flatten()
    about: dict[str, Any] = {"shape": list(detector.weights.shape)}
    about |= {name: getattr(detector, name) for name in _FIELDS}
    about["fit"] = dict(detector.fit)
    home, about["home"] = _home_to_tensors(detector.home)
    path = safetensors_path(path)
    readable = _json(about | {"neurons": neuron_rows(detector.selected)}, indent=1)
    write_text(path.with_suffix(".json"), readable + "\n", b'"provenance"')
    return _save(path, "detector", {"index": index, "weight": flat[index], **home}, about)


def check_detector_file(path: str | Path) -> Path:
    """The file that `save_detector` writes at a path, checked before the work is done.

    Raises:
        HlensError: A file there, or beside it as ``.json``, that hlens did not write.
    """
    path = safetensors_path(path)
    check_replaceable(path, b'"hlens"')
    check_replaceable(path.with_suffix(".json"), b'"provenance"')
    return path


def read_detector(path: str | Path) -> Detector:
    """Read a file that `save_detector` wrote; the suffix may be left out.

    Raises:
        HlensError: No such file, or a file of another kind.
    """
    with _reading(path, "detector") as (tensors, about):
        shape = check_shape(*about["shape"])
        weights = _dense(tensors["index"], tensors["weight"], shape[0] * shape[1])
        values: dict[str, Any] = {name: about[name] for name in _FIELDS if name not in _NEWER}
        values |= {name: about[name] for name in _NEWER if name in about}
        values["thresholds"] = tuple(map(_threshold, values.get("thresholds", ())))
        for name in ("domains", "means", "spreads"):
            values[name] = tuple(values.get(name, ()))
        values["provenance"] = provenance_from_json(about["provenance"])
        values["calibration"] = about["calibration"] and _calibration(about["calibration"])
        values["calibrations"] = tuple(map(_calibration, values.get("calibrations", ())))
        values["home"] = _home_from_tensors(tensors, values.get("home"))
        return Detector(weights.reshape(shape), **values)


def _calibration(row: Mapping[str, Any]) -> Calibration:
    knots = {name: tuple(row[name]) for name in ("scores", "probabilities")}
    return Calibration(**{**row, **knots})


def _home_to_tensors(
    home: ReadAnswers | None,
) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The home of a detector as tensors, and what its header says of them.

    Groups are numbered: their names may tell of questions, and a detector is shared.
    """
    if home is None:
        return {}, None
    numbered = {
        name: {own: number for number, own in enumerate(dict.fromkeys(names))}
        for name, names in (("group", home.groups), ("domain", home.domains))
    }
    tensors = {
        "home.score": torch.tensor(home.scores),
        "home.group": torch.tensor([numbered["group"][name] for name in home.groups]),
        "home.domain": torch.tensor([numbered["domain"][name] for name in home.domains]),
    }
    tensors |= {} if home.neurons is None else {"home.neurons": torch.tensor(home.neurons)}
    about = {"answers": len(home), "groups": len(numbered["group"])}
    return tensors, about | {"domains": list(numbered["domain"])}


def _home_from_tensors(
    tensors: Mapping[str, Tensor], about: Mapping[str, Any] | None
) -> ReadAnswers | None:
    if about is None:
        return None
    scores = tensors["home.score"]
    if scores.dtype != torch.float64:
        raise HlensError(f"the scores of its home are {scores.dtype}, not float64")
    neurons = tensors.get("home.neurons")
    return ReadAnswers(
        scores.numpy(),
        _named(tensors["home.group"], range(about["groups"])),
        _named(tensors["home.domain"], about["domains"]),
        None if neurons is None else neurons.numpy(),
    )


def _named(codes: Tensor, names: Sequence[object]) -> tuple[str, ...]:
    """The names that codes stand for."""
    if codes.dtype != torch.int64 or not all(0 <= code < len(names) for code in codes.tolist()):
        raise HlensError(f"the codes of its home are no whole numbers below {len(names)}")
    return tuple(str(names[code]) for code in codes.tolist())


def _threshold(row: Mapping[str, Any]) -> Threshold:
    alarms, recall, precision = (
        _estimate(row[name]) for name in ("alarm_rate", "recall", "precision")
    )
    return Threshold(row["false_alarms"], row["score"], alarms, recall, precision, row["domain"])


def _estimate(row: Mapping[str, Any]) -> Estimate:
    return Estimate(float(row["value"]), float(row["low"]), float(row["high"]), int(row["n"]))


def _dense(index: Tensor, weight: Tensor, n: int) -> Tensor:
    """The weights of all `n` neurons, from those that are not zero and their flat indices."""
    if index.dtype != torch.int64 or index.ndim != 1 or index.shape != weight.shape:
        raise HlensError(
            f"index is {index.dtype} {tuple(index.shape)} and weight {tuple(weight.shape)}; "
            "expected one int64 index for each weight"
        )
    if not weight.is_floating_point() or not torch.isfinite(weight).all():
        raise HlensError(f"its weights are {weight.dtype}, or not all finite")
    if len(index) and (index.min() < 0 or index.max() >= n or len(index.unique()) < len(index)):
        raise HlensError(f"its indices repeat, or are not all from 0 to {n - 1:,}")
    weights = torch.zeros(n)
    weights[index] = weight.float()
    return weights


def save_neurons(neurons: NeuronSet, path: str | Path) -> Path:
    """Write a neuron set as ``NAME.safetensors``; the suffix may be left out."""
    members = list(neurons)
    tensors = {"members": torch.tensor(members, dtype=torch.int64).reshape(-1, 2)}
    if neurons.weights is not None:
        known = [neurons.weights.get(member, float("nan")) for member in members]
        tensors["weight"] = torch.tensor(known, dtype=torch.float64)
    about = {"shape": [neurons.n_layers, neurons.d_mlp], "model": neurons.model}
    about |= {"experts": neurons.experts} if neurons.experts else {}
    return _save(safetensors_path(path), "neurons", tensors, about | {"name": neurons.name})


def read_neurons(path: str | Path) -> NeuronSet:
    """Read a file that `save_neurons` wrote; the suffix may be left out.

    Raises:
        HlensError: No such file, or a file of another kind.
    """
    with _reading(path, "neurons") as (tensors, about):
        members = [tuple(pair) for pair in tensors["members"].tolist()]
        if tensors["members"].dtype != torch.int64 or len(set(members)) < len(members):
            raise HlensError("its members are no whole numbers, or one is there twice")
        weights = None
        if "weight" in tensors:
            pairs = zip(members, tensors["weight"].tolist(), strict=True)
            weights = {member: weight for member, weight in pairs if weight == weight}
        shape = check_shape(*about["shape"])
        name, model = about["name"], about["model"]
        return NeuronSet(
            frozenset(members),
            *shape,
            weights=weights,
            model=model,
            name=name,
            experts=as_experts(about.get("experts", ())),
        )


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
    check_shape(n_layers, d_mlp)
    if not path.is_file() or not is_zipfile(path):
        fact = "is no .npz file" if path.is_file() else "does not exist"
        raise HlensError(
            f"{path} {fact}; joblib and pickle files are never opened: keep coef_ and intercept_ "
            "with numpy.savez(..., coef=..., intercept=...)"
        )
    arrays = read_arrays(path, ("coef", "intercept"), most=n_layers * d_mlp)
    coef, intercept = arrays["coef"].ravel(), arrays["intercept"].ravel()
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
    plain = json.loads(_json(about))
    content = {"kind": kind, "format": _FORMAT, "about": plain, "sha256": _digest(tensors, plain)}
    header = {"hlens": _json(content)}
    check_replaceable(path, b'"hlens"')
    write_tensors(path, tensors, metadata=header)
    return path


@contextmanager
def _reading(path: str | Path, kind: str) -> Iterator[tuple[dict[str, Tensor], Mapping[str, Any]]]:
    """The tensors and the header of a file of a kind; what fails in the block is one line on it."""
    path = safetensors_path(path)
    if not path.is_file():
        raise HlensError(
            f"no {kind} at {path}; run the step that makes it, or give a file, a folder or "
            "owner/name on the hub"
        )
    if path.stat().st_size > _MOST_BYTES:
        raise HlensError(
            f"{path} has {path.stat().st_size:,} bytes; no {kind} of hlens is so large"
        )
    tensors, metadata = read_tensors(path)
    try:
        header = json.loads(metadata.get("hlens", "{}"))
        json.dumps(header, ensure_ascii=False).encode()  # half a character could not be saved again
    except (ValueError, RecursionError):
        header = {}
    if not isinstance(header, dict) or not {"kind", "format", "about"} <= set(header):
        raise HlensError(f"{path} was not written by hlens; expected {kind}, format {_FORMAT}")
    if (header["kind"], header["format"]) != (kind, _FORMAT):
        raise HlensError(
            f"{path} holds {header['kind']!s:.40}, format {header['format']!s:.40}; "
            f"expected {kind}, format {_FORMAT}"
        )
    # Without one in files of earlier versions.
    if header.get("sha256") not in (None, _digest(tensors, header["about"])):
        raise HlensError(
            f"{path} is not what was written (SHA-256); fetch it again, or save it again"
        )
    try:
        yield tensors, header["about"]
    except KeyError as error:
        raise HlensError(f"{path} lacks {error}; save it again") from error
    except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise HlensError(
            f"{path} holds no {kind} that can be read ({first_line(error)}); save it again"
        ) from error


def _digest(tensors: Mapping[str, Tensor], about: Any) -> str:
    """Hash over values and header: such a file leaves its study, and the study's stamps."""
    hashed = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hashed.update(tensor.contiguous().numpy().tobytes())
    return hashed.hexdigest()


def _json(about: Mapping[str, Any], indent: int | None = None) -> str:
    return json.dumps(about, ensure_ascii=False, indent=indent, default=_plain)


def _plain(value: Any) -> Any:
    """Dataclasses as dicts, numbers of numpy and torch as plain ones; all else cannot be JSON."""
    if hasattr(value, "item"):
        return value.item()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise HlensError(f"{value!r} ({type(value).__name__}) cannot be saved; give plain JSON values")
