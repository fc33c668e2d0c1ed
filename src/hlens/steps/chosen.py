"""Which neurons of a study are edited: a set of its detector by name, or those of a file."""

from pathlib import Path
from typing import Any

from hlens.data_files import hash_file
from hlens.errors import HlensError
from hlens.lookup import unknown
from hlens.steps.runner import Runner
from hlens.steps.step import Source
from hlens.store import load_neurons
from hlens.types import Detector, NeuronSet
from hlens.types.detector import SETS


def choose_neurons(detector: Detector, which: str) -> NeuronSet:
    """The neurons that ``--neurons`` or the recipe's ``intervene.neurons`` says.

    Args:
        detector: The study's own.
        which: ``"h"``, ``"truth"`` or ``"both"`` of its signs, or a file or folder that
            `hlens.store.load_neurons` reads; its neurons are then called after it.

    Raises:
        HlensError: No such set or file, none in it, or those of another model.
    """
    neurons = detector.chosen(which) if which in SETS else _read(detector, which)
    if not len(neurons):
        raise HlensError(
            f"{neurons.name}: there are none to edit ({len(detector.selected)} neurons were "
            f"selected); choose others: --neurons {', '.join(SETS)} or a file (in a recipe "
            "intervene.neurons)"
        )
    return neurons


def _read(detector: Detector, which: str) -> NeuronSet:
    path = Path(which)
    if not path.exists():
        raise unknown("set of neurons, or file,", which, SETS)
    n_layers, d_mlp = detector.weights.shape
    # Named after the file: any exported set calls itself "H-neurons".
    name = f"neurons of {path.name}"
    neurons = load_neurons(path, name=name, n_layers=n_layers, d_mlp=d_mlp)
    _ = detector.selected & neurons  # raises its own clear line where they are of another model
    return neurons


def _content(run: Runner) -> Any:
    """What a file holds now, as hashes: other neurons are another edit. A name needs none."""
    which = run.recipe.intervene.neurons
    if which in SETS or not (path := Path(which)).exists():
        return None
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    return [hash_file(file) for file in files]


chosen: Source[str] = Source(
    "chosen neurons",
    lambda run: run.recipe.intervene.neurons,
    ("intervene.neurons",),
    content=_content,
)
