"""Edits only while the risk is high: the tables of docs/results/gated_edits.md.

    python benchmarks/gated_edits.py STUDY [--alpha 0 --alpha 3] [--questions 120] [--items 20]

STUDY is a folder that `hlens run` or `hlens demo` made; what is missing of it is made, the doses
are written into its recipe. The same as `hlens intervene STUDY --gate-alpha 0 --gate-alpha 3`, but
for the dose-response, which is not run. Ends with the tables in Markdown.
"""

import argparse
from dataclasses import replace
from typing import Any

import pandas as pd

from hlens.effects import describe_gates, gate_table, shown_gates
from hlens.monitor import threshold_of
from hlens.steps import gates, levels
from hlens.study import Study
from hlens.types import Threshold

SHARES = ("correct", "abstained", "wrong", "unread")


def say(label: str, done: int, total: int) -> None:
    """One line now and then."""
    if done == total or done % max(1, total // 20) == 0:
        print(f"{label}: {done} of {total}", flush=True)


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def with_ends(table: pd.DataFrame) -> pd.DataFrame:
    """The shares of answers in percent, each with its interval."""
    shown: Any = shown_gates(table)[["edit", "α"]]
    for name in SHARES:
        cells = zip(table[name], table[f"{name}_low"], table[f"{name}_high"], strict=True)
        shown[name] = [f"{100 * v:.0f} % [{100 * a:.0f}, {100 * b:.0f}]" for v, a, b in cells]
    shown["tokens edited an answer"] = [f"{n:.1f}" for n in table["edited_tokens"]]
    return shown


def describe_threshold(name: str, found: Threshold) -> str:
    """What a threshold promises."""
    return (
        f"{name}: log-odds {found.score:.2f}; flags {found.alarm_rate:.0%} of true answers to "
        f"come, {found.recall:.0%} of wrong ones (n = {found.alarm_rate.n} and {found.recall.n})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--alpha", type=float, action="append")
    parser.add_argument("--questions", type=int, default=120)
    parser.add_argument("--items", type=int, default=20, help="of multiple choice")
    options = parser.parse_args()
    study = Study(options.study, progress=say)
    recipe = study.recipe
    recipe = replace(
        recipe,
        gates=replace(
            recipe.gates, alphas=tuple(options.alpha or (0.0, 3.0)), questions=options.questions
        ),
        intervene=replace(recipe.intervene, items=options.items),
    )
    study.revise(recipe)
    table = gate_table(study[gates.gated])
    rate = recipe.gates.false_alarms
    for name, step in (("answer", levels.live_detector), ("prompt", gates.prompt_detector)):
        found = study[step]
        print(f"{name}: {len(found.selected)} neurons, {found.fit.get('cv_auroc', 0.0):.3f} AUROC")
        print(describe_threshold(name, threshold_of(found, rate)))
    print(f"\n{table['n'].iloc[0]} questions\n")
    print(markdown(with_ends(table)))
    print()
    print(markdown(shown_gates(table).drop(columns=list(SHARES))))
    print()
    print("\n".join(f"- {line}" for line in describe_gates(table)))
    for row in table.to_dict("records"):
        print(
            f"{row['gate']}, α = {row['alpha']:g}: {row['cost_edited']:.0%} of the tokens of texts"
        )


if __name__ == "__main__":
    main()
