"""The built documentation in a real browser: each page stands alone and asks no host."""

import os
import subprocess
import sys
from collections.abc import Callable
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
    assert len([p for p in pages if p.parent.name == "learn" and p.name[:2].isdigit()]) == 9
    for page in pages:
        result = visit(page)
        assert_quiet(result)
        for link in result.page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)"):
            if link.startswith("file:"):
                assert_leads_somewhere(link, page)
        result.page.context.close()  # plotly on thirty pages would not fit into memory


def assert_quiet(result: Any) -> None:
    assert not result.complaints
    assert [url for url in result.asked if not url.startswith(("file:", "data:", "blob:"))] == []


def assert_leads_somewhere(link: str, page: Path) -> None:
    parsed = urlparse(link)
    target = Path(unquote(parsed.path))
    assert target.exists(), f"{page.name} links to {link}"
    if parsed.fragment and target.suffix == ".html":
        anchor = unquote(parsed.fragment)
        text = target.read_text(encoding="utf-8")
        assert f'id="{anchor}"' in text, f"{page.name} links to {link}"


def test_the_theme_switches(site: Path, visit: Callable[..., Any]) -> None:
    result = visit(site / "index.html")
    body = "() => document.body.dataset.theme"
    before = result.page.evaluate(body)
    result.page.locator("button.theme-toggle:visible").first.click()
    assert result.page.evaluate(body) != before
    assert_quiet(result)
