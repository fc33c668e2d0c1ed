"""The files of a study: what a command says of it is what it said before, or a refusal.

A file is damaged, emptied, dropped, or comes from another study. A value that is changed and read
in silence is the worst that can happen: the numbers of a report would be nobody's.
"""

import json
import random
import shutil
from pathlib import Path

from campaign.mutations import Mutated, mutate_file
from campaign.originals import (
    PAGES,
    another_study,
    check_called,
    copy_study,
    is_small,
    labelled_study,
    study,
)
from campaign.trials import REFUSED, RIGHT, Plan, WrongError
from command_line import call
from hlens.cli import app

SHARE = 0.3
KEEPS_INPUT = False
VERBS: tuple[tuple[str, ...], ...] = (
    ("evaluate",),
    ("evaluate", "--again"),
    ("find",),
    ("sample",),
    ("judge",),
    ("locate",),
    ("measure",),
    ("transfer",),
    ("overlap",),
    ("audit", "--quick"),
    ("intervene",),
    ("table",),
    ("report",),
    ("verify-study",),
)
LARGE = (("evaluate", "--again"), ("transfer",), ("overlap",), ("audit", "--quick"), ("intervene",))
OWN = ("study", "labelled")  # studies that are damaged
UNHASHED = ("recipe.toml", ".md", ".html")  # what people may write, and pages
PARTS = ".parts/"  # of unfinished work: their checksums are asked when they are read


def prepare(home: Path) -> None:
    """Three studies, and what every command says of the two that are damaged."""
    study(home)
    labelled_study(home)
    if not is_small(home):
        another_study(home)
    said = home / "said.json"
    if not said.is_file():
        facts = {name: _said_of(name, home) for name in OWN}
        shutil.rmtree(home / "trial")
        (home / "trial").mkdir()
        said.write_text(json.dumps(facts))


def _said_of(name: str, home: Path) -> dict[str, str]:
    facts = {}
    for verb in _verbs(home, name):
        trial = home / "trial" / "study"
        shutil.rmtree(trial, ignore_errors=True)
        copy_study(home / name, trial)
        called = call(verb[0], str(trial), *verb[1:], "--json")
        facts[" ".join(verb)] = called.out if called.code == 0 else ""
    return facts


def _verbs(home: Path, name: str) -> list[tuple[str, ...]]:
    known = {command.name for command in app.registered_commands} | {
        command.callback.__name__ for command in app.registered_commands if command.callback
    }
    left_out = LARGE if is_small(home) or name == "labelled" else ()
    return [verb for verb in VERBS if verb[0] in known and verb not in left_out]


def make(draw: random.Random, home: Path, folder: Path) -> Plan:
    """A copy of the study with one file damaged, and a command."""
    trial = folder / "study"
    name = draw.choice(OWN)
    copy_study(home / name, trial)
    files = sorted(path for path in trial.rglob("*") if path.is_file())
    path = draw.choice([path for path in files if path.suffix not in PAGES])
    inside = path.relative_to(trial)
    other = home / "other" / inside
    way = draw.random()
    kept = path.read_bytes()
    if way < 0.75:
        mutated = mutate_file(draw, path.name, kept)
        path.write_bytes(mutated.data)
    elif way < 0.9 and other.is_file():
        mutated = Mutated(other.read_bytes(), "of another study")
        path.write_bytes(mutated.data)
    else:
        mutated = _replace(draw, path)
    verb = draw.choice(_verbs(home, name))
    changed = path.exists() and path.is_file() and path.read_bytes() != kept
    return {
        "said": f"{name}, {inside}: {mutated.said}",
        "study": name,
        "verb": verb,
        "changed": changed,
        "file": str(inside),
    }


def _replace(draw: random.Random, path: Path) -> Mutated:
    ways = (
        "gone",
        "a folder",
        "a link to nowhere",
        "a link to itself",
        "unreadable bytes",
        "empty",
    )
    way = draw.choice(ways)
    path.unlink()
    if way == "a folder":
        path.mkdir()
    elif way == "a link to nowhere":
        path.symlink_to("nowhere")
    elif way == "a link to itself":
        path.symlink_to(path.name)
    elif way == "empty":
        path.touch()
    elif way == "unreadable bytes":
        path.write_bytes(draw.randbytes(100))
    return Mutated(b"", way)


def check(plan: Plan, home: Path, folder: Path) -> str:
    """The command says what it says of the undamaged study, or refuses."""
    verb = plan["verb"]
    mine = folder / "study" / "mine.txt"
    mine.write_text("mine")
    called = call(verb[0], str(folder / "study"), *verb[1:], "--json")
    result = check_called(called, as_json=True, negative=verb[0] == "verify-study")
    if mine.read_text() != "mine":
        raise WrongError("lost: a file that is not hlens's")
    before = json.loads((home / "said.json").read_text())[plan["study"]][" ".join(verb)]
    if verb[0] == "verify-study":
        # All is checked against the stamps; of them, what they tell of a run is not checked.
        is_sealed = not plan["file"].endswith((*UNHASHED, "stamps.json"))
        is_sealed = is_sealed and PARTS not in plan["file"]
        if called.code == 0 and plan["changed"] and is_sealed:
            raise WrongError(f"not noticed: {plan['said']}")
        return RIGHT if called.code == 0 else REFUSED
    if result == RIGHT and called.out != before and not plan["file"].endswith(UNHASHED):
        raise WrongError(
            f"other numbers in silence: {' '.join(verb)}, {_difference(before, called.out)}"
        )
    return result


def _difference(before: str, after: str) -> str:
    lines = zip(before.splitlines(), after.splitlines(), strict=False)
    first = next(((a, b) for a, b in lines if a != b), ("", "another length"))
    return f"{first[0].strip()[:80]} is {first[1].strip()[:80]}"
