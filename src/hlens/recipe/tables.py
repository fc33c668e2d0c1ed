"""Dataclasses out of nested tables, every key and type checked, and values as TOML."""

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hlens.errors import HlensError
from hlens.lookup import unknown


def build(kind: type, table: Mapping[str, Any], where: str) -> Any:
    """An instance of a dataclass out of a table, every key and type checked."""
    hints = get_type_hints(kind)
    values = {}
    for key, value in table.items():
        if key not in hints:
            raise unknown(f"key in {where}", key, hints)
        hint = hints[key]
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, Mapping):
                raise HlensError(f"{where}: [{key}] is a section, got {value!r}")
            values[key] = build(hint, value, f"{where} [{key}]")  # type: ignore[arg-type]
        else:
            values[key] = _checked(hint, value, f"{where}: {key}")
    return kind(**values)


def _checked(hint: Any, value: Any, where: str) -> Any:
    """The value, if it is of the hinted type; integers pass for floats."""
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise HlensError(f"{where} = {value!r}; expected one of {', '.join(get_args(hint))}")
        return value
    if get_origin(hint) is Mapping:
        if not isinstance(value, Mapping) or not _is_plain(value):
            raise HlensError(f"{where} = {value!r}; expected a table of plain values")
        return dict(value)
    if get_origin(hint) is tuple:
        kind = get_args(hint)[0]
        if not isinstance(value, list | tuple):
            raise HlensError(f"{where} = {value!r}; expected a list of {kind.__name__}")
        return tuple(_checked(kind, item, where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise HlensError(f"{where} = {value!r}; expected {hint.__name__}")
    return value


def _is_plain(value: Any) -> bool:
    """Whether TOML and JSON both hold this value."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return isinstance(value, str | int | float)  # a bool is an int


def toml(value: Any) -> str:
    """A plain value in TOML; its strings, numbers and booleans are written as in JSON.

    >>> toml({"enable_thinking": False, "a key": [1, "two"]})
    '{enable_thinking = false, "a key" = [1, "two"]}'
    """
    if isinstance(value, Mapping):
        named = [f"{_key(key)} = {toml(each)}" for key, each in value.items()]
        return "{" + ", ".join(named) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else json.dumps(key, ensure_ascii=False)
