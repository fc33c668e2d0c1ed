"""What edits and patches did, as the command line asks for it and shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from hlens import behaviours
from hlens.cli.show import out, rows, say, write
from hlens.effects import (
    describe_patches,
    describe_slopes,
    labels,
    patch_table,
    slope_table,
    slopes,
    summarise_patching,
)
from hlens.steps.chosen import choose_neurons
from hlens.study import Study


def choose_intervention(
    study: Study,
    names: Sequence[str] | None,
    alphas: Sequence[float] | None,
    items: int | None,
    matched: int | None,
    second_grader: str | None,
    neurons: str | None,
) -> None:
    """Put what the command line says of an intervention into the study's recipe.

    Raises:
        HlensError: An unknown behaviour or one that this model cannot be asked for, no such
            neurons or none among them, or a value that no recipe takes.
    """
    asked = {"behaviours": tuple(names or ()) or None, "alphas": tuple(alphas or ()) or None}
    asked |= {"items": items, "matched_sets": matched, "neurons": neurons}
    asked["second_grader"] = "" if second_grader == "none" else second_grader
    chosen = {key: value for key, value in asked.items() if value is not None}
    if not chosen:
        return
    recipe = study.recipe
    recipe = replace(recipe, intervene=replace(recipe.intervene, **chosen))
    # Before the recipe is written.
    for name in names or (recipe.intervene.behaviours if second_grader else ()):
        behaviours.load(name, second=recipe.intervene.second_grader).check(study.model)
    if neurons is not None:
        choose_neurons(study.detector(), neurons)
    study.revise(recipe)


def show_slopes(study: Study, as_json: bool) -> None:
    """Slopes over the dose: a row an outcome and kind of neurons, what they say, what is next."""
    steepness, words = slopes(study.outcomes()), labels()
    sentences = describe_slopes(steepness, words)
    if as_json:
        write({"slopes": rows(steepness), "in_words": sentences})
        return
    out.print(
        "Slope per unit of α [95 % interval, corrected for the behaviours]; of several sets, "
        "lowest to highest"
    )
    table: Any = slope_table(steepness, words).groupby(["outcome", "grader"], sort=False)
    for (outcome, grader), own in table:
        by = f"by {grader}" if grader else ""
        out.print()
        say(str(outcome), by)
        cells: Any = own[["neurons", "slope", "less_random", "as_steep"]]
        out.print(
            _plain(
                cells,
                {"slope": 23, "less random sets": 23, "as steep": 8},
            )
        )
    _print_sentences(sentences, "doses, flips and costs", study.folder)


def show_patches(study: Study, as_json: bool) -> None:
    """Patches: the strongest of each kind, what they say, what is next."""
    summed = summarise_patching(study.patching())
    sentences = describe_patches(summed)
    if as_json:
        write({"patching": rows(summed), "in_words": sentences})
        return
    out.print("Share of the difference that a patch restores [95 % interval]; --json has all rows")
    out.print(_plain(patch_table(summed), {"restored": 26, "attribution": 11}))
    _print_sentences(sentences, "map over layers and tokens", study.folder)


def _plain(cells: pd.DataFrame, columns: Mapping[str, int]) -> Table:
    """A table without lines: the first column names the row, the others have a width each."""
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    shown.add_column(str(cells.columns[0]), min_width=20)
    for name, width in columns.items():
        shown.add_column(name, justify="right", min_width=width, no_wrap=True)
    for row in cells.itertuples(index=False):
        shown.add_row(*(str(cell) for cell in row))
    return shown


def _print_sentences(sentences: Sequence[str], more: str, folder: Path) -> None:
    """Print the conclusions, and the command that draws the figures behind them."""
    out.print()
    for line in sentences:
        out.print(f"• {line}", soft_wrap=True)
    say(more, f"hlens report {folder}")
