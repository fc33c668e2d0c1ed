"""How the replies under an edit could be read."""

import pandas as pd

from hlens.effects import labels, rates
from hlens.report.data import Section
from hlens.report.sections.dose_response import asked
from hlens.report.tables import Tables
from hlens.steps import effects
from hlens.types import SetKind
from hlens.types.estimate import percent

HEADING = "What became of the replies?"
NEEDS = (effects.outcomes,)


def section(tables: Tables) -> Section | None:
    """The section of a study whose neurons were edited."""
    return Section(
        HEADING,
        "How replies could be read under the edit, at each dose, by grader (of a scale from 0 to 1 "
        "the rate is the mean in percent), and the edit's receipt: on how "
        "many tokens x neurons it acted.",
        (_replies(tables[effects.outcomes]),),
        "Where more replies cannot be read, or are cut, at one dose than at another, its rate is "
        "of other questions.",
    )


def _replies(outcomes: pd.DataFrame) -> pd.DataFrame:
    table, words = rates(outcomes), labels()
    own = table.loc[(table["kind"] == SetKind.TARGET) & table["behaviour"].isin(asked(outcomes))]
    own = own.sort_values(["behaviour", "grader", "alpha"], kind="stable")
    return pd.DataFrame(
        {
            "behaviour": own["behaviour"].map(words),
            "grader": own["grader"],
            "α": own["alpha"].map("{:g}".format),
            "rate": [_share(r["rate"], r["low"], r["high"]) for r in own.to_dict("records")],
            "replies": own["n_asked"],
            "not read": own["parse_failures"].map(_share),
            "cut at the limit": own["capped"].map(_share),
            "refusals": own["refusals"].map(_share),
            "mean tokens": own["mean_tokens"].map("{:.1f}".format),
            "tokens x neurons": own["touched"],
        }
    ).reset_index(drop=True)


def _share(value: float, low: float | None = None, high: float | None = None) -> str:
    """A share in percent, with its interval where there is one.

    >>> _share(0.688, 0.444, 0.858), _share(0.125)
    ('69 % [44, 86]', '12 %')
    """
    if value != value:
        return ""
    span = "" if low is None or high is None else f" [{100 * low:.0f}, {100 * high:.0f}]"
    return f"{percent(value)}{span}"
