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
    assert len([page for page in pages if is_lesson(page)]) == 9
    for page in pages:
        result = visit(page)
        result.assert_quiet()
        links = result.page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)")
        for link in {link for link in links if link.startswith("file:")}:
            assert_leads_somewhere(link, page)
        drawn = result.page.locator(".js-plotly-plot").count()
        assert bool(result.buttons()) == bool(drawn)
        if is_lesson(page):
            assert result.hover(), f"no figure of {page.name} tells what is under the mouse"
        result.page.context.close()  # plotly on thirty pages would not fit into memory


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
