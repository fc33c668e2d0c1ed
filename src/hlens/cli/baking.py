"""Baking from the command line: write, check and undo an edited checkpoint."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hlens.errors import HlensError
from hlens.interventions import bake as fold
from hlens.interventions import scale
from hlens.interventions import unbake as restore
from hlens.interventions import verify as check
from hlens.model import load
from hlens.steps.chosen import choose_neurons
from hlens.study import Study


def bake(study: str, to: Path, alpha: float, which: str) -> dict[str, Any]:
    """Save the study's model with some of its neurons scaled, and say what was written."""
    edit = scale(alpha)  # raises before a model is loaded, where alpha is a mistake
    opened = Study(study)
    neurons = choose_neurons(opened.detector(), which)
    folder = fold(opened.model, neurons, edit, folder=to)
    facts = {"checkpoint": str(folder), "neurons": len(neurons), "of": neurons.name, "alpha": alpha}
    return facts | {"base": opened.recipe.model}


def verify(folder: Path, base: str | None, loading: Mapping[str, str]) -> dict[str, Any]:
    """What a baked checkpoint was found to be, beside its base model loaded as `loading` says."""
    if loading and not base:
        option = next(iter(loading)).replace("_", "-")
        raise HlensError(f"--{option} goes with --base, the model that {folder} was made from")
    options: dict[str, Any] = dict(loading)
    verification = check(folder, load(base, **options) if base else None)
    return {"checkpoint": str(folder), **asdict(verification), "ok": verification.ok}


def unbake(folder: Path, to: Path) -> dict[str, Any]:
    """Write the checkpoint as it was before it was baked."""
    return {"restored": str(restore(folder, to))}


def describe_bake(facts: Mapping[str, Any]) -> dict[str, str]:
    """What `bake` wrote, and the commands that check and undo it."""
    folder = facts["checkpoint"]
    return {
        "checkpoint": folder,
        "edited": f"{facts['neurons']} {facts['of']}, their rows of W_out times {facts['alpha']:g}",
        "model card": f"{folder}/README.md",
        "check it": f"hlens verify {folder} --base {facts['base']}",
        "undo it": f"hlens unbake {folder} FOLDER",
    }


def describe_verification(facts: Mapping[str, Any]) -> dict[str, str]:
    """What `verify` found, in words."""
    rest = {None: "not compared; name the base model with --base", True: "yes", False: "NO"}
    answer = {True: "yes", False: "NO"}
    return {
        "checkpoint": facts["checkpoint"],
        f"the {facts['neurons']} edited rows are factor x original": answer[facts["rows_agree"]],
        "the weights are those that were saved": answer[facts["fingerprint_agrees"]],
        "all other weights are the base model's": rest[facts["rest_agrees"]],
        "verdict": "it is what its record says"
        if facts["ok"]
        else "it is NOT what its record says: do not trust its model card",
    }


def describe_restoration(facts: Mapping[str, Any]) -> dict[str, str]:
    """What `unbake` wrote."""
    return {**facts, "weights": "the original rows put back; the fingerprint is the base model's"}
