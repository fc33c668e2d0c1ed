"""The JSON of a study, every value checked: what does not fit is named by file, line and field.

What people write, with its encodings and line ends, is read by `hlens.data_files`.
The shape of a row is a `TypedDict`; a field that it does not name is ignored, so that rows may hold
a copy of something for people.
"""

import json
import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints, is_typeddict

from hlens import data_files
from hlens.data_files import decode, naming
from hlens.errors import HlensError

T = TypeVar("T")
Row = dict[str, Any]
_hints = cache(get_type_hints)
MEND = "restore the file, or remove it to have it made again"
_LARGEST = 1 << 63  # of what a tensor holds

_FITS: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    str: ("a text", lambda value: type(value) is str),
    bool: ("true or false", lambda value: type(value) is bool),
    int: ("a whole number", lambda value: type(value) is int and abs(value) < _LARGEST),
    float: (
        "a finite number",
        lambda value: type(value) in (int, float) and math.isfinite(value),
    ),
    dict: ("an object", lambda value: type(value) is dict),
    type(None): ("null", lambda value: value is None),
    Any: ("anything", lambda value: True),
}


def read_bytes(path: str | Path, mend: str = "run the step that makes it first") -> bytes:
    """The content of a file.

    Raises:
        HlensError: No such file.
    """
    path = Path(path)
    if not path.is_file():
        raise HlensError(f"no file {path}; {mend}")
    return path.read_bytes()


def parse_json(data: bytes | str, where: str, *, shape: Any = Any, mend: str = MEND) -> Any:
    """A value of JSON in UTF-8 that has the shape.

    Args:
        data: The JSON.
        where: What an error names: the file, or its line.
        shape: A type: a `TypedDict`, ``list[...]``, ``dict[str, ...]``, ``tuple[...]`` of a fixed
            length, a union or a plain type.
        mend: What an error tells the user to do.

    Raises:
        HlensError: It is not UTF-8, not JSON, too deep, or holds a value of another type.

    >>> parse_json(b'[1, 2]', "a.json", shape=list[int])
    [1, 2]
    >>> parse_json(b'[1, "x"]', "a.json", shape=list[int])
    Traceback (most recent call last):
    hlens.errors.HlensError: a.json: [1] is 'x', expected a whole number; restore the file, ...
    """
    try:
        text = decode(data) if isinstance(data, bytes) else data
        value = data_files.parse_json(text, written_here=True)
    except HlensError as error:
        raise HlensError(f"{where}: {error}; {mend}") from None
    require(value, shape, where, mend)
    return value


def require(value: Any, shape: Any, where: str, mend: str = MEND) -> None:
    """Raise `HlensError` unless a value has the shape; see `parse_json`."""
    if problem := misfit(value, shape):
        raise HlensError(f"{where}: {problem.strip()}; {mend}")


def read_json(path: str | Path, *, shape: Any = Any, mend: str = MEND) -> Any:
    """The value of a JSON file, which has the shape; see `parse_json`."""
    return parse_json(read_bytes(path, mend), str(path), shape=shape, mend=mend)


def read_rows(path: str | Path, build: Callable[[Row], T], shape: Any = dict) -> list[T]:
    """What is built of each row of a JSONL file; only a newline ends a row.

    Raises:
        HlensError: No such file, or a row that does not fit; file, line and field are named. What
            `build` raises is told with the line.
    """
    lines = read_bytes(path).split(b"\n")
    built = []
    for number, line in enumerate(lines[:-1] if not lines[-1] else lines, 1):
        where = f"{path}, line {number}"
        row = parse_json(line, where, shape=shape)
        with naming(where):
            built.append(build(row))
    return built


def misfit(value: Any, shape: Any) -> str:
    """What does not fit its shape (" answer[0] is 'x', expected a text"); empty where all does."""
    if is_typeddict(shape):
        if type(value) is not dict:
            return _unlike(value, "an object")
        for key, inner in _hints(shape).items():
            if key in value:
                if problem := misfit(value[key], inner):
                    return _at(f" {key}", problem)
            elif key in shape.__required_keys__:
                return f" {key} is missing"
        return ""
    if shape in _FITS:
        name, fits = _FITS[shape]
        return "" if fits(value) else _unlike(value, name)
    kind, inner = get_origin(shape), get_args(shape)
    if kind is list:
        if type(value) is not list:
            return _unlike(value, "a list")
        if inner[0] in _FITS and all(map(_FITS[inner[0]][1], value)):  # long lists of numbers
            return ""
        return _first(value, inner * len(value))
    if kind is dict:
        if type(value) is not dict:
            return _unlike(value, "an object")
        problems = ((key, misfit(each, inner[1])) for key, each in value.items())
        return next((_at(f" {key!r}", problem) for key, problem in problems if problem), "")
    if kind is tuple:
        if type(value) is not list or len(value) != len(inner):
            return _unlike(value, f"a list of {len(inner)}")
        return _first(value, inner)
    problems = [misfit(value, one) for one in inner]  # a union
    return "" if "" in problems else problems[0]


def _first(values: Sequence[Any], shapes: Sequence[Any]) -> str:
    for index, (value, shape) in enumerate(zip(values, shapes, strict=True)):
        if problem := misfit(value, shape):
            return _at(f"[{index}]", problem)
    return ""


def _at(place: str, problem: str) -> str:
    """A problem at a place: "answer" and "[0] is ..." are "answer[0] is ..."."""
    inner = problem.lstrip()
    return place + (inner if inner[0] == "[" else problem if problem[:3] == " is" else f".{inner}")


def _unlike(value: Any, expected: str) -> str:
    shown = json.dumps(value) if isinstance(value, int) else repr(value)
    return f" is {shown if len(shown) < 40 else shown[:40] + '...'}, expected {expected}"
