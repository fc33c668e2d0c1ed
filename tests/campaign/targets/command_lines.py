"""Command lines: any verb with any options, values and order, on folders of any name.

A command ends with exit code 0 and a result, or with 2 and one line. What is not hlens's own stays
as it was, wherever the command was told to write.
"""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer

from campaign.mutations import NUMBERS, TEXTS
from campaign.originals import check_called, copy_study, is_small, recipe, study
from campaign.trials import Plan, WrongError, contents
from command_line import Called, call
from hlens.cli import app

SHARE = 0.2
KEEPS_INPUT = False
IN_A_PROCESS = 0.01  # share of the command lines that a shell would run
NOT_RUN = ("demo",)  # ten minutes
LARGE = (
    "audit",
    "intervene",
    "overlap",
    "patch",
    "second-judge",
    "sibling",
    "trace-origin",
    "transfer",
)
NAMES = ("study", "[/bold]x", "\x1b[31mred", "a b", "=cmd()", "ünï", "-x", "\u202eabc", "a\nb")
WORDS = tuple(text for text in TEXTS if "\0" not in text and len(text) < 4000)
ARGUMENTS = (
    *("study", "mine", "toy.toml", "nowhere", "questions.jsonl", ".", "/dev/null", "dmo"),
    *("domains", "judges", "models", "Who?", "new"),
)
PLACES = (
    *("mine", "mine/notes.txt", "new/a.html", "new", "new.html", "new.pdf", "new.png", "", ".html"),
    *("new.csv", "/dev/null", "/dev/full", "/proc/x/y", "mine/notes.txt/x", "x" * 300, "toy.toml"),
    *("study/questions.jsonl", "a\nb.html", "\x1b[31m.html"),
)
FIGURES = (*NUMBERS, "x", "", "1_0", "0x1", "1e2")
VALUES = (
    *("toy", "toy-base", "nothing", "false_premises", "numeric", "alias", "auto", "nli", "none"),
    *("a=1", "a=", "=", "enable_thinking=false", "a=[1", "likelihood", "owner/name"),
    *("llm:x", "llm:", "llm:x@http://127.0.0.1:9/v1", "llm:x@ftp://h", "jsonl:questions.jsonl"),
)
MINE = {
    "mine/responses.jsonl": '{"mine": 1}\n',
    "mine/notes.txt": "mine",
    "mine/steps.json": "{}",
    "mine/report.md": "mine",
    "mine/model.safetensors": "mine",
}


def prepare(home: Path) -> None:
    """A finished study."""
    study(home)


def make(draw: random.Random, home: Path, folder: Path) -> Plan:
    """A command line in words, and a folder in which it is run."""
    name = draw.choice(NAMES) if draw.random() < 0.3 else "study"
    copy_study(home / "study", folder / name)
    for path, text in MINE.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    # A verb that is given a recipe makes its whole study, which takes seconds.
    model = "nothing" if is_small(home) else "toy"
    (folder / "toy.toml").write_text(recipe(model=model).to_toml())
    (folder / "questions.jsonl").write_text('{"question": "Who?", "answers": ["I"]}\n')
    group: Any = typer.main.get_command(app)
    not_run = (*NOT_RUN, *LARGE) if is_small(home) else NOT_RUN
    verb = draw.choice([verb for verb in sorted(group.commands) if verb not in not_run])
    words = _words(draw, group.commands[verb], name)
    if draw.random() < 0.1:
        words = draw.sample(words, len(words))
    words = [verb, *words] if draw.random() < 0.97 else [*words, verb]
    return {"said": " ".join(words)[:300], "words": words, "process": draw.random() < IN_A_PROCESS}


def _words(draw: random.Random, command: Any, study_name: str) -> list[str]:
    words: list[str] = []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            is_study = parameter.name in ("study", "recipe")
            if parameter.required or draw.random() < 0.5:
                words += [_argument(draw, study_name, is_study)]
        elif parameter.name != "help" and draw.random() < _chance(parameter.name):
            words += [parameter.opts[0]]
            words += [] if parameter.is_flag else [_value(draw, parameter)]
    if draw.random() < 0.05:
        words.append(draw.choice(("--nothing", "-z", "--json=1", "--", "", "\x1b[0m", "--help")))
    return words


def _chance(option: str) -> float:
    return 0.5 if option in ("as_json", "json") else 0.25


def _argument(draw: random.Random, study_name: str, is_study: bool) -> str:
    if is_study and draw.random() < 0.75:
        return f"./{study_name}" if study_name.startswith("-") else study_name
    return draw.choice((*ARGUMENTS, *WORDS))


def _value(draw: random.Random, option: Any) -> str:
    if option.name in ("out", "to", "figure"):
        return draw.choice(PLACES)
    return str(draw.choice(FIGURES if draw.random() < 0.5 else (*VALUES, *WORDS)))


def check(plan: Plan, home: Path, folder: Path) -> str:
    """Exit code 0 or 2, clean text, JSON where it was asked for, and other files as they were."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        mine = contents(Path("mine"))
        called = (_in_a_process if plan["process"] else call)(*plan["words"])
        if mine.items() - contents(Path("mine")).items():
            raise WrongError(f"lost: a file that is not hlens's, {plan['said']}")
        for name in ("toy.toml", "questions.jsonl"):
            if not Path(name).is_file():
                raise WrongError(f"lost: {name}, {plan['said']}")
    finally:
        os.chdir(before)
        shutil.rmtree(folder / "runs", ignore_errors=True)
    as_json = "--json" in plan["words"] and "--help" not in plan["words"]
    return check_called(
        called, as_json=as_json, negative=plan["words"][0] in ("verify", "verify-study")
    )


def _in_a_process(*words: str) -> Called:
    command = [sys.executable, "-m", "hlens", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if "Traceback" in done.stderr:
        raise WrongError(f"traceback: {done.stderr[-1000:]}")
    return Called(done.returncode, done.stdout, done.stderr)
