"""Options of the commands that read a file of answers: score, recalibrate and drift."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from hlens.cli.columns import BY_COLUMN, COLUMNS, Judge, Labels, Layout, Rest, Style, label_option
from hlens.cli.gathering import gathers
from hlens.cli.loading import LOADING
from hlens.cli.refusing import refuse

OPTIONS = {
    "model": Annotated[
        str | None, typer.Option(help="The model that gave the answers; by default the detector's.")
    ],
    "layout": Layout,
    "label": Labels,
    "rest": Rest,
    "judge": Judge,
    "instruction": Annotated[
        str | None, typer.Option(help="What followed each question; a study's own by default.")
    ],
    "style": Style,
}


@dataclass(frozen=True)
class AnswerOptions:
    """How a file of answers is read, as a command line says it.

    Attributes:
        model: The model that gave the answers; None for that of the study or of the detector.
        loading: How its weights are loaded, by the names of `hlens.load`.
        reading: By the names of `hlens.labelled.labelled`; what is not set is the study's, or a
            default.
    """

    model: str | None = None
    loading: Mapping[str, str] = field(default_factory=dict)
    reading: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, *, model: str | None = None, label: Sequence[str] = (), **given: Any
    ) -> "AnswerOptions":
        """Those of a command line, by the names of its options."""
        given = {name: one for name, one in given.items() if one != "" or name in COLUMNS}
        loading = {name: given.pop(name) for name in LOADING if name in given}
        columns = {name: given.pop(name) for name in COLUMNS if name in given}
        further = {"labels": dict(map(label_option, label)), "columns": columns}
        return cls(model, loading, given | {name: one for name, one in further.items() if one})

    def refuse(self, goes_with: str) -> None:
        """Raise `HlensError` where anything was set: there it would do nothing."""
        reading = dict(self.reading)
        labels, columns = reading.pop("labels", None), reading.pop("columns", {})
        given = {"model": self.model, **self.loading, **reading, "label": labels, **columns}
        refuse(given, goes_with)


takes_answers = gathers("how", {**OPTIONS, **LOADING, **BY_COLUMN}, AnswerOptions.of)
