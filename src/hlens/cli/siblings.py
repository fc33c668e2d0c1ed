"""A detector on a sibling of its model, as the command line asks for it and shows it."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hlens import figures
from hlens.cli import show
from hlens.cli.forms import Form
from hlens.cli.pictures import Picture
from hlens.cli.tables import same
from hlens.counting import count
from hlens.siblings import SiblingComparison
from hlens.study import Study

CAPTIONS = {
    "sibling": "The detector on its own model and on a sibling, with 95 % intervals.",
    "differences": "Differences between these readings, with 95 % intervals.",
    "drift": "How far each neuron of the detector moved from its model to the sibling.",
}
SHOWN = 10  # neurons of the drift in a terminal; JSON has all


def compare(
    study: Study, name: str, options: Mapping[str, Any], again: bool
) -> tuple[SiblingComparison, list[str] | None]:
    """The comparison, and with `again` the names of its tables that a second making changed."""
    before = study.sibling(name, **options)
    if not again:
        return before, None
    after = study.sibling(name, **options, again=True)
    pairs = zip(_tables(before).items(), _tables(after).values(), strict=True)
    return after, [name for (name, table), other in pairs if not same(table, other)]


def draw(found: SiblingComparison, picture: Picture) -> None:
    """Write the figure."""
    picture.save(figures.sibling(found.scores, found.drift))


def show_compared(
    found: SiblingComparison, changed: list[str] | None, study: Study, form: Form
) -> None:
    """Its tables, and what they say in words; in a terminal the neurons that weigh most."""
    tables = _tables(found)
    if form:
        facts: dict[str, Any] = dict(tables)
        facts |= {"in_words": found.in_words()}
        facts |= {} if changed is None else {"recomputed": True, "changed": changed}
        show.write(facts, form, study=study, captions=CAPTIONS)
        return
    drift: Any = found.drift
    heaviest = (drift["weight"] * drift["home_sd"]).abs().nlargest(SHOWN).index
    title = "drift"
    if len(heaviest) < len(drift):
        title = (
            f"drift of the {SHOWN} of {count(len(drift), 'neuron')} that weigh most; --json has all"
        )
    shown = {**tables, "drift": drift.loc[heaviest.sort_values()]}
    for name, table in shown.items():
        show.table(title if name == "drift" else name, table)
    for line in found.in_words():
        show.out.print(f"• {line}", soft_wrap=True)
    if changed is not None:
        words = f"changed: {', '.join(changed)}" if changed else "the numbers are the same"
        show.say("recomputed", words)


def _tables(found: SiblingComparison) -> dict[str, pd.DataFrame]:
    return {"sibling": found.scores, "differences": found.differences, "drift": found.drift}
