"""The only place that writes files: each noun is saved and loaded by functions of its own."""

from hlens.store.atomic import remove_folder, sweep, write_bytes, write_text, writing
from hlens.store.contributions import (
    contributions_about,
    load_contributions,
    save_contributions,
    write_contributions,
)
from hlens.store.detectors import import_coefficients, save_detector, save_neurons
from hlens.store.evidence import load_evidence, save_evidence
from hlens.store.exchange import export_neurons, import_neurons
from hlens.store.shards import Shards
from hlens.store.sharing import load_detector, load_neurons, push, to_folder

__all__ = [
    "Shards",
    "contributions_about",
    "export_neurons",
    "import_coefficients",
    "import_neurons",
    "load_contributions",
    "load_detector",
    "load_evidence",
    "load_neurons",
    "push",
    "remove_folder",
    "save_contributions",
    "save_detector",
    "save_evidence",
    "save_neurons",
    "sweep",
    "to_folder",
    "write_bytes",
    "write_contributions",
    "write_text",
    "writing",
]
