"""What edits and patches did, as the command line asks for it and shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from hlens import behaviours, selectors
from hlens.checks import check_real
from hlens.cli.forms import Form
from hlens.cli.show import out, say, write
from hlens.effects import (
    compare_answers,
    describe_answers,
    describe_gates,
    describe_layers,
    describe_patches,
    describe_plan,
    describe_slopes,
    gate_table,
    labels,
    layer_slopes,
    patch_table,
    plan_table,
    shown_gates,
    slope_table,
    slopes,
    summarise_patching,
)
from hlens.effects.power import FEWEST
from hlens.recipe import PlanRecipe, Recipe, SelectorsRecipe
from hlens.report.sections.dose_response import SLOPE_COLUMNS
from hlens.steps.chosen import choose_neurons
from hlens.steps.effects import outcomes
from hlens.steps.gates import fresh_questions
from hlens.steps.planning import pilot, plan_run
from hlens.study import Study

CAPTIONS = {
    "slopes": "Slopes of behaviours and capabilities per unit of α, with 95 % intervals that are "
    "corrected for the number of behaviours; of several sets of neurons, lowest to highest.",
    "layers": "Slopes per unit of α of edits layer by layer, with intervals.",
    "gates": "Edits behind gates: results of answers, with 95 % intervals.",
    "plan": "Slopes that four runs of five would show, with what the pilot leaves open (95 %), and "
    "questions needed.",
    "patching": "Share of the difference that a patch restores, with 95 % intervals; of several "
    "sets, lowest to highest.",
}


@dataclass(frozen=True, kw_only=True)
class AskedEdits:
    """What the command line says of a dose-response; None is left as the recipe has it.

    Attributes:
        behaviours, alphas, items, matched_sets, neurons: As in `hlens.recipe.InterveneRecipe`.
        second_grader: The same; ``"none"`` for the rules alone.
    """

    behaviours: Sequence[str] | None = None
    alphas: Sequence[float] | None = None
    items: int | None = None
    matched_sets: int | None = None
    second_grader: str | None = None
    neurons: str | None = None

    def recipe_of(self, study: Study) -> Recipe:
        """The study's recipe with what is asked; refused before anything is written."""
        grader = "" if self.second_grader == "none" else self.second_grader
        asked = vars(self) | {"second_grader": grader}
        asked |= {name: tuple(asked[name] or ()) or None for name in ("behaviours", "alphas")}
        chosen = {key: value for key, value in asked.items() if value is not None}
        recipe = study.recipe
        recipe = replace(recipe, intervene=replace(recipe.intervene, **chosen))
        own = recipe.intervene
        for name in self.behaviours or (own.behaviours if self.second_grader else ()):
            behaviours.load(name, second=own.second_grader).check(study.model)
        if self.neurons is not None:
            choose_neurons(study.detector(), self.neurons)
        return recipe


def choose_intervention(
    study: Study,
    asked: AskedEdits,
    *,
    gate_alphas: Sequence[float] | None = None,
    layers: str | None = None,
    selector: Sequence[str] | None = None,
) -> None:
    """Put what the command line says of an intervention into the study's recipe.

    Raises:
        HlensError: An unknown behaviour or one that this model cannot be asked for, no such
            neurons or none among them, or a value that no recipe takes.
    """
    recipe = asked.recipe_of(study)
    if gate_alphas:
        recipe = replace(recipe, gates=replace(recipe.gates, alphas=tuple(gate_alphas)))
        study.runner.value(fresh_questions)  # refused before hours of work
    if layers is not None:
        recipe = Recipe.from_dict(recipe.to_dict() | {"layers": {"edits": layers}})  # any word
    if selector:
        for name in selector:
            selectors.named(name)  # refused before anything is written
        recipe = replace(recipe, selectors=SelectorsRecipe(tuple(selector)))
    if recipe != study.recipe:
        study.revise(recipe)


def plan_intervention(
    study: Study,
    asked: AskedEdits,
    *,
    points: float,
    pilot: int | None,
) -> pd.DataFrame:
    """Plan what the command line asks for, from the study's outcomes or else from a pilot.

    The recipe keeps what was asked for only where a pilot is run: outcomes stay current otherwise.

    Raises:
        HlensError: As `choose_intervention`, or a slope or a pilot of a size that cannot be.
    """
    slope = check_real("slope", points, above=0, most=100) / 100
    recipe = asked.recipe_of(study)
    own = study.recipe.intervene
    alike = all(
        getattr(recipe.intervene, name) == getattr(own, name)
        for name in ("behaviours", "second_grader", "neurons")
    )
    if not (alike and pilot is None and study.has(outcomes)):
        n = pilot or recipe.plan.items or FEWEST
        study.revise(replace(recipe, plan=PlanRecipe(items=n)))
    return plan_run(study.runner, slope=slope, options=recipe.intervene)


def show_interventions(study: Study, form: Form) -> None:
    """Slopes over the dose and by the layer, edits behind gates, what they say, what is next."""
    outcomes, words = study.outcomes(), labels()
    steepness = slopes(outcomes)
    sentences = describe_slopes(steepness, words) + describe_answers(compare_answers(outcomes))
    layers = layer_slopes(study.by_layer()) if study.recipe.layers.edits != "none" else None
    of_layers = [] if layers is None else describe_layers(layers, words)
    gates = gate_table(study.gated()) if study.recipe.gates.alphas else None
    if form:
        tables = {"slopes": steepness, "layers": layers, "gates": gates}
        if form == Form.LATEX:
            tables["slopes"] = slope_table(steepness, words).rename(columns=SLOPE_COLUMNS)
            tables["gates"] = None if gates is None else shown_gates(gates)
        further = {name: table for name, table in tables.items() if table is not None}
        sentences += of_layers + ([] if gates is None else describe_gates(gates))
        write({**further, "in_words": sentences}, form, study=study, captions=CAPTIONS)
        return
    _print_slopes(steepness, words)
    _print_sentences(sentences, "doses, flips and costs", study.folder)
    if of_layers:
        out.print()
        out.print("Layer by layer, and all layers up to each, at the outermost doses")
        for line in of_layers:
            out.print(f"• {line}", soft_wrap=True)
    if gates is not None:
        _print_gates(gates)


def show_plan(study: Study, plan: pd.DataFrame, form: Form) -> None:
    """What a run would show and what it would take: the table, in words, in hours."""
    sentences, whole = describe_plan(plan, labels()), study.has(outcomes)
    if form == Form.LATEX:
        shown = {"plan": plan_table(plan, labels()), "in_words": sentences}
        write(shown, form, study=study, captions=CAPTIONS)
        return
    if form:
        # JSON has no infinity: where no slope is shown, or no number is enough, stands a word.
        numbers = plan.astype(object).mask(plan == float("inf"), "none")
        source = "outcomes" if whole else "pilot"
        write({"from": source, "plan": numbers, "in_words": sentences})
        return
    size = f"{plan['pilot'].max():.0f} questions of each behaviour"
    out.print(
        f"Planned from {'the outcomes' if whole else 'a pilot'}, {size}: slope per unit of α, less "
        "the random sets' mean, that is shown in four runs of five [95 %, what the pilot leaves "
        f"open]; questions needed for {100 * plan['slope'].iloc[0]:g}"
    )
    cells: Any = plan_table(plan, labels()).rename(columns={"there_are": "there are"})
    for outcome, own in cells.groupby("outcome", sort=False):
        out.print()
        say(str(outcome))
        widths = {"questions": 9, "show": 20, "needed": 9, "there are": 9}
        out.print(_plain(own.drop(columns="outcome"), widths))
    out.print()
    for line in [*sentences, *_hours(plan, study)]:
        out.print(f"• {line}", soft_wrap=True)


def _hours(plan: pd.DataFrame, study: Study) -> list[str]:
    """The time of all suites, where it is known: as many questions as asked, and as needed."""
    suites: Any = plan.groupby("suite")[["hours", "hours_needed"]].agg(
        lambda own: own.max(skipna=False)
    )
    now, then = (float(suites[name].sum(skipna=False)) for name in ("hours", "hours_needed"))
    if now != now:
        return []
    said = f"All sets and doses take about {_span(now)} of this machine, and capability on top"
    said += "" if then != then else f"; with as many questions as are needed, {_span(then)}"
    if study.has(outcomes):
        return [f"{said}."]
    return [
        f"{said}. The pilot took {_span(study.seconds()[pilot.name] / 3600)}; its replies stay."
    ]


def _span(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


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


def show_patches(study: Study, form: Form) -> None:
    """Patches: the strongest of each kind, what they say, what is next."""
    summed = summarise_patching(study.patching())
    sentences = describe_patches(summed)
    if form:
        shown = patch_table(summed) if form == Form.LATEX else summed
        facts = {"patching": shown, "in_words": sentences}
        write(facts, form, study=study, captions=CAPTIONS)
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
