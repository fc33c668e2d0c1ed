"""Figures of the site: of lessons, without plotly.js in each; of results, from their tables."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hlens import lookup
from hlens.drawing.theme import DARK, LIGHT
from scripts import script

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("sphinx", reason="the docs extra is not installed")
site = script("docs/hlens_figures.py", "hlens_figures")
lessons = script("docs/learn/hlens_lessons.py", "hlens_lessons")
results = script("docs/results/hlens_results.py", "hlens_results")
RESULTS = Path(__file__).parents[1] / "docs" / "results"
HOSTILE = "</script><script>alert(1)</script>"


def losses(theme: str = "light") -> Any:
    module = lookup.member("figures", "losses")
    table = module.example()["table"].replace("located", HOSTILE)
    return module.draw(table, theme=theme)


def figures_in(html: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in re.findall(r'application/json">(.*?)</script>', html)]


def test_a_lesson_holds_its_figures_in_both_themes_and_no_script() -> None:
    light = losses()
    light.update_layout(meta={**light.meta, "dark": losses("dark").to_plotly_json()})
    first = {"text/html": "<script>window.PlotlyConfig = {}; plotly.js</script>"}
    shown = {lessons.PLOTLY: json.loads(light.to_json()), "text/html": "<script>draw()</script>"}
    outputs = [nbformat.v4.new_output("display_data", data) for data in (first, shown)]
    outputs.append(nbformat.v4.new_output("stream", text="right"))
    given = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=outputs)])
    figure, said = lessons.for_site(given).cells[0].outputs
    assert said.text == "right"
    assert [*figure.data] == ["text/html"]
    (drawn,) = figures_in(figure.data["text/html"])
    grounds = {theme: drawn[theme]["layout"]["template"]["layout"] for theme in ("light", "dark")}
    assert grounds["light"]["paper_bgcolor"] == LIGHT.page
    assert grounds["dark"]["paper_bgcolor"] == DARK.page
    assert "dark" not in drawn["light"]["layout"]["meta"]
    assert figure.data["text/html"].count("</script>") == 1
    assert len(given.cells[0].outputs) == 3, "and the notebook itself is as it was"


def test_a_figure_without_a_dark_twin_is_drawn_as_it_is() -> None:
    (drawn,) = figures_in(site.figure_html(losses()))
    assert {*drawn} == {"light", "config"}


def drawn_tables() -> list[Any]:
    """Each figure that a page of results asks for, with its options and the table behind it."""
    asked = re.compile(r"```\{drawn\} (\w+)\n((?::.*\n)*)```\n")
    found = []
    for page in sorted(RESULTS.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for n, one in enumerate(asked.finditer(text)):
            given = re.findall(r":(\w+): (.+)", one[2])
            options = {key: int(v) if key in ("n", "column") else v for key, v in given}
            lines = re.search(r"(?:^\|.*\n)+", text[one.end() :], re.MULTILINE)
            assert lines, page
            said = results.Said(**options)
            found.append(pytest.param(one[1], said, lines[0], id=f"{page.stem}-{n}-{one[1]}"))
    return found


def page_table(text: str) -> Any:
    plain = re.sub(r"[*`\\]", "", text)
    heads, _, *rows = ([c.strip() for c in x.strip("|").split("|")] for x in plain.splitlines())
    return results.PageTable(heads, rows)


@pytest.mark.parametrize(("name", "said", "text"), drawn_tables())
def test_a_figure_of_a_page_shows_the_numbers_of_its_table(name: str, said: Any, text: str) -> None:
    table = page_table(text)
    data = results.READERS[name](table, said)["table"]
    plain = text.replace("−", "-")
    numbers = {float(found) for found in re.findall(r"-?\d*\.?\d+", plain)}
    # What neurons and output reach together is the sum of two numbers of the table.
    rows = data.loc[data["detector"] != results.COMBINED] if name == "positions" else data
    for column in {"auroc", "low", "high", "shared", "drop"} & {*rows}:
        assert {*rows[column].dropna()} <= numbers, column
    known = data["auroc"] if "auroc" in data else data["drop"]
    assert known.notna().all()
    if name not in ("scores", "sibling"):  # which leave rows out
        cells = len(table.heads) - 1 if name == "transfer" else 1
        assert len(data) >= len(table.rows) * cells
    (drawn,) = figures_in(results.drawn(name, table, said))
    assert {*drawn} == {"light", "dark", "config"}
    assert drawn["light"]["data"]


def test_some_pages_of_results_have_figures() -> None:
    pages = {str(one.id).split("-")[0] for one in drawn_tables()}
    assert {"demo", "audit", "domains", "detector", "quantised", "paper_cross_domain"} <= pages


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("−.001 [−.006, +.004]", (-0.001, -0.006, 0.004)),
        ("0.82 [0.75, 0.87] *", (0.82, 0.75, 0.87)),
    ],
)
def test_an_estimate_of_a_page_is_read(cell: str, expected: tuple[float, ...]) -> None:
    assert (*results.estimate(cell).values(),) == expected


def test_a_cell_without_a_number_is_missing() -> None:
    assert all(pd.isna(value) for value in results.estimate("–").values())
    assert pd.isna(results.number(""))
    assert results.number("2e-5") == 2e-5
