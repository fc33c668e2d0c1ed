"""Sphinx settings; the pages are built offline, with warnings as errors."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import nbformat
from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

project = "hlens"
author = "The hlens developers"
copyright = "2026, the hlens developers"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "hlens_families",
    "hlens_gallery",
    "hlens_figures",
    "hlens_recipe",
    "hlens_results",
]
FOLDERS = (".", "reference", "gallery", "learn", "results")  # of what is imported here
sys.path += [str(Path(__file__).parent / folder) for folder in FOLDERS]
html_math_renderer = "mathml"  # drawn by the browser itself: no script from another host
html_theme = "furo"
html_title = "hlens"
html_static_path = ["_static"]
html_css_files = ["hlens.css"]
templates_path = ["_templates"]
exclude_patterns = ["_build", "jupyter_execute", "README.md", "**/_*.md"]
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # no script from another host
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_use_ivar = False
# Figures come as HTML and, for front ends that draw themselves, as plotly JSON too.
suppress_warnings = [
    "ref.python",
    "misc.highlighting_failure",
    "mystnb.unknown_mime_type",
    "myst.header",
]
copybutton_prompt_text = "$ "


def setup(app) -> None:
    """Shapes such as "*pos neuron" are no emphasis: napoleon would pass them on as text."""
    app.connect("autodoc-process-docstring", _escape_shapes, priority=900)
    app.connect("builder-inited", _command_line)
    app.connect("builder-inited", _lessons)
    app.add_html_math_renderer("mathml", (_inline_math, None), (_block_math, None))


def _escape_shapes(app, what, name, obj, options, lines: list[str]) -> None:
    lines[:] = [re.sub(r"(?<=['\"])\*", r"\\*", line) for line in lines]


def _command_line(app) -> None:
    """Write what ``--help`` says of every verb, so that the page cannot fall behind the code."""
    command = [sys.executable, "-m", "typer", "hlens.cli", "utils", "docs", "--name", "hlens"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    said = said.replace("# `hlens`", "# Command line", 1).replace("&#x27;", "'")
    _write(Path(app.srcdir) / "reference" / "cli.md", said)


def _write(page: Path, text: str) -> None:
    # An unchanged page is not rewritten, so that Sphinx need not read it again.
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")


def _lessons(app) -> None:
    """Put the executed notebooks beside the page that lists them; those that changed are run."""
    sys.path.append(str(Path(app.srcdir).parent / "notebooks"))
    build = importlib.import_module("build")
    lessons = importlib.import_module("hlens_lessons")
    for source in build.sources():
        executed = build.executed(source)
        page = Path(app.srcdir) / "learn" / executed.name
        _write(page, nbformat.writes(lessons.for_site(nbformat.read(executed, 4))))


def _inline_math(translator, node) -> None:
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def _block_math(translator, node) -> None:
    translator.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode
