"""Tables as Parquet."""

from pathlib import Path

import pandas as pd

from hlens.errors import HlensError
from hlens.store.atomic import write_bytes


def save_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table of flat rows, whole or not at all."""
    write_bytes(path, table.to_parquet(index=False))


def load_table(path: str | Path) -> pd.DataFrame:
    """Read what `save_table` wrote.

    Raises:
        HlensError: No such file.
    """
    if not Path(path).is_file():
        raise HlensError(f"no table at {path}; run the step that makes it first")
    return pd.read_parquet(path)
