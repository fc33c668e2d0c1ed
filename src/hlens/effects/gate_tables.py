"""What edits behind gates amount to: shares of answers, accuracy, cost, and sentences by rule."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from hlens.evaluation.bootstrap import estimate_statistic
from hlens.types import Estimate
from hlens.types.estimate import percent
from hlens.types.labels import GateKind, Result

Of = Callable[[np.ndarray], np.ndarray]  # weights of the questions -> one value a resample
COSTS = ("perplexity", "kl", "multiple_choice")


def gate_table(outcomes: pd.DataFrame, *, n_boot: int = 2000, seed: int = 0) -> pd.DataFrame:
    """One row a gate and dose of the outcomes of `try_gates`; random gates are taken together.

    Intervals (95 %) are of a bootstrap over groups of questions that pairs the conditions; of
    random gates it is of their mean.

    Returns:
        Columns ``gate, alpha, n, n_draws``; the shares ``correct, abstained, wrong, unread``, each
        with its ends (``correct_low`` and so on); ``accuracy`` of what is answered, correct of
        correct and wrong; ``over_unedited`` and ``over_random``, the accuracy less that of the
        unedited model and less the mean of the random gates of this dose; ``as_high``, how many of
        these reach the accuracy; ``edited``, the share of read tokens that were edited, and
        ``edited_tokens`` and ``switches``, means over answers; ``perplexity, kl`` and
        ``multiple_choice``, and ``cost_edited``, the share of the tokens read for them.
    """
    answers: Any = outcomes.loc[outcomes["measure"] == "answer"]
    order = list(dict.fromkeys(answers["question_id"]))
    groups = answers.drop_duplicates("question_id")["group"].to_list()

    def estimate(statistic: Of) -> Estimate:
        return estimate_statistic(statistic, len(order), groups=groups, n_boot=n_boot, seed=seed)

    shares = {
        key: _Shares.of(own, order) for key, own in answers.groupby(["gate", "alpha", "draw"])
    }
    (plain,) = [one for (gate, *_), one in shares.items() if gate == GateKind.UNEDITED]
    table: list[dict[str, Any]] = []
    for (gate, alpha), own in answers.groupby(["gate", "alpha"], sort=False):
        mine = [one for key, one in shares.items() if key[:2] == (gate, alpha)]
        random = [one for key, one in shares.items() if key[:2] == (GateKind.RANDOM, alpha)]
        row: dict[str, Any] = {"gate": gate, "alpha": alpha, "n_draws": len(mine)}
        for result in Result:
            row |= _cells(result.value, estimate(_mean(mine, result)))
        row |= {"n": len(order)} | _cells("accuracy", estimate(_mean_accuracy(mine)))
        if gate != GateKind.UNEDITED:
            row |= _cells("over_unedited", estimate(_difference(mine, [plain])))
        if random and gate not in (GateKind.UNEDITED, GateKind.RANDOM):
            row |= _cells("over_random", estimate(_difference(mine, random)))
            row["as_high"] = sum(one.value >= mine[0].value for one in random)
        row |= _tokens(own) | _cost(outcomes, gate, alpha)
        table.append(row)
    return pd.DataFrame(table)


class _Shares:
    """Which question has which result, under one gate."""

    def __init__(self, has: dict[Result, np.ndarray]) -> None:
        self.has = has

    @classmethod
    def of(cls, rows: pd.DataFrame, order: list[str]) -> "_Shares":
        results = rows.set_index("question_id")["result"].reindex(order).to_numpy()
        return cls({result: (results == result).astype(float) for result in Result})

    def share(self, weights: np.ndarray, result: Result) -> np.ndarray:
        return (weights @ self.has[result]) / weights.sum(axis=1)

    def accuracy(self, weights: np.ndarray) -> np.ndarray:
        correct, wrong = weights @ self.has[Result.CORRECT], weights @ self.has[Result.WRONG]
        with np.errstate(invalid="ignore"):
            return correct / (correct + wrong)

    @property
    def value(self) -> float:
        return float(self.accuracy(np.ones((1, len(self.has[Result.CORRECT]))))[0])


def _mean(shares: list[_Shares], result: Result) -> Of:
    return lambda weights: np.mean([one.share(weights, result) for one in shares], axis=0)


def _mean_accuracy(shares: list[_Shares]) -> Of:
    return lambda weights: np.mean([one.accuracy(weights) for one in shares], axis=0)


def _difference(shares: list[_Shares], others: list[_Shares]) -> Of:
    mine, theirs = _mean_accuracy(shares), _mean_accuracy(others)
    return lambda weights: mine(weights) - theirs(weights)


def _cells(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _tokens(answers: Any) -> dict[str, float]:
    read = answers["n_read"].sum()
    return {
        "edited": answers["n_edited"].sum() / read if read else 0.0,
        "edited_tokens": answers["n_edited"].mean(),
        "switches": answers["switches"].mean(),
    }


def _cost(outcomes: pd.DataFrame, gate: str, alpha: float) -> dict[str, float]:
    own = outcomes.loc[(outcomes["gate"] == gate) & (outcomes["alpha"] == alpha)]
    cost: dict[str, float] = {}
    for name in COSTS:
        rows = own.loc[own["measure"] == name]
        if len(rows):
            mean = float(np.average(rows["value"], weights=rows["n_tokens"]))
            cost[name] = float(np.exp(mean)) if name == "perplexity" else mean
            read = rows["n_read"].iloc[0]
            cost["cost_edited"] = rows["n_edited"].mean() / read if read else 0.0
    return cost


NAMES = {
    GateKind.UNEDITED: "no edit",
    GateKind.ALWAYS: "always",
    GateKind.RISK: "while risk is high",
    GateKind.RANDOM: "at random, as many tokens",
    GateKind.PROMPT_END: "where the prompt ends risky",
}


def shown_gates(table: pd.DataFrame) -> pd.DataFrame:
    """The table as people read it: texts, a row a gate and dose."""
    shown = []
    for row in table.to_dict("records"):
        draws = f" ({row['n_draws']} gates)" if row["n_draws"] > 1 else ""
        unedited = row["gate"] == GateKind.UNEDITED
        cells = {
            "edit": f"{NAMES[GateKind(row['gate'])]}{draws}",
            "α": "" if unedited else f"{row['alpha']:g}",
            **{result.value: percent(row[result.value]) for result in Result},
            "accuracy": _percent_with_ends(row, "accuracy"),
            "less unedited": _points(row, "over_unedited"),
            "less random": _points(row, "over_random"),
            "as high": f"{row['as_high']:.0f}" if row.get("as_high", np.nan) >= 0 else "",
            "tokens edited": "" if unedited else percent(row["edited"]),
            "switches": "" if unedited else f"{row['switches']:.1f}",
        }
        for name, decimals in (("perplexity", ".1f"), ("kl", ".3f"), ("multiple_choice", ".0%")):
            if name in table:
                cells[name.replace("_", " ")] = f"{row[name]:{decimals}}"
        shown.append(cells)
    return pd.DataFrame(shown)


def describe_gates(table: pd.DataFrame) -> list[str]:
    """One sentence a dose on the gate of the running risk, by the same rule for every result.

    It does more than random gates where the interval of its accuracy less their mean leaves zero
    out and no random gate reaches it.
    """
    return [_describe(row) for row in table.to_dict("records") if row["gate"] == GateKind.RISK]


def _describe(row: dict[str, Any]) -> str:
    head = f"Editing while risk is high (α = {row['alpha']:g}, {percent(row['edited'])} of tokens)"
    if not row["edited"] > 0:
        return f"{head}: the gate never opened."
    size = f"{_points(row, 'over_unedited')} points of accuracy against no edit"
    if "over_random" not in row or row["over_random"] != row["over_random"]:
        return f"{head}: {size}; no random gate was run."
    less = f"{_points(row, 'over_random')} against random gates"
    beyond = row["over_random_low"] > 0 and not row["as_high"]
    said = "more than random gates do" if beyond else "not told from random gates"
    return f"{head}: {size}, {less}; {said}."


def _percent_with_ends(row: dict[str, Any], name: str) -> str:
    low, high = (100 * row[f"{name}_{end}"] for end in ("low", "high"))
    return f"{percent(row[name])} [{low:.0f}, {high:.0f}]" if row[name] == row[name] else ""


def _points(row: dict[str, Any], name: str) -> str:
    value = row.get(name, np.nan)
    if value != value:
        return ""
    low, high = (100 * row[f"{name}_{end}"] for end in ("low", "high"))
    return f"{100 * value:+.1f} [{low:+.1f}, {high:+.1f}]"
