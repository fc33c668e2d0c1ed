"""Takes the numbers that decide out of an audit's tables."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hlens.audit.conventions import FEWEST_DRAWS
from hlens.audit.findings import Added, Carried, Cheaper, Findings, Fixed, Moved
from hlens.evaluation.correction import holm
from hlens.types import Estimate
from hlens.types.labels import H_NEURONS, Agreement, Control, Refit, View

# Rivals by what they read; the rest are other ways to read the model's inside.
CONFIDENCE = ("perplexity", "sequence_probability", "min_logprob", "token_entropy")
TEXT = ("text", "question")
DENSE = "dense_probe"
DAMAGE = ("perplexity", "multiple_choice", "plain_qa")  # what an edit must not break
NO_BEHAVIOUR = (*DAMAGE, "kl")


def findings(
    scores: pd.DataFrame,
    leaderboard: pd.DataFrame,
    added: pd.DataFrame,
    confounds: pd.DataFrame,
    refits: pd.DataFrame,
    halves: pd.DataFrame,
    n_selected: int,
    n_neurons: int,
    transfer: pd.DataFrame | None = None,
    slopes: pd.DataFrame | None = None,
) -> Findings:
    """The numbers that decide, out of the tables of a study and its audit.

    Args:
        scores: From `hlens.evaluation.controls`.
        leaderboard: From `hlens.audit.leaderboard`.
        added: From `hlens.audit.added_value`.
        confounds: From `hlens.audit.confounds`.
        refits: From `hlens.audit.refits`.
        halves: From `hlens.audit.set_agreement`.
        n_selected: Neurons of the detector.
        n_neurons: Neurons of the model.
        transfer: From `hlens.evaluation.transfer`, where there are several domains.
        slopes: From `hlens.effects.slopes`, where an edit was made.
    """
    control = {row["control"]: row for row in scores.to_dict("records")}
    board = {row["detector"]: row for row in leaderboard.to_dict("records")}
    again = {row["control"]: row for row in refits.to_dict("records")}
    parts = {row["what"]: row for row in halves.to_dict("records")}
    gained = {row["detector"]: row for row in added.to_dict("records")}
    return Findings(
        auroc=_auroc(control[Control.PROBE]),
        shuffled=_auroc(control[Control.SHUFFLED_LABELS]),
        shuffled_p=_p(control[Control.PROBE], control[Control.SHUFFLED_LABELS]),
        fixed=tuple(_fixed(confounds)),
        confidence=tuple(_added(gained[name]) for name in CONFIDENCE if name in gained),
        text=tuple(_added(gained[name]) for name in TEXT if name in gained),
        n_selected=n_selected,
        n_neurons=n_neurons,
        over_dense=_difference(board[DENSE]) if DENSE in board else None,
        refit=_auroc(control[Control.SELECTED_REFIT]),
        random=_auroc(control[Control.RANDOM_NEURONS]),
        random_p=_p(control[Control.SELECTED_REFIT], control[Control.RANDOM_NEURONS]),
        halves=_of(parts[Agreement.HALVES], "shared"),
        chance=_of(parts[Agreement.CHANCE], "shared"),
        other_split=_alone(again[Refit.OTHER_SPLIT], "shared"),
        over_without=_difference(again[Refit.WITHOUT_NEURONS]),
        carried=tuple(_carried(transfer)) if transfer is not None else (),
        moved=tuple(_moved(slopes)) if slopes is not None else (),
        cheaper=tuple(_cheaper(board)),
    )


def _of(
    row: Mapping[str, Any], value: str, low: str = "low", high: str = "high"
) -> Estimate | None:
    if _known(row.get(value)) is None:
        return None
    return Estimate(float(row[value]), float(row[low]), float(row[high]), int(row["n"]))


def _auroc(row: Mapping[str, Any]) -> Estimate | None:
    return _of(row, "auroc")


def _difference(row: Mapping[str, Any]) -> Estimate | None:
    return _of(row, "difference", "difference_low", "difference_high")


def _alone(row: Mapping[str, Any], value: str) -> Estimate | None:
    """A single number, without an interval of its own."""
    if _known(row.get(value)) is None:
        return None
    return Estimate(float(row[value]), float(row[value]), float(row[value]), int(row["n"]))


def _p(row: Mapping[str, Any], null: Mapping[str, Any]) -> float | None:
    """The p against a null; None where too few draws were made for any p to reach 5 %."""
    return _known(row["p"]) if null["repeats"] >= FEWEST_DRAWS else None


def _known(value: Any) -> float | None:
    return None if value is None or value != value else float(value)


def _fixed(confounds: pd.DataFrame) -> list[Fixed]:
    rows = {
        (row["covariate"], row["view"]): row
        for row in confounds.loc[confounds["stratum"] == ""].to_dict("records")
    }
    found, unknown = [], Estimate(float("nan"), float("nan"), float("nan"), 0)
    for (name, view), row in rows.items():
        if view != View.ALIKE_PAIRS:
            continue
        three = [_auroc(rows[name, key]) for key in (View.ALIKE_PAIRS, View.ADJUSTED, View.ALONE)]
        pairs, adjusted, alone = (one or unknown for one in three)
        fewest = min(row["hallucinated"], row["n"] - row["hallucinated"])
        found.append(Fixed(name, pairs, adjusted, alone, fewest))
    return found


def _added(row: Mapping[str, Any]) -> Added:
    gain = Estimate(row["gain"], row["low"], row["high"], int(row["n"]))
    return Added(row["detector"], gain, float(row["p"]))


def _carried(transfer: pd.DataFrame) -> list[Carried]:
    known = transfer.loc[transfer["auroc"].notna()]
    domains = set(known["test"])
    within = {
        row["test"]: row["auroc"] for row in known.to_dict("records") if row["train"] == row["test"]
    }
    across = known.loc[known["train"].isin(domains) & (known["train"] != known["test"])]
    corrected = holm(across["p_chance"].to_numpy(dtype=float))
    return [
        Carried(
            row["train"],
            row["test"],
            Estimate(row["auroc"], row["low"], row["high"], int(row["n"])),
            float(within.get(row["test"], float("nan"))),
            float(p),
        )
        for row, p in zip(across.to_dict("records"), corrected, strict=True)
    ]


def _moved(slopes: pd.DataFrame) -> list[Moved]:
    found = []
    for row in slopes.loc[slopes["kind"] == "target"].to_dict("records"):
        over = _of(row, "over_random", "over_low", "over_high")
        if over is not None and row["behaviour"] != "kl":
            damage = row["behaviour"] in DAMAGE
            found.append(Moved(row["behaviour"], over, bool(row["beyond_random"]), damage))
    return found


def _cheaper(board: Mapping[str, Mapping[str, Any]]) -> list[Cheaper]:
    own = board[H_NEURONS]
    found = []
    for name, row in board.items():
        difference = _difference(row)
        # A cost that is not known (NaN) is not within the budget.
        affordable = row["passes"] <= own["passes"] and row["samples"] <= own["samples"]
        if name != H_NEURONS and difference is not None and affordable:
            found.append(Cheaper(name, difference, float(row["p_corrected"])))
    return found
