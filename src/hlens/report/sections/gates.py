"""Whether editing only while the risk is high does more than editing as often at random."""

from hlens.counting import count
from hlens.effects import describe_gates, gate_table, shown_gates
from hlens.report.data import Section
from hlens.report.tables import Tables
from hlens.steps import gates

HEADING = "Does it help to edit only while the risk is high?"
NEEDS = (gates.gated,)


def section(tables: Tables) -> Section | None:
    """The section of a study whose recipe asks for gates."""
    recipe = tables.recipe
    if not recipe.gates.alphas:
        return None
    table = gate_table(tables[gates.gated])
    return Section(
        HEADING,
        "The same edit at every token of an answer, while its running risk is high, at as many "
        "tokens of each answer drawn at random, and in answers whose prompt ends risky; "
        f"{count(table['n'].iloc[0], 'question')} that the study did not ask, answered greedily. "
        "Thresholds "
        f"are those of {recipe.gates.false_alarms:.0%} false alarms on answers held out.",
        (*describe_gates(table), shown_gates(table)),
        "Accuracy is of what is answered: correct of correct and wrong. Intervals (95 %) are of a "
        "bootstrap that pairs the questions; they are not corrected for the number of gates and "
        "doses. “As high” counts the random gates that reach the accuracy. A model that abstains "
        "more, or whose answers can be read less often, is not more right.",
    )
