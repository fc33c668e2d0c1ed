"""Dataclasses out of nested tables, every key, type and limit checked, and values as TOML."""

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from hlens.errors import HlensError
from hlens.lookup import unknown


class Checked:
    """A section of a recipe, or the recipe: a frozen dataclass whose fields are what they say.

    Numpy's numbers become Python's and lists tuples, so that what is written is read back equal.
    """

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            value = _checked(hint, getattr(self, name), _place(type(self), name))
            object.__setattr__(self, name, value)


def _place(kind: type, name: str) -> str:
    """Where a field is, in words: ``recipe: sampling.n``."""
    section = kind.__name__.removesuffix("Recipe").lower()
    return f"recipe: {section}.{name}" if section else f"recipe: {name}"


def build(kind: type[Checked], table: Mapping[str, Any], where: str) -> Any:
    """An instance of a dataclass out of a table, every key, type and limit checked."""
    hints = get_type_hints(kind, include_extras=True)
    values = {}
    for key, value in table.items():
        if key not in hints:
            raise unknown(f"key in {where}", str(key), hints)
        hint = hints[key]
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, Mapping):
                raise HlensError(f"{where}: [{key}] is a section, got {value!r:.60}")
            values[key] = build(hint, value, f"{where} [{key}]")  # type: ignore[arg-type]
        else:
            values[key] = _checked(hint, value, _place(kind, key))
    return kind(**values)


def _checked(hint: Any, value: Any, where: str) -> Any:
    """The value, if it is of the hinted type; a number as the check in its type gives it."""
    if get_origin(hint) is Annotated:
        return get_args(hint)[1](where, value)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise HlensError(
                f"{where} = {value!r:.60}; expected one of {', '.join(get_args(hint))}"
            )
        return value
    if get_origin(hint) is Mapping:
        plain = _plain(value)
        if not isinstance(plain, Mapping):
            raise HlensError(f"{where} is no table of plain values; expected one that TOML holds")
        return plain
    if get_origin(hint) is tuple:
        kind = get_args(hint)[0]
        if not isinstance(value, list | tuple):
            name = getattr(kind, "__origin__", kind).__name__
            raise HlensError(f"{where} = {value!r:.60}; expected a list of {name}")
        return tuple(_checked(kind, item, where) for item in value)
    if not isinstance(value, hint) or (hint is str and not _is_text(value)):
        raise HlensError(f"{where} = {value!r:.60}; expected {hint.__name__}")
    return value


def _plain(value: Any) -> Any:
    """A value as TOML and JSON both hold it; None where they do not."""
    if isinstance(value, Mapping):
        plain = {key: _plain(each) for key, each in value.items()}
        is_held = all(isinstance(key, str) and _is_text(key) for key in plain)
        return None if not is_held or None in plain.values() else plain
    if isinstance(value, list | tuple):
        items = [_plain(each) for each in value]
        return None if any(item is None for item in items) else items
    if isinstance(value, str):
        return value if _is_text(value) else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) and abs(value) < 2**63 else None  # a bool is an int


def _is_text(value: str) -> bool:
    """Whether a file can hold this text: no NUL, no half of a character."""
    return "\0" not in value and not re.search("[\ud800-\udfff]", value)


def toml(value: Any) -> str:
    """A plain value in TOML; its strings, numbers and booleans are written as in JSON.

    >>> toml({"enable_thinking": False, "a key": [1, "two"]})
    '{enable_thinking = false, "a key" = [1, "two"]}'
    """
    if isinstance(value, Mapping):
        named = [f"{toml_key(key)} = {toml(each)}" for key, each in value.items()]
        return "{" + ", ".join(named) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    # The one character that JSON writes as it is and TOML does not take.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_key(key: str) -> str:
    """A key in TOML, quoted where it has to be."""
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else toml(key)
