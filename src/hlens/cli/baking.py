"""Doses from the command line: baked into a checkpoint or written as adapters, checked, undone."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from hlens.data_files import read_text
from hlens.domains import general
from hlens.errors import HlensError
from hlens.interventions import adapter, is_adapter, scale, verify_adapter
from hlens.interventions import bake as fold
from hlens.interventions import unbake as restore
from hlens.interventions import verify as check
from hlens.model import load
from hlens.steps.chosen import choose_neurons
from hlens.study import Study

PROMPTS = 20  # questions of the general domain that an adapter is compared on


def bake(study: str, to: Path, alpha: float, which: str) -> dict[str, Any]:
    """Save the study's model with some of its neurons scaled, and say what was written."""
    edit = scale(alpha)  # raises before a model is loaded, where alpha is a mistake
    opened = Study(study)
    neurons = choose_neurons(opened.detector(), which)
    folder = fold(opened.model, neurons, edit, folder=to)
    facts = {"checkpoint": str(folder), "neurons": len(neurons), "of": neurons.name, "alpha": alpha}
    return facts | {"base": opened.recipe.model}


def export_adapters(study: str, to: Path, alphas: Sequence[float], which: str) -> dict[str, Any]:
    """Write an adapter of each dose into a folder of its own, and say what was written."""
    edits = [scale(alpha) for alpha in dict.fromkeys(alphas)]
    if os.path.lexists(to):
        raise HlensError(f"{to} exists; choose a new folder, nothing is overwritten")
    opened = Study(study)
    neurons = choose_neurons(opened.detector(), which)
    folders = [
        adapter(opened.model, neurons, edit, to / f"alpha-{edit.factor:g}") for edit in edits
    ]
    facts = {"adapters": [str(folder) for folder in folders], "alphas": [e.factor for e in edits]}
    return facts | {"neurons": len(neurons), "of": neurons.name, "base": opened.recipe.model}


def verify(
    folder: Path,
    base: str | None,
    prompts: Path | None,
    loading: Mapping[str, str],
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """What a baked checkpoint, or an adapter, was found to be.

    The base model is loaded as `loading` says.
    """
    if loading and not base:
        option = next(iter(loading)).replace("_", "-")
        raise HlensError(f"--{option} goes with --base, the model that {folder} was made from")
    options: dict[str, Any] = dict(loading)
    if is_adapter(folder):
        return _verify_adapter(folder, base, prompts, options, progress)
    if prompts is not None:
        raise HlensError(f"{folder} is no adapter; prompts compare an adapter: leave out --prompts")
    verification = check(folder, load(base, **options) if base else None)
    return {"checkpoint": str(folder), **asdict(verification), "ok": verification.ok}


def _verify_adapter(
    folder: Path,
    base: str | None,
    prompts: Path | None,
    options: Mapping[str, Any],
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    if base is None:
        raise HlensError("an adapter is compared with the edit of its base model; name it: --base")
    if prompts is None:
        asked = [question.text for question in islice(general.questions(), PROMPTS)]
    else:
        asked = [line for line in read_text(prompts).split("\n") if line.strip()]
    verification = verify_adapter(
        folder, load(base, **options), asked, progress=lambda done, n: progress("verify", done, n)
    )
    return {"adapter": str(folder), **asdict(verification), "ok": verification.ok}


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


def describe_adapters(facts: Mapping[str, Any]) -> dict[str, str]:
    """What `export_adapters` wrote, and the command that checks it."""
    folders = facts["adapters"]
    rows = {
        f"alpha {alpha:g}": folder for alpha, folder in zip(facts["alphas"], folders, strict=True)
    }
    return {
        **rows,
        "scaled": f"{facts['neurons']} {facts['of']}",
        "how to serve": f"{folders[0]}/README.md",
        "check it": f"hlens verify {folders[0]} --base {facts['base']}",
    }


def describe_verification(facts: Mapping[str, Any]) -> dict[str, str]:
    """What `verify` found, in words."""
    if "adapter" in facts:
        return _describe_adapter(facts)
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


def _describe_adapter(facts: Mapping[str, Any]) -> dict[str, str]:
    return {
        "adapter": facts["adapter"],
        f"its {facts['neurons']} columns are the base model's rows": "yes"
        if facts["rows_agree"]
        else "NO",
        "greedy answers equal": f"{facts['answers_agree']} of {facts['prompts']}",
        "largest difference of a logit": f"{facts['largest_difference']:.1e} of the largest "
        f"(limit {facts['limit']:.0e})",
        "verdict": "it does what the edit does"
        if facts["ok"]
        else "it does NOT do what the edit does: do not serve it",
    }


def describe_restoration(facts: Mapping[str, Any]) -> dict[str, str]:
    """What `unbake` wrote."""
    return {**facts, "weights": "the original rows put back; the fingerprint is the base model's"}
