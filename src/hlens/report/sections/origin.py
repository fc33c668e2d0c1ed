"""Where the neurons come from: the detector on the base model, and the drift of its neurons."""

from collections.abc import Iterator
from functools import partial

import pandas as pd

from hlens import figures
from hlens.claims.conventions import LEVEL
from hlens.claims.rules import lies_above
from hlens.report.data import Section
from hlens.report.html_table import table
from hlens.report.tables import Tables
from hlens.steps import detection, origin
from hlens.types import Estimate
from hlens.types.labels import OriginControl

HEADING = "Did the base model know?"
NEEDS = (detection.detector, origin.origin, origin.drift_of_neurons)
CLAIMS = (OriginControl.DETECTOR, OriginControl.REFIT)


def section(tables: Tables) -> Section | None:
    """The section of a study whose recipe names a base model."""
    if not tables.recipe.base:
        return None
    scores = tables[origin.origin]
    has_neurons = len(tables[detection.detector].neurons) > 0
    drift = tables[origin.drift_of_neurons] if has_neurons else None
    drift_table = (
        "No neuron points to hallucination, so there is no drift to show."
        if drift is None
        else table(drift, "Mean drift of the H-neurons beside random others of their layers.")
    )
    return Section(
        HEADING,
        f"The same detector on answers of {tables.recipe.base} to the held-out questions, asked as "
        "text to be completed and judged as its own answers.",
        (
            partial(figures.scores, scores, claims=CLAIMS),
            *describe_origin(scores, drift),
            table(scores, "AUROC on the base model's answers; p: random neurons that do as well."),
            drift_table,
        ),
        "A detector that carries over shows that the information was there, not that tuning left "
        "it untouched; the base model answers in another form.",
    )


def describe_origin(scores: pd.DataFrame, drift: pd.DataFrame | None) -> Iterator[str]:
    """What origin and drift say, in sentences."""
    rows = {row["control"]: row for row in scores.to_dict("records")}
    own, random, probe = (
        Estimate.from_row(rows[control])
        for control in (OriginControl.DETECTOR, OriginControl.RANDOM, OriginControl.PROBE)
    )
    shown = "above" if lies_above(own) else "below" if own.high < 0.5 else "not shown to be above"
    yield (
        f"On the base model the detector is {shown} chance: AUROC {own:.3f}; its weights on random "
        f"neurons of the same layers reach {random:.3f}, a probe found on the base model "
        f"{probe.value:.3f}."
    )
    if drift is None:
        return
    row = next(row for row in drift.to_dict("records") if row["measure"] == "z")
    expected = Estimate.from_row(row, "expected")
    moved = "more" if row["value"] > expected.value else "less"
    sure = f"{moved} than" if row["p"] <= LEVEL else "about as far as"
    yield (
        f"Tuning moved the H-neurons {sure} random others of their layers: z {row['value']:.3f} "
        f"beside {expected:.3f}, p = {row['p']:.3f}."
    )
