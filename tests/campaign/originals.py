"""The undamaged things: a study of the toy model with all its artefacts, made once.

Paths inside them are relative to the folder in which the campaign runs, so that a kept failure is
read alike on every machine.
"""

import json
import shutil
from pathlib import Path

from campaign.trials import CONTROLS, REFUSED, RIGHT, WrongError, check_line
from command_line import Called
from hlens import Study
from hlens.recipe import Recipe
from test_labelled_study import labelled_rows
from tiny_study import saved_model

RECIPE = {
    "model": "toy",
    "domains": ["toy_towns", "toy_beasts"],
    "questions": 40,
    "sampling": {"n": 2, "max_new_tokens": 12},
    "evaluation": {
        "shuffles": 3,
        "n_boot": 50,
        "random_sets": 20,
        "stability_pairs": 3,
        "folds": 2,
        "halves": 2,
    },
    "intervene": {
        "behaviours": ["false_premises"],
        "second_grader": "",
        "items": 2,
        "alphas": [0.0, 2.0],
        "capability": False,
    },
}
PAGES = (".html",)  # drawn anew by each command; large


def recipe(**changed: object) -> Recipe:
    """The recipe of the study."""
    return Recipe.from_dict({**RECIPE, **changed})


def is_small(home: Path) -> bool:
    """Whether only what takes seconds is to be made, and read: in `make test`."""
    return (home / "small").exists()


def study(home: Path) -> Path:
    """The folder of the finished study; unless all is small, its audit and interventions too."""
    folder = home / "study"
    if not (folder / "report.html").is_file():
        made = Study(folder, recipe())
        made.make_report_data()
        if not is_small(home):
            for artefact in (made.transfer, made.overlap, made.outcomes, made.stability):
                artefact()
            made.audit(quick=True)
        made.report()
    return folder


def another_study(home: Path) -> Path:
    """A study of the same shape under another seed, whose files are swapped for the first's."""
    folder = home / "other"
    if not (folder / "report.html").is_file():
        made = Study(folder, recipe(seed=1))
        made.make_report_data()
        made.report()
    return folder


def labelled_study(home: Path) -> Path:
    """A study of labelled answers with spans, which holds scored answers and levels as well."""
    folder = home / "labelled"
    if not (folder / "report.html").is_file():
        saved_model(home / "model")
        rows = (json.dumps(row) + "\n" for row in labelled_rows(40))
        (home / "answers.jsonl").write_text("".join(rows))
        options = {"model": "model", "probe": {"C": 3.0}, "evaluation": RECIPE["evaluation"]}
        given = Recipe.from_dict({**options, "labelled": {"file": "answers.jsonl"}})
        made = Study(folder, given)
        made.make_report_data()
        made.scores()
        made.report()
    return folder


def copy_study(source: Path, to: Path) -> None:
    """A copy of a study without its pages."""
    shutil.copytree(source, to, ignore=lambda _, names: [n for n in names if n.endswith(PAGES)])


def check_called(called: Called, *, as_json: bool = False, negative: bool = False) -> str:
    """`RIGHT` or `REFUSED`; raises `WrongError` unless a command line ended as all must.

    With `negative`, exit code 1 is a result too: the command checked something and says no.
    """
    for text in (called.out, called.err):
        if any(control in text for control in CONTROLS):
            at = min(text.find(control) for control in CONTROLS if control in text)
            raise WrongError(
                f"control characters in the terminal: {text[max(0, at - 60) : at + 20]!r}"
            )
    if called.code == 2:
        _, is_ours, refusal = called.err.rpartition("hlens: ")
        if is_ours:
            check_line(refusal)
        elif "─ Error ─" not in called.err:  # as typer frames it
            raise WrongError(f"exit code 2 without a reason: {called.err[-300:]!r}")
        return REFUSED
    if called.code != 0 and not (called.code == 1 and negative):
        raise WrongError(f"exit code {called.code}: {called.err[-300:]!r}")
    if as_json:
        try:
            json.loads(called.out)
        except ValueError:
            raise WrongError(f"no JSON on stdout: {called.out[:200]!r}") from None
    return RIGHT
