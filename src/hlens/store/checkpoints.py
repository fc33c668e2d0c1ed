"""Edited checkpoints in the Hugging Face layout; the folder appears whole or not at all."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hlens.errors import HlensError, first_line
from hlens.locks import sweep, using
from hlens.store.atomic import PARTIAL, write_text
from hlens.store.tensor_file import read_tensors, write_tensors

RECORD = "hlens_edit.safetensors"


def save_checkpoint(
    hf: Any,
    tokenizer: Any,
    folder: Path,
    *,
    card: str,
    tensors: Mapping[str, Tensor] | None = None,
    record: Mapping[str, str] | None = None,
) -> Path:
    """Write a Hugging Face model, its tokenizer (or None) and a model card into a new folder.

    With `tensors` (factors and original rows), they and `record` are written as what was edited.
    """
    if folder.exists():
        raise HlensError(f"{folder} exists; choose a new folder, nothing is overwritten")
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}{PARTIAL}")
    sweep(folder.parent.glob(f".{folder.name}.*{PARTIAL}"))  # which a kill left
    aside.mkdir()
    try:
        with using(aside):
            _save_pretrained(hf, tokenizer, aside)
            write_text(aside / "README.md", card)
            if tensors:
                metadata = {"record": json.dumps(dict(record or {}))}
                write_tensors(aside / RECORD, tensors, metadata=metadata)
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def load_edit_record(folder: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Factors and original rows of a baked checkpoint, and what was baked from what."""
    path = folder / RECORD
    if not path.is_file():
        raise HlensError(f"{folder} is no baked checkpoint of hlens: it holds no {RECORD}")
    tensors, metadata = read_tensors(path, mend="bake the edit again")
    return tensors, json.loads(metadata["record"])


def _save_pretrained(hf: Any, tokenizer: Any, folder: Path) -> None:
    try:
        hf.save_pretrained(folder)
    except (AttributeError, KeyError, RuntimeError, ValueError) as error:
        raise HlensError(
            f"{type(hf).__name__} cannot be saved ({first_line(error)}); load the plain "
            "model with hlens.load instead of passing a TransformerBridge"
        ) from error
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
