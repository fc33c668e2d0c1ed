"""The command line: answers without torch, one clear line for a mistake, JSON on stdout."""

import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from rich.console import Console

from command_line import call
from hlens.cli import show, watching
from scripts import script
from tiny_study import question_file, saved_model, tiny_recipe


def start(module: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, as a shell starts it; most tests `call` it."""
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


@pytest.mark.parametrize(
    ("module", "words"),
    [("hlens", ["evaluate", "nowhere"]), ("hlens.cli", ["list", "domains", "--json"])],
)
def test_a_shell_sees_what_a_call_gives(module: str, words: list[str], tmp_path: Path) -> None:
    done, called = start(module, *words, cwd=tmp_path), call(*words)
    assert (done.returncode, done.stdout, done.stderr) == (called.code, called.out, called.err)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluat"], "No such command 'evaluat'"),
        (["evaluate"], "Missing argument"),
        (["evaluate", "nowhere"], "unknown study folder, recipe file or shipped recipe 'nowhere'"),
        (["evaluate", "."], "no study at .: it holds no recipe.toml"),
        (["intervene", ".", "--items", "-1"], "Invalid value for '--items'"),
        (["intervene", ".", "--alpha", "much"], "Invalid value for '--alpha'"),
        (["monitor", ".", "Who?", "--flag-at", "2"], "limit=2.0; expected a number from 0 to 1"),
        (["bake", ".", "out", "--alpha", "nan"], "alpha=nan; expected a finite number"),
        (["list", "domain"], "did you mean 'domains'"),
        (["list", "figurs"], "did you mean 'figures'"),
        (["run", "dmo"], "did you mean 'demo'"),
        (["run", "missing.toml"], "no recipe at missing.toml"),
        (["run", "demo", "--template", "x"], "expected KEY=VALUE"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(*words)
    assert done.code == 2
    assert said in done.err
    assert done.err.startswith("hlens: ")
    assert done.err.count("\n") == 1
    assert not [*tmp_path.iterdir()]


def test_help_imports_no_torch() -> None:
    code = (
        "import sys, hlens, hlens.cli\n"
        "try:\n    hlens.cli.app(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'transformers', 'pandas'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for verb in (
        "demo",
        "run",
        "sample",
        "judge",
        "locate",
        "measure",
        "find",
        "evaluate",
        "report",
    ):
        assert verb in done.stdout


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study made by the command line, of a model in a folder and a file with one bad line."""
    home = tmp_path_factory.mktemp("cli")
    questions = question_file(home / "questions.jsonl")
    with questions.open("a") as file:
        file.write("{not json\n")
    recipe = tiny_recipe(questions, model=str(saved_model(home / "model")))
    (home / "tiny.toml").write_text(recipe.to_toml())
    done = start("hlens", "run", "tiny.toml", "--out", "study", cwd=home)
    assert done.returncode == 0, done.stderr
    assert "AUROC" in done.stdout
    assert "line 61" in done.stderr  # the bad line is named, counted, and the run goes on
    assert (home / "study" / "report.html").is_file()
    return home / "study"


def test_numbers_are_recomputed_from_what_is_stored(study: Path) -> None:
    done = call("evaluate", str(study), "--json")
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert facts["scores"][0]["control"] == "probe"
    assert facts["in_words"]
    # Accuracy stands beside AUROC, and what the replies are among the controls.
    rows = {row["control"]: row for row in facts["scores"]}
    assert all(0 <= rows["probe"][name] <= 1 for name in ("accuracy", "balanced_accuracy"))
    assert "held-out replies were cut off" in rows["cut off alone"]["note"] or (
        rows["cut off alone"]["note"] in ("no reply was cut off", "every reply was cut off")
    )
    assert rows["attempted alone"]["n"] == rows["probe"]["n"]
    agreed = [row for row in facts["confident"] if row["answers"] == "most samples agree"]
    assert {"probe", "answer length", "log-probability"} <= {row["detector"] for row in agreed}


def test_studies_are_rows_of_the_published_table(study: Path) -> None:
    done = call("table", str(study), str(study), "--json")
    assert done.code == 0, done.err
    first, second = json.loads(done.out)["published"]
    assert first == second
    assert first["n"] > 0
    assert 0 <= first["h_neurons"] <= 100
    assert first["per_mille"] == pytest.approx(1000 * first["neurons"] / (2 * 64), rel=1)


def test_a_figure_makes_its_folder_and_what_cannot_be_written_is_one_line(study: Path) -> None:
    to = study.parent / "new" / "scores.html"
    assert call("evaluate", str(study), "--figure", str(to)).code == 0
    assert to.is_file()
    done = call("evaluate", str(study), "--figure", str(to / "scores.html"))
    assert done.code == 2
    assert f"hlens: {to}: " in done.err.splitlines()[-1]


def test_list_names_what_there_is() -> None:
    facts = json.loads(call("list", "--json").out)
    assert {"general", "science"} <= set(facts["domains"])
    assert "cett" in facts["metrics"]
    assert {"smollm2-135m", "gemma3-270m"} <= set(facts["models"])
    assert "demo" in facts["recipes"]


WIDE = pd.DataFrame(
    {f"a_long_name_{number}": [1.25] for number in range(12)} | {"low": 0.5, "high": 0.75}
)


def test_a_wide_table_is_never_cut_in_its_cells(capsys: pytest.CaptureFixture[str]) -> None:
    show.table("wide", WIDE)
    said = capsys.readouterr().out
    assert said.count("1.25") == 12
    assert "0.5 - 0.75" in said


def test_a_narrow_terminal_gets_whole_columns_and_the_names_of_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(show, "out", Console(force_terminal=True, width=80))
    show.table("wide", WIDE)
    said = capsys.readouterr().out
    assert said.count("1.25") == 4
    assert "not shown for want of width: a_long_name_4, " in said


HOSTILE = "[/bold]x [link=http://a] \x1b[31mred\x1b]0;t\x07 \x9b2J \u202eback :smile:"


def test_no_terminal_sequence_is_sent_and_no_markup_obeyed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("out", "err"):
        screen = show.Screen(
            stderr=name == "err", force_terminal=True, color_system=None, width=200
        )
        monkeypatch.setattr(show, name, screen)
        monkeypatch.setattr(watching, name, screen)
    shown = (
        HOSTILE.replace("\x1b", "\\u001b").replace("\x9b", "\\u009b").replace("\u202e", "\\u202e")
    )
    shown = shown.replace("\x07", "")  # which the library for terminals leaves out
    token = {"token": HOSTILE, "probability": 0.9}
    one = {
        "question": HOSTILE,
        "tokens": [token],
        "probability": 0.9,
        "finish": "x",
        "flagged_at": 0,
    }
    show.error(HOSTILE)
    show.result({HOSTILE: HOSTILE}, False)
    show.say(HOSTILE, HOSTILE)
    show.table(HOSTILE, pd.DataFrame({HOSTILE: [HOSTILE]}))
    watching.show_answers(
        {"answers": [one], "calibrated": False, "neurons": 1, "tokens x neurons read": 1}
    )
    with show.progress() as progress:
        progress(HOSTILE, 1, 2)
    with watching.show_tokens(1) as on_token:
        on_token(0, HOSTILE, 0.9)
    show.warnings_to_stderr()
    logging.getLogger("hlens").warning(HOSTILE)
    printed = capsys.readouterr()
    assert "\x1b[31m" not in printed.out + printed.err
    assert not set("\x9b\u202e\x07") & set(printed.out + printed.err)
    assert "\x1b]" not in printed.out + printed.err
    assert printed.out.count(shown) == 7
    assert shown in printed.err
    show.write({"text": HOSTILE})
    written = capsys.readouterr().out
    assert not set("\x1b\x9b\u202e") & set(written)
    assert json.loads(written) == {"text": HOSTILE}


def test_a_mistake_in_the_command_line_is_one_line(tmp_path: Path) -> None:
    for words in (["\x1b[31mno"], ["list", "--no\x1b[31m"], ["report"], ["list", HOSTILE]):
        done = call(*words)
        assert done.code == 2
        assert "\x1b" not in done.err
        assert done.err.count("\n") == 1
        assert done.err.startswith("hlens: ")
    figure = tmp_path / "x.docx"
    done = call("overlap", "nowhere", "--figure", str(figure))
    assert (done.code, figure.exists()) == (2, False)
    assert "cannot save a figure as 'x.docx'; expected one of .html, .png" in done.err
    done = call("report", "nowhere", "--to", "/dev/null")
    assert "/dev/null is a device" in done.err


def test_the_reference_page_names_every_verb(tmp_path: Path) -> None:
    pytest.importorskip("docutils")
    from hlens.cli import app

    (tmp_path / "reference").mkdir()
    script("docs/conf.py", "docs_conf")._command_line(SimpleNamespace(srcdir=tmp_path))
    page = (tmp_path / "reference" / "cli.md").read_text(encoding="utf-8")
    verbs = {
        one.name or str(getattr(one.callback, "__name__", "")) for one in app.registered_commands
    }
    assert {"monitor", "import", "score"} <= verbs
    assert verbs == set(re.findall(r"^## `hlens ([a-z-]+)`", page, re.MULTILINE))
