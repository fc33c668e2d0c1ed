"""What a study tells of its edits: dose-response, flips, cost, and patching."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from hlens import figures
from hlens.effects import (
    CAPABILITY,
    dose_table,
    flips,
    labels,
    pareto,
    patch_table,
    patched,
    rates,
    slope_table,
    slopes,
)
from hlens.report import Section
from hlens.types.estimate import percent

if TYPE_CHECKING:
    from hlens.study.deeper import Study

SLOPE_COLUMNS = {
    "slope": "slope per unit of α",
    "less_random": "less the random sets' mean",
    "as_steep": "as steep",
}
MOST = 12  # layers, and neurons, in the patching table


def effect_sections(study: "Study") -> Iterator[Section]:
    """Does editing move behaviour, which replies turn, and at what cost?"""
    outcomes, words = study.outcomes(), labels()
    table, steep, turned = rates(outcomes), slopes(outcomes), flips(outcomes)
    asked = [name for name in dict.fromkeys(outcomes["behaviour"]) if name not in CAPABILITY]
    costs = [name for name in CAPABILITY if name in set(outcomes["behaviour"])]
    yield Section(
        "Does editing them change behaviour?",
        "The neurons' activations times α, beside as many random neurons of the same layers, the "
        "truth-associated neurons, and a random push as large.",
        (
            *_doses(table, steep, asked, costs, words),
            slope_table(steep, words).rename(columns=SLOPE_COLUMNS),
        ),
        "A change that random sets make too, or that comes with lost capability, is damage, not "
        "control. Slopes are least-squares over α, their intervals (95 %) a bootstrap that pairs "
        "the questions. Of several sets the lowest and highest slope are told; “as steep” counts "
        "the random sets that do as much, either way. Of many behaviours one may lie beyond them "
        "by chance.",
    )
    yield Section(
        "Which replies turn?",
        "Replies that turned against the unmodified model's, both ways.",
        (partial(figures.flips, turned.loc[turned["behaviour"].isin(asked)], labels=words),),
        "An edit that turns as many replies one way as the other changes much and moves nothing.",
    )
    if costs:
        yield Section(
            "What does it cost?",
            "Every edit by what it moves and what it breaks.",
            _costs(table, asked, costs[0], words),
            "Perplexity is one capability of many; see multiple choice and the replies themselves.",
        )
    yield Section(
        "What became of the replies",
        "How the H-neurons' replies could be read, at each dose, and the edit's receipt: on how "
        "many tokens x neurons it acted.",
        (_replies(table, asked, words),),
        "Where more replies cannot be read, or are cut, at one dose than at another, its rate is "
        "of other questions.",
    )


def patching_section(study: "Study") -> Section:
    """Do their activations carry what differs between two prompts?"""
    table: Any = patched(study.patching())
    return Section(
        "Do they carry the difference?",
        "Activations of a true premise or a known entity put into the run of a false or invented "
        f"one, over {int(table['n'].max())} pairs that the model tells apart. Attribution is the "
        "estimate from one backward pass, the share restored the exact patch.",
        (
            partial(figures.patching, study.patching_map()),
            patch_table(table, MOST).rename(columns={"restored": "share restored"}),
        ),
        "A share restored says that the neurons carry the difference on these prompts, not that "
        "they decide it elsewhere.",
    )


def _doses(
    table: pd.DataFrame, steep: pd.DataFrame, asked: list[str], costs: list[str], words: Any
) -> list[Any]:
    """A figure a behaviour, perplexity beside it; the other capabilities in one more."""
    drawn = [[name, *costs[:1]] for name in asked] + ([costs[1:]] if costs[1:] else [])
    return [
        partial(
            figures.dose_response,
            dose_table(table, outcomes, words),
            slopes=steep.loc[steep["behaviour"] == outcomes[0]],
        )
        for outcomes in drawn
    ]


def _costs(table: pd.DataFrame, asked: list[str], cost: str, words: Any) -> list[Any]:
    return [
        partial(figures.pareto, pareto(table, name, cost), behaviour=words[name], cost=words[cost])
        for name in asked
    ]


def _replies(table: pd.DataFrame, asked: list[str], words: Any) -> pd.DataFrame:
    own = table.loc[(table["kind"] == "target") & table["behaviour"].isin(asked)]
    own = own.sort_values(["behaviour", "alpha"], kind="stable")
    return pd.DataFrame(
        {
            "behaviour": own["behaviour"].map(words),
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
