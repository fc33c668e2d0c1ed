"""Whether an argument is of the kind that a function's signature says, asked where a call failed.

Problem: a detector given for its neurons, or a text for a list of questions, ends in an error that
speaks of neither, deep inside.

Idea: the signature knows. A public function under `explains_kinds` runs as it is, without a check,
so that whatever works goes on to work; where it fails, its arguments are compared with the
signature, and the first that is of another kind is named in one line.
"""

import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import is_dataclass
from functools import wraps
from numbers import Integral, Real
from types import UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from hlens.errors import HlensError


class WrongKindError(HlensError):
    """An argument of another kind than the signature says."""


P = ParamSpec("P")
T = TypeVar("T")
_NUMBERS = {float: Real, int: Integral}  # numpy's scalars are numbers, too
_OPERATORS = ("__call__", "__and__", "__or__", "__sub__", "__xor__")
_LOOKED_AT = 20  # members of a collection
# What gives the nouns of hlens.
SOURCES = {
    "Model": "hlens.load", "Question": "hlens.domains.load", "Response": "hlens.sample",
    "Judgement": "hlens.judge", "Example": "hlens.locate", "Contributions": "hlens.measure",
    "Detector": "hlens.find", "NeuronSet": "detector.neurons", "SparseProbe": "hlens.SparseProbe()",
    "Recipe": "hlens.Recipe()", "Behaviour": "hlens.behaviours.load",
    "Edit": "hlens.interventions.scale",
}  # fmt: skip


def explains_kinds(function: Callable[P, T]) -> Callable[P, T]:
    """A function whose failure over an argument of another kind is one line about that argument."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except WrongKindError as error:  # of a function within: the caller knows this one
            if said := wrong_kind(function, args, kwargs):
                raise WrongKindError(said) from error
            raise
        except HlensError:
            raise
        except Exception as error:  # of any kind: what fails depends on what was given
            if said := wrong_kind(function, args, kwargs):
                raise WrongKindError(said) from error
            raise

    call.explains_kinds = True  # type: ignore[attr-defined]
    return call


def explain_public(namespace: dict[str, Any]) -> None:
    """Put `explains_kinds` on all public functions of a package, and on the methods of its nouns.

    Called at the end of an ``__init__``: what a user reaches explains itself, and what hlens calls
    within is as fast as before. A function is replaced where it is defined, too, so that it can be
    pickled.
    """
    for name, value in list(namespace.items()):
        home = getattr(value, "__module__", "") or ""
        if name.startswith("_") or not home.startswith("hlens.") or home == __name__:
            continue
        if inspect.isfunction(value) and not hasattr(value, "explains_kinds"):
            namespace[name] = explained = explains_kinds(value)
            if getattr(sys.modules[home], value.__name__, None) is value:
                setattr(sys.modules[home], value.__name__, explained)
        elif is_dataclass(value) and isinstance(value, type):
            explain_methods(value)


def explain_methods(noun: type[Any]) -> type[Any]:
    """The class, with `explains_kinds` on its public methods and its operators."""
    for name, method in list(vars(noun).items()):
        is_public = not name.startswith("_") or name in _OPERATORS
        if is_public and inspect.isfunction(method) and not hasattr(method, "explains_kinds"):
            setattr(noun, name, explains_kinds(method))
    return noun


def wrong_kind(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> str | None:
    """What is wrong with the first argument of another kind than the signature's; None if nothing.

    >>> def count(texts: Sequence[str], most: int = 3) -> int: ...
    >>> wrong_kind(count, [{"a": 1}], {})
    'texts of count: got a dict of 1; expected a sequence of str'
    >>> wrong_kind(count, [["a"]], {"most": "5"}), wrong_kind(count, [["a"]], {})
    ("most of count: got the text '5'; expected int", None)
    """
    try:
        given = inspect.signature(function).bind(*args, **kwargs).arguments
        hints = typing.get_type_hints(function)
    except (NameError, TypeError):  # another signature, about which Python's own error speaks
        return None
    name = function.__name__
    if name == "draw":  # of a figure
        name = function.__module__.split(".")[-1]
    elif name == "__init__":
        name = function.__qualname__.split(".")[-2]
    for argument, value in given.items():
        if argument in hints and not _fits(value, hints[argument]):
            hint = hints[argument]
            mend = _mend(function, argument, value, hint)
            got = f"{describe(value)}{_first_other(value, hint)}"
            return f"{argument} of {name}: got {got}; expected {_words(hint)}{mend}"
    return None


def _mend(function: Callable[..., Any], argument: str, value: Any, hint: Any) -> str:
    """How to come by what was expected; empty where nothing can be said of it."""
    members = [one for one in _alternatives(hint) if get_origin(one) in (Sequence, Iterable, list)]
    for one in members:
        if get_args(one) and not isinstance(value, str) and _fits(value, get_args(one)[0]):
            return "; put it in a list"
    for one in _alternatives(hint):
        several = get_origin(one) in (Sequence, Iterable, list)
        noun = str(getattr((get_args(one) or (one,))[0] if several else one, "__name__", ""))
        if noun in SOURCES:
            return f"; {SOURCES[noun]} gives {'them' if several else 'one'}"
        if noun in ("DataFrame", "Callable") and (said := _documented(function, argument)):
            return f": {said}"
    return ""


def _first_other(value: Any, hint: Any) -> str:
    """Which member of a list is of another kind, where one is."""
    for one in _alternatives(hint):
        if get_origin(one) in (Sequence, Iterable, list) and isinstance(value, list | tuple):
            others = [
                member for member in value[:_LOOKED_AT] if not _fits(member, get_args(one)[0])
            ]
            return f" with {describe(others[0])}" if others else ""
    return ""


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _documented(function: Callable[..., Any], argument: str) -> str:
    """What a docstring says of an argument, without its further sentences."""
    args = (inspect.getdoc(function) or "").partition("\nArgs:\n")[2]
    found = re.search(rf"^    {argument}: (.*?)(?=\n    \S|\n\n|\n\S|\Z)", args, re.M | re.S)
    said = " ".join(found[1].replace("`", "").split()) if found else ""
    return re.split(r"(?<=\w)[.;] ", said.rstrip("."), maxsplit=1)[0]


def describe(value: Any) -> str:
    """A value's kind in a few words.

    >>> describe(None), describe([1, 2]), describe("a text")
    ('None', 'a list of 2', "the text 'a text'")
    """
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str):
        return f"the text {value!r:.60}"
    name = type(value).__name__
    what = f"an {name}" if name[:1] in "AEIOUaeio" else f"a {name}"
    if hasattr(value, "shape"):
        return f"{what} of shape {tuple(value.shape)}"
    return f"{what} of {len(value)}" if isinstance(value, Sized) else what


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the kind that a hint says; true where that cannot be told."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if hint is None or hint is type(None):
        return value is None
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if array := getattr(hint, "array_type", None):  # of jaxtyping
        return _fits(value, array)
    kind = _NUMBERS.get(hint, origin or hint)
    if not isinstance(kind, type) or getattr(kind, "_is_protocol", False):
        return True
    if not isinstance(value, kind) or (isinstance(value, str) and origin is not None):
        return False  # a text is no sequence of texts
    if not parts or not isinstance(value, Sequence | Mapping | set | frozenset):
        return True
    if isinstance(value, Mapping):
        sides = list(value.items())[:_LOOKED_AT]
        return len(parts) < 2 or all(_fits(k, parts[0]) and _fits(v, parts[1]) for k, v in sides)
    members = list(value)[:_LOOKED_AT]
    if kind is tuple and parts[-1] is not Ellipsis:
        return len(members) == len(parts) and all(map(_fits, members, parts))
    return all(_fits(member, parts[0]) for member in members)


def _words(hint: Any) -> str:
    """A hint as text: its classes by their names, without their packages."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint is None or hint is type(None):
        return "None"
    if origin in (Union, UnionType):
        return " or ".join(map(_words, parts))
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if array := getattr(hint, "array_type", None):
        return f"{_words(array)} [{hint.dim_str.strip()}]"
    name = str(getattr(origin or hint, "__name__", hint))
    if origin in (Sequence, Iterable, list) and parts:
        return f"a sequence of {_words(parts[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping) and len(parts) == 2:
        return f"a mapping from {_words(parts[0])} to {_words(parts[1])}"
    if origin is tuple and parts:
        return "a tuple of " + ", ".join(_words(part) for part in parts if part is not Ellipsis)
    return "a function" if name == "Callable" else name
