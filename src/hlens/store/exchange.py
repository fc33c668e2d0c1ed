"""Neurons as CSV and JSON, addressed so that other tools find them, and read back from there.

A neuron is written three times over: as ``L12N345``, as layer and index counted from 0, and by the
hook of TransformerLens where its activation stands (``blocks.12.mlp.hook_post``, at the index).
"""

import csv
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hlens.errors import HlensError
from hlens.store.atomic import write_text
from hlens.types import NeuronSet, address

COLUMNS = ("address", "layer", "neuron", "hook", "weight")

Neuron = tuple[int, int]


def neuron_rows(neurons: NeuronSet) -> list[dict[str, Any]]:
    """One row a neuron, largest weight first, then by address."""
    weights = neurons.weights or {}
    ordered = sorted(neurons, key=lambda member: (-weights.get(member, 0.0), member))
    return [
        {
            "address": address(at),
            "layer": at[0],
            "neuron": at[1],
            "hook": f"blocks.{at[0]}.mlp.hook_post",
            "weight": weights.get(at),
        }
        for at in ordered
    ]


def export_neurons(neurons: NeuronSet, path: str | Path) -> Path:
    """Write the neurons for other programs: ``.csv`` or ``.json`` by the suffix.

    The CSV has the columns ``address, layer, neuron, hook, weight``, largest weight first; the JSON
    holds the same rows, with the model's shape and fingerprint.

    Raises:
        HlensError: Another suffix.
    """
    path = Path(path)
    rows = neuron_rows(neurons)
    if path.suffix == ".csv":
        lines = [",".join(COLUMNS)]
        for row in rows:
            lines.append(",".join("" if row[c] is None else str(row[c]) for c in COLUMNS))
        write_text(path, "\n".join(lines) + "\n")
    elif path.suffix == ".json":
        shape = {"n_layers": neurons.n_layers, "d_mlp": neurons.d_mlp}
        about = {"name": neurons.name, "model": neurons.model, **shape, "neurons": rows}
        write_text(path, json.dumps(about, ensure_ascii=False, indent=1) + "\n")
    else:
        raise HlensError(f"cannot export neurons to {path.name!r}: expected .csv or .json")
    return path


def import_neurons(
    path: str | Path, *, n_layers: int | None = None, d_mlp: int | None = None, name: str = ""
) -> NeuronSet:
    """Read neurons that hlens or another tool wrote as CSV or JSON.

    Args:
        path: A ``.csv`` with a head line, or a ``.json`` that is a list of objects or holds one as
            ``neurons``. Each neuron is given by ``layer`` and ``neuron``, by ``hook`` and
            ``neuron``, or by ``address``; ``weight`` may be missing.
        n_layers: Layers of the model; needed where the file does not say it.
        d_mlp: Neurons in each layer; likewise.
        name: What figures call the set; the file's own name, or that of the file, when empty.

    Raises:
        HlensError: No such file, another suffix, a row without an address, or no shape.
    """
    path = Path(path)
    about, rows = _read(path)
    shape = about.get("shape") or (about.get("n_layers"), about.get("d_mlp"))
    n_layers, d_mlp = n_layers or shape[0], d_mlp or shape[1]
    if not n_layers or not d_mlp:
        raise HlensError(
            f"{path.name} does not say how many layers and neurons its model has; "
            "give n_layers= and d_mlp="
        )
    weights: dict[Neuron, float] = {}
    members = set()
    for number, row in enumerate(rows, 1):
        member = _member(row, f"{path.name}, neuron {number}")
        members.add(member)
        weight = _number(row.get("weight"))
        if not math.isnan(weight):
            weights[member] = weight
    called = name or about.get("name") or path.stem
    model = about.get("model")
    return NeuronSet(frozenset(members), n_layers, d_mlp, weights or None, model, called)


def _read(path: Path) -> tuple[Mapping[str, Any], Iterable[Mapping[str, Any]]]:
    """What the file says of the whole, and its rows."""
    if not path.is_file():
        raise HlensError(f"no file {path}; expected neurons as .csv or .json")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".csv":
            return {}, list(csv.DictReader(text.splitlines()))
        if path.suffix == ".json":
            found = json.loads(text)
            about = found if isinstance(found, dict) else {}
            rows = found.get("neurons") if isinstance(found, dict) else found
            if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
                return about, rows
    except ValueError as error:
        raise HlensError(f"{path} cannot be read ({error}); export it again") from error
    raise HlensError(f"{path} holds no list of neurons; expected .csv, or .json with 'neurons'")


def _member(row: Mapping[str, Any], where: str) -> Neuron:
    """The neuron of a row, by whichever of its addresses is there."""
    layer, neuron = _number(row.get("layer")), _number(row.get("neuron"))
    hook = re.search(r"blocks\.(\d+)\.", str(row.get("hook") or ""))
    if math.isnan(layer) and hook:
        layer = float(hook[1])
    written = re.fullmatch(r"L(\d+)[·.]?N(\d+)", str(row.get("address") or "").strip())
    if (math.isnan(layer) or math.isnan(neuron)) and written:
        layer, neuron = float(written[1]), float(written[2])
    if not (layer.is_integer() and neuron.is_integer()):
        raise HlensError(
            f"{where} has no address; expected whole numbers 'layer' and 'neuron', a 'hook' and "
            "'neuron', or an 'address' such as L12N345"
        )
    return int(layer), int(neuron)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
