"""Tables for a paper: what stands in them is what was measured, and no text of theirs commands."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from command_line import call
from hlens.report.latex_table import latex_table
from hlens.report.latex_text import comment, escape
from hostile import TOKENS
from tiny_study import question_file, saved_model, tiny_recipe

HOSTILE = [
    *TOKENS, "\\input{/etc/passwd}", "\\write18{rm}", "100% $x_1^2$ {&} #~", "[2cm]", "*",
    "--- ?` !`", "^^M\\par", "\x00\x1b[31m\x7f", "a\\\\b", "}\\end{tabular}", "\ud800",
    "Ërdős ß \u0133 ǆ \ufb01", "法律", "",
]  # fmt: skip


def compile_latex(tables: str, folder: Path) -> str:
    """What pdflatex says of a document of these tables, which it must take without an error."""
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex here: apt-get install texlive-latex-recommended")
    (folder / "tables.tex").write_text(tables, encoding="utf-8")
    document = (
        r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{tables}X\end{document}"
    )
    (folder / "paper.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said
    return said


def rows_of(latex: str) -> list[list[str]]:
    """The cells of each row, heads included."""
    lines = [line for line in latex.splitlines() if " & " in line]
    return [re.sub(r" (\\\\|\\tabularnewline)$", "", line).split(" & ") for line in lines]


def tabulars(latex: str) -> list[tuple[list[str], list[list[str]]]]:
    """Heads (but for that of the key) and rows of each tabular."""
    parts = [rows_of(part) for part in latex.split(r"\begin{tabular}")[1:]]
    return [(heads[1:], rows) for heads, *rows in parts]


def test_an_interval_is_in_the_cell_of_its_number_and_digits_are_even() -> None:
    table = pd.DataFrame(
        {
            "control": ["probe", "random"],
            "auroc": [0.8412, 0.5],
            "low": [0.79, -0.0001],
            "high": [0.88, 0.6],
            "n": [1200, 80],
            "difference": [-0.02, 12.5],
            "difference_low": [-0.0671, 9.0],
            "difference_high": [0.024, 13.75],
            "p": [0.0002, 0.04],
            "cost": [np.nan, 2.0],
        }
    )
    assert rows_of(latex_table(table, "Scores.", "a b")) == [
        ["Control", "AUROC", "$n$", "Difference", "$p$", "Cost"],
        [
            "probe", r"$0.841\;[0.790, 0.880]$", "$1{,}200$",
            r"$-0.02\;[-0.07, \phantom{1}0.02]$", "$<0.001$", "--",
        ],
        [
            "random", r"$0.500\;[0.000, 0.600]$", "$80$",
            r"$12.50\;[\phantom{-}9.00, 13.75]$", "$0.040$", "$2$",
        ],
    ]  # fmt: skip


def test_ends_of_what_has_no_column_belong_to_no_other() -> None:
    table = pd.DataFrame({"model": ["a", "b"], "drop": [0.1, 0.2], "p": [1e-5, 0.5]})
    table = table.assign(spread_low=[0.0, 0.1], spread_high=[0.2, 0.3], spread_p=[1e-6, 0.02])
    heads, one, _ = rows_of(latex_table(table, "", ""))
    assert heads == ["Model", "Drop", "$p$", "Spread low", "Spread high", "Spread p"]
    assert one[2:] == ["$<0.001$", "$0.000$", "$0.200$", "$<0.001$"]


def test_a_missing_interval_and_a_missing_number_leave_the_others_aligned() -> None:
    table = pd.DataFrame({"x": list("abc"), "v": [0.5, np.nan, 0.25]})
    table = table.assign(low=[0.4, np.nan, np.nan], high=[0.6, np.nan, np.nan])
    cells = [row[1] for row in rows_of(latex_table(table, "", ""))]
    assert cells == ["V", r"$0.500\;[0.400, 0.600]$", "--", r"$0.250\phantom{\;[0.400, 0.600]}$"]


def test_what_is_equal_in_all_rows_and_what_is_a_note_leave_the_columns() -> None:
    table = pd.DataFrame(
        {"what": list("abc"), "n": 33, "v": [1, 2, 3], "note": ["", "few_", "few_"]}
    )
    latex = latex_table(table, "Scores.", "Run 1: scores")
    assert r"\caption{Scores. In every row: $n$: $33$.}" in latex
    assert r"\label{tab:run-1-scores}" in latex
    assert rows_of(latex) == [["", "V"]] + [
        [f"{word}{mark}", f"${v}$"]
        for word, mark, v in zip("abc", ["", *[r"\textsuperscript{a}"] * 2], [1, 2, 3], strict=True)
    ]
    assert r"\textsuperscript{a}few\_." in latex


def test_no_column_and_no_row_is_left_out(tmp_path: Path) -> None:
    wide = {f"column_{number}": np.arange(100) + number / 8 for number in range(20)}
    table = pd.DataFrame({"key": [f"r{row}" for row in range(100)], **wide})
    latex = latex_table(table, "Wide.", "wide")
    cells = [
        (key, *zip(head, row, strict=True)) for head, rows in tabulars(latex) for key, *row in rows
    ]
    found = {(key, column): cell for key, *pairs in cells for column, cell in pairs}
    assert {column for _, column in found} == {f"Column {number}" for number in range(20)}
    assert len(found) == 100 * 20
    assert found["r99", "Column 4"] == "$99.50$"
    assert "(1 of" in latex
    labels = re.findall(r"\\label{(.*)}", latex)
    assert len(labels) == len(set(labels)) > 1
    assert "Overfull" not in compile_latex(latex, tmp_path)


def test_broken_lines_count_towards_the_height_of_a_float() -> None:
    reasons = ["the interval holds zero, and as many random neurons read as well " * 12] * 8
    table = pd.DataFrame({"claim": list("abcdefgh"), "because": reasons})
    floats = latex_table(table, "Reasons.", "reasons").split("\n\n\\begin{table}")
    assert [one.count("random neurons") // 12 for one in floats] == [3, 3, 2]
    assert "(2 of 3)" in floats[1]


def test_a_lone_end_is_not_left_out_and_a_long_path_is_broken(tmp_path: Path) -> None:
    nan = float("nan")
    path = "runs/deep_folder_of_experiments_2026/hallucination_neurons_run_one"
    table = pd.DataFrame(
        {"model": ["a", "b", path], "auroc": [0.5, nan, nan], "low": [nan, 0.1, nan],
         "high": [0.9, 0.3, nan], "why": [f"see {path}/{path}"] * 3}
    )  # fmt: skip
    latex = latex_table(table, "Ends.", "ends")
    for cell in ("$0.500$~[--, $0.900$]", "--~[$0.100$, $0.300$]"):
        assert cell in latex
    assert "Overfull" not in compile_latex(latex, tmp_path)


def test_a_single_row_that_is_wide_is_turned() -> None:
    table = pd.DataFrame([{f"a_long_name_{number}": number / 7 for number in range(12)}])
    assert ["A long name 3", "$0.429$"] in rows_of(latex_table(table, "", ""))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_set_as_it_is_read(text: str) -> None:
    written = escape(text)
    assert written.isascii()
    assert written.isprintable()
    known = r"\\(text(backslash|asciitilde|asciicircum|less|greater|bar|endash|emdash)|dots|ss)"
    known = rf"{known}|\\[`'^~=.\"rHvck&%$#_{{}},]"
    bare = re.sub(known, "", re.sub(r"\$[^$]*\$", "", written.replace(r"\$", "")))
    assert not re.search(r"[\\&%$#_~^]", bare)
    assert bare.count("{") == bare.count("}")
    assert comment(text).count("\n") == 0


def test_a_document_of_hostile_texts_compiles(tmp_path: Path) -> None:
    long = "a long text, " * 12
    rows = {"first": HOSTILE, "v": range(len(HOSTILE)), "note": HOSTILE}
    table = pd.DataFrame(rows, dtype=object)  # half of a character is no text of a table's own
    table = table.assign(**dict.fromkeys(HOSTILE[:3], long))
    compile_latex(latex_table(table, " ".join(HOSTILE), HOSTILE[8], intervals="%"), tmp_path)


@given(st.lists(st.text(), min_size=1, max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_is_written_without_an_active_character(texts: list[str]) -> None:
    latex = latex_table(pd.DataFrame({"x": texts, "y": texts[::-1]}), texts[0], texts[0])
    assert latex.isascii()
    assert latex.count(r"\begin{table}") == latex.count(r"\end{table}")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("latex")
    files = [question_file(home / f"{name}.jsonl", 80) for name in ("alpha_set", "beta")]
    model = str(saved_model(home / "model_1"))
    recipe = tiny_recipe(files[0], model, domains=[f"jsonl:{file}" for file in files])
    (home / "tiny.toml").write_text(recipe.to_toml())
    assert call("evaluate", str(home / "tiny.toml"), "--out", str(home / "study_1")).code == 0
    return home / "study_1"


@pytest.mark.parametrize(
    ("words", "label"),
    [
        (["evaluate"], "study-1-scores"),
        (["transfer"], "study-1-transfer"),
        (["overlap"], "study-1-overlap"),
        (["table"], "published"),
        (["judge", "--beside", "alias"], "study-1-agreement"),
        (["intervene", "--plan", "--items", "4", "--behaviour", "plain_choice"], "study-1-plan"),
        (["patch"], "study-1-patching"),
    ],
)
def test_verbs_print_tables_that_a_paper_takes(
    words: list[str], label: str, study: Path, tmp_path: Path
) -> None:
    done = call(words[0], str(study), *words[1:], "--latex")
    assert done.code == 0, done.err
    assert done.out.startswith(f"% By: hlens {words[0]} {study}")
    assert rf"\label{{tab:{label}}}" in done.out
    if words[0] != "table":
        assert r"Model: model\_1. Domains: alpha\_set, beta." in done.out
    assert "Overfull" not in compile_latex(done.out, tmp_path)


def test_one_form_at_a_time_and_only_where_there_are_tables(study: Path) -> None:
    both = call("evaluate", str(study), "--latex", "--json")
    assert (both.code, both.out, both.err.count("\n")) == (2, "", 1)
    assert "give one of them" in both.err
    without = call("judge", str(study), "--latex")
    assert (without.code, without.err.count("\n")) == (2, 1)
    assert "--latex goes with --beside" in without.err
