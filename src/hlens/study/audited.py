"""What an audit shows: its sections in a report, and the card as a page of its own."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from hlens import figures
from hlens.figures.leaderboard import cost_words
from hlens.report import ReportData, Section
from hlens.report.table import table
from hlens.types import Estimate
from hlens.types.labels import H_NEURONS, spaced

if TYPE_CHECKING:
    from hlens.study.auditing import Audit
    from hlens.study.deeper import Study


def audit_page(study: "Study", found: "Audit") -> ReportData:
    """The card as one page, with the figures behind it."""
    detector = study.detector()
    several = len(study.domains()) > 1
    return ReportData(
        title=f"Audit of the H-neurons in {detector.provenance.model}",
        model=detector.provenance.model,
        summary="Does this detector know falsehood, or length, format and confidence?",
        audit=found.card,
        sections=[
            *audit_sections(found),
            Section(
                "How many neurons are needed?",
                "The top neurons beside as many random ones, refitted alike, and all of them.",
                (partial(figures.k_sweep, study.sparsity()),),
            ),
            *(_transfer(study) if several else ()),
        ],
        cautions=CAUTIONS,
        recipe=study.recipe.to_toml(),
        versions=dict(detector.provenance.versions),
    )


CAUTIONS = (
    "The verdicts hold for this model, these questions, this judge and this probe.",
    '"Not supported" is not "refuted": with few answers a true claim fails for want of evidence.',
    "What no covariate and no rival here describes could still explain the score.",
    "The rivals are standard ways, not the strongest that could be built.",
)


def audit_sections(found: "Audit") -> Iterator[Section]:
    """The questions of an audit, each with its figure and its table."""
    yield Section(
        "Who else can tell?",
        "Every detector on the same held-out answers. Right: how much more likely the labels "
        "become when the neurons' score joins the rival's.",
        (
            partial(figures.leaderboard, found.leaderboard, found.added),
            table(_board(found.leaderboard), "Detectors, best first; p by DeLong, then Holm's."),
            table(_added(found.added), "What each adds to the other, in millinats an answer."),
        ),
        "A rival that is not shown to be worse is not shown to be as good either. Costs are those "
        "of scoring one new answer, beside having sampled it.",
    )
    effects = _estimated(found.factorial, "value", "low", "high", "value")
    yield Section(
        "Is it truth, or what comes with it?",
        "The same scores with one thing held fixed at a time.",
        (
            partial(figures.confounds, found.confounds, auroc=_own(found)),
            table(effects.rename(columns={"what": "truth by length"}), "Truth against length."),
            table(_auroc(found.confounds), "Every covariate in every view.", tall=True),
        ),
        "Effects of truth and length are in standard deviations of the score. Alike pairs agree in "
        "the covariate; adjusted takes off what it predicts of a true answer's score.",
    )
    yield Section(
        "Is it these neurons?",
        "The same finding, one thing made otherwise at a time.",
        (
            partial(figures.refits, found.refits, found.halves),
            table(_less(_auroc(found.refits), "as found less it"), "Each way to make the finding."),
            table(_shared(found.halves), "Sets found on halves of the training part."),
        ),
        "Another judge or other tokens pose another task; scales and penalties do not.",
    )


def _own(found: "Audit") -> float:
    board = found.leaderboard
    return float(board.loc[board["detector"] == H_NEURONS, "auroc"].iloc[0])


def _board(found: pd.DataFrame) -> pd.DataFrame:
    cost = [
        cost_words(row["passes"], row["samples"]) or row["note"].removeprefix("not available: ")
        for row in found.to_dict("records")
    ]
    rows = found.drop(columns=["n", "passes", "samples", "note"]).assign(extra_cost=cost)
    rows["detector"] = rows["detector"].map(spaced)
    return _less(_auroc(rows), "H-neurons less it")


def _added(found: pd.DataFrame) -> pd.DataFrame:
    rows = _estimated(found, "gain", "low", "high", "the H-neurons add")
    value, low, high = (f"gain_of_rival{end}" for end in ("", "_low", "_high"))
    rows = _estimated(rows, value, low, high, "it adds to them").drop(columns="n")
    return rows.assign(detector=rows["detector"].map(spaced))


def _auroc(found: pd.DataFrame) -> pd.DataFrame:
    return _estimated(found, "auroc", "low", "high", "AUROC")


def _less(found: pd.DataFrame, name: str) -> pd.DataFrame:
    return _estimated(found, "difference", "difference_low", "difference_high", name)


def _shared(found: pd.DataFrame) -> pd.DataFrame:
    return _estimated(found, "shared", "low", "high", "shared of the smaller set")


def _estimated(found: pd.DataFrame, value: str, low: str, high: str, name: str) -> pd.DataFrame:
    """A number and its interval as one column in their place; no columns that say nothing."""
    numbers = zip(found[value], found[low], found[high], strict=True)
    cells = [
        None if pd.isna(v) else Estimate(float(v), float(a), float(b), 0) for v, a, b in numbers
    ]
    kept = found.drop(columns=[value, low, high])
    kept.insert(
        list(found.columns).index(value), name, pd.Series(cells, index=kept.index, dtype=object)
    )
    return kept.replace("", None).dropna(axis="columns", how="all")


def _transfer(study: "Study") -> Iterator[Section]:
    yield Section(
        "Does a probe carry over?",
        "Trained on one domain, tested on another, on the same footing.",
        (partial(figures.transfer, study.transfer()),),
    )
