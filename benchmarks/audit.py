"""Does an audit cost less than twice the study that it audits?

    python benchmarks/audit.py                     # a small study, then its audit
    python benchmarks/audit.py --study runs/NAME   # what a finished study and its audit noted

The study is the line from questions to scores, reports and comparisons left out, which makes the
test stricter. Prints seconds and the ratio; nothing else should run on the machine meanwhile.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import hlens
from hlens.recipe import Recipe

LINE = ("sample", "judge", "locate", "measure", "find", "evaluate")


def small(questions: int) -> hlens.Study:
    recipe = Recipe.from_dict(
        {
            "domains": ["general", "science"],
            "questions": questions,
            "sampling": {"n": 4, "max_new_tokens": 16},
        }
    )
    return hlens.Study(Path(tempfile.mkdtemp()) / "study", recipe)


def ratio(study: hlens.Study) -> float:
    """Seconds of the audit's own steps over those of the line, both as the study noted them."""
    seconds = study.seconds()
    line = {step: seconds[step] for step in LINE if step in seconds}
    audit = {step: value for step, value in seconds.items() if step.startswith("audit ")}
    # Comparisons that the audit asks for are its cost, where the study had not made them yet.
    audit |= {step: seconds[step] for step in ("transfer", "sparsity") if step in seconds}
    for name, steps in (("study", line), ("audit", audit)):
        for step, value in sorted(steps.items(), key=lambda item: -item[1]):
            print(f"{name:6} {step:20} {value:8.1f} s")
        print(f"{name:6} {'all':20} {sum(steps.values()):8.1f} s")
    return sum(audit.values()) / sum(line.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, help="a study whose audit stands")
    parser.add_argument("--questions", type=int, default=60, help="of each of two domains")
    options = parser.parse_args()
    study = hlens.Study(options.study) if options.study else small(options.questions)
    if options.study and not study.has_audit():
        sys.exit(f"{options.study} holds no audit; run hlens audit {options.study}")
    study.scores()
    study.audit()
    print(f"audit / study = {ratio(study):.2f} (wanted: below 2)")


if __name__ == "__main__":
    main()
