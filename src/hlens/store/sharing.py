"""Detectors and neuron sets that others can load: a folder in the hub's layout, and the hub itself.

A folder holds ``detector.safetensors`` or ``neurons.safetensors``, the neurons as CSV, and a card.
The hub's client is imported here alone, and only when a hub is meant.
"""

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from hlens.errors import HlensError
from hlens.store import detectors
from hlens.store.atomic import write_text
from hlens.store.card import card
from hlens.store.exchange import export_neurons, import_neurons
from hlens.types import Detector, NeuronSet

CARD = "README.md"
FILES = ("*.safetensors", "*.json", "*.csv", CARD)


def to_folder(
    found: Detector | NeuronSet,
    folder: str | Path,
    *,
    scores: pd.DataFrame | None = None,
    note: str = "",
) -> Path:
    """Write a detector or a neuron set as a folder that `load_detector` or `load_neurons` reads.

    Args:
        found: What to share.
        folder: Where; made when absent.
        scores: The detector beside its controls, for the card.
        note: A paragraph of your own for the card, as Markdown.

    Returns:
        The folder.

    Raises:
        HlensError: The folder holds a README that hlens did not write.
    """
    return _write(found, Path(folder), str(folder), scores, note)


def push(
    found: Detector | NeuronSet,
    repo: str,
    *,
    scores: pd.DataFrame | None = None,
    note: str = "",
    private: bool = True,
) -> str:
    """Send a detector or a neuron set to the hub; nothing but the files of `to_folder` is sent.

    Args:
        found: What to share. It holds no text of prompts or answers.
        repo: ``owner/name`` on the hub; made when absent.
        scores: The detector beside its controls, for the card.
        note: A paragraph of your own for the card, as Markdown.
        private: Whether a repository that is made is private.

    Returns:
        Where it now stands.

    Raises:
        HlensError: A name that is no ``owner/name``, no client, or a hub that refused.
    """
    if not _is_hub_id(repo):
        raise HlensError(f"{repo!r} is no name on a hub; expected owner/name")
    hub = _client("sending to the hub")
    with tempfile.TemporaryDirectory() as aside:
        folder = _write(found, Path(aside) / "found", repo, scores, note)
        try:
            api = hub.HfApi()
            api.create_repo(repo, private=private, exist_ok=True)
            sent = api.upload_folder(repo_id=repo, folder_path=str(folder))
        except Exception as error:  # the client raises many kinds; each means: not sent
            reason = _first_line(error)
            raise HlensError(
                f"{repo} was not sent to the hub ({reason}); log in with `hf auth login`, or share "
                "the folder that hlens.store.to_folder writes"
            ) from error
    return str(sent)


def load_detector(where: str | Path, *, revision: str | None = None) -> Detector:
    """Read a detector from a file, a folder or the hub.

    Args:
        where: What `hlens.store.save_detector` or `to_folder` wrote, or ``owner/name`` on the hub.
        revision: Branch, tag or commit on the hub.

    Raises:
        HlensError: Nothing there, a file of another kind, or a hub that cannot be reached.
    """
    found = _local(where, revision, "detector")
    return detectors.load_detector(found / "detector" if found.is_dir() else found)


def load_neurons(
    where: str | Path,
    *,
    name: str = "",
    n_layers: int | None = None,
    d_mlp: int | None = None,
    revision: str | None = None,
) -> NeuronSet:
    """Read a neuron set from a file, a folder or the hub, so that it can be compared with others.

    Args:
        where: A ``.safetensors``, ``.csv`` or ``.json`` file, a folder that holds a neuron set or a
            detector (its H-neurons are taken), or ``owner/name`` on the hub.
        name: What figures and tables call the set; its own name, or that of the file, when empty.
        n_layers: Layers of the model, where a file of another tool does not say it.
        d_mlp: Neurons in each layer, likewise.
        revision: Branch, tag or commit on the hub.

    Raises:
        HlensError: Nothing there, a file that holds no neurons, or a hub that cannot be reached.
    """
    found = _local(where, revision, "neurons")
    if found.suffix in (".csv", ".json"):
        return import_neurons(found, n_layers=n_layers, d_mlp=d_mlp, name=name)
    is_detector = found.is_dir() and not (found / "neurons.safetensors").is_file()
    if is_detector:
        read = replace(detectors.load_detector(found / "detector").neurons, name="")
    else:
        read = detectors.load_neurons(found / "neurons" if found.is_dir() else found)
    return replace(read, name=name or read.name or Path(where).name)


def _write(
    found: Detector | NeuronSet, folder: Path, where: str, scores: pd.DataFrame | None, note: str
) -> Path:
    about = folder / CARD
    if about.exists() and "library_name: hlens" not in about.read_text(encoding="utf-8"):
        raise HlensError(f"{about} was not written by hlens and is kept; choose another folder")
    if isinstance(found, Detector):
        detectors.save_detector(found, folder / "detector")
        export_neurons(found.selected, folder / "neurons.csv")
    else:
        detectors.save_neurons(found, folder / "neurons")
        export_neurons(found, folder / "neurons.csv")
    write_text(about, card(found, where, scores, note))
    return folder


def _local(where: str | Path, revision: str | None, what: str) -> Path:
    """The file or folder on this machine, fetched from the hub where none stands."""
    path = Path(where)
    stands = path.exists() or path.with_name(path.name + ".safetensors").is_file()
    if stands or not _is_hub_id(str(where)):
        if not stands:
            raise HlensError(f"no {what} at {path}; expected a file, a folder or owner/name")
        return path
    hub = _client(f"{where} is no file or folder here, and reading it from the hub")
    try:
        return Path(hub.snapshot_download(str(where), revision=revision, allow_patterns=FILES))
    except Exception as error:  # the client raises many kinds; each means: not to be had
        raise HlensError(
            f"{where} is no file or folder here, and cannot be had from the hub "
            f"({_first_line(error)})"
        ) from error


def _is_hub_id(text: str) -> bool:
    return bool(re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", text))


def _client(doing: str) -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise HlensError(
            f"{doing} needs the package huggingface_hub: pip install 'hlens[hub]'"
        ) from error
    return huggingface_hub


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
