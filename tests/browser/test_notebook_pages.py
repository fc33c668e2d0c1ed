"""Executed notebooks in a real browser, exported by nbconvert and as a page of the site."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostile import TOKENS
from scripts import script

pytestmark = pytest.mark.slow
nbformat = pytest.importorskip("nbformat")
ROOT = Path(__file__).parents[2]

CELLS = (
    """import sys
sys.path.append(TESTS)
import plotly.io as pio
import hlens.figures as figures
from hlens import lookup
from hostile import TOKENS, explored
pio.renderers.default = "plotly_mimetype+notebook\"""",
    "figures.tokens(TOKENS, [0.1, 0.9, 0.2, 0.3, 0.8, 0.1], facts=[[TOKENS[0]]] * 6)",
    "figures.neuron_map(**lookup.member('figures', 'neuron_map').example())",
    "figures.transfer(lookup.member('figures', 'transfer').example()['table']"
    ".replace('code', TOKENS[0]))",
    "figures.explorer(**explored())",
)
NOTHING = "data:text/javascript,"
# The site's own settings, for one page of it.
SETTINGS = """import runpy
site = runpy.run_path({conf!r})
kept = ("html_", "nb_", "myst_", "suppress_")
globals().update({{key: value for key, value in site.items() if key.startswith(kept)}})
project, extensions = "x", ["myst_nb", "hlens_figures"]
html_static_path = [{static!r}]
html_math_renderer = "mathjax"
"""


@pytest.fixture(scope="module")
def executed() -> Any:
    """A notebook that a kernel of its own has run, as the lessons are."""
    pytest.importorskip("nbclient", reason="the docs extra is not installed")
    build = script("notebooks/build.py", "notebooks_build")
    code = [cell.replace("TESTS)", f"{str(ROOT / 'tests')!r})") for cell in CELLS]
    cells = [nbformat.v4.new_markdown_cell("# One page"), *map(nbformat.v4.new_code_cell, code)]
    return build.execute(nbformat.v4.new_notebook(cells=cells, metadata=build.METADATA))


@pytest.fixture(scope="module")
def exported(executed: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    nbconvert = pytest.importorskip("nbconvert")
    path = tmp_path_factory.mktemp("exported") / "page.html"
    # nbconvert's own template asks hosts for MathJax and RequireJS; the how-to page says so.
    none = {"mathjax_url": NOTHING, "require_js_url": NOTHING}
    text, _ = nbconvert.HTMLExporter(**none).from_notebook_node(executed)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def published(executed: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sphinx", reason="the docs extra is not installed")
    folder = tmp_path_factory.mktemp("published")
    docs = ROOT / "docs"
    conf = SETTINGS.format(conf=str(docs / "conf.py"), static=str(docs / "_static"))
    (folder / "conf.py").write_text(conf, encoding="utf-8")
    script("docs/hlens_figures.py", "hlens_figures")
    lessons = script("docs/learn/hlens_lessons.py", "hlens_lessons")
    nbformat.write(lessons.for_site(executed), folder / "index.ipynb")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(folder)]
    done = subprocess.run([*command, str(folder / "out")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "out" / "index.html"


@pytest.mark.parametrize("kind", ["exported", "published"])
def test_an_executed_notebook_is_quiet_and_all_of_it_works(
    kind: str, request: pytest.FixtureRequest, visit: Callable[..., Any]
) -> None:
    result = visit(request.getfixturevalue(kind))
    page = result.page
    if kind == "published":
        page.wait_for_selector("html[data-ready]", state="attached")
    strip = page.locator(".hlens-tokens")
    for token in TOKENS[:5]:
        assert token.strip() in strip.inner_text()
    strip.locator(".hl-t[tabindex]").nth(1).hover()
    assert strip.locator(".hl-tip").nth(1).is_visible()
    matrix = page.locator(".js-plotly-plot", has_text="tested on")
    assert TOKENS[0][:11] in matrix.text_content(), "cut where a name is long, and text"
    assert "associated" in result.hover()
    # On the site the explorer is a part of the page, whose plotly.js it shares.
    frame = page if kind == "published" else page.frame_locator("iframe[title]").last
    assert page.locator("iframe[title]").count() == (kind == "exported")
    frame.locator("html[data-ready]").wait_for(state="attached")
    frame.get_by_role("button", name="Next neuron").click()
    frame.locator(".hx-body h3").filter(has_text="L5N3").wait_for()
    assert TOKENS[0] in frame.locator(".hx-body").inner_text()
    assert result.buttons()
    assert "dialog" not in result.complaints
    result.assert_quiet()
