"""Tables of neurons as CSV and JSON, addressed so that other tools find them.

Each neuron has three addresses: ``L12N345``, its layer and index counted from 0, and the hook of
TransformerLens that holds its activation (``blocks.12.mlp.hook_post``, at the index).
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hlens.data_files import naming, read_csv, read_json
from hlens.errors import HlensError
from hlens.store.atomic import write_text
from hlens.types import Detector, NeuronSet, address, as_experts
from hlens.types.neurons import check_shape

COLUMNS = ("address", "layer", "neuron", "hook", "weight")


def neuron_rows(neurons: NeuronSet) -> list[dict[str, Any]]:
    """The rows of `NeuronSet.to_frame` as JSON holds them: what is missing is None."""
    rows = neurons.to_frame().to_dict("records")
    return [
        {
            str(name): None if value is None or value != value else value
            for name, value in row.items()
        }
        for row in rows
    ]


def export_neurons(neurons: NeuronSet | Detector, path: str | Path) -> Path:
    """Write the neurons for other programs: ``.csv`` or ``.json`` by the suffix.

    The CSV has the columns ``address, layer, neuron, hook, weight`` (see `NeuronSet.to_frame`),
    the largest weight first, whatever its sign; the JSON holds the same rows, with the model's
    shape and fingerprint. Of a detector, all neurons of nonzero weight are written.

    Raises:
        HlensError: Another suffix, or a file of that name that hlens did not write.
    """
    path = Path(path)
    neurons = neurons.selected if isinstance(neurons, Detector) else neurons
    rows = neuron_rows(neurons)
    if path.suffix.lower() == ".csv":
        lines = [",".join("" if v is None else str(v) for v in row.values()) for row in rows]
        write_text(path, "\n".join([",".join(COLUMNS), *lines, ""]), ",".join(COLUMNS).encode())
    elif path.suffix == ".json":
        shape: dict[str, Any] = {"n_layers": neurons.n_layers, "d_mlp": neurons.d_mlp}
        shape |= {"experts": neurons.experts} if neurons.experts else {}
        about = {"name": neurons.name, "model": neurons.model, **shape, "neurons": rows}
        write_text(path, json.dumps(about, ensure_ascii=False, indent=1) + "\n", b'"neurons"')
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
        HlensError: No such file, another suffix, a row without an address or with two that differ,
            a neuron twice, a weight that is not a number, or no shape, or another than is given.
    """
    path = Path(path)
    about, rows = _read_table(path)
    shape = _shape(about, n_layers, d_mlp, path)
    for key in ("name", "model"):
        if not isinstance(about.get(key), str | None):  # an empty list is no text either
            raise HlensError(f"{path.name}: {key} is {about[key]!r:.60}; expected text")
    weights: dict[tuple[int, int], float] = {}
    for number, row in enumerate(rows, 1):
        where = f"{path.name}, neuron {number}"
        neuron = _neuron_of_row(row, where)
        if neuron in weights:
            raise HlensError(f"{where} is {address(neuron)}, which is there before; give each once")
        weights[neuron] = _weight(row.get("weight"), where)
    with naming(path.name):
        return NeuronSet(
            frozenset(weights),
            *shape,
            weights={neuron: w for neuron, w in weights.items() if not math.isnan(w)} or None,
            model=about.get("model"),
            name=name or about.get("name") or path.stem,
            experts=as_experts(about.get("experts", ())),
        )


def _shape(
    about: Mapping[str, Any], n_layers: int | None, d_mlp: int | None, path: Path
) -> tuple[int, int]:
    """The shape that the file holds, or else the one that is given."""
    held = about.get("shape") or (about.get("n_layers"), about.get("d_mlp"))
    if not isinstance(held, list | tuple) or len(held) != 2:
        raise HlensError(f"{path.name}: shape is {held!r:.60}; expected layers and neurons a layer")
    shape = tuple(
        h if h is not None else given for h, given in zip(held, (n_layers, d_mlp), strict=True)
    )
    if None in shape:
        raise HlensError(
            f"{path.name} does not say how many layers and neurons its model has; "
            "give n_layers= and d_mlp="
        )
    for h, given in zip(shape, (n_layers, d_mlp), strict=True):
        if given is not None and h != given:
            raise HlensError(
                f"{path.name} holds neurons of {shape[0]} layers x {shape[1]}, and n_layers="
                f"{n_layers}, d_mlp={d_mlp} was given; leave these out, or give the file's"
            )
    return check_shape(*shape)


def _read_table(path: Path) -> tuple[Mapping[str, Any], Iterable[Mapping[str, Any]]]:
    """The file's entries about the whole set, and its rows."""
    if not path.is_file():
        raise HlensError(f"no file {path}; expected neurons as .csv or .json")
    if path.suffix == ".csv":
        return {}, read_csv(path, every_row=True)
    if path.suffix == ".json":
        content = read_json(path)
        about = content if isinstance(content, dict) else {}
        rows = about.get("neurons") if isinstance(content, dict) else content
        if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
            return about, rows
    raise HlensError(f"{path} holds no list of neurons; expected .csv, or .json with 'neurons'")


def _neuron_of_row(row: Mapping[str, Any], where: str) -> tuple[int, int]:
    """The neuron of a row, by whichever address the row has; where it has several they agree."""
    layer, neuron = _whole(row.get("layer")), _whole(row.get("neuron"))
    hook = re.search(r"blocks\.([0-9]+)\.", str(row.get("hook") or ""))
    text = str(row.get("address") or "").strip()
    short = re.fullmatch(r"L([0-9]+)[·.]?(?:(E[0-9]+|S)[·.]?)?N([0-9]+)", text)
    # The number within an expert is none within the layer.
    in_layer = None if short is None or short[2] else _whole(short[3])
    held = layer, _whole(hook and hook[1]), _whole(short and short[1])
    layers = {one for one in held if one is not None}
    neurons = {one for one in (neuron, in_layer) if one is not None}
    if not layers or not neurons:
        raise HlensError(
            f"{where} has no address; expected whole numbers 'layer' and 'neuron', a 'hook' and "
            "'neuron', or an 'address' such as L12N345"
        )
    if len(layers) > 1 or len(neurons) > 1:
        raise HlensError(f"{where} has addresses that differ; leave one, or mend the other")
    return next(iter(layers)), next(iter(neurons))


def _whole(value: Any) -> int | None:
    """A whole number, also as text or as ``12.0``; None for anything else."""
    number = _number(value)
    return int(number) if number.is_integer() else None


def _weight(value: Any, where: str) -> float:
    """The weight of a row; NaN where it has none."""
    weight = _number(value)
    if value not in (None, "") and not math.isfinite(weight):
        raise HlensError(f"{where} has the weight {value!r:.60}; expected a finite number, or none")
    return weight


def _number(value: Any) -> float:
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
