"""intervene: behaviour and capability, dose by dose, beside matched random neurons."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from hlens.behaviours import Behaviour, Outcome
from hlens.effects.capability import Capability, Score
from hlens.effects.conditions import Condition, Controls, conditions
from hlens.errors import HlensError
from hlens.interventions import Edit, scale
from hlens.model import Model
from hlens.store import RowParts
from hlens.types import NeuronSet

ALPHAS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
CAPABILITY = ("perplexity", "kl", "multiple_choice")
Progress = Callable[[int, int], None]
Task = Behaviour | Capability


def intervene(
    model: Model,
    neurons: NeuronSet,
    behaviours: Sequence[Behaviour],
    alphas: Sequence[float] = ALPHAS,
    controls: Controls | None = None,
    *,
    edit: Callable[[float], Edit] = scale,
    unmodified: float = 1.0,
    capability: Capability | None = None,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Put every question to the model under every dose of every set.

    Args:
        model: The model.
        neurons: The neurons in question.
        behaviours: From `hlens.behaviours.load`.
        alphas: Doses; the one that leaves the model as it is need not be among them.
        controls: What stands beside the neurons; default 8 random sets and one random perturbation.
        edit: Dose -> edit.
        unmodified: The dose that changes nothing.
        capability: What the edit may cost; None leaves it out.
        folder: Where finished runs are kept: an interrupted one goes on there, and one with
            further sets, doses or behaviours does only what is new.
        progress: Called with (runs done, runs in all); a run is one dose of one set on one
            behaviour, or on capability.

    Returns:
        One row a reply or score: ``behaviour, set, kind, alpha, question_id, group, value, unit,
        applies, n_tokens, capped, refused, reason, text, touched``. `rates`, `slopes`, `flips`
        and `pareto` read it. The unmodified model is there once for every set. ``touched`` is the
        receipt: tokens x neurons that the edit acted on in this dose of this behaviour.

    Raises:
        HlensError: No neurons, no behaviour, an alpha that is not finite, neurons of another model,
            or a behaviour that this model cannot be asked for.
    """
    if not len(neurons) or not (behaviours or capability):
        raise HlensError(
            f"{len(neurons)} neurons and {len(behaviours)} behaviours; give at least one of each"
        )
    for behaviour in behaviours:
        behaviour.check(model)
    tasks: list[Task] = [*behaviours, *([capability] if capability else [])]
    plan = conditions(model, neurons, alphas, controls or Controls(), edit, unmodified)
    runs = [(condition, task) for condition in plan for task in tasks]
    parts = (
        RowParts(folder, f"{model.fingerprint} {model.provenance.tokenizer}") if folder else None
    )
    rows: list[dict[str, Any]] = []
    for number, (condition, task) in enumerate(runs):
        name = _key(condition, task) if parts else ""
        own = parts.load(name) if parts else None
        if own is None:
            own = _run(model, condition, task)
            if parts:
                parts.save(name, own)
        rows += own
        if progress:
            progress(number + 1, len(runs))
    return _with_unmodified(pd.DataFrame(rows))


def _run(model: Model, condition: Condition, task: Task) -> list[dict[str, Any]]:
    """One dose of one set on one task, in a block of its own: the receipt is of this alone."""
    with model.editing(list(condition.pairs)) as receipt:
        rows = _scores(task()) if isinstance(task, Capability) else _replies(task.run(model))
    mark = {"set": condition.set, "kind": condition.kind, "alpha": condition.alpha}
    return [{**mark, **row, "touched": receipt.touched} for row in rows]


def _replies(found: Sequence[Outcome]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for one in found:
        row = asdict(one)
        hit = row.pop("hit")
        row["value"] = None if hit is None else float(hit)
        rows.append({"behaviour": row.pop("measure"), "unit": "share", **row})
    return rows


def _scores(found: Sequence[Score]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for one in found:
        row = asdict(one)
        measure = row.pop("measure")
        unit = "share" if measure == "multiple_choice" else "nats"
        rows.append({"behaviour": measure, "unit": unit, "applies": True, **row})
    return rows


def _with_unmodified(table: pd.DataFrame) -> pd.DataFrame:
    """The unmodified model's rows given to every set, as its dose that changes nothing."""
    plain = table.loc[table.kind == "unmodified"]
    edited: Any = table.loc[table.kind != "unmodified"]
    pieces = []
    for (name, kind), own in edited.groupby(["set", "kind"], sort=False):
        pieces += [plain.assign(set=name, kind=kind), own]
    whole: pd.DataFrame = pd.concat(pieces or [plain], ignore_index=True)
    whole["value"] = whole["value"].astype(float)
    return whole


def _key(condition: Condition, task: Task) -> str:
    """Hash of all that the rows of one run depend on, but for the model."""
    hashed = hashlib.sha256()
    for neurons, edit in condition.pairs:
        hashed.update(repr((edit.name, edit.scope.name, sorted(neurons.members))).encode())
        for held in edit.values:
            hashed.update(held.detach().cpu().contiguous().float().numpy().tobytes())
    if isinstance(task, Capability):
        asked: Any = [(q.id, q.text, q.choices) for q in (*task.texts, *task.questions)]
    else:
        asked = [(q.id, q.text, q.context, q.answers, q.choices) for q in task.questions]
        asked = (task.name, repr(task.suite.settings), asked)
    mark = (condition.set, condition.kind, condition.alpha, asked)
    hashed.update(json.dumps(mark).encode())
    return hashed.hexdigest()[:32]
