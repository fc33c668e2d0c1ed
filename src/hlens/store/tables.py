"""Tables as Parquet, or as CSV for other programs."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyarrow import ArrowException

from hlens.data_files import read_text
from hlens.errors import HlensError, first_line
from hlens.store.atomic import write_bytes, write_text
from hlens.store.checked import MEND

# A spreadsheet runs a text that begins with one of these as a formula; names of models, domains and
# answers come from outside. A quote before it is the spreadsheet's own sign for text.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def save_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table of flat rows, whole or not at all: as CSV by the suffix ``.csv``, else Parquet.

    In the CSV a text that a spreadsheet would take for a formula has a single quote before it,
    which `load_table` takes off; numbers are written as they are.

    Raises:
        HlensError: A file of another kind at that path.
    """
    if Path(path).suffix.lower() != ".csv":
        write_bytes(path, table.to_parquet(index=False), b"PAR1")
        return
    header = [_as_text(str(name)) for name in table.columns]
    quoted = table.map(_as_text).set_axis(header, axis=1)
    # All texts stand in double quotes: by these the reader tells the text 1 from the number.
    written = quoted.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    write_text(path, written, written.partition("\n")[0].encode())


def load_table(path: str | Path) -> pd.DataFrame:
    """Read what `save_table` wrote.

    Raises:
        HlensError: No such file, or one that holds no table.
    """
    path = Path(path)
    if not path.is_file():
        raise HlensError(f"no table at {path}; run the step that makes it first")
    if path.suffix.lower() != ".csv":
        try:
            return pd.read_parquet(path)
        except (ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            raise HlensError(f"{path} holds no table ({first_line(error)}); {MEND}") from None
    text = read_text(path)
    try:
        table = pd.read_csv(io.StringIO(text, newline=""), keep_default_na=False, na_values=[""])
        # What stands in double quotes is text, also where it looks like a number.
        _, *rows = csv.reader(io.StringIO(text, newline=""), quoting=csv.QUOTE_NONNUMERIC)
        for name, cells in zip(table.columns, zip(*rows, strict=True), strict=bool(rows)):
            if set(cells) - {"", "True", "False"} and any(isinstance(c, str) and c for c in cells):
                table[name] = list(map(_as_read, cells))
    except (ValueError, csv.Error) as error:
        raise HlensError(f"{path} is no table ({error}); save it again") from error
    return table.rename(columns=_as_read)


def _as_text(cell: Any) -> Any:
    if isinstance(cell, bool | np.bool_):
        return str(cell)
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _as_read(cell: Any) -> Any:
    is_quoted = isinstance(cell, str) and cell[:1] == "'" and cell[1:].startswith(_FORMULA)
    return cell[1:] if is_quoted else cell
