"""What a verb prints, as LaTeX: its tables, to be taken by a paper, and all else as comments."""

import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from hlens.report.latex_table import latex_table
from hlens.report.latex_text import comment
from hlens.steps import all_steps, detection

if TYPE_CHECKING:
    from hlens.study import Study

INTERVALS = "95 % intervals; of random draws, the central 95 % of the draws"


def latex_of(facts: Mapping[str, Any], study: "Study | None", captions: Mapping[str, str]) -> str:
    """The tables among some facts as LaTeX; the other facts are comments above them.

    Args:
        facts: By name; tables are data frames.
        study: Whose they are, where they are one study's.
        captions: What tables show and what their intervals are, where no step of that name says it.
    """
    folder, whose = (study.folder.name, _whose(study)) if study else ("", "")
    steps = {step.name.removeprefix("audit/"): step.help for step in all_steps()}
    steps |= {step.name: step.help for step in all_steps()}
    lines = [comment(f"By: {shlex.join(['hlens', *sys.argv[1:]])}")]
    lines += [comment(r"Needs \usepackage{booktabs} in the preamble.")]
    tables = []
    for name, value in facts.items():
        if not isinstance(value, pd.DataFrame):
            said = value if isinstance(value, list) else [value]
            lines += [comment(f"{name.replace('_', ' ')}: {one}") for one in said]
        elif value.empty:
            lines.append(comment(f"{name.replace('_', ' ')}: no rows"))
        else:
            own = captions.get(name)
            caption = own or steps.get(name) or f"{name.replace('_', ' ').capitalize()}."
            label, intervals = f"{folder} {name}", "" if own else INTERVALS
            tables.append(latex_table(value, f"{caption}{whose}", label, intervals=intervals))
    return "\n".join([*lines, "", "\n\n".join(tables)])


def _whose(study: "Study") -> str:
    if not study.has(detection.detector):
        return ""
    detector = study.detector()
    several = "Domains" if len(detector.domains) > 1 else "Domain"
    return f" Model: {detector.provenance.model}. {several}: {', '.join(detector.domains)}."
