"""Does an audit cost less than twice the study that it audits?

    python benchmarks/audit.py                     # a small study, then its audit
    python benchmarks/audit.py --study runs/NAME   # what a finished study and its audit noted

Two ratios: against the line from questions to scores alone, where the comparisons that the audit
asks for count as its own cost (strict), and against what `hlens run` makes, to which they belong.
Nothing else should run on the machine meanwhile.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import hlens
from hlens.recipe import Recipe

LINE = ("sample", "judge", "locate", "measure", "find", "evaluate")
BESIDE = ("transfer", "sparsity")  # `hlens run` makes them for its report


def small(questions: int) -> hlens.Study:
    recipe = Recipe.from_dict(
        {
            "domains": ["general", "science"],
            "questions": questions,
            "sampling": {"n": 4, "max_new_tokens": 16},
        }
    )
    return hlens.Study(Path(tempfile.mkdtemp()) / "study", recipe)


def told(name: str, steps: dict[str, float]) -> float:
    for step, value in sorted(steps.items(), key=lambda item: -item[1]):
        print(f"{name:11} {step:20} {value:8.1f} s")
    print(f"{name:11} {'all':20} {sum(steps.values()):8.1f} s")
    return sum(steps.values())


def compare(study: hlens.Study) -> None:
    """Seconds of the steps, as the study noted them when it made each."""
    seconds = study.seconds()
    line = told("line", {step: seconds[step] for step in LINE if step in seconds})
    beside = told("comparisons", {step: seconds[step] for step in BESIDE if step in seconds})
    audit = {step: value for step, value in seconds.items() if step.startswith("audit ")}
    own = told("audit", audit)
    print(f"audit and comparisons / line   = {(own + beside) / line:.2f} (wanted: below 2)")
    print(f"audit / line and comparisons   = {own / (line + beside):.2f} (wanted: below 2)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, help="a study whose audit stands")
    parser.add_argument("--questions", type=int, default=80, help="of each of two domains")
    options = parser.parse_args()
    study = hlens.Study(options.study) if options.study else small(options.questions)
    if options.study and not study.has_audit():
        sys.exit(f"{options.study} holds no audit; run hlens audit {options.study}")
    study.scores()
    study.audit()
    compare(study)


if __name__ == "__main__":
    main()
