"""Tables of scores that ``hlens drift`` reads: what ``hlens score --to`` wrote, and was damaged."""

import json
import random
from pathlib import Path

import numpy as np
import torch

from campaign.mutations import mutate_json_lines
from campaign.trials import RIGHT, Plan, WrongError
from hlens.monitor import read_scores, save_scores, tabulate_scores
from hlens.types import Detector, ScoredAnswer

SHARE = 0.3
KEEPS_INPUT = True
FILE = "scores.jsonl"


def prepare(home: Path) -> None:
    """Ten answers of two domains, one of them empty."""
    if (home / FILE).is_file():
        return
    draw = np.random.default_rng(0)
    answers = [
        ScoredAnswer(f"q{i}", "ab"[i % 2], f"g{i // 2}", tuple("It 👩."), draw.normal(size=5))
        for i in range(9)
    ]
    answers.append(ScoredAnswer("empty", "a", "e", (), np.zeros(0)))
    save_scores(tabulate_scores(answers, Detector(torch.eye(2), 0.0)), home / FILE)


def make(draw: random.Random, home: Path, folder: Path) -> Plan:
    """The file with a damaged row, or damaged as a whole."""
    mutated = mutate_json_lines(draw, (home / FILE).read_bytes())
    (folder / FILE).write_bytes(mutated.data)
    return {"said": mutated.said, "same": mutated.harmless}


def check(plan: Plan, home: Path, folder: Path) -> str:
    """Each score is that of a row, and of what changes nothing all are read."""
    read = read_scores(folder / FILE)
    if not np.isfinite(read.scores).all():
        raise WrongError(f"scores: {read.scores.tolist()}")
    written = [line for line in (folder / FILE).read_bytes().split(b"\n") if line.strip()]
    rows = [json.loads(line.removeprefix(b"\xef\xbb\xbf")) for line in written]
    given = [row.get("score") for row in rows if row.get("level") == "response"]
    if read.scores.tolist() != [float(one) for one in given if one is not None]:
        raise WrongError(f"scores: {read.scores.tolist()} of {given}")
    if plan["same"] and read.groups != read_scores(home / FILE).groups:
        raise WrongError(f"groups: {read.groups}")
    return RIGHT
