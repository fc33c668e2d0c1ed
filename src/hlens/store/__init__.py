"""Where files are written: each noun has functions that save and load it.

Every file is written whole or not at all (`atomic`), so that a killed run leaves no half of one;
every tensor file (`tensor_file`) carries what it is in its header, so that a file of another kind,
model or run is refused by name. Work too long to be lost is stored in parts (`resumable`).
"""

from hlens.store.atomic import remove_folder, write_bytes, write_text
from hlens.store.contributions import (
    contributions_metadata,
    load_contributions,
    save_contributions,
    write_contributions,
)
from hlens.store.detectors import import_coefficients, save_detector, save_neurons
from hlens.store.evidence import load_evidence, save_evidence
from hlens.store.neuron_tables import export_neurons, import_neurons
from hlens.store.resumable import RowParts, Shards
from hlens.store.sharing import load_detector, load_neurons, push, to_folder
from hlens.store.tables import load_table, save_table

__all__ = [
    "RowParts",
    "Shards",
    "contributions_metadata",
    "export_neurons",
    "import_coefficients",
    "import_neurons",
    "load_contributions",
    "load_detector",
    "load_evidence",
    "load_neurons",
    "load_table",
    "push",
    "remove_folder",
    "save_contributions",
    "save_detector",
    "save_evidence",
    "save_neurons",
    "save_table",
    "to_folder",
    "write_bytes",
    "write_contributions",
    "write_text",
]
