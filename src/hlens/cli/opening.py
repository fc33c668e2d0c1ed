"""The study and the step that a command line names.

Libraries of models are loaded when a verb runs, so that ``--help`` answers at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hlens.cli import show

if TYPE_CHECKING:
    from hlens.steps import Step
    from hlens.study import Study


@contextmanager
def opening(
    study: str | Path,
    out: Path | None = None,
    model: str | None = None,
    template: Sequence[str] = (),
    loading: Mapping[str, str | None] | None = None,
    settings: Sequence[str] = (),
    stand_in: bool = False,
) -> Iterator["Study"]:
    """The study that a command line names; the block's progress on it is shown."""
    from hlens.cli import studies

    with show.progress() as progress:
        yield studies.open_study(
            str(study), out, model, progress, template, loading or {}, settings, stand_in
        )


def step_at(place: str) -> "Step[Any]":
    """The step at a place in `hlens.steps`."""
    module, name = place.split(".")
    return getattr(import_module(f"hlens.steps.{module}"), name)
