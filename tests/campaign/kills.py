"""A study killed, out of disk, beside another process, under a jumping clock: does it end the same?

Each trial makes a tiny study in a folder of its own and disturbs it in one way: ``kill -9`` at a
random moment or at a random write (several times, some under other options, which are restored
afterwards), a disk that is full from a random write on, two processes at once, or a clock that
jumps. Then the study is made to its end, and every file is compared with those of an undisturbed
run; the seconds in ``stamps.json`` alone may differ.

    PYTHONPATH=tests python -m campaign.kills --kills 100 --seed 0
"""

import argparse
import errno
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from campaign import workers
from hlens.errors import HlensError
from hlens.model import Model
from hlens.recipe import Recipe
from hlens.steps import all_steps
from hlens.study import Study
from tiny_study import question_file, tiny_model, tiny_recipe

IN_A_ROW = 4  # kills of one study before it may end
PATIENCE = 300  # seconds until a run counts as hanging
Task = tuple[str, int, tuple[int, ...]]  # a method of `Campaign`, the trial's number, and more
Disturbance = Callable[[random.Random], None]


class Campaign:
    """Trials of one piece of work, and what became of them.

    Args:
        home: Folder for everything.
        small: Scores alone; else edits, a second judge, an audit and a report, too.
        seed: Of every draw.
    """

    def __init__(self, home: Path, *, small: bool, seed: int) -> None:
        self.home, self.small = home, small
        self.seed, self.rng = seed, random.Random(seed)
        self.model = tiny_model()
        self.recipe = _recipe(home, small)
        self.counts: dict[str, Counter] = {}
        self.want: dict[str, str] = {}
        started = time.monotonic()
        reference = home / "reference"
        if code := _wait(self._start(reference, self.recipe)):
            said = (home / "reference.said").read_text() if code == 2 else "see above"
            raise RuntimeError(f"the undisturbed run failed: {said}")
        self.seconds = time.monotonic() - started
        self.want = contents(reference)
        # Each writing flushes a file, gives it its name and flushes the folder; a stamp is two.
        self.writes = 3 * (len(self.want) + len(list(reference.glob("*.*"))))

    def _start(
        self,
        folder: Path,
        recipe: Recipe,
        disturb: Disturbance | None = None,
        *,
        whole: bool = False,
    ) -> int:
        """A process that makes the study; its exit code is 0, 2 after one line, or 1.

        With `whole`, it then makes what the undisturbed run made, although nothing asks for it: a
        detector whose scores stand is not made again just because it is gone.
        """
        seed = self.rng.random()
        child = os.fork()
        if child:
            return child
        code = 1
        try:
            if disturb is not None:
                disturb(random.Random(seed))
            study = _make(folder, recipe, self.model, self.small)
            for step in all_steps() if whole else ():
                if f"stamp of {step.name}" in self.want:
                    study.runner.ensure(step)
            code = 0
        except (HlensError, OSError) as error:
            with (folder.parent / f"{folder.name}.said").open("a") as said:
                said.write(f"{error}\n")
            code = 2 if "\n" not in str(error) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _end(self, kind: str, folder: Path) -> None:
        """Make a disturbed study to its end, and compare it."""
        code = _wait(self._start(folder, self.recipe, whole=True))
        found = contents(folder) if code == 0 else {}
        differing = [name for name in self.want | found if self.want.get(name) != found.get(name)]
        if code == 0 and not differing:
            self._count(kind, "resumed")
            shutil.rmtree(folder)
        elif code == 2:
            self._count(kind, "refused")
            print(f"{folder.name}: {(folder.parent / f'{folder.name}.said').read_text().strip()}")
        else:
            self._count(kind, "failed")
            print(f"{folder.name}: exit {code}, other than undisturbed: {differing[:9]}")

    def _count(self, kind: str, what: str) -> None:
        self.counts.setdefault(kind, Counter())[what] += 1

    def kill(self, number: int, kills: int) -> None:
        """A study that is killed several times, and made to its end."""
        folder = self.home / f"killed-{number}"
        spent = 0.0
        for _ in range(kills):
            recipe = self.rng.choice([self.recipe, self.recipe, *_others(self.recipe)])
            at_write = self.rng.random() < 0.5
            started = time.monotonic()
            child = self._start(folder, recipe, self._kill_at_a_write() if at_write else None)
            if not at_write:
                until = started + self.rng.random() * max(1.0, self.seconds - spent)
                while time.monotonic() < until and not _has_ended(child):
                    time.sleep(0.005)
                os.kill(child, signal.SIGKILL)
            code = _wait(child)
            spent += time.monotonic() - started
            self._count("kill -9", "tried")
            # Other options may leave answers of one label alone, which is one line.
            self._count(
                "kill -9", {-9: "killed", 0: "ended before", 2: "one line"}.get(code, "failed")
            )
        self._end("studies killed", folder)

    def _kill_at_a_write(self) -> Disturbance:
        def disturb(rng: random.Random) -> None:
            _at_write(rng.randrange(self.writes), lambda: os.kill(os.getpid(), signal.SIGKILL))

        return disturb

    def fill_disk(self, number: int) -> None:
        """A study on a disk that is full from some write on, which then has room again."""
        folder = self.home / f"full-{number}"

        def fill() -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

        code = _wait(self._start(
            folder, self.recipe, lambda rng: _at_write(rng.randrange(self.writes), fill)
        ))  # fmt: skip
        self._count("full disk", "tried")
        self._count("full disk", {2: "one line", 0: "ended before"}.get(code, "failed"))
        self._end("studies after a full disk", folder)

    def pair(self, number: int) -> None:
        """Two processes on one study: each makes it, or is refused."""
        folder = self.home / f"two-{number}"
        first = self._start(folder, self.recipe)
        time.sleep(self.rng.random() * min(1.0, self.seconds))
        for child in (first, self._start(folder, self.recipe)):
            code = _wait(child)
            self._count("two processes", "tried")
            self._count("two processes", {0: "made it", 2: "refused"}.get(code, "failed"))
        self._end("studies of two processes", folder)

    def jump(self, number: int) -> None:
        """A study under clocks that jump back and forth."""
        folder = self.home / f"clock-{number}"
        code = _wait(self._start(folder, self.recipe, _jumping_clocks))
        self._count("clock that jumps", "tried")
        self._count("clock that jumps", "made it" if code == 0 else "failed")
        self._end("studies under such a clock", folder)


def contents(folder: Path) -> dict[str, str]:
    """Hash of every file of a study by its place; of the stamps without seconds and file times."""
    own = str(folder).encode()  # which a report names, in the commands that make more
    found = {
        path.relative_to(folder).as_posix(): hashlib.sha256(
            path.read_bytes().replace(own, b"STUDY")
            if path.suffix == ".html"
            else path.read_bytes()
        ).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "stamps.json"
    }
    stamps = json.loads((folder / "stamps.json").read_text())
    for stamp in stamps.values():
        for name in ("seconds", "cpu"):
            stamp["note"].pop(name, None)
        for seal in stamp["files"].values():
            seal["touched"] = []
    return {name: content for name, content in found.items() if ".parts/" not in name} | {
        f"stamp of {name}": json.dumps(stamp) for name, stamp in stamps.items()
    }


def _recipe(home: Path, small: bool) -> Recipe:
    return tiny_recipe(
        question_file(home / "questions.jsonl", 24 if small else 80),
        sampling={"n": 2, "max_new_tokens": 6},
        labels={"judge": "substring", "second": "" if small else "alias"},
        intervene={"behaviours": ["plain_qa"], "items": 2, "alphas": [0, 1], "capability": False},
    )


def _others(recipe: Recipe) -> list[Recipe]:
    """The same study under other options, of each kind of step."""
    return [
        replace(recipe, probe=replace(recipe.probe, C=1.0)),
        replace(recipe, sampling=replace(recipe.sampling, temperature=0.5)),
        replace(recipe, measure=replace(recipe.measure, reduce="max")),
        replace(recipe, evaluation=replace(recipe.evaluation, test=0.4, n_boot=30)),
    ]


def _make(folder: Path, recipe: Recipe, model: Model, small: bool) -> Study:
    """What ``hlens run``, ``intervene`` and ``audit`` make, and at the end the report."""
    study = Study(folder, recipe, model)
    study.make_report_data()
    if not small:
        study.outcomes()
        study.audit()
        study.make_report_data()
        study.report()
    return study


def _at_write(number: int, do: Callable[[], None]) -> None:
    """Do something at each write from a number on: before it, or when it took its name."""
    own_sync, own_replace = os.fsync, Path.replace
    done = 0

    def sync(handle: int) -> None:
        nonlocal done
        done += 1
        if done > number:
            do()
        own_sync(handle)

    def renamed(self: Path, target: Any) -> Path:
        nonlocal done
        moved = own_replace(self, target)
        done += 1
        if done > number:
            do()
        return moved

    os.fsync, Path.replace = sync, renamed  # type: ignore[method-assign]


def _jumping_clocks(rng: random.Random) -> None:
    for name in ("time", "monotonic", "process_time"):
        own = getattr(time, name)
        setattr(time, name, lambda own=own: own() + rng.uniform(-1e9, 1e9))


def _has_ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _wait(child: int) -> int:
    """Exit code of a process, or minus the signal that ended it; one that hangs is killed."""
    until = time.monotonic() + PATIENCE
    while not _has_ended(child):
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            print(f"hung for {PATIENCE} s", file=sys.stderr)
            return 1
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(argv: list[str] | None = None) -> int:
    """Run the campaign and print its counts; 0 where nothing failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--disks", type=int, default=6)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--clocks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=workers.count(), help="trials at a time")
    parser.add_argument("--small", action="store_true", help="scores alone, no audit")
    given = parser.parse_args(argv)
    started = time.monotonic()
    torch.set_num_threads(1)  # a fork does not carry OpenMP's threads over: a child waits for ever
    with tempfile.TemporaryDirectory(prefix="kills-") as home:
        campaign = Campaign(Path(home), small=given.small, seed=given.seed)
        tasks: list[Task] = [
            ("kill", number, (min(IN_A_ROW, given.kills - first),))
            for number, first in enumerate(range(0, given.kills, IN_A_ROW))
        ]
        others = {"fill_disk": given.disks, "pair": given.pairs, "jump": given.clocks}
        tasks += [(kind, number, ()) for kind, times in others.items() for number in range(times)]
        # By forks, which hold the model and the undisturbed run already.
        fork = multiprocessing.get_context("fork")
        with fork.Pool(given.jobs, _adopt, (campaign,)) as pool:
            for counts in pool.imap(_try, tasks):
                for kind, more in counts.items():
                    campaign.counts.setdefault(kind, Counter()).update(more)
    for kind, counts in campaign.counts.items():
        print(f"{kind}: {', '.join(f'{n} {what}' for what, n in counts.items())}")
    failed = sum(counts["failed"] for counts in campaign.counts.values())
    print(f"seed {given.seed}, {time.monotonic() - started:.0f} s, {failed} failed")
    return int(failed > 0)


_ADOPTED: list[Campaign] = []  # that of the process that forked this one


def _adopt(campaign: Campaign) -> None:
    _ADOPTED[:] = [campaign]


def _try(task: Task) -> dict[str, Counter]:
    """One trial in a process of its own; its draws are those of its number, whoever makes it."""
    kind, number, more = task
    [campaign] = _ADOPTED
    campaign.rng = random.Random(f"{campaign.seed}/{kind}/{number}")
    campaign.counts = {}
    getattr(campaign, kind)(number, *more)
    sys.stdout.flush()
    return campaign.counts


if __name__ == "__main__":
    sys.exit(main())
