"""Pages that are printed as soon as they have loaded, as `chromium --print-to-pdf` does."""

import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import hlens.figures as figures
from hlens import lookup
from hlens.report import ReportData, Section, report
from hlens.report.sections import neuron_map
from hostile import explored

pytestmark = pytest.mark.slow

# A figure, and words that stand in its drawing: its title is text of the page.
DRAWN = {
    "transfer": "tested on",
    "k_sweep": "neurons that the probe may read",
    "dose_response": "activation multiplier",
    "losses": "located",
    "volcano": "AUROC of the neuron alone",
    "path": "C (weaker penalty",
}
OF_MAP = "order carries no meaning"


def example(name: str) -> dict[str, Any]:
    return lookup.member("figures", name).example()


@pytest.fixture
def printed(chromium: list[str], tmp_path: Path) -> Callable[[Path], list[str]]:
    """The text of each sheet of a printed page."""
    reader = shutil.which("pdftotext")
    if reader is None:
        pytest.skip("pdftotext (poppler-utils) is not installed")

    def print_page(path: Path) -> list[str]:
        sheets = tmp_path / "printed.pdf"
        order = ["--headless", f"--print-to-pdf={sheets}", "--no-pdf-header-footer"]
        command = [*chromium, *order, path.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        text = subprocess.run(
            [reader, str(sheets), "-"], check=True, capture_output=True, text=True
        ).stdout
        return [" ".join(sheet.split()) for sheet in text.split("\f")[:-1]]

    return print_page


def test_a_printed_report_holds_every_figure(
    printed: Callable[[Path], list[str]], tmp_path: Path
) -> None:
    drawings = [partial(lookup.member("figures", name).draw, **example(name)) for name in DRAWN]
    sections = [Section("All figures", "", drawings), neuron_map.draw(**explored())]
    sheets = printed(report(ReportData("x", sections=sections), tmp_path / "report.html"))
    text = " ".join(sheets)
    assert [name for name, words in DRAWN.items() if words not in text] == []
    assert OF_MAP in text
    assert "drawing …" not in text
    for name in DRAWN:  # no figure is cut in two
        title = lookup.member("figures", name).draw(**example(name)).meta["title"]
        assert [title in sheet and DRAWN[name] in sheet for sheet in sheets].count(True) == 1, name


def test_a_printed_explorer_holds_its_map_and_its_panel(
    printed: Callable[[Path], list[str]], tmp_path: Path
) -> None:
    path = figures.explorer(**example("explorer")).save(tmp_path / "page.html")
    (sheet,) = printed(path)
    assert OF_MAP in sheet
    assert "drawing …" not in sheet
    for words in ("neurons a layer", "Strongest answers", "Weakest answers", "Water boils at"):
        assert words in sheet, words


def test_a_printed_figure_is_one_sheet(
    printed: Callable[[Path], list[str]], tmp_path: Path
) -> None:
    for name in ("neuron_map", "dose_response"):
        drawn = getattr(figures, name)(**example(name))
        (sheet,) = printed(drawn.save(tmp_path / f"{name}.html"))
        assert {"neuron_map": OF_MAP, **DRAWN}[name] in sheet


@pytest.mark.parametrize("name", ["scores", "explorer"])
def test_a_dark_page_is_light_on_paper(
    name: str, visit: Callable[..., Any], tmp_path: Path
) -> None:
    """And dark again behind it."""
    if name == "explorer":
        path = figures.explorer(**example("explorer")).save(tmp_path / "page.html")
    else:
        draw = partial(lookup.member("figures", name).draw, **example(name))
        data = ReportData("x", sections=[Section("One", "", [draw])])
        path = report(data, tmp_path / "page.html")
    result = visit(path, theme="dark")
    frame = result.page.frames[1] if name == "explorer" else result.page.main_frame
    frame.wait_for_selector('html[data-ready="dark"]', state="attached")
    ground = "() => getComputedStyle(document.querySelector('.plot .main-svg')).backgroundColor"
    dark = frame.evaluate(ground)
    frame.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert frame.evaluate(ground) == "rgb(255, 255, 255)" != dark
    frame.evaluate("dispatchEvent(new Event('afterprint'))")
    assert frame.evaluate(ground) == dark
    result.assert_quiet()
