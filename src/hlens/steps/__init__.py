"""The steps of a study, each a value declared beside the function that makes its artefact.

`hlens.steps.step` says what a step is, `hlens.steps.runner` runs them, and every other file here
declares some. A new step is one declaration: ``study[my_step]`` makes and reads its artefact.
"""

from importlib import import_module
from pkgutil import iter_modules

from hlens.steps.runner import Given, NotMadeError, Progress, Runner
from hlens.steps.step import TABLE, Each, Source, Step, Storage, step

__all__ = [
    "TABLE",
    "Each",
    "Given",
    "NotMadeError",
    "Progress",
    "Runner",
    "Source",
    "Step",
    "Storage",
    "all_steps",
    "step",
]


def all_steps() -> list[Step]:
    """Every step that is declared in this folder, in the order of its files.

    Steps of one domain each (`hlens.steps.domains.detector_of`) are not among them.
    """
    steps: dict[Step, None] = {}
    for module in iter_modules(__path__):
        members = vars(import_module(f"{__name__}.{module.name}")).values()
        steps |= {member: None for member in members if isinstance(member, Step)}
    return list(steps)
