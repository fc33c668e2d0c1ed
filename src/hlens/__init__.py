"""hlens finds hallucination-associated neurons in language models, tests and edits them.

Names are loaded on first use (PEP 562), so that ``import hlens`` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hlens import (
        baselines,
        behaviours,
        contributions,
        domains,
        effects,
        evaluation,
        figures,
        interventions,
        judges,
        metrics,
        model,
        monitor,
        origin,
        probe,
        prompts,
        sampling,
        selection,
        spans,
        store,
        toy,
        types,
    )
    from hlens.audit import audit
    from hlens.contributions import measure, measure_many
    from hlens.errors import HlensError
    from hlens.evaluation import evaluate
    from hlens.judges import judge
    from hlens.model import Model, Settings, load
    from hlens.probe import SparseProbe, find
    from hlens.recipe import Recipe
    from hlens.sampling import sample
    from hlens.spans import locate
    from hlens.store import load_detector, load_neurons, push
    from hlens.study import Study
    from hlens.types import (
        Contributions,
        Detector,
        Estimate,
        Example,
        Judgement,
        MlpTrace,
        NeuronSet,
        Question,
        Response,
        Verdict,
    )

_MODULES = {
    "contributions": ("measure", "measure_many"),
    "errors": ("HlensError",),
    "evaluation": ("evaluate",),
    "judges": ("judge",),
    "model": ("Model", "Settings", "load"),
    "probe": ("SparseProbe", "find"),
    "recipe": ("Recipe",),
    "sampling": ("sample",),
    "spans": ("locate",),
    "store": ("load_detector", "load_neurons", "push"),
    "study": ("Study",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [  # noqa: RUF022 (in the order of the method)
    "load",
    "sample",
    "judge",
    "locate",
    "measure",
    "measure_many",
    "find",
    "evaluate",
    "audit",
    "load_detector",
    "load_neurons",
    "push",
    "Study",
    "Recipe",
    "SparseProbe",
    "Settings",
    "Model",
    "Question",
    "Response",
    "Verdict",
    "Judgement",
    "Example",
    "MlpTrace",
    "Contributions",
    "Detector",
    "NeuronSet",
    "Estimate",
    "HlensError",
    "baselines",
    "behaviours",
    "contributions",
    "domains",
    "effects",
    "evaluation",
    "figures",
    "interventions",
    "judges",
    "metrics",
    "model",
    "monitor",
    "origin",
    "probe",
    "prompts",
    "sampling",
    "selection",
    "spans",
    "store",
    "toy",
    "types",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'hlens' has no attribute {name!r}")
    if name in _MODULE_OF:
        return getattr(import_module(f"hlens.{_MODULE_OF[name]}"), name)
    if name[0].isupper():  # all other classes are the nouns
        return getattr(import_module("hlens.types"), name)
    return import_module(f"hlens.{name}")


def __dir__() -> list[str]:
    return sorted(__all__)
