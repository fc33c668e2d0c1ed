"""What a study tells of its edits: dose-response, flips, cost, and patching."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from hlens import figures
from hlens.effects import CAPABILITY, dose_table, flips, labels, pareto, patched, rates, slopes
from hlens.report import Section

if TYPE_CHECKING:
    from hlens.study.deeper import Study

REPLY_COLUMNS = {
    "behaviour": "behaviour",
    "alpha": "alpha",
    "rate": "rate",
    "low": "low",
    "high": "high",
    "n_asked": "replies",
    "parse_failures": "parse failures",
    "capped": "cut at the limit",
    "refusals": "refusals",
    "mean_tokens": "mean tokens",
    "touched": "tokens x neurons touched",
}
MOST = 12  # rows of each kind in the patching table


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
        (*_doses(table, steep, asked, costs, words), _slopes(steep, words)),
        "A change that random sets make too, or that comes with lost capability, is damage, not "
        "control. Slopes are least-squares over α, their intervals a bootstrap that pairs the "
        "questions; of many behaviours one may lie beyond the random sets by chance.",
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
        "How the H-neurons' replies could be read, at each dose.",
        (_replies(table, asked, words),),
        "Where more replies cannot be read, or are cut, at one dose than at another, its rate is "
        "of other questions.",
    )


def patching_section(study: "Study") -> Section:
    """Do their activations carry what differs between two prompts?"""
    table: Any = patched(study.patching())
    shown = table.groupby("kind", sort=False).head(MOST).drop(columns=["layer", "neuron"])
    return Section(
        "Do they carry the difference?",
        "Activations of a true premise or a known entity put into the run of a false or invented "
        f"one, over {int(table['n'].max())} pairs that the model tells apart. Attribution is the "
        "estimate from one backward pass, the share restored the exact patch.",
        (
            partial(figures.patching, study.patching_map()),
            shown.rename(columns={"effect": "share restored"}).reset_index(drop=True),
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


def _slopes(steep: pd.DataFrame, words: Any) -> pd.DataFrame:
    kept = steep.loc[steep["kind"].isin(["target", "truth", "norm_matched"])]
    kept = kept.assign(behaviour=kept["behaviour"].map(words)).drop(columns=["kind"])
    return kept.reset_index(drop=True)


def _costs(table: pd.DataFrame, asked: list[str], cost: str, words: Any) -> list[Any]:
    return [
        partial(figures.pareto, pareto(table, name, cost), behaviour=words[name], cost=words[cost])
        for name in asked
    ]


def _replies(table: pd.DataFrame, asked: list[str], words: Any) -> pd.DataFrame:
    own = table.loc[(table["kind"] == "target") & table["behaviour"].isin(asked)]
    own = own.sort_values(["behaviour", "alpha"]).assign(behaviour=own["behaviour"].map(words))
    return own[list(REPLY_COLUMNS)].rename(columns=REPLY_COLUMNS).reset_index(drop=True)
