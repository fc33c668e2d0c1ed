"""Does an audit cost less than twice the study that it audits?

    python benchmarks/audit.py                     # a small study, then its audit
    python benchmarks/audit.py --report            # the same with all that `hlens run` makes
    python benchmarks/audit.py --study runs/NAME   # what a finished study and its audit noted

The study is what `hlens run` makes without any audit: the line from questions to scores, and the
comparisons of its report, two of which the card reads (transfer, and the number of neurons
needed). The audit is what `hlens audit` adds to it. A stricter yardstick stands beside it: the
bare line alone, where these two are charged to the audit.

Processor time of each step, as the study noted it when it made the step; drawing is no step.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import hlens
from hlens.recipe import Recipe

LINE = ("sample", "judge", "locate", "measure", "find", "evaluate")
CARD = ("transfer", "sparsity")  # of the report's comparisons, those that the card reads
WANTED = 2.0


def small(questions: int) -> hlens.Study:
    recipe = Recipe.from_dict(
        {
            "domains": ["general", "science"],
            "questions": questions,
            "sampling": {"n": 4, "max_new_tokens": 16},
        }
    )
    return hlens.Study(Path(tempfile.mkdtemp()) / "study", recipe)


def told(name: str, steps: Iterable[str], seconds: Mapping[str, float]) -> float:
    """Print the steps of a part, the dearest first, and their sum."""
    chosen = {step: seconds[step] for step in steps if step in seconds}
    for step, value in sorted(chosen.items(), key=lambda item: -item[1]):
        print(f"{name:11} {step:20} {value:8.1f} s")
    print(f"{name:11} {'all':20} {sum(chosen.values()):8.1f} s")
    return sum(chosen.values())


def compare(seconds: Mapping[str, float]) -> None:
    line = told("line", LINE, seconds)
    card = told("card reads", CARD, seconds)
    own = [step for step in seconds if step.startswith("audit ")]
    others = sorted({*seconds} - {*LINE, *CARD, *own, "questions"})
    rest = told("report", others, seconds) if others else 0.0
    audit = told("audit", own, seconds)
    ratios = {
        "audit / line and what the card reads": audit / (line + card),
        "audit and what the card reads / line": (audit + card) / line,
    }
    if others:
        ratios["audit / all that hlens run makes"] = audit / (line + card + rest)
    for what, ratio in ratios.items():
        print(f"{what:42} {ratio:5.2f} (wanted: below {WANTED:g})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, help="a study whose audit stands")
    parser.add_argument("--questions", type=int, default=80, help="of each of two domains")
    parser.add_argument("--report", action="store_true", help="make the report's steps, too")
    options = parser.parse_args()
    study = hlens.Study(options.study) if options.study else small(options.questions)
    if options.study and not study.has_audit():
        sys.exit(f"{options.study} holds no audit; run hlens audit {options.study}")
    study.scores()
    if options.report:
        study.report()
    study.audit()
    compare(study.seconds(cpu=True))


if __name__ == "__main__":
    main()
