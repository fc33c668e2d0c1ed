"""Which neurons come back when the data or the penalty change."""

from functools import partial

from hlens import figures
from hlens.report.data import Section
from hlens.report.tables import Tables
from hlens.steps import detection

HEADING = "Is the selection stable?"
NEEDS = (detection.path, detection.stability, detection.detector)


def section(tables: Tables) -> Section | None:
    """The section of a study."""
    stability, detector = tables[detection.stability], tables[detection.detector]
    bound = stability.attrs
    return Section(
        HEADING,
        "Left: the regularisation path. Right: how often half-samples select a neuron.",
        (
            partial(
                figures.path,
                tables[detection.path],
                stability,
                chosen=detector.fit.get("C"),
                threshold=bound["threshold"],
                resamples=bound["resamples"],
                expected_false=bound["expected_false"],
                experts=detector.provenance.experts,
            ),
        ),
        _describe_bound(str(bound["assumption"])),
    )


def _describe_bound(assumption: str) -> str:
    """What the bound on false selections rests on, or why there is none, as a sentence."""
    if assumption.startswith("no bound: "):
        return f"{assumption[0].upper()}{assumption[1:]}."
    return f"The promise {assumption}."
