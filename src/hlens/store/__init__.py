"""Where files are written: each noun has functions that save and load it.

Every file is written whole or not at all (`atomic`), so that a killed run leaves no half of one;
every tensor file (`tensor_file`) carries what it is in its header, so that a file of another kind,
model or run is refused by name. Work too long to be lost is stored in parts (`resumable`).
"""

from hlens.kinds import explain_public
from hlens.store.atomic import check_replaceable as check_replaceable
from hlens.store.atomic import remove_folder as remove_folder
from hlens.store.atomic import remove_partial_files as remove_partial_files
from hlens.store.atomic import write_bytes as write_bytes
from hlens.store.atomic import write_once as write_once
from hlens.store.atomic import write_text as write_text
from hlens.store.contributions import contributions_metadata as contributions_metadata
from hlens.store.contributions import load_contributions as load_contributions
from hlens.store.contributions import save_contributions as save_contributions
from hlens.store.contributions import write_contributions as write_contributions
from hlens.store.detectors import check_detector_file as check_detector_file
from hlens.store.detectors import import_coefficients as import_coefficients
from hlens.store.detectors import save_detector as save_detector
from hlens.store.detectors import save_neurons as save_neurons
from hlens.store.evidence import load_evidence as load_evidence
from hlens.store.evidence import save_evidence as save_evidence
from hlens.store.neuron_tables import export_neurons as export_neurons
from hlens.store.neuron_tables import import_neurons as import_neurons
from hlens.store.resumable import Blocks as Blocks
from hlens.store.resumable import RowParts as RowParts
from hlens.store.sharing import load_detector as load_detector
from hlens.store.sharing import load_neurons as load_neurons
from hlens.store.sharing import push as push
from hlens.store.sharing import to_folder as to_folder
from hlens.store.tables import load_table as load_table
from hlens.store.tables import save_table as save_table

explain_public(globals())
