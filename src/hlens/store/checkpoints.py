"""Edited checkpoints and adapters in the layouts of other software, whole or not there at all."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypedDict, TypeVar

from safetensors import SafetensorError
from torch import Tensor

from hlens.errors import HlensError, reason_of
from hlens.locks import sweep, using
from hlens.store.atomic import PARTIAL, write_text
from hlens.store.checked import parse_json
from hlens.store.tensor_file import read_tensors, write_tensors

# Its format is safetensors; under that suffix engines such as vLLM take it for weights, and stop.
RECORD = "hlens_edit.record"
_FORMER_RECORD = "hlens_edit.safetensors"
MEND = "bake the edit again"
T = TypeVar("T")


def save_checkpoint(
    save_model: Callable[[Path], object],
    folder: Path,
    *,
    card: str,
    tensors: Mapping[str, Tensor] | None = None,
    record: Mapping[str, str] | None = None,
) -> Path:
    """Let `save_model` write a model into a new folder, and put a model card beside it.

    With `tensors` (factors and original rows), they and `record` are written as what was edited.
    """
    if os.path.lexists(folder):  # a link to nowhere is somebody's, too
        raise HlensError(f"{folder} exists; choose a new folder, nothing is overwritten")
    aside = folder.with_name(f".{folder.name}.{os.getpid()}{PARTIAL}")
    sweep(folder.parent.glob(f".{folder.name}.*{PARTIAL}"))  # which a kill left
    try:
        aside.mkdir(parents=True)
        with using(aside):
            save_model(aside)
            write_text(aside / "README.md", card)
            if tensors:
                metadata = {"record": json.dumps(dict(record or {}))}
                write_tensors(aside / RECORD, tensors, metadata=metadata)
            aside.rename(folder)
    except (OSError, SafetensorError) as error:
        raise HlensError(
            f"cannot write {folder} ({reason_of(error)}), and nothing of it was left; choose a "
            "folder with room that may be written"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


class AdapterRecord(TypedDict):
    """Which model an adapter was made for."""

    base: str
    base_fingerprint: str


class EditRecord(AdapterRecord):
    """What was baked from what."""

    edited_fingerprint: str


def load_edit_record(folder: Path) -> tuple[dict[str, Tensor], EditRecord]:
    """Factors and original rows of a baked checkpoint, and what was baked from what.

    Raises:
        HlensError: No record, or one that `save_checkpoint` did not write.
    """
    path = folder / RECORD
    if not path.is_file():
        path = folder / _FORMER_RECORD
    return _read_record(path, "baked checkpoint", EditRecord, MEND)


def load_adapter_record(folder: Path) -> tuple[dict[str, Tensor], AdapterRecord]:
    """Factors of an adapter, and the model that it was made for.

    Raises:
        HlensError: No record, or one that `save_checkpoint` did not write.
    """
    return _read_record(folder / RECORD, "adapter", AdapterRecord, "export the adapter again")


def _read_record(path: Path, what: str, shape: type[T], mend: str) -> tuple[dict[str, Tensor], T]:
    if not path.is_file():
        raise HlensError(f"{path.parent} is no {what} of hlens: it holds no {RECORD}")
    tensors, metadata = read_tensors(path, mend=mend)
    return tensors, parse_json(metadata.get("record", ""), str(path), shape=shape, mend=mend)
