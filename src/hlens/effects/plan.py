"""Plans: from outcomes of a pilot, which slopes a run of more questions would show."""

from collections.abc import Mapping
from functools import partial
from math import inf
from typing import Any

import pandas as pd

from hlens.checks import check_real, check_whole
from hlens.counting import count
from hlens.effects.capability import CAPABILITY_MEASURES
from hlens.effects.describe import SCALES, name_outcome, size_of
from hlens.effects.power import (
    detectable_slope,
    draw_noises,
    interval_over,
    measure_noise,
    questions_needed,
)
from hlens.effects.slopes import corrected_level, graded_rows, read_paired


def plan_slopes(
    outcomes: pd.DataFrame,
    *,
    questions: Mapping[str, int],
    available: Mapping[str, int],
    n_random: int = 8,
    slope: float = 0.03,
    n_boot: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Which slope a run would show, and how many questions a slope needs, a row an outcome.

    A slope is seen where `describe_slopes` says that it is beyond all random sets; power is 80 %.

    Args:
        outcomes: Of a pilot, from `intervene`, with the neurons and random sets of the run. Doses
            between the pilot's make a slope no less exact.
        questions: How many questions the run asks, by behaviour.
        available: How many there are.
        n_random: Random sets of the run.
        slope: The slope that is looked for: 0.03 is 3 points, or 3 hundredths of the scale.
        n_boot: Resamples for the interval of what the pilot leaves open.
        seed: Of the resamples.

    Returns:
        Columns ``behaviour, grader, unit, pilot, questions, n_random, detectable, low, high, slope,
        needed, needed_low, needed_high, available, detectable_at_most, spread, most``: `detectable`
        with `questions` and `needed` for `slope` (infinite where no number is enough), both with
        their intervals (95 %, of what the pilot leaves open), and `detectable_at_most` with all
        that are `available`; `spread` is how far random sets truly move the outcome. All are NaN
        where no reply of the pilot changed: `most` is then the steepest slope that this leaves
        open. Costs are not planned.
    """
    check_whole("n_random", n_random, least=1)
    check_real("slope", slope, least=1e-6)
    table, level = [], corrected_level(outcomes)
    for behaviour, grader, rows in graded_rows(outcomes):
        if behaviour in CAPABILITY_MEASURES:
            continue
        put = outcomes.loc[outcomes["behaviour"] == behaviour, "question_id"].nunique()
        paired = read_paired(rows, asked=put)
        noise, planned = measure_noise(paired), questions[behaviour]
        run = {"level": level, "n_random": n_random}
        noises = draw_noises(paired, n_boot=n_boot, seed=seed)
        interval = interval_over(noises, partial(detectable_slope, asked=planned, **run))
        needs = interval_over(noises, partial(questions_needed, slope=slope, **run))
        table.append(
            {
                "behaviour": behaviour,
                "grader": grader,
                "unit": paired.unit,
                "pilot": put,
                "questions": planned,
                "n_random": n_random,
                "detectable": detectable_slope(noise, asked=planned, **run),
                **dict(zip(("low", "high"), interval, strict=True)),
                "slope": slope,
                "needed": questions_needed(noise, slope, **run),
                **dict(zip(("needed_low", "needed_high"), needs, strict=True)),
                "available": available[behaviour],
                "detectable_at_most": detectable_slope(noise, asked=available[behaviour], **run),
                "spread": noise.spread,
                "most": paired.most_unseen if paired.still else float("nan"),
            }
        )
    return pd.DataFrame(table)


def plan_table(plan: pd.DataFrame, labels: Mapping[str, str] | None = None) -> pd.DataFrame:
    """A plan as people read it: one row an outcome and grader.

    Returns:
        Texts ``outcome, by, questions, show, needed, there_are``: the slope that is shown in four
        runs of five with its interval, and the questions that the slope looked for needs.
    """
    table = []
    for row in plan.to_dict("records"):
        unit, needed = row["unit"], row["needed"]
        show = ""
        if row["detectable"] == row["detectable"]:
            sizes = (size_of(row[name], unit) for name in ("detectable", "low", "high"))
            show = "{} [{}, {}]".format(*sizes).replace("inf", "none")
        texts = {"outcome": f"{name_outcome(row['behaviour'], labels)} ({SCALES[unit][0]})"}
        texts |= {"by": row["grader"], "questions": f"{row['questions']:.0f}", "show": show}
        texts["needed"] = "" if needed != needed else f"{needed:.0f}".replace("inf", "no number")
        table.append(texts | {"there_are": f"{row['available']:.0f}"})
    return pd.DataFrame(table)


def describe_plan(plan: pd.DataFrame, labels: Mapping[str, str] | None = None) -> list[str]:
    """One sentence an outcome and grader, by the same rule for every plan."""
    return [
        f"{name_outcome(row['behaviour'], labels)} (by {row['grader']}): {_describe(row)}."
        for row in plan.to_dict("records")
    ]


def _describe(row: Mapping[str, Any]) -> str:
    unit, pilot = row["unit"], count(int(row["pilot"]), "question")
    words = SCALES[unit][0]
    if row["most"] == row["most"] and row["detectable"] != row["detectable"]:
        most = f"{size_of(row['most'], unit)} {words} per α (95 %, by the rule of three)"
        return f"no reply changed in {pilot}: that plans nothing; the slope is at most {most}"
    if row["detectable"] != row["detectable"]:
        return f"too few of its {pilot} could be read, or too few random sets, to plan from"
    said = (
        f"{count(int(row['questions']), 'question')} and "
        f"{count(int(row['n_random']), 'random set')} show "
    )
    if row["detectable"] == inf:
        said += "no slope in four runs of five"
    else:
        interval = f"[{size_of(row['low'], unit)}, {size_of(row['high'], unit)}]"
        said += f"{size_of(row['detectable'], unit)} {words} per α {interval} in four runs of five"
    return f"{said}; {size_of(row['slope'], unit)} {_describe_need(row)}"


def _describe_need(row: Mapping[str, Any]) -> str:
    needed, available, most = row["needed"], row["available"], row["detectable_at_most"]
    low, high = row["needed_low"], row["needed_high"]
    if needed == inf:
        spread = size_of(row["spread"], row["unit"])
        within = f"is within what random sets do (±{spread})"
        if low < inf:  # so few sets hardly say how far they move it
            return (
                f"{within}, if these are like others: {count(int(low), 'question')} may do, "
                "or no number"
            )
        return f"{within}: no number of questions shows it"
    between = f" [{low:.0f}, {f'{high:.0f}' if high < inf else 'no number'}]" if low == low else ""
    if needed <= available:
        return f"needs {count(int(needed), 'question')}{between}"
    shown = "none" if most == inf else size_of(most, row["unit"])
    return (
        f"needs {count(int(needed), 'question')}{between}; the {available:.0f} that there are "
        f"show {shown}"
    )
