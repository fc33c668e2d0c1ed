"""Detectors and neuron sets that others can load: a folder in the hub's layout, and the hub itself.

A folder holds ``detector.safetensors`` or ``neurons.safetensors``, the neurons as CSV, and a card.
Only this module imports the hub's client, and only when a hub is meant.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from hlens.errors import HlensError, first_line
from hlens.store.atomic import write_text
from hlens.store.detectors import read_detector, read_neurons, save_detector, save_neurons
from hlens.store.neuron_tables import export_neurons, import_neurons
from hlens.store.sharing_card import is_hub_id, sharing_card
from hlens.types import Detector, NeuronSet

CARD = "README.md"
FILES = ("*.safetensors", "*.json", "*.csv", CARD)


def to_folder(
    shared: Detector | NeuronSet,
    folder: str | Path,
    *,
    scores: pd.DataFrame | None = None,
    note: str = "",
) -> Path:
    """Write a detector or a neuron set as a folder that `load_detector` or `load_neurons` reads.

    Args:
        shared: What to share.
        folder: The folder; made when absent.
        scores: The detector and its controls, for the card.
        note: A paragraph of your own for the card, as Markdown.

    Raises:
        HlensError: The folder holds a README that hlens did not write.
    """
    return _write(shared, Path(folder), sharing_card(shared, str(folder), scores=scores, note=note))


def push(
    shared: Detector | NeuronSet,
    repo: str,
    *,
    scores: pd.DataFrame | None = None,
    note: str = "",
    private: bool = True,
) -> str:
    """Send a detector or a neuron set to the hub; only the files of `to_folder` are sent.

    Args:
        shared: What to share. It holds no text of prompts or answers.
        repo: ``owner/name`` on the hub; made when absent.
        scores: For the card, as in `to_folder`.
        note: For the card, likewise.
        private: Whether a new repository is private.

    Returns:
        Its address on the hub.

    Raises:
        HlensError: A name that is not ``owner/name``, no client, or a hub that refused.
    """
    if not is_hub_id(repo):
        raise HlensError(f"{repo!r} is no name on a hub; expected owner/name")
    hub = _client("sending to the hub")
    card = sharing_card(shared, repo, scores=scores, note=note)
    with tempfile.TemporaryDirectory() as folder:
        _write(shared, Path(folder), card)
        try:
            api = hub.HfApi()
            api.create_repo(repo, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=repo, folder_path=folder))
        except Exception as error:  # the client raises many kinds, all of which mean: not sent
            raise HlensError(
                f"{repo} was not sent to the hub ({first_line(error)}); log in with `hf auth "
                "login`, or share the folder that hlens.store.to_folder writes"
            ) from error


def load_detector(source: str | Path, *, revision: str | None = None) -> Detector:
    """Read a detector from a file, a folder or the hub.

    Args:
        source: What `hlens.store.save_detector` or `to_folder` wrote, or ``owner/name`` on the hub;
            a `Path` is never looked for on the hub.
        revision: Branch, tag or commit on the hub.

    Raises:
        HlensError: Nothing there, a file of another kind, or a hub that cannot be reached.
    """
    path = _local_path(source, revision)
    return read_detector(path / "detector" if path.is_dir() else path)


def load_neurons(
    source: str | Path,
    *,
    name: str = "",
    n_layers: int | None = None,
    d_mlp: int | None = None,
    revision: str | None = None,
) -> NeuronSet:
    """Read a neuron set from a file, a folder or the hub, so that it can be compared with others.

    Args:
        source: A ``.safetensors``, ``.csv`` or ``.json`` file, a folder that holds a neuron set or
            a detector (its H-neurons are taken), or ``owner/name`` on the hub; a `Path` is never
            looked for on the hub.
        name: Name of the set in figures and tables; when empty, its own name, or the file's.
        n_layers: Layers of the model, where a file of another tool does not hold it.
        d_mlp: Neurons in each layer, likewise.
        revision: Branch, tag or commit on the hub.

    Raises:
        HlensError: Nothing there, a file that holds no neurons, or a hub that cannot be reached.
    """
    path = _local_path(source, revision)
    if path.suffix in (".csv", ".json"):
        return import_neurons(path, n_layers=n_layers, d_mlp=d_mlp, name=name)
    if path.is_dir() and not (path / "neurons.safetensors").is_file():
        neurons = replace(read_detector(path / "detector").neurons, name="")
    else:
        neurons = read_neurons(path / "neurons" if path.is_dir() else path)
    return replace(neurons, name=name or neurons.name or Path(source).name)


def _write(shared: Detector | NeuronSet, folder: Path, card: str) -> Path:
    readme = folder / CARD
    if readme.exists() and "library_name: hlens" not in readme.read_text(encoding="utf-8"):
        raise HlensError(f"{readme} was not written by hlens and is kept; choose another folder")
    if isinstance(shared, Detector):
        save_detector(shared, folder / "detector")
        export_neurons(shared.selected, folder / "neurons.csv")
    else:
        save_neurons(shared, folder / "neurons")
        export_neurons(shared, folder / "neurons.csv")
    write_text(readme, card)
    return folder


def _local_path(source: str | Path, revision: str | None) -> Path:
    """The file or folder on this machine, fetched from the hub where it is a hub id."""
    path = Path(source)
    exists = path.exists() or path.with_name(path.name + ".safetensors").is_file()
    if exists or isinstance(source, Path) or not is_hub_id(source):
        return path
    hub = _client(f"{source} is no file or folder here, and reading it from the hub")
    try:
        return Path(hub.snapshot_download(source, revision=revision, allow_patterns=FILES))
    except Exception as error:  # the client raises many kinds, all of which mean: not fetched
        raise HlensError(
            f"{source} is no file or folder here, and could not be fetched from the hub "
            f"({first_line(error)})"
        ) from error


def _client(purpose: str) -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise HlensError(
            f"{purpose} needs the package huggingface_hub: pip install 'hlens[hub]'"
        ) from error
    return huggingface_hub
