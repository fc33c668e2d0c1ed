"""Tables of neurons as CSV and JSON, addressed so that other tools find them.

Each neuron has three addresses: ``L12N345``, its layer and index counted from 0, and the hook of
TransformerLens that holds its activation (``blocks.12.mlp.hook_post``, at the index).
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


def neuron_rows(neurons: NeuronSet) -> list[dict[str, Any]]:
    """One row per neuron, largest weight first, then by address."""
    weights = neurons.weights or {}
    ordered = sorted(neurons, key=lambda member: (-weights.get(member, 0.0), member))
    return [
        {
            "address": address((layer, neuron)),
            "layer": layer,
            "neuron": neuron,
            "hook": f"blocks.{layer}.mlp.hook_post",
            "weight": weights.get((layer, neuron)),
        }
        for layer, neuron in ordered
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
        lines = [",".join("" if v is None else str(v) for v in row.values()) for row in rows]
        write_text(path, "\n".join([",".join(COLUMNS), *lines, ""]))
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
        path: A ``.csv`` with a header line, or a ``.json`` with a list of objects, at the top or as
            ``neurons``. Each neuron is given by ``layer`` and ``neuron``, by ``hook`` and
            ``neuron``, or by ``address``; ``weight`` may be missing.
        n_layers: Layers of the model; needed where the file does not hold it.
        d_mlp: Neurons in each layer; needed likewise.
        name: Name of the set in figures; when empty, the one in the file, or else the file's.

    Raises:
        HlensError: No such file, another suffix, a row without an address, or no shape.
    """
    path = Path(path)
    about, rows = _read_table(path)
    shape = about.get("shape") or (about.get("n_layers"), about.get("d_mlp"))
    n_layers, d_mlp = n_layers or shape[0], d_mlp or shape[1]
    if not n_layers or not d_mlp:
        raise HlensError(
            f"{path.name} does not say how many layers and neurons its model has; "
            "give n_layers= and d_mlp="
        )
    pairs = [
        (_neuron_of_row(row, f"{path.name}, neuron {number}"), _number(row.get("weight")))
        for number, row in enumerate(rows, 1)
    ]
    return NeuronSet(
        frozenset(neuron for neuron, _ in pairs),
        n_layers,
        d_mlp,
        weights={neuron: weight for neuron, weight in pairs if not math.isnan(weight)} or None,
        model=about.get("model"),
        name=name or about.get("name") or path.stem,
    )


def _read_table(path: Path) -> tuple[Mapping[str, Any], Iterable[Mapping[str, Any]]]:
    """The file's entries about the whole set, and its rows."""
    if not path.is_file():
        raise HlensError(f"no file {path}; expected neurons as .csv or .json")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".csv":
            return {}, list(csv.DictReader(text.splitlines()))
        if path.suffix == ".json":
            content = json.loads(text)
            about = content if isinstance(content, dict) else {}
            rows = about.get("neurons") if isinstance(content, dict) else content
            if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
                return about, rows
    except ValueError as error:
        raise HlensError(f"{path} cannot be read ({error}); export it again") from error
    raise HlensError(f"{path} holds no list of neurons; expected .csv, or .json with 'neurons'")


def _neuron_of_row(row: Mapping[str, Any], where: str) -> tuple[int, int]:
    """The neuron of a row, by whichever address the row has."""
    layer, neuron = _number(row.get("layer")), _number(row.get("neuron"))
    hook = re.search(r"blocks\.(\d+)\.", str(row.get("hook") or ""))
    if math.isnan(layer) and hook:
        layer = float(hook[1])
    short = re.fullmatch(r"L(\d+)[·.]?N(\d+)", str(row.get("address") or "").strip())
    if (math.isnan(layer) or math.isnan(neuron)) and short:
        layer, neuron = float(short[1]), float(short[2])
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
