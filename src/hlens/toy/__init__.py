"""A world so small that we know what its model knows: the ground truth that real models lack.

Four domains of invented facts (``hlens.domains.load("toy_towns")``); half of their entities were
never taught to the model ``hlens.load("toy")``. An answer has two truths: right or wrong, as with
any model, and taught or not (``question.meta["taught"]``, `ignorance`). Some neurons are planted
(`planted`): what they signal, and whether they move the model, is known by construction.
``"toy-base"`` is the same model before its instruct stage; `train` trains both again.
"""

from typing import TYPE_CHECKING, Any

from hlens.kinds import explain_public
from hlens.toy.mechanism import Mechanism as Mechanism
from hlens.toy.mechanism import mechanisms as mechanisms
from hlens.toy.mechanism import planted as planted
from hlens.toy.world import EXPOSURES as EXPOSURES
from hlens.toy.world import domain_names as domain_names
from hlens.toy.world import facts as facts
from hlens.toy.world import ignorance as ignorance
from hlens.toy.world import questions as questions

if TYPE_CHECKING:
    from hlens.toy.training import Schedule as Schedule
    from hlens.toy.training import Trained as Trained
    from hlens.toy.training import train as train


def __getattr__(name: str) -> Any:
    # Training needs the whole of transformers; looking at the world does not.
    if name in ("Schedule", "Trained", "train"):
        from hlens.toy import training

        return getattr(training, name)
    raise AttributeError(f"module 'hlens.toy' has no attribute {name!r}")


explain_public(globals())
