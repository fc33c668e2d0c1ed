r"""Read text as people write it: lines, CSV and JSON of every data file that hlens did not make.

Problem: each way to read a line by hand goes wrong on some honest file. ``splitlines()`` cuts at
U+2028 within a text, a byte order mark becomes part of the first column's name, replaced bytes are
text that nobody wrote, and a JSON parser keeps the second of two equal keys and reads NaN as a
number.

Idea: one reader. Only ``\n`` and ``\r\n`` end a line; marks are taken off; what is not UTF-8
is named with its line, and what JSON has no value for with its key.

>>> parse_object('{"answer": NaN}')
Traceback (most recent call last):
hlens.errors.HlensError: answer is nan; expected a value that JSON has
"""

import codecs
import csv
import hashlib
import io
import json
import logging
import math
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hlens.errors import HlensError

log = logging.getLogger("hlens")
# How files begin that are not UTF-8 text, and what to do about each. UTF-32 before UTF-16, whose
# mark its own begins with.
_OTHERS = {
    codecs.BOM_UTF32_LE: "UTF-32; save it as UTF-8",
    codecs.BOM_UTF32_BE: "UTF-32; save it as UTF-8",
    codecs.BOM_UTF16_LE: "UTF-16; save it as UTF-8",
    codecs.BOM_UTF16_BE: "UTF-16; save it as UTF-8",
    b"\x1f\x8b": "compressed (gzip); unpack it first",
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"PAR1": "a Parquet file; give it the suffix .parquet, or export it as JSONL",
}


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Number (from 1) and bytes of each line that is not blank, without its end; see `decode`.

    Raises:
        HlensError: No such file, or no text: UTF-16, compressed, ...
    """
    for number, line in enumerate(_read(path).split(b"\n"), start=1):
        # A mark may begin any line: of files that were put together.
        if line := line.removeprefix(codecs.BOM_UTF8).strip():
            yield number, line


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and JSON object of each line; an error names the line that holds none."""
    for number, line in read_lines(path):
        with naming(f"{path.name}, line {number}"):
            row = parse_object(decode(line))
        yield number, row


def read_text(path: Path) -> str:
    """The text of a file, without a byte order mark; an error names the line that is not UTF-8."""
    data = _read(path).removeprefix(codecs.BOM_UTF8)
    try:
        return decode(data)
    except HlensError:
        for number, line in enumerate(data.split(b"\n"), start=1):
            with naming(f"{path.name}, line {number}"):
                decode(line)
        raise


def read_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        HlensError: It cannot be read; the file is named.
    """
    text = read_text(path)
    with naming(path.name):
        return parse_json(text)


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The table of a TOML file that a person wrote; `what` it is, for an error.

    Raises:
        HlensError: It is not there, or not TOML.
    """
    if not path.is_file():
        raise HlensError(f"no {what} at {path}; give the path of a TOML file")
    try:
        return tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, too
        raise HlensError(f"{path}: not TOML ({error})") from None


def read_csv(path: Path, *, every_row: bool = False) -> Iterator[dict[str, str]]:
    """The rows of a CSV file, or of a TSV file by its suffix, by the names of its header.

    A row with more or fewer fields than the header is reported and left out: its values may stand
    under other names.

    Raises:
        HlensError: Quotes that do not close, a name twice in the header, or, with `every_row`, a
            row that would be left out.
    """
    # The reader splits lines itself, since a quoted field may hold some.
    text = io.StringIO(read_text(path), newline="")
    reader = csv.reader(text, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
    limit = csv.field_size_limit(2**31 - 1)  # of the whole process, so it is put back
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise HlensError(f"{path.name}, line {reader.line_num}: not CSV ({error})") from None
    finally:
        csv.field_size_limit(limit)
    header = [name.strip() for name in rows[0][1]] if rows else []
    if twice := {name for name in header if header.count(name) > 1}:
        raise HlensError(f"{path.name}: two columns are called {min(twice)!r}; rename one")
    for number, row in rows[1:]:
        if len(row) == len(header):
            yield dict(zip(header, row, strict=True))
            continue
        uneven = f"{path.name}, line {number} has {len(row)} fields, its header {len(header)}"
        if every_row:
            raise HlensError(f"{uneven}; mend it")
        log.warning("%s; left out", uneven)


def decode(data: bytes) -> str:
    """The text of bytes.

    Raises:
        HlensError: They are not UTF-8, or hold a NUL.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise HlensError(
            f"byte {data[error.start]:#04x} at position {error.start + 1} is not UTF-8; "
            "save the file as UTF-8"
        ) from None
    if "\0" in text:
        raise HlensError("a NUL byte, which no text holds; save the file as UTF-8")
    return text


def parse_object(text: str) -> dict[str, Any]:
    """The JSON object of a text; errors as in `parse_json`, or another JSON value."""
    row = parse_json(text)
    if not isinstance(row, dict):
        raise HlensError(f"a JSON {type(row).__name__}; expected an object")
    return row


def parse_json(text: str, *, written_here: bool = False) -> Any:
    """The value of a JSON text.

    Args:
        text: The JSON.
        written_here: Whether hlens wrote it: then NaN is a number, and objects are taken as they
            are, which takes a fraction of the time.

    Raises:
        HlensError: Not JSON, a key twice in one object, a number that JSON has not (NaN, Infinity),
            half of a character, or values nested too deep.
    """
    try:
        value = json.loads(text, object_pairs_hook=None if written_here else build_object)
        if "\\u" in text and not written_here:
            # JSON can write half of a character, which no file of a study could store.
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise HlensError(f"not JSON ({error.msg} at character {error.colno})") from None
    except UnicodeEncodeError:
        raise HlensError("half of a character (\\ud800 to \\udfff alone)") from None
    except RecursionError:
        raise HlensError("not JSON that can be read (nested too deep)") from None
    except HlensError:
        raise
    except ValueError:
        raise HlensError("not JSON that can be read (too long a number)") from None
    return value


def build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object of its pairs; `HlensError` where a key is twice or a number is none."""
    built = dict(pairs)
    if len(built) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise HlensError(f"the key {twice!r:.60} twice; keep one")
    for name, value in pairs:
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, float) and not math.isfinite(one):
                raise HlensError(f"{name} is {one}; expected a value that JSON has")
    return built


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Put the file, or the line, before the error of what is read there."""
    try:
        yield
    except HlensError as error:
        raise HlensError(f"{where}: {error}") from None


def _read(path: Path) -> bytes:
    """The bytes of a file that may be text."""
    if not path.is_file():
        what = ", which is a folder" if path.is_dir() else ""
        raise HlensError(f"no file {str(path)!r}{what}; give the path of a file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HlensError(f"{str(path)!r} cannot be read ({error.strerror})") from None
    for beginning, what in _OTHERS.items():
        if data.startswith(beginning):
            raise HlensError(f"{path.name} is {what}")
    return data
