"""Steps of a study: each makes its artefact once for what it depends on, and reads it later."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from hlens.recipe import key_of
from hlens.store.stamps import Stamps
from hlens.store.tables import load_table, save_table

Progress = Callable[[str, int, int], None]
T = TypeVar("T")


class Steps:
    """The artefacts in one folder, and which of them stand.

    Args:
        folder: Where the artefacts lie.
        progress: Called with (step, done, total).
    """

    def __init__(self, folder: Path, progress: Progress | None = None) -> None:
        self.folder = folder
        self._progress = progress
        self._stamps = Stamps(folder)
        self._held: dict[str, tuple[str, Any]] = {}

    def step(
        self,
        name: str,
        depends: list[Any],
        make: Callable[[], T],
        save: Callable[[T], object],
        read: Callable[[], T],
    ) -> T:
        """The artefact of a step: read where it stands for these dependencies, else made."""
        key = key_of([_plain(part) for part in depends])
        if self._held.get(name, ("",))[0] != key:
            stands = self._stamps.stands(name, key)
            found = read() if stands else self._make(name, key, make, save)
            self._held[name] = (key, found)
        return self._held[name][1]

    def stands(self, name: str, depends: list[Any]) -> bool:
        """Whether the artefact of a step stands for these dependencies."""
        return self._stamps.stands(name, key_of([_plain(part) for part in depends]))

    def _make(self, name: str, key: str, make: Callable[[], T], save: Callable[[T], object]) -> T:
        self.reporter(name)(0, 1)
        began, worked = time.monotonic(), time.process_time()
        found = make()
        save(found)
        # Time at work beside time that passed: what else the machine did tells only in the latter.
        spent = {"seconds": time.monotonic() - began, "cpu": time.process_time() - worked}
        self._stamps.mark(name, key, {what: round(value, 2) for what, value in spent.items()})
        self.reporter(name)(1, 1)
        return found

    def table_step(
        self,
        name: str,
        depends: list[Any],
        make: Callable[[], pd.DataFrame],
        at: str | None = None,
    ) -> pd.DataFrame:
        """A table that is made once for what it depends on, and kept as Parquet.

        Its file is named `at`, or after the step.
        """
        path = self.folder / f"{at or name.replace(' ', '_')}.parquet"
        return self.step(
            name, depends, make, lambda found: save_table(found, path), lambda: load_table(path)
        )

    def redo(self, names: Sequence[str]) -> None:
        """Make these steps again when they are next asked for; what they rest on is kept."""
        for name in names:
            self._stamps.forget(name)
            self._held.pop(name, None)

    def steps(self) -> list[str]:
        """The steps that are done."""
        return self._stamps.steps()

    def key(self, step: str) -> str:
        """What the step was last done for; what depends on the step depends on it."""
        return self._stamps.key(step)

    def seconds(self, cpu: bool = False) -> dict[str, float]:
        """How long each step took when it was made, or with `cpu` how long it was at work."""
        what = "cpu" if cpu else "seconds"
        noted = {step: self._stamps.note(step).get(what) for step in self._stamps.steps()}
        return {step: seconds for step, seconds in noted.items() if seconds is not None}

    def reporter(self, step: str) -> Callable[[int, int], None]:
        """A callback (done, total) for one step."""
        return lambda done, total: self._progress and self._progress(step, done, total)


def _plain(part: Any) -> Any:
    """Dependencies as plain values: a section of the recipe is its options."""
    return vars(part) if hasattr(part, "__dataclass_fields__") else part
