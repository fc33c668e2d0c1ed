"""hlens finds hallucination-associated neurons in language models, tests and edits them.

Names are loaded on first use (PEP 562), so that ``import hlens`` takes no time.
"""

from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hlens.errors import HlensError
from hlens.threads import settle_threads

with suppress(HlensError):  # which `load` and the command line say
    settle_threads()  # before torch is loaded, which reads it then

if TYPE_CHECKING:
    from hlens import baselines as baselines
    from hlens import behaviours as behaviours
    from hlens import claims as claims
    from hlens import comparison as comparison
    from hlens import contributions as contributions
    from hlens import domains as domains
    from hlens import effects as effects
    from hlens import engines as engines
    from hlens import evaluation as evaluation
    from hlens import figures as figures
    from hlens import interventions as interventions
    from hlens import judges as judges
    from hlens import metrics as metrics
    from hlens import model as model
    from hlens import monitor as monitor
    from hlens import origin as origin
    from hlens import probe as probe
    from hlens import prompts as prompts
    from hlens import sampling as sampling
    from hlens import selection as selection
    from hlens import selectors as selectors
    from hlens import siblings as siblings
    from hlens import spans as spans
    from hlens import steps as steps
    from hlens import store as store
    from hlens import thoughts as thoughts
    from hlens import toy as toy
    from hlens import types as types
    from hlens.audit import audit as audit
    from hlens.contributions import measure as measure
    from hlens.contributions import measure_many as measure_many
    from hlens.engines import load as load
    from hlens.evaluation import evaluate as evaluate
    from hlens.figures.tokens import strip as strip
    from hlens.judges import judge as judge
    from hlens.labelled import labelled as labelled
    from hlens.model import Model as Model
    from hlens.model import Settings as Settings
    from hlens.probe import SparseProbe as SparseProbe
    from hlens.probe import find as find
    from hlens.recipe import Recipe as Recipe
    from hlens.sampling import sample as sample
    from hlens.spans import locate as locate
    from hlens.store import load_detector as load_detector
    from hlens.store import load_neurons as load_neurons
    from hlens.store import push as push
    from hlens.study import Study as Study
    from hlens.types import Contributions as Contributions
    from hlens.types import Detector as Detector
    from hlens.types import Estimate as Estimate
    from hlens.types import Example as Example
    from hlens.types import Judgement as Judgement
    from hlens.types import MlpTrace as MlpTrace
    from hlens.types import NeuronSet as NeuronSet
    from hlens.types import Question as Question
    from hlens.types import Response as Response
    from hlens.types import Verdict as Verdict

# By module, in the order of the method, the names that hlens gives; those of "" are its packages.
_PACKAGES = {
    "engines": "load",
    "model": "Model Settings",
    "sampling": "sample",
    "judges": "judge",
    "spans": "locate",
    "contributions": "measure measure_many",
    "probe": "find SparseProbe",
    "evaluation": "evaluate",
    "store": "load_detector load_neurons push",
    "figures.tokens": "strip",
    "study": "Study",
    "recipe": "Recipe",
    "types": "Question Response Verdict Judgement Example MlpTrace Contributions Detector "
    "NeuronSet Estimate",
    "errors": "HlensError",
    "": "audit baselines behaviours claims comparison contributions domains effects engines "
    "evaluation figures interventions judges labelled metrics model monitor origin probe "
    "prompts sampling selection selectors siblings spans steps store thoughts toy types",
}
_MODULE_OF = {name: module for module, names in _PACKAGES.items() for name in names.split()}

if not TYPE_CHECKING:  # type checkers read the imports above
    __all__ = list(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'hlens' has no attribute {name!r}")
    if module := _MODULE_OF[name]:
        return getattr(import_module(f"hlens.{module}"), name)
    return import_module(f"hlens.{name}")


def __dir__() -> list[str]:
    return sorted(_MODULE_OF)
