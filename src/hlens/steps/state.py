"""Where a study stands: what is made, how long that took, and what the rest would take.

How long the rest takes nobody knows before; what decides it is known: whether the model must be
run, and from which step on.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hlens.steps import answers, audit, detection, domains, effects
from hlens.steps.runner import Runner
from hlens.steps.step import Step

# The way from questions to the evidence.
WAY: Mapping[str, Step[Any]] = {
    "questions": answers.questions,
    "responses": answers.responses,
    "judgements": answers.judgements,
    "examples": answers.located,
    "contributions": detection.measured,
    "detector": detection.detector,
    "scores": detection.scores,
    "transfer": domains.transfer,
    "overlap": domains.overlap,
    "audit": audit.card,
    "edits": effects.outcomes,
}
MADE, STALE, OPEN = "made", "made under other options", "not made"


def state_of(run: Runner) -> pd.DataFrame:
    """A row a stage: ``what, state, seconds, to_go_on, command``.

    ``to_go_on`` says from which step on the model would be run; empty of what is made.
    """
    seconds = run.seconds()
    rows = []
    for what, step in WAY.items():
        made = run.is_current(step)
        first = None if made else run.first_to_run_model(step)
        runs = "without the model" if first is None else f"runs the model, from {first.label} on"
        kept = run.stamps.get(step.name) is not None
        rows.append(
            {
                "what": what,
                "state": MADE if made else STALE if kept else OPEN,
                "seconds": seconds.get(step.name) if made else None,
                "to_go_on": "" if made else runs,
                "command": "" if made else f"hlens {step.verb or what} {run.folder}",
            }
        )
    return pd.DataFrame(rows).astype({"seconds": float})
