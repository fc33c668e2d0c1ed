"""The sections of a report, one a file: the folder is the list, the order is `ORDER`.

A file holds ``HEADING`` (the question in a few words), ``NEEDS`` (the steps that it reads, see
`hlens.steps`) and ``section(tables) -> Section | None``: None where there is nothing to show. Most
also have a pure function of plain data that draws the same by hand, such as
`hlens.report.sections.scores.draw`. A new file joins the report behind the others of `ORDER`, or
where its name is put in.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from hlens import lookup
from hlens.report.data import Section
from hlens.report.tables import Tables
from hlens.steps import NotMadeError, Runner, Step

ORDER = (
    "scores", "published", "long_answers", "strips", "neuron_map", "controls", "confident",
    "second_judge", "rivals", "confounds", "positions", "refits", "selectors", "sparsity",
    "stability", "single_neurons", "domains", "transfer", "formats", "overlap",
    "overlap_explorer", "reliability", "origin", "dose_response", "by_layer", "flips", "cost",
    "replies", "gates", "patching",
)  # fmt: skip
LAST = ("losses", "neurons")  # behind all others

AUDIT = (
    "second_judge",
    "rivals",
    "confounds",
    "positions",
    "refits",
    "selectors",
    "sparsity",
    "transfer",
)  # of the audit's own page


class SectionFile(Protocol):
    """What a file of this folder holds."""

    HEADING: str
    NEEDS: tuple[Step[Any], ...]
    section: Callable[[Tables], Section | None]


def names() -> list[str]:
    """All sections in the order of the report."""
    known = lookup.names("report.sections")
    new = [name for name in known if name not in ORDER + LAST]
    return [*ORDER, *new, *LAST]


def draw_sections(
    run: Runner, chosen: Iterable[str], instead: Mapping[Step[Any], Step[Any]]
) -> tuple[list[Section], dict[Step[Any], list[str]]]:
    """The chosen sections of a study, as far as they can be drawn without running the model.

    Args:
        run: The study.
        chosen: Names of sections, in order.
        instead: Steps that are read in the place of others, such as a quick audit's.

    Returns:
        The sections in order, and the headings of those left out by the step that is missing.
    """
    sections: list[Section] = []
    left_out: dict[Step[Any], list[str]] = {}
    for name in chosen:
        file: SectionFile = lookup.member("report.sections", name)  # type: ignore[assignment]
        try:
            section = file.section(Tables(run, file.NEEDS, instead))
        except NotMadeError as error:
            left_out.setdefault(error.step, []).append(file.HEADING)
            continue
        if section is not None:
            sections.append(section)
    return sections, left_out
