"""Whether one layer is enough to change behaviour, or many together are."""

from functools import partial

from hlens import figures
from hlens.effects import describe_layers, labels, layer_slopes
from hlens.report.data import Section
from hlens.report.tables import Tables
from hlens.steps import layers

HEADING = "Which layers change behaviour?"
NEEDS = (layers.by_layer,)


def section(tables: Tables) -> Section | None:
    """The section of a study whose recipe asks for edits by the layer."""
    if tables.recipe.layers.edits == "none":
        return None
    table, words = layer_slopes(tables[layers.by_layer]), labels()
    drawn = [
        partial(figures.by_layer, table.loc[table["behaviour"] == name], labels=words)
        for name in dict.fromkeys(table["behaviour"])
    ]
    return Section(
        HEADING,
        "The neurons of each layer that holds some, alone, and those of all layers from the first "
        "up to each, at the outermost doses; beside them all neurons, the truth-associated ones "
        "and random sets as large as all of them.",
        (*drawn, *describe_layers(table, words)),
        "A layer that is not seen to move anything may still do so: it holds a part of the neurons "
        "and its interval is corrected for all parts. Random sets are as large as the whole, so "
        "that a part must do more to be beyond them.",
    )
