"""Trials: one damaged input, read once, and what came of it."""

import hashlib
import json
import os
import random
import shutil
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Protocol

from hlens.errors import HlensError

RIGHT, REFUSED, FAILED = "right", "refused", "failed"
CONTROLS = ("\x1b", "\x9b", "\x07", "\x00")  # characters that a terminal obeys
LONGEST_LINE = 2000
Plan = dict[str, Any]


class WrongError(Exception):
    """A result that is not right, or a refusal that is not one clear line."""


class Target(Protocol):
    """One thing that hlens reads: a module of `targets`."""

    SHARE: float  # of all inputs
    KEEPS_INPUT: bool  # whether reading must leave every file as it was

    def prepare(self, home: Path) -> None:
        """Make the undamaged originals, once, in the folder `home`."""
        ...

    def make(self, draw: random.Random, home: Path, folder: Path) -> Plan:
        """Write a damaged input into `folder`; what to do with it, as JSON values."""
        ...

    def check(self, plan: Plan, home: Path, folder: Path) -> str:
        """Read it: `RIGHT` or `REFUSED`; raises `WrongError`, and whatever hlens raises."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What came of one trial."""

    target: str
    seed: int
    number: int
    result: str
    said: str  # what was done to the input
    seen: str = ""  # the refusal, or what is wrong
    kind: str = ""  # failures of one kind have one cause

    @property
    def name(self) -> str:
        return f"{self.target}-{self.seed}-{self.number}"


def names() -> list[str]:
    """Names of all targets: the folder is the list."""
    return [found.name for found in iter_modules([str(Path(__file__).parent / "targets")])]


def target(name: str) -> Target:
    """The target of a name."""
    return import_module(f"campaign.targets.{name}")  # type: ignore[return-value]


def run(name: str, seed: int, number: int, *, home: Path, failures: Path | None) -> Outcome:
    """Make one input and read it; the input of a failure is kept under `failures`."""
    chosen = target(name)
    draw = random.Random(f"{name}/{seed}/{number}")
    with inside(home):
        chosen.prepare(Path())
        _empty(Path("trial"))
        plan = chosen.make(draw, Path(), Path("trial"))
        kept = failures / f"{name}-{seed}-{number}" if failures else None
        if kept:  # before it is read: what kills the process is kept, too
            _empty(kept)
            shutil.copytree("trial", kept / "trial", dirs_exist_ok=True, symlinks=True)
            about = {"target": name, "seed": seed, "number": number, "plan": plan}
            (kept / "plan.json").write_text(json.dumps(about))
        outcome = read(name, seed, number, chosen, plan)
    if kept and outcome.result == FAILED:
        (kept / "seen.txt").write_text(f"{outcome.said}\n{outcome.kind}\n{outcome.seen}\n")
    elif kept:
        shutil.rmtree(kept)
    return outcome


def replay(kept: Path, *, home: Path) -> Outcome:
    """Read the input of a kept failure again."""
    about = json.loads((kept / "plan.json").read_text())
    chosen = target(about["target"])
    with inside(home):
        chosen.prepare(Path())  # first, since it makes trials of its own
    _empty(home / "trial")
    shutil.copytree(kept / "trial", home / "trial", dirs_exist_ok=True, symlinks=True)
    with inside(home):
        return read(about["target"], about["seed"], about["number"], chosen, about["plan"])


def read(name: str, seed: int, number: int, chosen: Target, plan: Plan) -> Outcome:
    """Read the input in the folder ``trial``, and say what came of it."""
    said = str(plan.get("said", ""))
    before = contents(Path("trial")) if chosen.KEEPS_INPUT else {}
    kind = seen = ""
    try:
        result = chosen.check(plan, Path(), Path("trial"))
        if chosen.KEEPS_INPUT and (lost := before.items() - contents(Path("trial")).items()):
            raise WrongError(f"lost or changed: {sorted(lost)[0][0]}")
    except HlensError as error:
        try:
            check_line(str(error))
            if plan.get("same"):
                raise WrongError(f"refused what must not matter: {error}")
            result, seen = REFUSED, str(error)
        except WrongError as wrong:
            result, seen, kind = FAILED, str(wrong), _kind(error)
    except WrongError as wrong:
        result, seen, kind = FAILED, str(wrong), f"wrong: {str(wrong).split(':')[0]}"
    except Exception as error:
        result, kind = FAILED, _kind(error)
        seen = "".join(traceback.format_exception(error))[-3000:]
    return Outcome(name, seed, number, result, said, seen, kind)


@contextmanager
def storing() -> Iterator[None]:
    """What was read can be stored and read again: a refusal here is none of the input."""
    try:
        yield
    except HlensError as error:
        raise WrongError(f"not stored and read again: {error}") from None


def check_line(words: str) -> None:
    """Raise `WrongError` unless a refusal is one line of printable text."""
    if not words.strip() or len(words) > LONGEST_LINE or len(words.strip().splitlines()) > 1:
        raise WrongError(
            f"a refusal that is not one line: {len(words)} characters, {words[:300]!r}"
        )
    if any(control in words for control in CONTROLS):
        raise WrongError(f"a refusal that holds control characters: {words[:300]!r}")


def _kind(error: BaseException) -> str:
    """The type of an error and where in hlens it passed last."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if f"{os.sep}hlens{os.sep}" in frame.filename]
    at = own[-1] if own else frames[-1]
    where = at.filename.rpartition(f"{os.sep}hlens{os.sep}")[2]
    return f"{type(error).__name__} in {where}:{at.name}"


def contents(folder: Path) -> dict[str, str]:
    """The checksum of every file below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path)] = f"-> {path.readlink()}"
        elif path.is_file():
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Within a folder, so that paths in plans are short and hold on every machine."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
