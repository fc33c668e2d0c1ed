"""What edits and patches did, as the command line shows it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from hlens.cli.show import out, rows, write

if TYPE_CHECKING:
    import pandas as pd


def show_slopes(
    every: "pd.DataFrame", table: "pd.DataFrame", words: Sequence[str], folder: Path, as_json: bool
) -> None:
    """Slopes over the dose: a row an outcome and kind of neurons, what they say, what is next."""
    if as_json:
        write({"slopes": rows(every), "in_words": words})
        return
    out.print("Slope per unit of α [95 % interval]; of several sets, lowest to highest")
    for outcome, own in table.groupby("outcome", sort=False):
        out.print(f"\n[bold]{escape(str(outcome))}[/]", soft_wrap=True)
        cells: Any = own[["neurons", "slope", "less_random", "as_steep"]]
        out.print(_plain(cells, {"slope": 23, "less random sets": 23, "as steep": 8}))
    _say(words, "doses, flips and costs", folder)


def show_patches(
    every: "pd.DataFrame", table: "pd.DataFrame", words: Sequence[str], folder: Path, as_json: bool
) -> None:
    """Patches: the strongest of each kind, what they say, what is next."""
    if as_json:
        write({"patching": rows(every), "in_words": words})
        return
    out.print("Share of the difference that a patch restores [95 % interval]; --json has all rows")
    out.print(_plain(table, {"restored": 26, "attribution": 11}))
    _say(words, "map over layers and tokens", folder)


def _plain(cells: "pd.DataFrame", columns: Mapping[str, int]) -> Table:
    """A table without lines: the first column names the row, the others have a width each."""
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    shown.add_column(str(cells.columns[0]), min_width=20)
    for name, width in columns.items():
        shown.add_column(name, justify="right", min_width=width, no_wrap=True)
    for row in cells.itertuples(index=False):
        shown.add_row(*(escape(str(cell)) for cell in row))
    return shown


def _say(words: Sequence[str], more: str, folder: Path) -> None:
    """What was found, in words, and the command that draws it."""
    out.print()
    for line in words:
        out.print(f"• {escape(line)}", soft_wrap=True)
    out.print(f"[bold]{more}[/]  hlens report {folder}", soft_wrap=True)
