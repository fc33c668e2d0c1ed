"""Findings: the numbers that decide, out of the tables of a study. Nothing is judged here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from hlens.claims.conventions import FEWEST_DRAWS
from hlens.evaluation.significance import holm
from hlens.types import Estimate
from hlens.types.labels import (
    COMBINED,
    DRAWN,
    H_NEURONS,
    L1,
    OUTPUT,
    RANDOM,
    Agreement,
    Control,
    Refit,
    SetKind,
    View,
)

# Rivals by what they read; the rest are other ways to read the model's inside.
CONFIDENCE = ("perplexity", "sequence_probability", "min_logprob", "token_entropy", OUTPUT)
TEXT = ("text", "question")
DENSE = "dense_probe"
# What an edit must not break.
DAMAGE = ("perplexity", "multiple_choice", "plain_qa", "plain_choice")
NO_BEHAVIOUR = (*DAMAGE, "kl")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class HeldFixed:
    """The detector with one covariate held fixed."""

    name: str
    pairs: Estimate  #: AUROC over pairs of answers that agree in it
    adjusted: Estimate  #: AUROC of what is left of the score when it is taken off
    alone: Estimate  #: AUROC of the covariate itself
    fewest: int  #: examples of the rarer label that are in an alike pair


@dataclass(frozen=True)
class RivalGap:
    """What the H-neurons add to a rival, or how far their AUROC lies above its own, and the p."""

    name: str
    gap: Estimate
    p: float


@dataclass(frozen=True)
class OverOutput:
    """What the neurons add to the numbers of the model's own output."""

    output: Estimate  #: AUROC without the neurons
    both: Estimate  #: AUROC with them
    difference: Estimate  #: of the two, paired
    gain: Estimate  #: in likelihood, millinats an answer
    p: float  #: of the gain, by permutation


@dataclass(frozen=True)
class AtToken:
    """What is read at one token, and what it adds to the output numbers that are known there."""

    place: str  #: of `hlens.types.labels.Place`
    token: int  #: number of the answer's token, from 0; of the prompt counted back from -1
    neurons: Estimate  #: AUROC of a probe fitted there
    output: Estimate | None = None  #: of the output numbers so far; None where there are none
    difference: Estimate | None = None  #: AUROC of both together less that of the output so far
    p: float = float("nan")  #: of the difference, corrected for the places


@dataclass(frozen=True)
class BySelector:
    """As many neurons by another selector than the one that the detector was found with."""

    name: str
    auroc: Estimate  #: of their refit
    random: Estimate | None  #: of as many random ones: mean and central 95 % of the draws
    shared: Estimate | None  #: part of the set that two halves of the training part both name


@dataclass(frozen=True)
class TransferPair:
    """A probe trained on one domain and tested on another; `within` is trained on the tested."""

    train: str
    test: str
    auroc: Estimate
    within: float
    p_corrected: float


@dataclass(frozen=True)
class ExcessSlope:
    """Slope of a behaviour or capability over the dose less that of random neurons."""

    name: str
    over_random: Estimate  #: sets of the same layers; its interval is corrected for behaviours
    beyond: bool  #: whether no random set is as steep
    damage: bool  #: whether it is a capability that an edit must not break
    n_random: int = 0  #: random sets that it is compared with
    grader: str = ""  #: who graded the replies; empty for a capability


@dataclass(frozen=True)
class Findings:
    """All that the rules read; what was not measured is None or empty."""

    auroc: Estimate | None = None  #: of the detector on held-out examples
    shuffled: Estimate | None = None  #: fits on shuffled labels: mean and central 95 % of repeats
    shuffled_p: float | None = None  #: permutation p
    held_fixed: tuple[HeldFixed, ...] = ()
    confidence: tuple[RivalGap, ...] = ()  #: millinats added to rivals that read confidence
    text: tuple[RivalGap, ...] = ()  #: the same for rivals that read the text alone
    n_selected: int = 0  #: neurons of the detector
    n_neurons: int = 0  #: neurons of the model
    over_dense: Estimate | None = None  #: AUROC less that of a dense probe on all neurons
    refit: Estimate | None = None  #: AUROC of the selected neurons, refitted
    random: Estimate | None = None  #: of as many random ones of the same layers, refitted alike
    random_p: float | None = None  #: share of random draws that do as well
    halves: Estimate | None = None  #: part of a set found again on the other half of the data
    chance: Estimate | None = None  #: the same of random sets
    other_split: Estimate | None = None  #: part of the set that another split finds again
    over_without: Estimate | None = None  #: AUROC less that of a probe denied these neurons
    transfers: tuple[TransferPair, ...] = ()
    slopes: tuple[ExcessSlope, ...] = ()
    cheap_rivals: tuple[RivalGap, ...] = ()  #: AUROC less that of rivals that cost no more
    over_output: OverOutput | None = None  #: what the neurons add to the model's own output
    tokens: tuple[AtToken, ...] = ()  #: what can be read at each token
    selected_by: str = ""  #: how the detector's neurons were selected
    selectors: tuple[BySelector, ...] = ()  #: others, which named as many
    judge: str = ""  #: who gave the labels
    second_judge: str = ""  #: the judge beside it that the study names
    second_labels: Estimate | None = None  #: AUROC by the second judge's labels
    second_refit: Estimate | None = None  #: the same of a detector fitted to these labels


def collect_findings(
    *,
    scores: pd.DataFrame,
    n_selected: int,
    n_neurons: int,
    leaderboard: pd.DataFrame | None = None,
    added: pd.DataFrame | None = None,
    over_output: pd.DataFrame | None = None,
    confounds: pd.DataFrame | None = None,
    refits: pd.DataFrame | None = None,
    halves: pd.DataFrame | None = None,
    positions: pd.DataFrame | None = None,
    selectors: pd.DataFrame | None = None,
    selected_by: str = "",
    transfer: pd.DataFrame | None = None,
    slopes: pd.DataFrame | None = None,
    judge: str = "",
    second_judge: str = "",
) -> Findings:
    """The numbers that decide, out of the tables of a study and its audit.

    Each table is that of the function of its name in `hlens.evaluation`, `hlens.audit` or
    `hlens.effects`; `scores` are from `controls`, `added` from `added_value`, `halves` from
    `set_agreement`, `positions` from `position_curve`, `selectors` from `compare_selectors`. What
    has not been made is None, and what it would decide is not tested: a study of one domain has no
    `transfer`, one without an edit no `slopes`, and before its audit it has only these, its scores
    and what it adds to the output. One that names no judge beside `judge` has no `second_judge`.
    """
    control, refit = _rows_by("control", scores), _rows_by("control", refits)
    board, gained = _rows_by("detector", leaderboard), _rows_by("detector", added)
    agreement = _rows_by("what", halves)
    unmade: Row = {"shared": None, "difference": None}
    beside = {} if over_output is None else next(iter(over_output.to_dict("records")), {})
    probe, shuffled = control[Control.PROBE], control[Control.SHUFFLED_LABELS]
    selected, random = control[Control.SELECTED_REFIT], control[Control.RANDOM_NEURONS]
    # Its value alone: the interval of the row is the AUROC's.
    again = _estimate(refit.get(Refit.OTHER_SPLIT, unmade), "shared")
    return Findings(
        auroc=_estimate(probe),
        shuffled=_estimate(shuffled),
        shuffled_p=p_against(shuffled, probe),
        held_fixed=() if confounds is None else tuple(read_held_fixed(confounds)),
        confidence=tuple(_added_value(gained[name]) for name in CONFIDENCE if name in gained),
        text=tuple(_added_value(gained[name]) for name in TEXT if name in gained),
        n_selected=n_selected,
        n_neurons=n_neurons,
        over_dense=_difference(board[DENSE]) if DENSE in board else None,
        refit=_estimate(selected),
        random=_estimate(random),
        random_p=p_against(random, selected),
        halves=_estimate(agreement.get(Agreement.HALVES, unmade), "shared"),
        chance=_estimate(agreement.get(Agreement.CHANCE, unmade), "shared"),
        other_split=again and replace(again, low=again.value, high=again.value),
        over_without=_difference(refit.get(Refit.WITHOUT_NEURONS, unmade)),
        transfers=() if transfer is None else tuple(read_transfers(transfer)),
        slopes=() if slopes is None else tuple(_excess_slopes(slopes)),
        cheap_rivals=tuple(_cheap_rivals(board)),
        over_output=read_over_output(beside),
        tokens=() if positions is None else tuple(read_tokens(positions)),
        selected_by=selected_by,
        selectors=() if selectors is None else tuple(_other_selectors(selectors)),
        judge=judge,
        second_judge=second_judge,
        second_labels=_estimate(refit.get(Refit.SECOND_LABELS, {})),
        second_refit=_estimate(refit.get(Refit.SECOND_JUDGE, {})),
    )


def _other_selectors(selectors: pd.DataFrame) -> Iterator[BySelector]:
    rows = _rows_by("selector", selectors)
    random = _estimate(rows[RANDOM]) if RANDOM in rows else None
    for name, row in rows.items():
        auroc = _estimate(row)
        if name not in (L1, *DRAWN) and auroc is not None:
            yield BySelector(name, auroc, random, _estimate(row, "shared", "shared_"))


def _rows_by(column: str, table: pd.DataFrame | None) -> dict[str, Row]:
    return {} if table is None else {row[column]: row for row in table.to_dict("records")}


def _estimate(row: Row, value: str = "auroc", ends: str = "") -> Estimate | None:
    if value not in row:
        return None
    estimate = Estimate.from_row(row, value, ends=ends)
    return estimate if estimate.known else None


def _difference(row: Row) -> Estimate | None:
    return _estimate(row, "difference", "difference_")


def p_against(null: Row, row: Row) -> float | None:
    """The p against a null; None where too few draws were made for any p to reach 5 %."""
    p = row.get("p")
    return None if p is None or p != p or null.get("repeats", 0) < FEWEST_DRAWS else float(p)


def read_held_fixed(confounds: pd.DataFrame) -> Iterator[HeldFixed]:
    """The covariates of a table of `hlens.audit.confounds` that vary."""
    whole = confounds.loc[confounds["stratum"] == ""].to_dict("records")
    rows = {(row["covariate"], row["view"]): row for row in whole}
    for (name, view), row in rows.items():
        if view != View.ALIKE_PAIRS:
            continue
        views = (View.ALIKE_PAIRS, View.ADJUSTED, View.ALONE)
        known = (rows.get((name, key)) for key in views)
        estimates = ((one and _estimate(one)) or Estimate.missing() for one in known)
        wrong = row.get("hallucinated", row["n"] // 2)  # a table by hand may not count them
        fewest = min(wrong, row["n"] - wrong)
        yield HeldFixed(name, *estimates, fewest=fewest)


def _added_value(row: Row) -> RivalGap:
    return RivalGap(row["detector"], Estimate.from_row(row, "gain"), float(row["p"]))


def read_over_output(row: Row) -> OverOutput | None:
    """A row of `hlens.audit.over_output`; None where it has no difference."""
    difference = _difference(row)
    if difference is None:
        return None
    ends = ("output", "both", "gain")
    output, both, gain = (Estimate.from_row(row, name, ends=f"{name}_") for name in ends)
    return OverOutput(output, both, difference, gain, float(row["p"]))


def read_tokens(positions: pd.DataFrame) -> Iterator[AtToken]:
    """The places of a table of `hlens.audit.position_curve`."""
    for at, own in positions.groupby(["place", "token"], sort=False):
        place, token = tuple(at)  # pyright: ignore[reportArgumentType]
        rows = _rows_by("detector", own)
        both = rows.get(COMBINED, {})
        yield AtToken(
            str(place),
            int(token),
            Estimate.from_row(rows[H_NEURONS]),
            Estimate.from_row(rows[OUTPUT]) if OUTPUT in rows else None,
            _difference(both),
            float(both.get("p_corrected", float("nan"))),
        )


def read_transfers(transfer: pd.DataFrame) -> Iterator[TransferPair]:
    """The pairs of different domains of a table of `hlens.evaluation.transfer`, p by Holm."""
    known = transfer.loc[transfer["auroc"].notna()]
    diagonal = known.loc[known["train"] == known["test"]]
    within = dict(zip(diagonal["test"], diagonal["auroc"], strict=True))
    # Training sets that pool several domains are no domain of their own.
    across = known.loc[known["train"].isin(set(known["test"])) & (known["train"] != known["test"])]
    corrected = holm(across["p_chance"].to_numpy(dtype=float))
    for row, p in zip(across.to_dict("records"), corrected, strict=True):
        own = float(within.get(row["test"], float("nan")))
        yield TransferPair(row["train"], row["test"], Estimate.from_row(row), own, float(p))


def _excess_slopes(slopes: pd.DataFrame) -> Iterator[ExcessSlope]:
    for row in slopes.loc[slopes["kind"] == SetKind.TARGET].to_dict("records"):
        slope = read_slope(row)
        # A grader that could read nothing is no agreement; without random sets nothing is claimed.
        if row["behaviour"] != "kl" and (slope.over_random.known or slope.n_random):
            yield slope


def read_slope(row: Row) -> ExcessSlope:
    """One row of a table of `hlens.effects.slopes`; missing where there is no random set."""
    name, over = row["behaviour"], _estimate(row, "over_random", "over_") or Estimate.missing()
    n_random = int(row["n_random"])
    beyond = n_random > 0 and row["rank"] == 0
    return ExcessSlope(name, over, beyond, name in DAMAGE, n_random, row.get("grader", ""))


def _cheap_rivals(board: Mapping[str, Row]) -> Iterator[RivalGap]:
    if not board:
        return
    own = board[H_NEURONS]
    for name, row in board.items():
        difference = _difference(row)
        # A cost that is not known (NaN) is not within the budget.
        affordable = row["passes"] <= own["passes"] and row["samples"] <= own["samples"]
        if name != H_NEURONS and difference is not None and affordable:
            yield RivalGap(name, difference, float(row["p_corrected"]))
