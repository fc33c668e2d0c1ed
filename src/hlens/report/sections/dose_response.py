"""Whether editing the neurons changes what the model does."""

from functools import partial
from typing import Any

import pandas as pd

from hlens import figures
from hlens.effects import (
    CAPABILITY_MEASURES,
    compare_answers,
    describe_answers,
    describe_slopes,
    dose_table,
    labels,
    rates,
    slope_table,
    slopes,
)
from hlens.report.data import Section
from hlens.report.tables import Tables
from hlens.steps import effects
from hlens.types.labels import Heading, SetKind

HEADING = Heading.EDITING
NEEDS = (effects.outcomes,)
SLOPE_COLUMNS = {
    "slope": "slope per unit of α",
    "less_random": "less the random sets' mean",
    "as_steep": "as steep",
    "seen_from": "seen from",
}


def section(tables: Tables) -> Section | None:
    """The section of a study whose neurons were edited."""
    outcomes, words = tables[effects.outcomes], labels()
    steepness = slopes(outcomes)
    return Section(
        HEADING,
        "The neurons' activations times α, beside as many random neurons of the same layers, the "
        "truth-associated neurons, and a random push as large. A second grader of another kind has "
        "a panel of its own: an effect that only one grader sees may be the grader's.",
        (
            *_doses(outcomes, steepness, words),
            slope_table(steepness, words).rename(columns=SLOPE_COLUMNS),
            *describe_slopes(steepness, words),
            *describe_answers(compare_answers(outcomes)),
            *_without_truth(outcomes),
        ),
        "A change that random sets make too, or that comes with lost capability, is damage, not "
        "control. Slopes are least-squares over α, their intervals (95 %, corrected for the number "
        "of behaviours) a bootstrap that pairs the questions. Of several sets the lowest and "
        "highest slope are shown; “as steep” counts the random sets that do as much, either "
        "way. “Seen from” is the slope, less the random sets’ mean, that four of five such runs "
        "would show to be beyond all random sets: what a null could not have seen lies below it.",
    )


def _without_truth(outcomes: pd.DataFrame) -> list[str]:
    """Why no truth neurons stand beside the edited ones, where none do."""
    if SetKind.TRUTH in set(outcomes["kind"]):
        return []
    return ["No truth neurons stand beside: the detector holds none, or they were edited above."]


def asked(outcomes: pd.DataFrame) -> list[str]:
    """The behaviours among the outcomes."""
    return [
        name for name in dict.fromkeys(outcomes["behaviour"]) if name not in CAPABILITY_MEASURES
    ]


def costs(outcomes: pd.DataFrame) -> list[str]:
    """The capabilities among the outcomes."""
    return [name for name in CAPABILITY_MEASURES if name in set(outcomes["behaviour"])]


def _doses(outcomes: pd.DataFrame, steepness: pd.DataFrame, words: Any) -> list[Any]:
    """A figure a behaviour, perplexity beside it; the other capabilities in one more."""
    table, first, others = rates(outcomes), costs(outcomes)[:1], costs(outcomes)[1:]
    drawn = [[name, *first] for name in asked(outcomes)] + ([others] if others else [])
    return [
        partial(
            figures.dose_response,
            dose_table(table, names, labels=words),
            slopes=steepness.loc[steepness["behaviour"] == names[0]],
        )
        for names in drawn
    ]
