"""Baking from the command line: write, check and undo an edited checkpoint."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from hlens.interventions import bake as fold
from hlens.interventions import scale, undo
from hlens.interventions import verify as check
from hlens.model import load
from hlens.study import Study


def bake(study: str, to: Path, alpha: float) -> dict[str, Any]:
    """Save the study's model with its H-neurons scaled, and say what was written."""
    opened = Study(study)
    neurons = opened.detector().neurons
    folder = fold(opened.model, neurons, scale(alpha), to)
    return {"checkpoint": str(folder), "neurons": len(neurons), "alpha": alpha}


def verify(folder: Path, base: str | None) -> dict[str, Any]:
    """What a baked checkpoint was found to be."""
    found = check(folder, load(base) if base else None)
    return {"checkpoint": str(folder), **asdict(found), "ok": found.ok}


def unbake(folder: Path, to: Path) -> dict[str, Any]:
    """Write the checkpoint as it was before it was baked."""
    return {"restored": str(undo(folder, to))}
