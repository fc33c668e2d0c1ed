"""The section of a report on where the neurons come from."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from hlens import figures
from hlens.errors import HlensError
from hlens.origin import OriginControl
from hlens.report import Section
from hlens.report.table import table

if TYPE_CHECKING:
    from hlens.study.deeper import Study

TITLE = "Did the base model know?"
CLAIMS = (OriginControl.DETECTOR, OriginControl.REFIT)


def origin_section(study: "Study") -> Section:
    """The detector on the base model, and the drift of its neurons."""
    study.drift()  # what is no pair is a mistake; answers that cannot be told apart are none
    try:
        found = study.origin()
    except HlensError as error:
        return Section(TITLE, f"On {study.recipe.base} this cannot be told: {error}.")
    drift = study.drift_of_neurons() if len(study.detector().neurons) else None
    return Section(
        TITLE,
        f"The same detector on answers of {study.recipe.base} to the held-out questions, asked as "
        "text to be completed and judged as its own answers.",
        (
            partial(figures.scores, found, claims=CLAIMS),
            *origin_in_words(found, drift),
            table(found, "AUROC on the base model's answers; p: random neurons that do as well."),
            *(
                [table(drift, "Mean drift of the H-neurons beside random others of their layers.")]
                if drift is not None
                else ["No neuron points to hallucination, so there is no drift to tell."]
            ),
        ),
        "A detector that carries over shows that the information was there, not that tuning left "
        "it untouched; the base model answers in another form.",
    )


def origin_in_words(found: pd.DataFrame, drift: pd.DataFrame | None) -> Iterator[str]:
    """What origin and drift say, in sentences."""
    rows = {row["control"]: row for row in found.to_dict("records")}
    own, drawn = rows[OriginControl.DETECTOR], rows[OriginControl.RANDOM]
    side = (
        "better than"
        if own["low"] > 0.5
        else "worse than"
        if own["high"] < 0.5
        else "no better than"
    )
    yield (
        f"On the base model the detector is {side} chance: AUROC {own['auroc']:.3f} "
        f"[{own['low']:.3f}, {own['high']:.3f}]; its weights on random neurons of the same layers "
        f"reach {drawn['auroc']:.3f} [{drawn['low']:.3f}, {drawn['high']:.3f}], a probe found on "
        f"the base model {rows[OriginControl.PROBE]['auroc']:.3f}."
    )
    if drift is None:
        return
    row = next(row for row in drift.to_dict("records") if row["measure"] == "z")
    moved = "more" if row["value"] > row["expected"] else "less"
    sure = f"{moved} than" if row["p"] < 0.05 else "about as far as"
    yield (
        f"Tuning moved the H-neurons {sure} random others of their layers: z {row['value']:.3f} "
        f"beside {row['expected']:.3f} [{row['low']:.3f}, {row['high']:.3f}], p = {row['p']:.3f}."
    )
