"""Whether the neurons' activations carry what differs between two prompts."""

from functools import partial
from typing import Any

from hlens import figures
from hlens.counting import count
from hlens.effects import patch_table, summarise_patching
from hlens.report.data import Section
from hlens.report.tables import Tables
from hlens.steps import effects

HEADING = "Do they carry the difference?"
NEEDS = (effects.patching, effects.patching_map)
MOST = 12  # layers, and neurons, in the table


def section(tables: Tables) -> Section | None:
    """The section of a study whose neurons were patched."""
    table: Any = summarise_patching(tables[effects.patching])
    return Section(
        HEADING,
        "Activations of a true premise or a known entity put into the run of a false or invented "
        f"one, over {count(int(table['n'].max()), 'pair')} that the model distinguishes. "
        "Attribution is the "
        "estimate from one backward pass, the share restored the exact patch.",
        (
            partial(figures.patching, tables[effects.patching_map]),
            patch_table(table, most=MOST).rename(columns={"restored": "share restored"}),
        ),
        "A share restored says that the neurons carry the difference on these prompts, not that "
        "they decide it elsewhere.",
    )
