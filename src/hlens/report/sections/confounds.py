"""Whether the detector reads truth, or what comes with it."""

from functools import partial

from hlens import figures
from hlens.report.data import Section
from hlens.report.html_table import auroc_column, estimate_column, table
from hlens.report.tables import Tables
from hlens.steps import audit
from hlens.types.labels import H_NEURONS, Heading

HEADING = Heading.CONFOUNDS
NEEDS = (audit.audit,)


def section(tables: Tables) -> Section | None:
    """The section of an audited study."""
    audited = tables[audit.audit]
    board = audited.leaderboard
    auroc = float(board.loc[board["detector"] == H_NEURONS, "auroc"].iloc[0])
    effects = estimate_column(audited.factorial, "value", "low", "high", "value")
    return Section(
        HEADING,
        "The same scores with one thing held fixed at a time.",
        (
            partial(figures.confounds, audited.confounds, auroc=auroc),
            table(effects.rename(columns={"what": "truth by length"}), "Truth against length."),
            table(auroc_column(audited.confounds), "Every covariate in every view.", tall=True),
        ),
        "Effects of truth and length are in standard deviations of the score. Alike pairs agree in "
        "the covariate; adjusted takes off what it predicts of a true answer's score.",
    )
