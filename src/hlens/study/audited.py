"""What an audit shows: its sections in a report, and the card as a page of its own."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from hlens import figures
from hlens.audit import REFERENCE
from hlens.report import ReportData, Section

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
            _without(found.leaderboard, ["n"]),
            _without(found.added, ["n"]),
        ),
        "A rival that is not shown to be worse is not shown to be as good either. Costs are those "
        "of scoring one new answer, beside having sampled it.",
    )
    yield Section(
        "Is it truth, or what comes with it?",
        "The same scores with one thing held fixed at a time.",
        (
            partial(figures.confounds, found.confounds, auroc=_own(found)),
            found.factorial.rename(columns={"what": "truth by length"}),
            _without(found.confounds, []),
        ),
        "Effects of truth and length are in standard deviations of the score. Alike pairs agree in "
        "the covariate; adjusted takes off what it predicts of a true answer's score.",
    )
    yield Section(
        "Is it these neurons?",
        "The same finding, one thing made otherwise at a time.",
        (partial(figures.refits, found.refits, found.halves), found.refits, found.halves),
        "Another judge or other tokens pose another task; scales and penalties do not.",
    )


def _own(found: "Audit") -> float:
    board = found.leaderboard
    return float(board.loc[board["detector"] == REFERENCE, "auroc"].iloc[0])


def _without(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """A table as a report shows it: names spelt out, no columns that say nothing."""
    kept = table.drop(columns=columns)
    if "detector" in kept:
        kept = kept.assign(detector=kept["detector"].str.replace("_", " "))
    return kept.replace("", None).dropna(axis="columns", how="all")


def _transfer(study: "Study") -> Iterator[Section]:
    yield Section(
        "Does a probe carry over?",
        "Trained on one domain, tested on another, on the same footing.",
        (partial(figures.transfer, study.transfer()),),
    )
