"""intervene: behaviour and capability, dose by dose, beside matched random neurons."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from hlens.behaviours import Behaviour, Outcome
from hlens.effects.capability import CapabilityScore, CapabilityTest
from hlens.effects.conditions import Condition, ControlSets, plan_conditions
from hlens.errors import HlensError
from hlens.interventions import Edit, scale
from hlens.model import Model
from hlens.store import RowParts
from hlens.types import NeuronSet, SetKind

ALPHAS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
Progress = Callable[[int, int], None]
Test = Behaviour | CapabilityTest


def intervene(
    model: Model,
    neurons: NeuronSet,
    behaviours: Sequence[Behaviour],
    *,
    alphas: Sequence[float] = ALPHAS,
    controls: ControlSets | None = None,
    edit: Callable[[float], Edit] = scale,
    unmodified: float = 1.0,
    capability: CapabilityTest | None = None,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Put every question to the model under every dose of every set.

    Args:
        model: The model.
        neurons: The target neurons.
        behaviours: From `hlens.behaviours.load`. One that is asked in two parts, each with
            questions of its own, stands here twice: each part is kept for itself.
        alphas: Doses; the one that leaves the model unmodified need not be among them.
        controls: The sets beside the target; default 8 random sets and one random perturbation.
        edit: Dose -> edit.
        unmodified: The dose that changes nothing.
        capability: What the edit may cost; None leaves it out.
        folder: Where finished runs are kept. An interrupted call resumes from there, and one with
            further sets, doses or behaviours runs only what is new.
        progress: Called with (runs done, runs in all); a run is one dose of one set on one
            behaviour, or on capability.

    Returns:
        One row a reply (and grader) or score: ``behaviour, grader, set, kind, alpha, question_id,
        group, value, unit, applies, n_tokens, capped, refused, reason, text, touched``, with
        ``kind`` a `hlens.types.SetKind`, ``unit`` a `hlens.types.labels.Scale` and ``grader`` empty
        for capability. `rates`, `slopes`, `flips` and `pareto` read it. Every set has the
        rows of the unmodified model as its own. ``touched`` is the receipt: tokens x neurons that
        the edit acted on in this dose of this behaviour.

    Raises:
        HlensError: No neurons, no behaviour, an alpha that is not finite, neurons of another model,
            or a behaviour that this model cannot be asked for.
    """
    if not len(neurons) or not (behaviours or capability):
        raise HlensError(
            f"{len(neurons)} {neurons.name or 'neurons'} and {len(behaviours)} behaviours; give at "
            "least one of each (a detector without H-neurons may have truth neurons: "
            "detector.truth_neurons)"
        )
    for behaviour in behaviours:
        behaviour.check(model)
    tests: list[Test] = [*behaviours, *([capability] if capability else [])]
    controls = controls or ControlSets()
    plan = plan_conditions(
        model, neurons, alphas, controls=controls, edit=edit, unmodified=unmodified
    )
    for condition in plan:
        model.check_edits(condition.edits)
    runs = [(condition, test) for condition in plan for test in tests]
    parts = None
    if folder:
        parts = RowParts(folder, f"{model.fingerprint} {model.provenance.tokenizer}")
    found: list[list[dict[str, Any]]] = []
    for number, (condition, test) in enumerate(runs, start=1):
        name = _run_key(condition, test) if parts else ""
        run_rows = parts.load(name) if parts else None
        if run_rows is None:
            run_rows = _run(model, condition, test)
            if parts:
                parts.save(name, run_rows)
        found.append(run_rows)
        if progress:
            progress(number, len(runs))
    return _with_unmodified(pd.DataFrame(_with_whole_receipts(runs, found)))


def _run(model: Model, condition: Condition, test: Test) -> list[dict[str, Any]]:
    """One dose of one set on one test, in a block of its own: the receipt is of this alone."""
    with model.editing(list(condition.edits)) as receipt:
        if isinstance(test, CapabilityTest):
            rows = [_score_row(score) for score in test()]
        else:
            rows = [_reply_row(outcome) for outcome in test.run(model)]
    head = {"set": condition.set, "kind": condition.kind.value, "alpha": condition.alpha}
    return [{**head, **row, "touched": receipt.touched} for row in rows]


def _with_whole_receipts(
    runs: Sequence[tuple[Condition, Test]], found: Sequence[list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """All rows; what was asked in two parts has one receipt, that of both."""
    whole: Counter[tuple[Condition, str]] = Counter()
    keys = [(condition, getattr(test, "name", "")) for condition, test in runs]
    for key, rows in zip(keys, found, strict=True):
        whole[key] += rows[0]["touched"] if rows else 0
    return [
        row | {"touched": whole[key]} for key, rows in zip(keys, found, strict=True) for row in rows
    ]


def _reply_row(outcome: Outcome) -> dict[str, Any]:
    kept = ("question_id", "group", "reason", "text", "n_tokens", "capped", "refused", "applies")
    head = {"behaviour": outcome.measure, "grader": outcome.grader, "unit": outcome.scale.value}
    return {**head, **{name: getattr(outcome, name) for name in kept}, "value": outcome.value}


def _score_row(score: CapabilityScore) -> dict[str, Any]:
    row = asdict(score)
    measure = row.pop("measure")
    unit = "share" if measure == "multiple_choice" else "nats"
    return {"behaviour": measure, "grader": "", "unit": unit, "applies": True, **row}


def _with_unmodified(table: pd.DataFrame) -> pd.DataFrame:
    """The unmodified model's rows given to every set, as its dose that changes nothing."""
    plain = table.loc[table.kind == SetKind.UNMODIFIED]
    edited: Any = table.loc[table.kind != SetKind.UNMODIFIED]
    pieces = []
    for (name, kind), rows in edited.groupby(["set", "kind"], sort=False):
        pieces += [plain.assign(set=name, kind=kind), rows]
    whole: pd.DataFrame = pd.concat(pieces or [plain], ignore_index=True)
    whole["value"] = whole["value"].astype(float)
    return whole


def _run_key(condition: Condition, test: Test) -> str:
    """Hash of all that the rows of one run depend on, but for the model."""
    hashed = hashlib.sha256()
    for neurons, edit in condition.edits:
        hashed.update(repr((edit.name, edit.scope.name, sorted(neurons.members))).encode())
        for tensor in edit.values:
            hashed.update(tensor.detach().cpu().contiguous().float().numpy().tobytes())
    if isinstance(test, CapabilityTest):
        asked: Any = [(q.id, q.text, q.choices) for q in (*test.texts, *test.questions)]
    else:
        # Meta too: what is false of a question, which its parser and second grader read.
        asked = [
            (q.id, q.text, q.context, q.answers, q.choices, {**q.meta}) for q in test.questions
        ]
        asked = (test.name, test.graders, repr(test.suite.settings), asked)
    hashed.update(json.dumps((condition.set, condition.kind, condition.alpha, asked)).encode())
    return hashed.hexdigest()[:32]
