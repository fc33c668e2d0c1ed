"""The report: whole, private, readable, and safe to open whatever a model wrote."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch

import hlens.figures as figures
from hlens import lookup
from hlens.cli.families import listed
from hlens.drawing.figure import Figure
from hlens.errors import HlensError
from hlens.recipe import GatesRecipe, LayersRecipe, ProbeRecipe, Recipe
from hlens.report import Card, ReportData, Section, page, report, sections
from hlens.report.html_table import number, table
from hlens.report.sections import neuron_map, neurons, strips
from hlens.report.sections import scores as scores_section
from hlens.report.tables import Tables
from hlens.steps import Given, NotMadeError, Runner
from hlens.types import Detector, Estimate, Provenance
from report_pages import unpacked

HOSTILE = ("</script><script>alert(1)</script>", "<bos>", "\"quotes\" & 'more'", "שלום", "👩‍🔬")


def detector(n_layers: int = 4, d_mlp: int = 64, n: int = 12) -> Detector:
    weights = torch.zeros(n_layers * d_mlp)
    at = torch.randperm(len(weights), generator=torch.Generator().manual_seed(0))[:n]
    weights[at] = torch.linspace(-1, 2, n)
    return Detector(weights.view(n_layers, d_mlp), 0.0, provenance=Provenance(model=HOSTILE[0]))


def scores() -> pd.DataFrame:
    columns = ["control", "auroc", "low", "high", "n", "note"]
    rows = [("probe", 0.84, 0.8, 0.88, 400, ""), ("random neurons", 0.7, 0.6, 0.75, 400, "<b>")]
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.parametrize("name", sections.names())
def test_a_section_declares_what_it_reads(name: str, tmp_path: Path) -> None:
    file = lookup.member("report.sections", name)
    for wanted in ("HEADING", "NEEDS", "section"):
        assert hasattr(file, wanted), f"report/sections/{name}.py must define {wanted}"
    assert file.__doc__, f"report/sections/{name}.py needs a docstring"
    assert name in listed("sections")["sections"]
    # Of a study in which nothing was made, a section shows nothing, or says what is missing.
    gates = GatesRecipe(alphas=(0.0,))
    layers = LayersRecipe(edits="both")
    probe = ProbeRecipe(beside="paper")
    recipe = Recipe(
        domains=("general", "science"), base="base", gates=gates, layers=layers, probe=probe
    )
    run = Runner(tmp_path, recipe, Given(questions=[]))
    with pytest.raises(NotMadeError):
        file.section(Tables(run, file.NEEDS))


def test_the_order_of_sections_names_files_that_exist() -> None:
    assert sorted(sections.names()) == sorted(lookup.names("report.sections"))
    assert set(sections.AUDIT) <= set(sections.names())


def full() -> ReportData:
    found, strip = detector(), figures.tokens(list(HOSTILE), [0.1, 0.9, 0.4, 0.2, 0.7])
    measured = {
        "auroc": torch.rand(4, 64),
        "frequency": torch.rand(4, 64),
        "shared": {HOSTILE[0]: found.neurons, "science": found.neurons},
    }
    return ReportData(
        title=f"H-neurons {HOSTILE[0]}",
        model=HOSTILE[0],
        summary=HOSTILE[2],
        finding="Better than chance.",
        cards=[Card("AUROC", Estimate(0.84, 0.8, 0.88, 400), "<i>"), Card("neurons", 1200)],
        sections=[
            scores_section.draw(scores()),
            strips.draw([strip]) or Section("no strips"),
            neuron_map.draw(found, **measured),
            Section("A table", HOSTILE[0], [pd.DataFrame({HOSTILE[0]: [HOSTILE[0]]})]),
            neurons.draw(found, **measured),
        ],
        cautions=[HOSTILE[0]],
        recipe=f'title = "{HOSTILE[0]}"',
        versions={"hlens": "0.1.0", HOSTILE[0]: "1"},
    )


@pytest.fixture(scope="module")
def written() -> str:
    return page(full())


def test_the_file_is_whole_and_small(tmp_path: Path) -> None:
    path = report(full(), tmp_path / "new" / "report.html")
    assert path.stat().st_size < 4_000_000
    assert path.read_text(encoding="utf-8").endswith("</html>")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_a_failed_report_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    broken: Callable[..., Figure] = partial(figures.scores.draw, pd.DataFrame())
    with pytest.raises(HlensError, match="missing"):
        report(ReportData("x", sections=[Section("y", content=[broken])]), path)
    assert path.read_text() == "old"


def test_nothing_is_asked_of_any_host(written: str) -> None:
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)""", written)
    assert "url(" not in written
    assert "connect-src" not in written
    assert "default-src 'none'" in written


def test_only_the_two_known_scripts_may_run(written: str) -> None:
    allowed = set(re.findall(r"'sha256-([^']+)'", written))
    runnable = re.findall(r"<script>(.*?)</script>", written, re.S)
    texts = [*runnable, unpacked(written, "plotly-js")]
    assert len(runnable) == 1
    assert {
        base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in texts
    } == allowed


def test_what_a_model_wrote_is_text(written: str) -> None:
    visible = re.sub(r"<script.*?</script>", "", written, flags=re.S)
    assert "<bos>" not in visible
    assert "alert(1)" in visible
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in visible
    assert "<script>alert" not in written


def test_figures_come_in_both_themes_without_an_upload(written: str) -> None:
    packed = json.loads(unpacked(written, "figures-json"))
    config = packed.pop("config")
    packed.pop("neurons")
    assert config["showSendToCloud"] is False
    assert config["plotlyServerURL"] == ""
    assert config["displaylogo"] is False
    assert len(packed) == 2
    for figure in packed.values():
        assert set(figure) == {"light", "dark"}
        pages = {figure[t]["layout"]["template"]["layout"]["paper_bgcolor"] for t in figure}
        assert pages == {"#FFFFFF", "#11151A"}
        assert "title" not in figure["light"]["layout"]


def test_equal_data_give_equal_files() -> None:
    torch.manual_seed(0)
    one = page(ReportData("x", sections=[neuron_map.draw(detector())]))
    assert one == page(ReportData("x", sections=[neuron_map.draw(detector())]))


def test_every_heading_is_linked_and_names_its_section(written: str) -> None:
    links = re.findall(r'<li><a href="#([^"]+)">', written)
    labelled = re.findall(r'<section aria-labelledby="([^"]+)">', written)
    identities = re.findall(r'<h2 id="([^"]+)">', written)
    assert links == labelled == identities
    assert len(set(identities)) == len(identities) >= 7


def test_a_report_of_little_leaves_out_the_rest() -> None:
    text = page(ReportData("Only a title"))
    assert 'id="plotly-js"' not in text
    assert "<section" not in text
    assert "Only a title</h1>" in text


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HlensError, match="is a folder"):
        report(ReportData("x"), tmp_path)


def test_table_cells_sort_by_value_and_say_what_is_left_out() -> None:
    frame = pd.DataFrame({"n": [46080, 2], "p": [1e-9, 0.5], "e": [None, "x"]})
    markup = table(frame, "Rows.", most=1).markup
    assert 'data-v="46080">46,080' in markup
    assert "&lt;0.001" in markup
    assert "first 1 of 2 rows" in markup
    assert markup.count("<tr>") == 2


def test_negative_numbers_carry_a_true_minus() -> None:
    assert number(-3) == "−3"
    assert number(-0.25) == "−0.250"


def test_neuron_sets_of_the_domains_are_counted(written: str) -> None:
    rows = re.search(r"<h2[^>]*>All neurons</h2>(.*?)</section>", written, re.S)
    assert rows
    # Every H-neuron is in both sets; neurons that point to truth are in none.
    assert rows[1].count(", science") == len(detector().neurons)
    assert ">domains<" in written
