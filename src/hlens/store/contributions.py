"""Contributions on disk: one neuron-major tensor file, with its examples in the header.

``NAME.safetensors`` holds ``[layer, neuron, example]``, so that a probe reads a neuron's values of
all examples in one run of bytes, layer by layer, without holding them all; of a mixture it holds
what is not zero, expert by expert (`hlens.store.values_file`). Its header holds the question,
group, domain, label and length of each example; ``NAME.index.jsonl`` is a copy of these for people
and other programs, and is never read back.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor

from hlens.errors import HlensError
from hlens.store.checked import MEND, parse_json
from hlens.store.jsonl import save_rows
from hlens.store.tensor_file import (
    provenance_from_json,
    read_metadata,
    safetensors_path,
    verify_checksum,
)
from hlens.store.values_file import Read, Shape, read_values, write_values
from hlens.types import Contributions

KIND = "contributions"


class _IndexRow(TypedDict):
    question_id: str
    group: str
    domain: str
    hallucinated: bool
    n_tokens: int


def save_contributions(data: Contributions, path: str | Path) -> Path:
    """Write contributions (float32 or float16), layer by layer.

    The suffix of `path` may be left out; the tensor file is returned.
    """

    def read(layer: int, part: slice) -> Tensor:
        return data.values[:, layer, part].T

    return write_contributions(data, path, dtype=data.values.dtype, read=read)


def write_contributions(
    data: Contributions,
    path: str | Path,
    *,
    dtype: torch.dtype,
    read: Read,
    identity: str = "",
) -> Path:
    """Write contributions whose values are computed piece by piece.

    Args:
        data: All but the values: these may be a tensor without storage (device ``"meta"``).
        path: ``NAME.safetensors``; the suffix may be left out.
        dtype: float32 or float16.
        read: Returns ``[neuron, example]`` of some neurons of a layer.
        identity: Hash of the run that measured them, or empty.
    """
    path = safetensors_path(path)
    columns = {
        "question_id": data.question_ids,
        "group": data.groups,
        "domain": data.domains,
        "hallucinated": data.labels.tolist(),
        "n_tokens": data.n_tokens.tolist(),
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    # The copy comes first: a run that finds the tensor file takes the work for finished.
    save_rows(rows, path.with_name(path.stem + ".index.jsonl"))
    metadata = {
        "hlens": KIND,
        "metric": data.metric,
        "region": data.region,
        "provenance": json.dumps(asdict(data.provenance)),
        "examples": json.dumps(rows),
        "identity": identity,
    }
    shape = Shape(len(data), data.n_layers, data.d_mlp, data.provenance.experts)
    write_values(path, shape, read, dtype=dtype, metadata=metadata)
    return path


def load_contributions(path: str | Path, *, check: bool = True) -> Contributions:
    """Read contributions; the values stay on disk until they are touched.

    Args:
        path: ``NAME.safetensors``; the suffix may be left out.
        check: Read all values once and compare their checksum (a second and a half a gigabyte).

    Raises:
        HlensError: A missing, truncated, foreign or damaged file, named.
    """
    path = safetensors_path(path)
    metadata = contributions_metadata(path)
    if check:
        verify_checksum(path)
    text = metadata["examples"]
    rows = parse_json(text, f"{path}, examples of its header", shape=list[_IndexRow])
    values = read_values(path)
    if len(values) != len(rows):
        raise HlensError(
            f"{path} holds values of {len(values)} examples, and names {len(rows)}; {MEND}"
        )
    return Contributions(
        values=values,
        labels=torch.tensor([row["hallucinated"] for row in rows], dtype=torch.bool),
        groups=tuple(row["group"] for row in rows),
        domains=tuple(row["domain"] for row in rows),
        question_ids=tuple(row["question_id"] for row in rows),
        n_tokens=torch.tensor([row["n_tokens"] for row in rows], dtype=torch.long),
        region=metadata["region"],
        metric=metadata["metric"],
        provenance=provenance_from_json(
            parse_json(metadata["provenance"], f"{path}, provenance of its header")
        ),
    )


def contributions_metadata(path: str | Path) -> dict[str, str]:
    """Metric, region, provenance and identity of a file, without its values.

    Raises:
        HlensError: A missing or truncated file, or one of another kind.
    """
    path = safetensors_path(path)
    metadata = read_metadata(path)
    kind = metadata.get("hlens", "something else")
    if kind != KIND:
        raise HlensError(f"{path} holds {kind}, not contributions")
    if missing := {"examples", "metric", "provenance", "region"} - set(metadata):
        raise HlensError(f"{path}: its header names no {', '.join(sorted(missing))}; {MEND}")
    return metadata
