"""What is left of the finding under a second judge's labels, and how far the two judges agree."""

from functools import partial

from hlens import figures
from hlens.report.data import Section
from hlens.report.html_table import auroc_column, estimate_column, table
from hlens.report.tables import Tables
from hlens.steps import second_judge
from hlens.types.labels import Heading

HEADING = Heading.SECOND_JUDGE
NEEDS = (second_judge.named_judges, second_judge.agreed, second_judge.second_judge)


def section(tables: Tables) -> Section | None:
    """The section of a study whose recipe names a second judge."""
    named = tables[second_judge.named_judges]
    if not named.second:
        return None
    agreed, scores = tables[second_judge.agreed], tables[second_judge.second_judge]
    shown = scores.drop(columns=["difference", "difference_low", "difference_high", "p"])
    return Section(
        HEADING,
        f"The labels are those of {named.first}. Beside it {named.second} judged the same replies: "
        "as found, the detector is scored by both; then it is fitted to the second judge's labels.",
        (
            partial(figures.refits, scores),
            table(auroc_column(shown), "Held-out AUROC by the labels of either judge."),
            table(
                estimate_column(agreed.agreement, "value", "low", "high", "value"),
                "How far the judges agree: share of equal verdicts, and Cohen's kappa.",
            ),
            table(
                agreed.confusion,
                f"Replies by the verdict of {named.first} (rows) and {named.second} (columns).",
            ),
        ),
        "Two judges may share a mistake: agreement is no proof that either is right. Answers that "
        "the second judge does not label are left out, so its AUROC is of other answers.",
    )
