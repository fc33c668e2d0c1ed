"""Choice among answers beside open generation: does an edit move both alike?

Problem: gains in choosing among answers have been losses in writing them, and whoever measures one
alone sees half. Idea: put the same questions both ways and take the difference question by question
before any slope is fitted, so that what a question adds by being easy cancels.
"""

from typing import Any

import pandas as pd

from hlens.behaviours import RULES
from hlens.counting import count
from hlens.effects.describe import describe_slope, signed_slope
from hlens.effects.slopes import slopes
from hlens.types import SetKind

CHOICE, OPEN = "plain_choice", "plain_qa"
KEY = ["set", "kind", "alpha", "question_id"]


def compare_answers(
    outcomes: pd.DataFrame, *, n_boot: int = 2000, seed: int = 0, level: float = 0.95
) -> pd.DataFrame:
    """Slope of the right choices less that of the right open answers, paired by question.

    `outcomes` are those of `intervene` for `plain_choice` and `plain_qa`; the rules of both speak,
    and only questions that were put both ways count. The rest is as in `slopes`.

    Returns:
        The rows of `slopes` with ``slope, low, high`` and what follows of the difference, and
        beside them ``choice`` and ``open``, the slopes of each on the same questions. Empty where
        the outcomes hold no question that was put both ways.
    """
    ruled: Any = outcomes.loc[(outcomes.grader == RULES) & outcomes.applies.astype(bool)]
    choice, written = (ruled.loc[ruled.behaviour == name] for name in (CHOICE, OPEN))
    both = choice.merge(written[[*KEY, "value"]], on=KEY, suffixes=("", "_open"))
    both = both.dropna(subset=["value", "value_open"])
    if not len(both):
        return pd.DataFrame()

    def fit(values: pd.Series) -> pd.DataFrame:
        return slopes(both.assign(value=values), n_boot=n_boot, seed=seed, level=level)

    table = fit(both["value"] - both["value_open"])
    one_way = {"choice": fit(both["value"]).slope, "open": fit(both["value_open"]).slope}
    return table.assign(behaviour=f"{CHOICE} less {OPEN}", **one_way)


def describe_answers(compared: pd.DataFrame) -> list[str]:
    """A sentence on the target neurons: both slopes, and whether they part; none for no rows.

    They part where the interval of their difference leaves out 0.
    """
    if not len(compared):
        return []
    target: Any = compared.loc[compared.kind == SetKind.TARGET]
    return [
        "Choice among answers and open generation "
        f"{'part' if row.low > 0 or row.high < 0 else 'are not seen to part'}: "
        f"{signed_slope(row.choice, row.unit)} in choice among answers, "
        f"{signed_slope(row.open, row.unit)} in open generation, over {count(row.n, 'question')} "
        "put both "
        f"ways; choice less open {describe_slope(row)}."
        for row in target.itertuples()
    ]
