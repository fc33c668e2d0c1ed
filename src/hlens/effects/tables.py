"""What the replies amount to: rates, flips, and behaviour against capability."""

from collections.abc import Mapping, Sequence
from math import exp
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from hlens.counting import count
from hlens.display import display_name
from hlens.effects.capability import labels as outcome_labels
from hlens.errors import HlensError
from hlens.evaluation.bootstrap import estimate_statistic
from hlens.evaluation.significance import holm
from hlens.types import Estimate, SetKind
from hlens.types.labels import Scale

KEYS = ["behaviour", "grader", "set", "kind", "alpha"]


def rates(outcomes: pd.DataFrame, *, n_boot: int = 1000) -> pd.DataFrame:
    """One row a behaviour, grader, set and dose of the outcomes of `intervene`.

    Returns:
        Columns ``behaviour, grader, set, kind, alpha, rate, low, high, n, unit, yes, n_asked,
        parse_failures, capped, refusals, mean_tokens, touched``. Shares carry Wilson intervals;
        mean degrees bootstrap intervals over groups of questions; perplexity and KL (nats a token)
        over texts. ``yes`` is the share of degrees above one half, or the rate of a share.
        ``parse_failures``, ``capped`` and ``refusals`` are shares of the replies that apply.
    """
    table = []
    grouped: Any = outcomes.groupby(KEYS, sort=False)
    for key, rows in grouped:
        applying = rows.loc[rows.applies.astype(bool)]
        rate = _estimate_rate(key[0], applying, n_boot)
        table.append({**dict(zip(KEYS, key, strict=True)), **_rate_columns(rate, applying)})
    return pd.DataFrame(table)


_FLIPS = ("to_hit", "to_miss", "stayed_hit", "stayed_miss", "n", "p", "p_corrected")


def flips(outcomes: pd.DataFrame, *, unmodified: float = 1.0) -> pd.DataFrame:
    """Replies that changed against the unmodified model, both ways; a degree above 0.5 is a hit.

    Returns:
        Columns ``behaviour, grader, set, kind, alpha, to_hit, to_miss, stayed_hit, stayed_miss, n,
        p, p_corrected``: n counts the questions that could be scored both times, p is the exact
        McNemar test, and p_corrected Holm's over all rows of one kind of set.

    Raises:
        HlensError: No unmodified replies to compare with.
    """
    is_yes_or_no = outcomes.unit.isin([*Scale])
    shares: Any = outcomes.loc[is_yes_or_no]
    flipped = []
    for key, rows in shares.groupby(KEYS[:-1], sort=False):
        if unmodified not in set(rows.alpha):
            raise HlensError(f"no unmodified replies (alpha={unmodified:g}) of {key[2]}; add them")
        read = rows.loc[rows.applies.astype(bool)]
        wide = read.pivot_table(index="question_id", columns="alpha", values="value", sort=False)
        if unmodified not in wide:  # none of them could be read
            continue
        for alpha in [column for column in wide.columns if column != unmodified]:
            both = wide[[unmodified, alpha]].dropna()
            before, after = both[unmodified] > 0.5, both[alpha] > 0.5
            gained, lost = int((~before & after).sum()), int((before & ~after).sum())
            flipped.append(
                {
                    **dict(zip(KEYS, (*key, alpha), strict=True)),
                    "to_hit": gained,
                    "to_miss": lost,
                    "stayed_hit": int((before & after).sum()),
                    "stayed_miss": int((~before & ~after).sum()),
                    "n": len(both),
                    "p": binomtest(gained, gained + lost).pvalue if gained + lost else 1.0,
                }
            )
    table = pd.DataFrame(flipped, columns=[*KEYS, *_FLIPS])
    if len(table):
        table["p_corrected"] = table.groupby("kind").p.transform(lambda p: holm(p.to_numpy()))
    return table


def pareto(
    table: pd.DataFrame,
    behaviour: str,
    *,
    cost: str = "perplexity",
    unmodified: float = 1.0,
    grader: str | None = None,
) -> pd.DataFrame:
    """Change of a behaviour against change of capability, both from the unmodified model.

    `table` is from `rates`; `cost` names a capability, `unmodified` the dose that changes nothing,
    `grader` who graded the behaviour: None takes the first.

    Returns:
        Columns ``set, kind, alpha, behaviour_change, cost_change, dominated``: dominated where
        another point moves the behaviour further at no more cost.

    Raises:
        HlensError: The table holds no such behaviour or capability.
    """
    for name in (behaviour, cost):
        if name not in set(table.behaviour):
            known = ", ".join(dict.fromkeys(table.behaviour))
            raise HlensError(f"no {name!r} in the table; it holds: {known}")
    graders = table.loc[table.behaviour == behaviour, "grader"]
    chosen = graders.iloc[0] if grader is None else grader
    kept = table.loc[(table.behaviour == cost) | (table.grader == chosen)]
    wide = kept.pivot_table(index=KEYS[2:], columns="behaviour", values="rate", sort=False)
    plain = wide.xs(unmodified, level="alpha").iloc[0]
    changes = {"behaviour_change": wide[behaviour] - plain[behaviour]}
    changes["cost_change"] = wide[cost] - plain[cost]
    every = pd.DataFrame(changes).reset_index()
    points: pd.DataFrame = every.loc[every.alpha != unmodified].reset_index(drop=True)
    points["dominated"] = _dominated(points, higher_costs=cost != "multiple_choice")
    return points


def dose_table(
    table: pd.DataFrame,
    outcomes: Sequence[str] | None = None,
    *,
    labels: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """The table that the dose-response figure draws, the random sets drawn together.

    `table` is from `rates`; `outcomes` are behaviours and capabilities, in this order, None for
    all; `labels` are words for behaviours of your own, or in the place
    of those of `hlens.effects.labels`.

    Returns:
        Columns ``outcome, grader, neurons, name, kind, alpha, value, low, high, n, unit``:
        `neurons` names the sets and how many they are, `name` leaves the number out. Of several
        random sets the mean is shown, with the lowest and highest set as its band, and n is of one
        of them.
    """
    drawn: list[dict[str, Any]] = []
    words = {**outcome_labels(), **(labels or {})}
    for outcome in outcomes or dict.fromkeys(table.behaviour):
        rows = table.loc[table.behaviour == outcome]
        grouped: Any = rows.assign(line=lines_of(rows)).groupby(["grader", "line"], sort=False)
        for (grader, name), own in grouped:
            n_sets, kind = own["set"].nunique(), SetKind(own.kind.iloc[0])
            several = f", {count(n_sets, 'set')}" if kind.drawn and n_sets > 1 else ""
            for alpha, doses in own.groupby("alpha", sort=True):
                many = len(doses) > 1
                drawn.append(
                    {
                        "outcome": words.get(outcome) or display_name("behaviours", outcome),
                        "grader": grader,
                        "neurons": f"{name}{several}",
                        "name": name,
                        "kind": kind.value,
                        "alpha": alpha,
                        "value": doses.rate.mean(),
                        "low": doses.rate.min() if many else doses.low.iloc[0],
                        "high": doses.rate.max() if many else doses.high.iloc[0],
                        "n": int(doses.n.max()),
                        "unit": doses.unit.iloc[0],
                    }
                )
    return pd.DataFrame(drawn)


def lines_of(rows: pd.DataFrame) -> list[str]:
    """What each row is shown as: sets that are drawn as one, any other by its name."""
    pairs = zip(rows["set"], rows["kind"], strict=True)
    return [SetKind(kind).label if SetKind(kind).drawn else str(name) for name, kind in pairs]


def wilson(hits: int, n: int) -> Estimate:
    """A share with its Wilson score interval (95 %).

    >>> print(wilson(8, 10))
    0.800 [0.490, 0.943] (n=10)
    """
    if not n:
        return Estimate.missing(0)
    ends = binomtest(hits, n).proportion_ci(method="wilson")
    return Estimate(hits / n, float(ends.low), float(ends.high), n)


def _estimate_rate(behaviour: str, rows: pd.DataFrame, n_boot: int) -> Estimate:
    scored = rows.dropna(subset=["value"])
    if not len(scored) or scored.unit.iloc[0] == Scale.SHARE:
        return wilson(int(scored.value.sum()), len(scored))
    value, weight = scored.value.to_numpy(), scored.n_tokens.to_numpy().astype(float)
    if scored.unit.iloc[0] == Scale.DEGREE:
        weight = np.ones(len(value))  # a reply counts once, however long

    def mean(weights: np.ndarray) -> np.ndarray:
        by_token = weights * weight
        means = (by_token @ value) / by_token.sum(axis=1)
        return np.exp(means) if behaviour == "perplexity" else means

    plain = float((value * weight).sum() / weight.sum())
    rate = exp(plain) if behaviour == "perplexity" else plain
    groups = list(scored.group)
    return estimate_statistic(mean, len(scored), value=rate, groups=groups, n_boot=n_boot)


def _rate_columns(rate: Estimate, rows: pd.DataFrame) -> dict[str, Any]:
    asked = len(rows)
    unit, values = rows.unit.iloc[0] if asked else Scale.SHARE.value, rows.value.dropna()
    return {
        **rate.to_row("rate"),
        "unit": unit,
        "yes": float((values > 0.5).mean()) if unit in [*Scale] and len(values) else float("nan"),
        "n_asked": asked,
        "parse_failures": float(rows.value.isna().to_numpy().mean()) if asked else 0.0,
        "capped": _mean_of_known(rows, "capped"),
        "refusals": _mean_of_known(rows, "refused"),
        "mean_tokens": float(rows.n_tokens.mean()) if asked else 0.0,
        "touched": int(rows.touched.max()) if asked else 0,
    }


def _mean_of_known(rows: pd.DataFrame, column: str) -> float:
    """Mean of a column over the replies that have it; scores of capability do not."""
    known: Any = rows[column].dropna() if column in rows else pd.Series()
    return float(known.astype(float).mean())


def _dominated(points: Any, *, higher_costs: bool) -> list[bool]:
    gain = points.behaviour_change.abs().to_numpy()
    cost = points.cost_change.to_numpy() * (1 if higher_costs else -1)
    return [
        bool(((gain >= g) & (cost <= c) & ((gain > g) | (cost < c))).any())
        for g, c in zip(gain, cost, strict=True)
    ]
