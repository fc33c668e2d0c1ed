"""Which neurons are shared by whom? An UpSet plot of exclusive intersections, most shared first.

To read it: each column is one combination of sets, named by its filled dots; the bar above counts
the neurons that are in exactly these sets. The subtitle tells what chance would put there.
It misleads when a bar is read as a whole overlap: each neuron is counted once, in the one column
that names all the sets it is in.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hlens.errors import HlensError
from hlens.figures._figure import Figure, finish
from hlens.figures._theme import palette
from hlens.figures.upset._groups import Group, intersections
from hlens.figures.upset._panels import ROW, add_bars, add_dots, add_sizes, set_axes
from hlens.figures.upset._words import subtitle_of, title_of
from hlens.types import NeuronSet

MOST_COLUMNS = 30


def draw(sets: Sequence[NeuronSet], *, theme: str = "light") -> Figure:
    """Draw which neurons are in which sets.

    Args:
        sets: At least two sets of one model, each with its own name.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: Fewer than two sets, sets without or with equal names, or of other shapes.
    """
    _check(sets)
    colours = palette(theme)
    ordered = sorted(sets, key=lambda one: (-len(one), one.name))
    counts = intersections(sets)
    groups = sorted(counts, key=lambda group: (-len(group), -counts[group], sorted(group)))
    kept = _kept(groups, counts)
    figure = Figure()
    add_bars(figure, kept, counts, len(sets), colours)
    add_dots(figure, kept, ordered, len(sets), colours)
    add_sizes(figure, ordered, colours)
    set_axes(figure, kept, ordered, colours)
    return finish(
        figure,
        colours,
        title=title_of(counts, len(sets)),
        subtitle=subtitle_of(sets, counts, len(kept)),
        height=300 + ROW * len(sets),
        margin={"t": 44, "b": 52, "l": 24, "r": 24},
    )


def _check(sets: Sequence[NeuronSet]) -> None:
    names = [one.name for one in sets]
    if len(sets) < 2 or len(set(names)) < len(names) or not all(names):
        raise HlensError(
            f"an UpSet plot needs two or more sets with names of their own, came {names}; "
            "name them with dataclasses.replace(neurons, name=...)"
        )
    for one in sets[1:]:
        _ = sets[0] & one  # raises with its own clear line when the models differ


def _kept(groups: list[Group], counts: dict[Group, int]) -> list[Group]:
    if len(groups) <= MOST_COLUMNS:
        return groups
    largest = set(sorted(groups, key=lambda group: -counts[group])[:MOST_COLUMNS])
    return [group for group in groups if group in largest]


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: four domains with a common core."""
    draw_from = np.random.default_rng(0)
    core = {(int(draw_from.integers(12)), int(j)) for j in draw_from.integers(0, 512, 6)}
    sets = []
    for name, n in (("general", 30), ("science", 24), ("legal", 18), ("code", 12)):
        own = {(int(draw_from.integers(12)), int(j)) for j in draw_from.integers(0, 512, n)}
        pair = set(sorted(sets[-1].members)[:4]) if sets else set()
        sets.append(NeuronSet(frozenset(core | own | pair), 12, 512, name=name))
    return {"sets": sets}
