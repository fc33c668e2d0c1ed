"""The built documentation in a real browser: each page stands alone and asks no host."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
# Words of a figure that its edges cut, and lines of code of at most 100 characters that do not fit.
CUT = """plot => {
  const box = plot.getBoundingClientRect();
  return [...plot.querySelectorAll(".main-svg text")].filter(t => {
    const b = t.getBoundingClientRect();
    return b.width && (b.left < box.left - 1 || b.right > box.right + 1);
  }).map(t => t.textContent);
}"""
WIDE_CODE = """[...document.querySelectorAll(".highlight pre")].filter(pre =>
  pre.scrollWidth > pre.clientWidth
  && Math.max(...pre.innerText.split("\\n").map(line => line.length)) <= 100
).map(pre => pre.innerText)"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors and no network."""
    pytest.importorskip("sphinx", reason="the docs extra is not installed")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, str(ROOT / "docs"), str(out)],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return out


def test_every_page_is_quiet_and_every_link_inside_leads_somewhere(
    site: Path, visit: Callable[..., Any]
) -> None:
    pages = sorted(p for p in site.rglob("*.html") if "_static" not in p.parts)
    lessons = {source.stem for source in (ROOT / "notebooks").glob("[0-9][0-9]_*.py")}
    assert {page.stem for page in pages if is_lesson(page)} == lessons
    for page in pages:
        result = visit(page)
        result.page.wait_for_selector("html[data-ready]", state="attached")
        result.assert_quiet()
        links = result.page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)")
        for link in {link for link in links if link.startswith("file:")}:
            assert_leads_somewhere(link, page)
        plots = result.page.locator(".plot")
        assert result.page.locator(".plot.js-plotly-plot").count() == plots.count()
        assert bool(result.buttons()) == bool(plots.count())
        assert [cut for plot in plots.all() for cut in plot.evaluate(CUT)] == [], page.name
        assert result.page.evaluate(WIDE_CODE) == [], page.name
        if is_lesson(page):
            assert result.hover(), f"no figure of {page.name} tells what is under the mouse"
        result.page.context.close()  # plotly on thirty pages would not fit into memory


def test_every_page_is_light_and_plotly_is_in_the_site_once(site: Path) -> None:
    pages = sorted(p for p in site.rglob("*.html") if "_static" not in p.parts)
    assert {p.name: p.stat().st_size for p in pages if p.stat().st_size > 1_500_000} == {}
    holding = [p for p in site.rglob("*") if p.is_file() and b"* plotly.js v" in p.read_bytes()]
    assert [p.relative_to(site).as_posix() for p in holding] == ["_static/plotly.min.js"]
    scripts = re.compile(r"<script[^>]*\bsrc=\"([^\"]+)\"")
    sources = {src for p in pages for src in scripts.findall(p.read_text(encoding="utf-8"))}
    assert [src for src in sources if "//" in src] == []


def is_lesson(page: Path) -> bool:
    return page.parent.name == "learn" and page.name[:2].isdigit()


def assert_leads_somewhere(link: str, page: Path) -> None:
    parsed = urlparse(link)
    target = Path(unquote(parsed.path))
    assert target.exists(), f"{page.name} links to {link}"
    if parsed.fragment and target.suffix == ".html":
        assert unquote(parsed.fragment) in names_in(target), f"{page.name} links to {link}"


@cache
def names_in(page: Path) -> frozenset[str]:
    return frozenset(re.findall(r'\bid="([^"]+)"', page.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "name", ["learn/05_where_do_they_live.html", "results/audit.html", "gallery/index.html"]
)
def test_a_page_of_a_phone_scrolls_no_way_but_down(
    site: Path, visit: Callable[..., Any], name: str
) -> None:
    page = visit(site / name, width=390).page
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("name", ["learn/05_where_do_they_live.html", "results/audit.html"])
def test_figures_follow_the_theme_of_the_page(
    site: Path, visit: Callable[..., Any], name: str
) -> None:
    result = visit(site / name)
    ground = """all => [...new Set(all.map(plot =>
        getComputedStyle(plot.querySelector(".main-svg")).backgroundColor))]"""
    for theme, click in (("light", False), ("dark", True), ("light", True)):
        if click:
            result.page.locator(".theme-toggle:visible").first.click()
        result.page.wait_for_selector(f'html[data-ready="{theme}"]', state="attached")
        assert result.page.locator(".plot").evaluate_all(ground) == [result.paper()], theme
    result.page.locator(".theme-toggle:visible").first.click()  # as the system
    result.page.emulate_media(color_scheme="dark")
    result.page.wait_for_selector('html[data-ready="dark"]', state="attached")
    assert result.page.locator(".plot").evaluate_all(ground) == [result.paper()]
    result.assert_quiet(known=("Changed to",))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_gallery_shows_the_pictures_of_the_theme(
    site: Path, visit: Callable[..., Any], theme: str
) -> None:
    page = visit(site / "gallery" / "index.html", theme=theme).page
    other = {"light": "dark", "dark": "light"}[theme]
    # What is far below is not fetched yet, and has no size.
    shown = "all => all.filter(one => getComputedStyle(one).display !== 'none').length"
    assert page.locator(f"article img.only-{theme}").evaluate_all(shown) > 20
    assert page.locator(f"article img.only-{other}").evaluate_all(shown) == 0


@pytest.mark.parametrize("name", ["index.html", "learn/05_where_do_they_live.html"])
def test_the_theme_switches(site: Path, visit: Callable[..., Any], name: str) -> None:
    result = visit(site / name)
    light = result.paper()
    # One for narrow pages and one for wide ones; they go from the system's theme to its opposite.
    button = result.page.locator(".theme-toggle:visible").first
    button.click()
    assert result.page.evaluate("document.body.dataset.theme") == "dark"
    dark = result.paper()
    assert dark != light
    button.click()
    assert (result.page.evaluate("document.body.dataset.theme"), result.paper()) == ("light", light)
    result.assert_quiet(known=("Changed to",))  # the theme's own word in the console
    assert visit(site / name, theme="dark").paper() == dark, "and follows the system"
