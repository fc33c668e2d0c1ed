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
    describe_gates,
    describe_patches,
    describe_slopes,
    gate_table,
    labels,
    patch_table,
    shown_gates,
    slope_table,
    slopes,
    summarise_patching,
)
from hlens.steps.chosen import choose_neurons
from hlens.steps.gates import fresh_questions
from hlens.study import Study


def choose_intervention(
    study: Study,
    names: Sequence[str] | None,
    alphas: Sequence[float] | None,
    items: int | None,
    matched: int | None,
    second_grader: str | None,
    neurons: str | None,
    gate_alphas: Sequence[float] | None,
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
    if not chosen and not gate_alphas:
        return
    recipe = study.recipe
    recipe = replace(recipe, intervene=replace(recipe.intervene, **chosen))
    if gate_alphas:
        recipe = replace(recipe, gates=replace(recipe.gates, alphas=tuple(gate_alphas)))
        study.runner.value(fresh_questions)  # refused before hours of work
    # Before the recipe is written.
    for name in names or (recipe.intervene.behaviours if second_grader else ()):
        behaviours.load(name, second=recipe.intervene.second_grader).check(study.model)
    if neurons is not None:
        choose_neurons(study.detector(), neurons)
    study.revise(recipe)


def show_interventions(study: Study, as_json: bool) -> None:
    """Slopes over the dose and edits behind gates, what they say, what is next."""
    steepness, words = slopes(study.outcomes()), labels()
    sentences = describe_slopes(steepness, words)
    gates = gate_table(study.gated()) if study.recipe.gates.alphas else None
    if as_json:
        of_gates = {} if gates is None else {"gates": rows(gates)}
        sentences += [] if gates is None else describe_gates(gates)
        write({"slopes": rows(steepness), **of_gates, "in_words": sentences})
        return
    _print_slopes(steepness, words)
    _print_sentences(sentences, "doses, flips and costs", study.folder)
    if gates is not None:
        _print_gates(gates)


def _print_gates(table: pd.DataFrame) -> None:
    """Answers behind each gate, and what the gate of the running risk did."""
    out.print()
    out.print(
        "Edits behind gates: accuracy of what is answered [95 % interval], its difference from no "
        "edit and from random gates in points; --json has all columns"
    )
    cells: Any = shown_gates(table)[["edit", "α", "accuracy", "less unedited", "less random"]]
    widths = {"α": 3, "accuracy": 13, "less unedited": 19, "less random": 19}
    out.print(_plain(cells, widths))
    for line in describe_gates(table):
        out.print(f"• {line}", soft_wrap=True)


def _print_slopes(steepness: pd.DataFrame, words: Mapping[str, str]) -> None:
    """A row an outcome and kind of neurons."""
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
