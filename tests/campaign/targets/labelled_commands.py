"""Command lines on labelled answers: ``hlens import`` and ``hlens score``.

The file, the options and the place to write to are hostile, alone and together. What a command
makes holds every row of the file; what is not hlens's own stays as it was.
"""

import json
import os
import random
from pathlib import Path
from typing import Any

import torch

import hlens
from campaign.originals import check_called
from campaign.targets import labelled_files
from campaign.targets.command_lines import FIGURES, MINE, PLACES, VALUES, WORDS
from campaign.trials import RIGHT, Plan, WrongError, contents
from command_line import call
from hlens.cli.columns import COLUMNS
from hlens.labelled import layouts
from hlens.types import Calibration, Detector
from test_labelled_study import labelled_rows
from tiny_study import saved_model

SHARE = 0.3
KEEPS_INPUT = False
# Bytes: the model has no last position, and to read an answer of 200,000 tokens takes it hours.
LARGEST = 20_000
RECIPE = """
[probe]
C = 3.0
[evaluation]
shuffles = 1
n_boot = 10
random_sets = 1
stability_pairs = 2
folds = 2
halves = 2
"""
OPTIONS = {
    "import": ("--layout", "--label", "--unit", "--rest", "--judge", "--instruction", "--style"),
    "score": ("--layout", "--label", "--judge", "--instruction", "--style", "--batch-size"),
}
MEANT = {
    "--layout": (*layouts.names(), "ragtruht"),
    "--label": ("wrong=hallucinated", "ok=correct", "wrong=bad", "=", "a=b=correct", "ok"),
    "--unit": ("span", "response", "token", "word"),
    "--rest": ("ignore", "correct", "true"),
    "--judge": ("alias", "substring", "abstain", "numeric", "choice", "judge"),
    "--style": ("chat", "completion", "raw"),
    "--batch-size": ("1", "2", "0", "-1", "1000000"),
}
BESIDE = ("answers.jsonl", "fast.toml", "new/scores.csv", "new.jsonl", "new.parquet")


def prepare(home: Path) -> None:
    """A model in a folder, a detector of it, and options under which a study takes seconds."""
    if (home / "found.safetensors").is_file():
        return
    saved_model(home / "model")
    model = hlens.load(str(home / "model"))
    weights = torch.zeros(model.n_layers, model.d_mlp)
    weights[0, 3], weights[2, 7] = 2.0, -3.0
    knots = Calibration((-5.0, 5.0), (0.2, 0.8), "platt", 0.01)
    detector = Detector(weights, 0.1, calibration=knots, provenance=model.provenance)
    hlens.store.save_detector(detector, home / "found")


def make(draw: random.Random, home: Path, folder: Path) -> Plan:
    """A file of answers, damaged or not, and a command line on it."""
    verb = draw.choice(("import", "score", "score"))
    said, name = "", "answers.jsonl"
    if draw.random() < 0.5:
        plan = labelled_files.make(draw, home, folder)
        while (folder / plan["file"]).stat().st_size > LARGEST:
            for file in folder.iterdir():
                file.unlink()
            plan = labelled_files.make(draw, home, folder)
        said, name = plan["said"], plan["file"]
        (folder / f"same{Path(name).suffix}").unlink()
    else:
        rows = labelled_rows(draw.choice((6, 30, 30)))
        (folder / name).write_bytes(labelled_files.written(rows, ".jsonl"))
    for path, text in MINE.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    (folder / "fast.toml").write_text(RECIPE)
    words, is_plain = _words(draw, verb, name)
    return {"said": f"{' '.join(words)[:200]}; {said}", "words": words, "file": name,
            "plain": is_plain}  # fmt: skip


def _words(draw: random.Random, verb: str, name: str) -> tuple[list[str], bool]:
    """A command line, and whether it reads all rows of the file as they are."""
    file = name if draw.random() < 0.95 else draw.choice(("nowhere.csv", "mine", *WORDS))
    words = [verb, file] if verb == "import" else [verb, "../found.safetensors", file]
    words += ["--model", "../model", "--label", "wrong=hallucinated", "--label", "ok=correct",
              "--label", "skip=unscored"]  # fmt: skip
    words += ["--recipe", "fast.toml", "--out", "made"] if verb == "import" else []
    is_plain = file == name
    if draw.random() < 0.4:
        options = draw.sample(OPTIONS[verb], draw.choice((1, 1, 2)))
        for option in options:
            words += [option, _value(draw, option)]
        is_plain = is_plain and "--layout" not in options
    if draw.random() < 0.2:
        column = draw.choice(COLUMNS).replace("_", "-")
        words += [f"--{column}", draw.choice((*COLUMNS, "", *WORDS[:6]))]
        is_plain = False
    if draw.random() < 0.5:
        words += ["--out" if verb == "import" else "--to", draw.choice((*PLACES, *BESIDE))]
    words += ["--json"] if draw.random() < 0.7 else []
    return words, is_plain


def _value(draw: random.Random, option: str) -> str:
    if draw.random() < 0.75 and option in MEANT:
        return draw.choice(MEANT[option])
    return str(draw.choice((*FIGURES, *VALUES, *WORDS)))


def check(plan: Plan, home: Path, folder: Path) -> str:
    """Exit code 0 or 2, every row counted, and what hlens did not write as it was."""
    before = Path.cwd()
    words = plan["words"]
    os.chdir(folder)
    try:
        kept = {path: text for path, text in contents(Path()).items() if "made" not in path}
        called = call(*words)
        lost = kept.items() - contents(Path()).items()
        if lost:
            raise WrongError(f"lost: {sorted(lost)[0][0]}, {plan['said']}")
        as_json = "--json" in words
        result = check_called(called, as_json=as_json)
        if result == RIGHT and plan["plain"]:
            _check_rows(Path(plan["file"]), words, json.loads(called.out) if as_json else {})
    finally:
        os.chdir(before)
    return result


def _check_rows(file: Path, words: list[str], facts: dict[str, Any]) -> None:
    """Raise `WrongError` where what was made holds other than all rows."""
    n = len(labelled_files.held(file))
    if words[0] == "import":
        [out] = [words[at + 1] for at, word in enumerate(words) if word == "--out"][-1:]
        made = Path(out).joinpath("responses.jsonl").read_text().count("\n")
    else:
        made = facts.get("n", n)
    if made != n:
        raise WrongError(f"rows lost: {made} of {n}")
