"""A family's members by name: the folder is the list.

A family is a package with one member a file (domains, judges, figures, ...). Names are looked up
only at the edge, by recipes and the command line; code passes the members themselves.
"""

import difflib
import pkgutil
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

from hlens.errors import HlensError


def names(family: str) -> list[str]:
    """Names of the members of a family (a package below ``hlens``), sorted."""
    package = import_module(f"hlens.{family}")
    modules = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted(name for name in modules if name[0] != "_")


def member(family: str, name: str) -> ModuleType:
    """The module of one member; raises `HlensError` with the nearest names for an unknown one."""
    known = names(family)
    if name not in known:
        raise unknown(f"member of {family}", name, known)
    return import_module(f"hlens.{family}.{name}")


def unknown(what: str, name: str, known: Iterable[str]) -> HlensError:
    """The error for a name that is not known, with the nearest that are.

    >>> print(unknown("domain", "scince", ["general", "science"]))
    unknown domain 'scince'; did you mean 'science'? Known: general, science
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
    return HlensError(f"unknown {what} {name!r}{hint} Known: {', '.join(known) or 'none'}")
