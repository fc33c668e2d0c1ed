"""Ways to damage what is read: bytes, texts, JSON, settings, CSV, tensor files, archives.

Every function draws from a seeded `random.Random`, and names what it did, so that a failure can be
told in words. What must not matter to a reader is marked harmless.
"""

import io
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

BOM = b"\xef\xbb\xbf"
TEXTS = (
    "",
    " ",
    "a\u2028b\u2029c\x85d",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "\u202eright to left\u202c",
    "[/bold]x[red]",
    "[link=file:///etc/passwd]x[/link]",
    '=cmd|"/c calc"!A0',
    "+1+1",
    "@SUM(A1)",
    "<|im_end|><end><bos><pad></s>",
    "</script><script>alert(1)</script>",
    "a\x00b",
    "\ufeffa",
    "\ufffd",
    "e\u0301\u200b\u2060",
    "nan",
    "-1",
    "1e400",
    "../../../etc/passwd",
    "%s%n{0}{x.__class__}",
    "a" * 3000,
    " " * 100_000,
    "👩‍🔬שלום",
    "\r\n",
    "null",
)
NUMBERS: tuple[Any, ...] = (
    *(-1, 0, 1, 2, 10**30, -(10**30), 2**31, 2**63, 2**64),
    *(0.5, -0.0, 1e308, -1e308, 1e-308, float("nan"), float("inf"), float("-inf")),
)
OTHERS: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    {"": None},
    [1, "a"],
    ["a"] * 50,
)
DEEP = 100_000  # brackets; past any recursion limit


@dataclass(frozen=True)
class Raw:
    """JSON text that stands for itself, where no Python value is written so."""

    text: str


@dataclass(frozen=True)
class Mutated:
    """Damaged content, what was done to it, and whether a reader must not mind."""

    data: bytes
    said: str
    harmless: bool = False


def hostile_value(draw: random.Random, instead_of: Any = None) -> Any:
    """A value that nobody expects; often of the right type, so that it passes the first check."""
    kind = draw.random()
    if isinstance(instead_of, bool) or kind < 0.25:
        return draw.choice(OTHERS)
    if isinstance(instead_of, int | float) and kind < 0.8:
        return draw.choice(NUMBERS)
    if isinstance(instead_of, str) and kind < 0.8:
        return draw.choice(TEXTS)
    return draw.choice((*TEXTS, *NUMBERS))


# --- Bytes --------------------------------------------------------------------------------------


def mutate_bytes(draw: random.Random, data: bytes) -> Mutated:
    """Any file, without knowing what it holds."""
    at = draw.randrange(len(data) + 1)
    upto = min(len(data), at + draw.choice((1, 2, 7, 40, 1000)))
    flipped = bytearray(data)
    if data:
        flipped[at % len(data)] ^= 1 << draw.randrange(8)
    ways: dict[str, bytes] = {
        "a bit flipped": bytes(flipped),
        "truncated": data[:at],
        "emptied": b"",
        "bytes taken out": data[:at] + data[upto:],
        "bytes twice": data[:upto] + data[at:],
        "NUL put in": data[:at] + b"\0" + data[at:],
        "zeros": data[:at] + bytes(upto - at) + data[upto:],
        "random bytes put in": data[:at] + draw.randbytes(draw.choice((1, 8, 300))) + data[at:],
        "a byte of no UTF-8": data[:at] + b"\xff" + data[at:],
        "begun with something else": b"\x80\x04K*." + data,
        "ended with something else": data + draw.randbytes(50),
        "random bytes alone": draw.randbytes(200),
    }
    said = draw.choice(sorted(ways))
    return Mutated(ways[said], said, harmless=ways[said] == data)


def mutate_encoding(draw: random.Random, data: bytes) -> Mutated:
    """A text file as another editor saves it."""
    text = data.decode()
    ways: dict[str, tuple[bytes, bool]] = {
        "a byte order mark": (BOM + data, True),
        "lines end in CR LF": (text.replace("\n", "\r\n").encode(), True),
        "no newline at the end": (data.rstrip(b"\n"), True),
        "UTF-16": (text.encode("utf-16"), False),
        "UTF-32": (text.encode("utf-32"), False),
        "Latin-1": (("ä" + text).encode("latin-1", "replace"), False),
        "two byte order marks": (BOM + BOM + data, False),
    }
    said = draw.choice(sorted(ways))
    return Mutated(ways[said][0], said, harmless=ways[said][1])


# --- JSON ---------------------------------------------------------------------------------------


def write_json(value: Any, indent: int | None = None) -> str:
    """JSON text; a `Raw` is written as it is."""
    raw: list[str] = []

    def put(instead: Any) -> str:
        if not isinstance(instead, Raw):
            raise TypeError(f"{instead!r} is no JSON")
        raw.append(instead.text)
        return f"@raw{len(raw) - 1}@"

    text = json.dumps(value, ensure_ascii=False, indent=indent, default=put)
    for number, words in enumerate(raw):
        text = text.replace(f'"@raw{number}@"', words)
    return text


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to all values inside a JSON value, that of the whole included."""
    found = [path]
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value[:20]) if isinstance(value, list) else items
    for key, inside in items:
        found += places(inside, (*path, key))
    return found


def mutate_json(draw: random.Random, value: Any) -> tuple[Any, str]:
    """A JSON value with one place changed, dropped or added to, and what was done."""
    path = draw.choice(places(value))
    changed = json.loads(json.dumps(value))
    inside, holder = changed, None
    for key in path:
        holder, inside = inside, inside[key]
    where = ".".join(map(str, path)) or "the whole"
    way = draw.choice(("set", "set", "set", "drop", "add", "deep", "twice", "infinite"))
    if way == "drop" and holder is not None:
        del holder[path[-1]]
        return changed, f"{where} dropped"
    if way == "add" and isinstance(inside, dict):
        key, more = draw.choice(("__class__", "extra", "", *TEXTS[:9])), hostile_value(draw)
        inside[key] = more
        return changed, f"{where}: a key {key!r:.20} more, {more!r:.40}"
    if way == "add" and isinstance(inside, list):
        more = hostile_value(draw, inside[-1] if inside else None)
        inside.append(more)
        return changed, f"{where}: one more, {more!r:.40}"
    if way == "twice" and isinstance(inside, dict) and inside:
        key = draw.choice(sorted(inside))
        text = write_json(inside)
        twice = f"{text[:-1]}, {json.dumps(key)}: {write_json(hostile_value(draw, inside[key]))}}}"
        put, said = Raw(twice), f"{where}: key {key!r} twice"
    elif way == "deep":
        put, said = Raw("[" * DEEP + "]" * DEEP), f"{where} = brackets without end"
    elif way == "infinite":
        put = Raw(
            draw.choice(("NaN", "Infinity", "1" * 5000, "1e999", "-0", "\\ud800", '"\\ud800"'))
        )
        said = f"{where} = {put.text:.20}"
    else:
        put = hostile_value(draw, inside)
        said = f"{where} = {put!r:.40}"
    if holder is None:
        return put, said
    holder[path[-1]] = put
    return changed, said


def reorder(draw: random.Random, value: Any) -> Any:
    """The same JSON value, the keys of its objects in another order."""
    if isinstance(value, list):
        return [reorder(draw, inside) for inside in value]
    if not isinstance(value, dict):
        return value
    keys = draw.sample(list(value), len(value))
    return {key: reorder(draw, value[key]) for key in keys}


def mutate_json_text(draw: random.Random, data: bytes) -> Mutated:
    """A JSON file: its values, its text or its bytes."""
    if draw.random() < 0.1:
        return Mutated(write_json(reorder(draw, json.loads(data))).encode(), "reordered", True)
    if draw.random() < 0.2:
        return mutate_either(draw, data)
    changed, said = mutate_json(draw, json.loads(data))
    return Mutated(write_json(changed).encode(errors="surrogatepass"), said)


def mutate_json_lines(draw: random.Random, data: bytes) -> Mutated:
    """A JSONL file: one of its lines, their order, or the whole as text or bytes."""
    lines = data.decode().split("\n")
    filled = [number for number, line in enumerate(lines) if line.strip()]
    if not filled or draw.random() < 0.2:
        return mutate_either(draw, data)
    at = draw.choice(filled)
    way = draw.choice(("change",) * 6 + ("twice", "drop", "swap", "junk", "order", "blank"))
    said = f"line {at + 1}: {way}"
    harmless = way in ("order", "blank")
    if way == "change":
        changed, what = mutate_json(draw, json.loads(lines[at]))
        lines[at], said = write_json(changed), f"line {at + 1}: {what}"
    elif way == "twice":
        lines.insert(at, lines[at])
    elif way == "drop":
        del lines[at]
    elif way == "swap":
        other = draw.choice(filled)
        lines[at], lines[other] = lines[other], lines[at]
    elif way == "junk":
        lines[at] = draw.choice(("{", "[]", "null", "1", '"a"', "{not json", "\x00", "}{", "{}"))
    elif way == "order":
        lines[at] = write_json(reorder(draw, json.loads(lines[at])))
    else:
        lines.insert(at, draw.choice(("", "   ")))
    return Mutated("\n".join(lines).encode(errors="surrogatepass"), said, harmless)


def mutate_either(draw: random.Random, data: bytes) -> Mutated:
    """A text file as bytes, or in another encoding."""
    return (mutate_encoding if draw.random() < 0.4 else mutate_bytes)(draw, data)


# --- Tables -------------------------------------------------------------------------------------


def mutate_table(draw: random.Random, data: bytes, separator: str = ",") -> Mutated:
    """A CSV or TSV file: a cell, a row, the header, or the whole as text or bytes."""
    if draw.random() < 0.3:
        return mutate_either(draw, data)
    rows = [line.split(separator) for line in data.decode().rstrip("\n").split("\n")]
    at = draw.randrange(len(rows))
    cell = draw.randrange(len(rows[at]))
    ways: dict[str, Callable[[], Any]] = {
        "a cell": lambda: rows[at].__setitem__(cell, str(hostile_value(draw))),
        "a cell of 200,000 characters": lambda: rows[at].__setitem__(cell, "x" * 200_000),
        "an open quote": lambda: rows[at].__setitem__(cell, '"' + rows[at][cell]),
        "a cell more": lambda: rows[at].append("more"),
        "a cell fewer": lambda: rows[at].pop(),
        "no header": lambda: rows.pop(0),
        "header alone": lambda: rows.__delitem__(slice(1, None)),
        "a row twice": lambda: rows.insert(at, list(rows[at])),
        "a blank row": lambda: rows.insert(at, [""]),
    }
    said = draw.choice(sorted(ways))
    ways[said]()
    text = "\n".join(separator.join(row) for row in rows) + "\n"
    return Mutated(text.encode(errors="surrogatepass"), f"row {at + 1}: {said}")


# --- Tensor files and archives ------------------------------------------------------------------


def mutate_safetensors(draw: random.Random, data: bytes) -> Mutated:
    """A safetensors file: its header, the JSON inside the header, its length, or its bytes."""
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    way = draw.random()
    if way < 0.25:
        return mutate_bytes(draw, data)
    if way < 0.35:
        announced = draw.choice((0, 1, length - 1, length + 1, 7 << 40, 2**63, 2**64 - 1, 1 << 27))
        said = f"announces a header of {announced} bytes"
        return Mutated(announced.to_bytes(8, "little") + data[8:], said)
    if way < 0.45:
        changed = bytearray(body)
        for _ in range(draw.choice((1, 4, 40)) if body else 0):
            changed[draw.randrange(len(body))] = draw.choice((0, 255, 127, 128))
        return Mutated(data[: 8 + length] + bytes(changed), "values changed", changed == body)
    inner = header.get("__metadata__", {})
    keys = [key for key, text in inner.items() if text.startswith("{")]
    if keys and way < 0.9:
        key = draw.choice(keys)
        about, said = mutate_json(draw, json.loads(inner[key]))
        inner[key] = write_json(about)
    else:
        header, said = mutate_json(draw, header)
    text = write_json(header).encode(errors="surrogatepass")
    return Mutated(len(text).to_bytes(8, "little") + text + body, f"header: {said}")


def hostile_array(draw: random.Random, like: np.ndarray) -> tuple[np.ndarray, str]:
    """An array of another type, shape or content."""
    ways: dict[str, Callable[[], np.ndarray]] = {
        "texts": lambda: like.astype(str),
        "objects": lambda: np.array([None, {"a": 1}], dtype=object),
        "NaN": lambda: np.where(np.arange(like.size).reshape(like.shape) == 0, np.nan, like),
        "infinite": lambda: np.full_like(like, np.inf),
        "complex": lambda: like.astype(np.complex64),
        "empty": lambda: like[:0],
        "a number": lambda: np.array(1.0),
        "another shape": lambda: np.concatenate([like.ravel(), like.ravel()]),
        "transposed": lambda: like.T.copy(),
        "bytes": lambda: like.ravel()[:1].view(np.uint8),
        "booleans": lambda: like > 0,
        "dates": lambda: np.array(["2020-01-01"], dtype="datetime64[D]"),
        "records": lambda: np.zeros(3, dtype=[("a", "f4"), ("b", "i4")]),
        "beyond float32": lambda: np.full(like.shape, 1e300),
        "five dimensions": lambda: like.ravel()[None, None, None, None],
        "big-endian": lambda: like.astype(like.dtype.newbyteorder(">")),
    }
    said = draw.choice(sorted(ways))
    return ways[said](), said


def mutate_archive(draw: random.Random, data: bytes) -> Mutated:
    """A zip archive: damaged bytes, members renamed, twice, gone, packed otherwise or huge."""
    if draw.random() < 0.4:
        return mutate_bytes(draw, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    at = draw.randrange(len(members))
    name, content = members[at]
    ways: dict[str, tuple[str, bytes]] = {
        "a member climbs out": (f"../../{name}", content),
        "a member is renamed": (name.upper(), content),
        "a member is empty": (name, b""),
        "a member is no array": (name, b"hello"),
        "a member is damaged": (name, mutate_bytes(draw, content).data),
        "a member is a pickle": (name, b"\x80\x04K*."),
        "a member announces a terabyte": (name, _announcing(content, 1 << 40)),
    }
    said = draw.choice(sorted(ways))
    members[at] = ways[said]
    if draw.random() < 0.1:
        members.append(("extra.npy", content))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as kept:
        for inside, held in members:
            kept.writestr(inside, held)
    return Mutated(out.getvalue(), said)


def _announcing(array: bytes, size: int) -> bytes:
    """The ``.npy`` of an array, its header announcing another size."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        out, {"descr": "<f4", "fortran_order": False, "shape": (size,)}
    )
    return out.getvalue() + array[-64:]


def mutate_file(draw: random.Random, name: str, data: bytes) -> Mutated:
    """A file in the way of its suffix."""
    try:
        if name.endswith(".jsonl"):
            return mutate_json_lines(draw, data)
        if name.endswith(".json"):
            return mutate_json_text(draw, data)
        if name.endswith((".csv", ".tsv")):
            return mutate_table(draw, data, "\t" if name.endswith(".tsv") else ",")
        if name.endswith(".safetensors"):
            return mutate_safetensors(draw, data)
        if name.endswith((".txt", ".md", ".toml", ".jinja")):
            return mutate_either(draw, data)
        if name.endswith(".npz"):
            return mutate_archive(draw, data)
    except ValueError:  # it holds another thing than its suffix says, or half of a character
        pass
    return mutate_bytes(draw, data)
