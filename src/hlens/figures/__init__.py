"""The figures, one a file: ``hlens.figures.neuron_map(detector)`` calls the file's ``draw``.

The folder is the registry. A figure is added by writing ``hlens/figures/NAME.py`` alone, which
holds a docstring, ``draw`` and ``example``::

    '''Does the rate rise with the dose? The rate at each dose, beside random neurons.

    To read it: follow the line; it claims something where it leaves the grey band.
    It misleads when the capability that it costs is not looked at.
    '''

    def draw(table: pd.DataFrame, *, theme: str = "light") -> Figure:
        '''Pure; its title is computed from the data, and its null is shown.'''

    def example() -> dict[str, Any]:
        '''Made data: the arguments of ``draw``.'''

The gallery, the reference page, ``hlens list`` and the laws in ``tests/test_figures.py`` find the
file by its name. A title that is no question is followed by ``Question: ...?`` in the docstring.
What several figures share is in `hlens.drawing`.
"""

import inspect
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from hlens import lookup
from hlens.kinds import explains_kinds


class _CallableMember(ModuleType):
    """A figure's module, callable as its own ``draw``."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return explains_kinds(self.draw)(*args, **kwargs)


class _Family(ModuleType):
    """This package: each member, however it was imported, is made callable as it is bound here."""

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, ModuleType) and name[0] != "_" and hasattr(value, "draw"):
            value.__class__ = _CallableMember
            # Notebooks show this signature when the figure's name is typed.
            value.__signature__ = inspect.signature(value.draw)  # type: ignore[attr-defined]
        super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    if name == "strip":  # an example of a model in hand, drawn as `tokens`
        return import_module(f"{__name__}.tokens").strip
    if name[0] == "_" or name not in lookup.names("figures"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted([*lookup.names("figures"), "strip"])


sys.modules[__name__].__class__ = _Family
