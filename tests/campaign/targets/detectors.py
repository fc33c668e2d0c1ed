"""Detectors that someone shared: a safetensors file whose header says all but the weights."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from campaign.mutations import mutate_bytes, mutate_safetensors
from campaign.trials import RIGHT, Plan, WrongError, storing
from hlens import store
from hlens.types import Calibration, Detector, Provenance, ReadAnswers

HOME = ReadAnswers(
    np.linspace(-1, 1, 6), ("0", "0", "1", "2", "2", "3"), ("law",) * 3 + ("art",) * 3,
    np.linspace(0, 1, 18).reshape(6, 3),
)  # fmt: skip
SHARE = 1.5
KEEPS_INPUT = True


def prepare(home: Path) -> None:
    """Two detectors: with a calibration and with none."""
    if (home / "detectors").is_dir():
        return
    weights = torch.zeros(3, 16)
    weights[0, 3], weights[2, 5], weights[1, 1] = 1.25, -0.5, 0.125
    calibration = Calibration((-1.0, 0.0, 2.0), (0.1, 0.4, 0.9), "isotonic", 0.05)
    provenance = Provenance(
        model="mine", fingerprint="f" * 64, tokenizer="t", versions=(("torch", "2"),)
    )
    more = {"domains": ("general",), "fit": {"C": 1.0, "n": 40}, "provenance": provenance}
    for name, chosen in (("calibrated", calibration), ("plain", None)):
        detector = Detector(weights, 0.25, threshold=0.5, calibration=chosen, **more)
        if chosen is not None:
            detector = replace(detector, calibrations=(replace(chosen, domain="law"),), home=HOME)
        store.save_detector(detector, home / "detectors" / name)


def make(draw: random.Random, home: Path, folder: Path) -> Plan:
    """A detector's file, its header or its bytes damaged."""
    name = draw.choice(("calibrated", "plain"))
    source = home / "detectors" / f"{name}.safetensors"
    mutate = mutate_safetensors if draw.random() < 0.9 else mutate_bytes
    data = source.read_bytes()
    mutated = mutate(draw, _unsealed(data) if draw.random() < 0.7 else data)
    (folder / "detector.safetensors").write_bytes(mutated.data)
    return {"said": mutated.said, "as": name, "same": mutated.harmless}


def _unsealed(data: bytes) -> bytes:
    """The file without its hash, as earlier versions wrote it: what changes in it must be seen."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    inner = json.loads(header["__metadata__"]["hlens"])
    del inner["sha256"]
    header["__metadata__"]["hlens"] = json.dumps(inner)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def check(plan: Plan, home: Path, folder: Path) -> str:
    """What loads is a detector: its numbers are numbers, and it is saved as it was read."""
    detector = store.load_detector(folder / "detector.safetensors")
    check_detector(detector)
    with storing():
        again = store.load_detector(store.save_detector(detector, home / "stored-detector"))
    if not same(again, detector):
        raise WrongError("saved otherwise: it is not what was read")
    if plan["same"] and not same(detector, store.load_detector(home / "detectors" / plan["as"])):
        raise WrongError("another detector: what must not matter changed it")
    return RIGHT


def check_detector(detector: Detector) -> None:
    """Raise `WrongError` unless all that a detector holds is of its kind."""
    weights = detector.weights
    if weights.dim() != 2 or not weights.numel() or not weights.isfinite().all():
        raise WrongError(
            f"weights: {tuple(weights.shape)}, finite {bool(weights.isfinite().all())}"
        )
    numbers = {"bias": detector.bias, "threshold": detector.threshold}
    for name, value in numbers.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            raise WrongError(f"{name}: {value!r:.60}")
    texts = (detector.metric, detector.region, detector.provenance.fingerprint, *detector.domains)
    if not all(isinstance(text, str) for text in texts):
        raise WrongError(f"texts: {texts!r:.100}")
    probabilities = detector.probability_of(torch.tensor([-1e9, -1.0, 0.0, 0.3, 1e9]))
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise WrongError(f"probabilities: {probabilities.tolist()}")
    if (probabilities.diff() < 0).any():
        raise WrongError(f"calibration: it falls, {probabilities.tolist()}")
    if len(detector.selected) != int((weights != 0).sum()):
        raise WrongError("neurons: not those of nonzero weight")
    dict(detector.fit)
    repr(detector)


def same(a: Detector, b: Detector) -> bool:
    """Whether two detectors are equal in all that they hold."""
    names = (
        "bias", "metric", "region", "domains", "threshold", "calibration", "calibrations",
        "provenance",
    )  # fmt: skip
    own = all(repr(getattr(a, name)) == repr(getattr(b, name)) for name in names)
    own &= same_home(a.home, b.home)
    return own and torch.equal(a.weights, b.weights) and repr(dict(a.fit)) == repr(dict(b.fit))


def same_home(a: ReadAnswers | None, b: ReadAnswers | None) -> bool:
    """Whether two homes hold the same answers; the numbers of groups are names alone."""
    if a is None or b is None:
        return a is b
    if (a.neurons is None) != (b.neurons is None):
        return False

    def grouped(home: ReadAnswers) -> list[int]:
        return [home.groups.index(group) for group in home.groups]

    return (
        np.array_equal(a.scores, b.scores)
        and a.domains == b.domains
        and grouped(a) == grouped(b)
        and (a.neurons is None or np.array_equal(a.neurons, b.neurons))
    )
