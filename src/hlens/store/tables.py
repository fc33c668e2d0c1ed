"""Tables as Parquet."""

from pathlib import Path

import pandas as pd
from pyarrow import ArrowException

from hlens.errors import HlensError, first_line
from hlens.store.atomic import write_bytes
from hlens.store.checked import MEND


def save_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table of flat rows, whole or not at all."""
    write_bytes(path, table.to_parquet(index=False))


def load_table(path: str | Path) -> pd.DataFrame:
    """Read what `save_table` wrote.

    Raises:
        HlensError: No such file, or one that holds no table.
    """
    if not Path(path).is_file():
        raise HlensError(f"no table at {path}; run the step that makes it first")
    try:
        return pd.read_parquet(path)
    except (ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise HlensError(f"{path} holds no table ({first_line(error)}); {MEND}") from None
