"""The figures: laws that each member of the folder keeps, and what each says of known data."""

import base64
import hashlib
import html
import inspect
import json
import math
import re
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import plotly.io as pio
import pytest
import torch

import hlens.figures as figures
from hlens import lookup
from hlens.drawing.figure import Figure
from hlens.drawing.html import Html, visible
from hlens.drawing.theme import DARK, LIGHT, colour_at, contrast, ink_on
from hlens.errors import HlensError
from hlens.types import Contributions, Detector, Estimate, MarkedSpan, NeuronSet
from scripts import script

HOSTILE = "</script><script>alert(1)</script> <bos> \"q\" 'q' & $x$ שלום 👩‍🔬"
NAMES = lookup.names("figures")


def member(name: str) -> Any:
    return lookup.member("figures", name)


# Figures of plotly, by what their `draw` says that it returns; all others are markup.
DRAWN = [
    name
    for name in NAMES
    if inspect.signature(getattr(member(name), "draw", len)).return_annotation is Figure
]


@cache
def drawn(name: str, theme: str = "light") -> Any:
    """The example of a member; tests read it and never change it."""
    return member(name).draw(**member(name).example(), theme=theme)


# Laws of the family


def missing_from(module: Any) -> list[str]:
    """What the file of a figure still lacks, each as an instruction."""
    text = " ".join((module.__doc__ or "").split())
    draw = getattr(module, "draw", None)
    signature = inspect.signature(draw) if draw else inspect.Signature()
    have = {
        "a docstring whose first line, or a part 'Question: ...?', asks what the figure answers": (
            "?" in text.split("To read it:")[0]
        ),
        "a part 'To read it: ...' in the docstring, on what to look at": "To read it: " in text,
        "a part 'It misleads ...' in the docstring, on how it is misread": "It misleads " in text,
        "a function draw(data, *, theme='light') with a docstring": bool(draw and draw.__doc__),
        "a keyword 'theme' of draw": "theme" in signature.parameters,
        "the return annotation of draw: Figure or Html": signature.return_annotation
        in (Figure, Html),
        "a function example() that returns made data, the arguments of draw": hasattr(
            module, "example"
        ),
    }
    return [what for what, there in have.items() if not there]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_holds_all_that_a_figure_needs(name: str) -> None:
    missing = missing_from(member(name))
    assert not missing, f"write into src/hlens/figures/{name}.py: {'; '.join(missing)}"


def test_one_file_adds_a_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file is listed, callable, in the gallery and in the reference; nothing else changes."""
    source = inspect.getsource(member("losses"))
    (tmp_path / "added_losses.py").write_text(source, encoding="utf-8")
    (tmp_path / "bare.py").write_text('"""Losses."""\n', encoding="utf-8")
    monkeypatch.setattr(figures, "__path__", [*figures.__path__, str(tmp_path)])
    assert {"added_losses", "bare"} <= set(dir(figures))
    assert missing_from(member("added_losses")) == []
    assert figures.added_losses(**member("losses").example()).meta == drawn("losses").meta
    assert gallery().entry("added_losses").call == "hlens.figures.added_losses(table)"
    pages = script("docs/reference/hlens_families.py", "hlens_families")
    assert ".. automodule:: hlens.figures.added_losses" in pages.reference("figures", {})
    assert len(missing_from(member("bare"))) == 7
    for name in ("added_losses", "bare"):
        sys.modules.pop(f"hlens.figures.{name}")
        monkeypatch.delattr(figures, name)


@pytest.mark.parametrize("name", NAMES)
def test_a_member_is_callable_by_its_name(name: str) -> None:
    assert callable(getattr(figures, name))
    assert inspect.signature(getattr(figures, name)) == inspect.signature(member(name).draw)
    assert name in dir(figures)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_every_example_draws_in_both_themes(name: str, theme: str) -> None:
    assert isinstance(drawn(name, theme), Figure | Html)


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_states_a_fact_and_its_n(name: str) -> None:
    meta = drawn(name).layout.meta
    assert len(meta["title"]) <= 84
    assert len(meta["subtitle"]) <= 90
    assert re.search(r"\d|None|No ", meta["title"])
    assert meta["title"] in meta["alt"]


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_has_no_fixed_width(name: str) -> None:
    assert drawn(name).layout.width is None
    assert drawn(name).layout.height > 150


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_a_pure_function(name: str) -> None:
    again = member(name).draw(**member(name).example())
    assert again.to_json() == drawn(name).to_json()


TABLES = [
    (name, argument)
    for name in NAMES
    for argument, value in (
        member(name).example() if not missing_from(member(name)) else {}
    ).items()
    if isinstance(value, pd.DataFrame)
]


@pytest.mark.parametrize(("name", "argument"), TABLES)
def test_the_tables_of_two_studies_do_not_become_one_figure(name: str, argument: str) -> None:
    """A title is a sentence about one study: of two joined it would be false of both."""
    example = member(name).example()
    joined = pd.concat([example[argument], example[argument].iloc[::-1]], ignore_index=True)
    numbers = [column for column in joined if joined[column].dtype.kind == "f" and column != "C"]
    other = joined.index >= len(example[argument])
    joined.loc[other, [c for c in numbers if c != "alpha"]] *= 0.9
    with pytest.raises(HlensError, match="stands twice") as raised:
        member(name).draw(**{**example, argument: joined})
    assert "\n" not in str(raised.value), f"call check_one_study in src/hlens/figures/{name}.py"


@pytest.mark.parametrize("name", ["overlap", "reliability"])
def test_a_pair_named_the_other_way_round_is_the_same_pair(name: str) -> None:
    table = member(name).example()["table"]
    turned = table.loc[table.a != table.b].rename(
        columns={"a": "b", "b": "a", "n_a": "n_b", "n_b": "n_a"}
    )
    with pytest.raises(HlensError, match="stands twice"):
        member(name).draw(pd.concat([table, turned], ignore_index=True))


def test_studies_of_other_domains_share_a_matrix_without_a_clash() -> None:
    """No row stands twice, so every cell keeps its own number and the title speaks of cells."""
    table = member("transfer").example()["table"]
    renamed = table.assign(train="b " + table.train, test="b " + table.test)
    assert figures.transfer(pd.concat([table, renamed], ignore_index=True)).layout.meta["title"]


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_theme_is_an_error(name: str) -> None:
    with pytest.raises(HlensError, match="theme 'sepia'"):
        member(name).draw(**member(name).example(), theme="sepia")


@pytest.mark.parametrize("name", DRAWN)
def test_no_figure_needs_webgl(name: str) -> None:
    assert not [trace.type for trace in drawn(name).data if trace.type.endswith("gl")]


# Privacy


def pages(figure: Figure) -> dict[str, str]:
    bundle = figure._repr_mimebundle_()
    return {
        "to_html": figure.to_html(include_plotlyjs=False),
        "repr": json.dumps(bundle, default=str),
        "asked": figure.to_html(
            include_plotlyjs=False,
            config={"showSendToCloud": True, "plotlyServerURL": "https://x.example"},
        ),
    }


@pytest.mark.parametrize("renderer", ["notebook", "plotly_mimetype", "plotly_mimetype+notebook"])
def test_no_way_to_a_page_offers_an_upload(renderer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pio.renderers, "default", renderer)
    figure = drawn("scores")
    for way, text in pages(figure).items():
        assert re.search(r'"showSendToCloud"\s*:\s*false', text.replace('\\"', '"')), way
        assert not re.search(r"https?://(?!www\.w3\.org)[\w.]*plot", text), way


def test_showing_passes_the_private_options(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(pio, "show", lambda figure, **options: seen.update(options))
    drawn("scores").show(config={"showSendToCloud": True})
    assert seen["config"]["showSendToCloud"] is False
    assert seen["config"]["plotlyServerURL"] == ""


# Files


def test_a_figure_is_saved_whole_by_its_suffix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = drawn("scores")
    page = figure.save(tmp_path / "new" / "scores.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert re.search(r'"showSendToCloud"\s*:\s*false', page)
    strip = drawn("tokens").save(tmp_path / "strip.html").read_text(encoding="utf-8")
    assert "Sydney" in strip
    with pytest.raises(HlensError, match=r"'x\.docx'; expected one of \.html, \.png"):
        figure.save(tmp_path / "x.docx")
    with pytest.raises(HlensError, match=r"expected \.html"):
        drawn("tokens").save(tmp_path / "x.png")
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(HlensError, match=r"pip install 'hlens\[export\]'"):
        figure.save(tmp_path / "scores.png")
    assert sorted(p.name for p in tmp_path.rglob("*.*")) == ["scores.html", "strip.html"]


def test_a_still_picture_takes_no_script_from_another_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def calc(figure: Any, opts: Any, kopts: Any) -> bytes:
        asked.update(opts=opts, kopts=kopts)
        return b"picture"

    fake = SimpleNamespace(calc_fig_sync=calc)
    monkeypatch.setitem(sys.modules, "kaleido", fake)
    figure = drawn("scores")
    assert figure.save(tmp_path / "a.pdf", width=700).read_bytes() == b"picture"
    assert asked["opts"] == {
        "format": "pdf", "width": 700, "height": figure.fitted(700).layout.height, "scale": 2.0,
    }  # fmt: skip
    assert asked["kopts"] == {"mathjax": False}

    def no_browser(*_: Any, **__: Any) -> bytes:
        raise RuntimeError("Chrome was not found")

    fake.calc_fig_sync = no_browser
    with pytest.raises(HlensError, match="BROWSER_PATH"):
        figure.save(tmp_path / "b.png")


# Text that a model or a user wrote


def test_hostile_names_stay_text_in_a_figure() -> None:
    table = member("transfer").example()["table"].replace("code", HOSTILE)
    figure = figures.transfer(table)
    plain = json.dumps(json.loads(figure.to_json()), ensure_ascii=False)
    assert "<script" not in plain.lower()
    assert "<bos>" not in plain
    assert "&lt;bos&gt;" in plain
    assert "$" not in plain
    assert "<script>alert" not in figure.to_html(include_plotlyjs=False)


def test_hostile_tokens_stay_text_in_a_strip() -> None:
    strip = str(figures.tokens([HOSTILE, "\u202eevil", "a\nb"], [0.1, 0.9, 0.4], verdict=HOSTILE))
    assert "<script" not in strip
    assert "<bos>" not in strip
    assert "\u202e" not in strip
    assert "\\u202e" in strip
    assert "↵" in strip
    assert "שלום" in strip


@pytest.mark.parametrize("text", ["שלום", "مرحبا", "👩‍🔬", "naïve café", "汉字", "न्‍"])
def test_writing_of_all_scripts_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


# Token strip


def test_tokens_count_what_is_over_the_threshold() -> None:
    strip = figures.tokens(["p", "a", "b", "c"], [math.nan, 0.5, 0.49, 0.9], n_prompt=1)
    assert "2 of 3 tokens" in strip.alt
    assert str(strip).count("hl-over") == 2 + 1  # two tokens and the rule of the style
    assert str(strip).count('tabindex="0"') == 3


def test_tokens_of_another_length_are_refused() -> None:
    with pytest.raises(HlensError, match="2 tokens came with 1 score and"):
        figures.tokens(["a", "b"], [0.1])


def test_a_strip_needs_no_script() -> None:
    strip = str(figures.tokens(["a"], [0.3]))
    assert "<script" not in strip
    assert "onclick" not in strip


# Neuron map


def detector_of(weights: dict[tuple[int, int], float], shape: tuple[int, int]) -> Detector:
    dense = torch.zeros(shape)
    for neuron, weight in weights.items():
        dense[neuron] = weight
    return Detector(dense, 0.0)


def marks(figure: Figure) -> dict[str, list[tuple[int, int]]]:
    return {
        trace.name: [(int(y), int(x)) for x, y in zip(trace.x, trace.y, strict=True)]
        for trace in figure.data
        if trace.type == "scatter" and trace.x is not None and trace.x[0] is not None
    }


def test_the_map_marks_each_neuron_once_by_sign() -> None:
    detector = detector_of({(0, 1): 0.5, (3, 7): -0.2, (2, 2): 1.0}, (4, 8))
    assert {k: sorted(v) for k, v in marks(figures.neuron_map(detector)).items()} == {
        "truth-associated": [(3, 7)],
        "hallucination-associated": [(0, 1), (2, 2)],
    }


def test_the_strongest_neuron_is_drawn_last_and_largest() -> None:
    detector = detector_of({(0, j): 0.1 + j for j in range(30)}, (2, 64))
    trace = next(
        t for t in figures.neuron_map(detector).data if t.name == "hallucination-associated"
    )
    assert int(trace.x[-1]) == 29
    assert trace.marker.size[-1] == max(trace.marker.size)


def test_layer_counts_are_signed_and_whole() -> None:
    detector = detector_of({(1, 0): 1.0, (1, 1): 1.0, (1, 2): -1.0, (0, 3): 2.0}, (3, 8))
    bars = {t.name: list(t.x) for t in figures.neuron_map(detector).data if t.type == "bar"}
    assert bars == {"truth-associated": [0, -1, 0], "hallucination-associated": [1, 2, 0]}


def test_concentration_is_claimed_only_beyond_chance() -> None:
    gathered = detector_of({(5 + i % 2, i): 1.0 for i in range(40)}, (20, 64))
    even = detector_of({(i % 20, i): 1.0 for i in range(40)}, (20, 64))
    assert "half of them in layer" in figures.neuron_map(gathered).layout.meta["title"]
    assert "as evenly as chance" in figures.neuron_map(even).layout.meta["title"]


def test_shared_neurons_get_an_outline_at_two_thirds_of_the_domains() -> None:
    detector = detector_of({(0, 1): 1.0, (0, 2): 1.0}, (2, 8))
    one, both = NeuronSet(frozenset({(0, 1)}), 2, 8), NeuronSet(frozenset({(0, 1), (0, 2)}), 2, 8)
    shared = {"a": both, "b": one, "c": NeuronSet(frozenset(), 2, 8)}
    figure = figures.neuron_map(detector, shared=shared)
    trace = next(t for t in figure.data if t.name == "hallucination-associated")
    widths = {int(x): w for x, w in zip(trace.x, trace.marker.line.width, strict=True)}
    assert widths == {1: 2, 2: 0.7}
    assert any(t.name == "shared by ≥ 2 of 3 domains" for t in figure.data)


def test_hovering_tells_the_means_of_wrong_and_right_answers() -> None:
    values = torch.zeros(4, 2, 8)
    values[:2, 0, 1] = 3.0
    values[2:, 0, 1] = 1.0
    data = Contributions(
        values=values,
        labels=torch.tensor([True, True, False, False]),
        groups=("a", "b", "c", "d"),
        domains=("x",) * 4,
        question_ids=("a", "b", "c", "d"),
        n_tokens=torch.ones(4, dtype=torch.int64),
    )
    figure = figures.neuron_map(detector_of({(0, 1): 1.0}, (2, 8)), contribution=data)
    trace = next(t for t in figure.data if t.name == "hallucination-associated")
    assert trace.customdata.tolist() == [[1.0, 3.0, 1.0]]
    assert "wrong" in trace.hovertemplate


def test_a_set_without_weights_claims_no_sign() -> None:
    figure = figures.neuron_map(NeuronSet(frozenset({(0, 1), (1, 3)}), 2, 8))
    assert list(marks(figure)) == ["selected"]
    assert "2 neurons" in figure.layout.meta["title"]


def test_an_empty_detector_says_so() -> None:
    figure = figures.neuron_map(detector_of({}, (2, 8)))
    assert figure.layout.meta["title"] == "No neuron was selected"


def test_the_map_of_a_large_model_is_small_and_loses_no_count() -> None:
    seed = torch.Generator().manual_seed(0)
    weights = torch.zeros(80 * 28_672)
    weights[torch.randperm(len(weights), generator=seed)[:2_300]] = torch.randn(
        2_300, generator=seed
    )
    auroc = torch.rand(80, 28_672, generator=seed)
    detector = Detector(weights.view(80, -1), 0.0)
    domains = dict.fromkeys(("general", "science"), detector.neurons)
    figure = figures.neuron_map(detector, auroc=auroc, frequency=auroc, shared=domains)
    assert len(figure.to_json()) < 200_000
    assert sum(map(len, marks(figure).values())) == 2_000
    assert sum(abs(t.x).sum() for t in figure.data if t.type == "bar") == 2_300
    assert "the 2,000 strongest drawn" in figure.layout.meta["subtitle"]


# The other figures, on data whose answer is known


def table_of(name: str) -> pd.DataFrame:
    return member(name).example()["table"]


def test_transfer_says_when_nothing_carries_over() -> None:
    table = table_of("transfer")
    table.loc[table.train != table.test, "low"] = 0.4
    title = figures.transfer(table).layout.meta["title"]
    assert title.endswith(" at least")
    texts = next(t for t in figures.transfer(table).data if t.mode == "text").text
    assert sum("n.s." in text for text in texts) == (table.train != table.test).sum()


def test_transfer_shows_a_cell_that_could_not_be_measured() -> None:
    table = table_of("transfer")
    table.loc[1, ["auroc", "low", "high"]] = math.nan
    table["note"] = ["", "one class only", *[""] * (len(table) - 2)]
    trace = next(t for t in figures.transfer(table).data if t.mode == "text")
    assert "–" in trace.text
    assert any("one class only" in text for text in trace.hovertext)


def test_overlap_keeps_colour_for_what_chance_does_not_explain() -> None:
    rows = [
        ("general", "legal", 43, 39, 14, 14 / 68, 0.05, 280.0, 1e-6),
        ("general", "code", 43, 36, 6, 6 / 73, 0.04, 150.0, 0.004),
        ("legal", "code", 39, 36, 1, 1 / 74, 0.4, 2.5, 0.3),
    ]
    figure = figures.overlap(pd.DataFrame(rows, columns=list(member("overlap").COLUMNS)))
    assert "2 of 3 pairs" in figure.layout.meta["title"]
    texts = next(t for t in figure.data if t.mode == "text").text
    assert sum("n.s." in text for text in texts) == 1


def test_a_pair_that_loudness_explains_is_not_beyond_chance() -> None:
    table = member("overlap").example()["table"]
    assert "Every one" not in figures.overlap(table).layout.meta["title"]
    beyond = int((table.p_corrected <= 0.05).sum())
    assert beyond > 1
    table["p_corrected_contribution"] = table.p_corrected
    table.loc[table.p_corrected.idxmin(), "p_corrected_contribution"] = 0.3
    title = figures.overlap(table).layout.meta["title"]
    assert title.startswith(f"{beyond - 1} of {len(table)} pairs"), title
    table["p_corrected_contribution"] = float("nan")
    assert figures.overlap(table).layout.meta["title"].startswith("None of")


def test_upset_counts_each_neuron_once_and_its_chance_is_that_of_the_layers() -> None:
    module = member("upset")
    sets = module.example()["sets"]
    union = frozenset().union(*(one.members for one in sets))
    assert sum(module.intersections(sets).values()) == len(union)
    full = [NeuronSet(frozenset((0, j) for j in range(4)), 2, 4, name=n) for n in "ab"]
    assert module.expected(full, frozenset("ab")) == pytest.approx(4)


def test_upset_numbers_sets_that_share_a_name_or_have_none() -> None:
    one = NeuronSet(frozenset({(0, 0)}), 1, 4)
    twins = [one.renamed("H-neurons"), one.renamed("H-neurons"), one, one.renamed("b")]
    shown = json.dumps(figures.upset(twins).to_plotly_json(), default=str)
    for name in ("H-neurons 1", "H-neurons 2", "set 1", '"b"'):
        assert name in shown
    three = [
        NeuronSet(frozenset({(0, i)}), 1, 4, name=name) for i, name in enumerate(["a", "a", "a 1"])
    ]
    (bars, *_), names = figures.upset(three).data, ("a 1", "a 2", "a 3")
    assert list(bars.y) == [1, 1, 1]
    shown = json.dumps(figures.upset(three).to_plotly_json(), default=str)
    assert all(f'"{name}"' in shown for name in names)
    with pytest.raises(HlensError, match="1 set; an UpSet plot needs two or more"):
        figures.upset([one])


def test_the_sweep_names_what_as_many_random_neurons_reach() -> None:
    rows = [("selected", 8, 0.85), ("selected", 64, 0.86), ("random", 8, 0.6), ("random", 64, 0.87)]
    table = pd.DataFrame(rows, columns=["neurons", "k", "auroc"])
    table["low"], table["high"], table["n"] = table.auroc - 0.02, table.auroc + 0.02, 100
    ceiling = Estimate(0.87, 0.84, 0.9, 100)
    title = figures.k_sweep(table, ceiling=ceiling).layout.meta["title"]
    assert title == "64 selected neurons reach 0.86, as many random 0.87, all of them 0.87"
    title = figures.k_sweep(table.iloc[:3], ceiling=ceiling).layout.meta["title"]
    assert title.startswith("64 selected neurons reach 0.86, no random were drawn")


def test_the_sweep_takes_its_ceiling_and_its_choice_from_the_table() -> None:
    rows = [("top neurons", 8, 0.85, False), ("top neurons", 64, 0.86, True)]
    rows += [("random, by layer", 64, 0.6, False), ("all neurons, L2", 4096, 0.87, False)]
    table = pd.DataFrame(rows, columns=["neurons", "k", "auroc", "chosen"])
    table["low"], table["high"], table["n"] = table.auroc - 0.02, table.auroc + 0.02, 100
    figure = figures.k_sweep(table)
    assert figure.layout.meta["title"].startswith("64 selected neurons reach 0.86")
    assert max(max(trace.x) for trace in figure.data) == 64
    assert "all neurons, L2: 0.87" in [trace.name for trace in figure.data]


def test_pooled_training_sets_are_drawn_but_not_counted() -> None:
    table = table_of("transfer")
    pooled = table.iloc[:6].assign(train="all domains", auroc=0.99, low=0.98)
    figure = figures.transfer(pd.concat([pooled, table], ignore_index=True))
    assert figure.layout.meta["title"] == figures.transfer(table).layout.meta["title"]
    assert figure.layout.yaxis.ticktext[-1] == "all domains"


def test_the_dose_title_without_slopes_is_of_numbers_alone() -> None:
    table = table_of("dose_response")
    assert figures.dose_response(table).layout.meta["title"] == (
        "Hallucination rate: 30% to 57% (40 H-neurons), 42% to 42% (40 random neurons)"
    )


def test_scores_never_boast() -> None:
    table = table_of("scores")
    best = table.assign(auroc=[0.7, 0.72, 0.5, 0.6])
    assert "0.70, its best control 0.72" in figures.scores(best).layout.meta["title"]
    chance = table.assign(low=[0.45, 0.6, 0.4, 0.5])
    assert "not shown to be above chance" in figures.scores(chance).layout.meta["title"]
    assert "its best control 0.72 (random neurons)" in figures.scores(table).layout.meta["title"]


def test_stable_neurons_are_counted_at_the_threshold() -> None:
    example = member("path").example()
    assert figures.path(**example).layout.meta["title"].startswith("6 neurons are kept by")
    example["threshold"] = 0.99
    assert figures.path(**example).layout.meta["title"].startswith("No neuron is kept by")


def test_the_volcano_loses_no_neuron() -> None:
    figure = drawn("volcano")
    marked = sum(len(t.x) for t in figure.data if t.type == "scatter")
    density = next(t for t in figure.data if t.type == "heatmap")
    assert marked + int(np.nansum(density.customdata)) == 3_000


def test_losses_of_both_labels_are_said() -> None:
    title = drawn("losses").layout.meta["title"]
    assert "93% of the hallucinated, 97% of the correct" in title


@pytest.mark.parametrize("name", ["transfer", "overlap", "dose_response", "k_sweep", "losses"])
def test_a_missing_column_or_row_is_an_error(name: str) -> None:
    table = table_of(name)
    with pytest.raises(HlensError, match=f"missing: {table.columns[0]}"):
        member(name).draw(table.drop(columns=table.columns[0]))
    with pytest.raises(HlensError, match="no rows"):
        member(name).draw(table.iloc[:0])


# Colour


@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_text_reads_on_its_page(colours: Any) -> None:
    for ink in (colours.ink, colours.muted, colours.positive_ink, colours.negative_ink):
        assert contrast(ink, colours.page) >= 4.5
    for scale in (colours.blues, colours.oranges):
        for share in np.linspace(0, 1, 21):
            fill = colour_at(scale, float(share))
            assert contrast(ink_on(fill), fill) >= 4.0


@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_the_weakest_mark_is_still_seen(colours: Any) -> None:
    weakest = [colour for share, colour in colours.marks if share == 0.5]
    assert len(set(weakest)) == 2
    assert all(contrast(colour, colours.page) >= 1.9 for colour in weakest)


# Explorer


def test_the_explorer_is_self_contained_and_holds_every_neuron() -> None:
    frame = str(drawn("explorer", "light"))
    assert 'sandbox="allow-scripts' in frame
    assert "allow-same-origin" not in frame
    assert not re.search(r"(?:src|href)=", frame.replace("srcdoc=", ""))
    detector = detector_of({(4, 10): 1.2, (5, 3): -0.8, (2, 40): 0.3}, (6, 64))
    page = next(iter(member("explorer").example()["pages"].values()))
    panels = member("explorer").panel_data(
        detector,
        {(4, 10): page},
        frequency=None,
        auroc=torch.full((6, 64), 0.25),
        contribution=None,
        shared={HOSTILE: detector.neurons},
        most=9,
    )
    assert list(panels) == ["L4N10", "L5N3", "L2N40"]
    assert ("AUROC alone", "0.250") in panels["L4N10"]["facts"]
    assert panels["L4N10"]["domains"] == [HOSTILE]
    assert panels["L4N10"]["strongest"][0]["values"][6] == 1.0
    assert panels["L4N10"]["strongest"][0]["values"][0] is None
    assert panels["L2N40"]["strongest"] == []


def test_a_strip_of_another_length_is_refused() -> None:
    with pytest.raises(HlensError, match="2 tokens and 1 values"):
        member("explorer").Strip(("a", "b"), (0.1,))


# CircuitsVis


@pytest.mark.parametrize("name", ["circuitsvis_text", "circuitsvis_topk"])
def test_circuitsvis_is_shown_in_a_frame_that_may_load_nothing(name: str) -> None:
    frame = str(drawn(name))
    assert 'sandbox="allow-scripts"' in frame
    assert "default-src &#x27;none&#x27;" in frame
    assert "unpkg.com" not in frame
    assert "import {" not in frame
    assert "<bos>" not in frame


def test_circuitsvis_refuses_other_lengths() -> None:
    with pytest.raises(HlensError, match="2 tokens came with activations of 3"):
        figures.circuitsvis_text(["a", "b"], np.zeros((3, 1, 1)))
    with pytest.raises(HlensError, match="give one each"):
        figures.circuitsvis_topk([["a"]], [np.zeros((1, 2, 1))])


# Gallery


def gallery() -> Any:
    return script("docs/gallery/hlens_gallery.py", "hlens_gallery")


def test_the_gallery_describes_every_figure_from_its_docstring(tmp_path: Path) -> None:
    module = gallery()
    entries = {entry.name: entry for entry in module.entries()}
    assert sorted(entries) == NAMES
    for entry in entries.values():
        file = f"the docstring of src/hlens/figures/{entry.name}.py"
        assert entry.question.endswith("?"), f"{file}: no question; write 'Question: ...?'"
        assert len(entry.reading) > 20, f"{file}: say more after 'To read it: '"
        assert len(entry.misleads) > len("It misleads ") + 20, (
            f"{file}: say more after 'It misleads '"
        )
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "upset-dark.png").write_bytes(b"")
    page = module.write_gallery(tmp_path).read_text(encoding="utf-8")
    assert page.count("\n## ") == len(NAMES)
    assert re.findall(r"\{image\} (\S+)", page) == ["images/upset-dark.png"]
    assert "hlens.figures.upset(sets)" in page


def test_the_gallery_shows_further_examples_of_a_figure(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    picture = "neuron_map-a_mixture_of_experts-light.png"
    (tmp_path / "images" / picture).write_bytes(b"")
    page = gallery().write_gallery(tmp_path).read_text(encoding="utf-8")
    assert re.findall(r"\{image\} (\S+)", page) == [f"images/{picture}"]
    assert page.count("The same of a mixture of experts:") == 1


def test_flips_are_weighed_against_random_sets() -> None:
    table = table_of("flips")
    assert "at 3 of 4 doses (chance: 0.9)" in figures.flips(table).layout.meta["title"]
    alone = table[table.kind == "target"]
    assert "no random set was run" in figures.flips(alone).layout.meta["title"]
    bars = [trace for trace in figures.flips(table).data if trace.type == "bar"]
    assert list(bars[0].y) == [2, 1, 5, 11]
    assert list(bars[1].y) == [-9, -3, -1, -2]


def test_a_dose_title_by_slopes_says_what_random_sets_do() -> None:
    table = table_of("dose_response")
    row = {"kind": "target", "set": "H-neurons", "unit": "share", "slope": 0.09, "low": 0.05}
    row |= {"high": 0.13, "n_random": 8, "rank": 0, "over_low": 0.02, "over_high": 0.1}
    row |= {"behaviour": "b", "over_random": 0.06}

    def title(**change: float) -> str:
        slopes = pd.DataFrame([row | change])
        return figures.dose_response(table, slopes=slopes).layout.meta["title"]

    assert title().endswith(
        "raises hallucination rate by 9.0 points per α, beyond all 8 random sets"
    )
    assert title(low=-0.01, over_low=-0.1).endswith("9.0 points per α, its interval holds 0")
    assert title(rank=3).endswith("3 of 8 random sets do as much")
    assert title(over_low=-0.1).endswith("steeper than 8 random sets, within the noise")


def test_the_patching_map_rings_only_what_no_random_set_does() -> None:
    table = table_of("patching")
    rings = drawn("patching").data[-1]
    assert sorted(zip(rings.x, rings.y, strict=True)) == [(5, 1), (9, 3)]
    assert drawn("patching").layout.meta["title"].endswith("beyond 4 random sets")
    within = table.assign(random_high=0.5)
    assert figures.patching(within).layout.meta["title"].endswith("within 4 random sets")
    none = table.assign(effect=0.001)
    assert figures.patching(none).layout.meta["title"].startswith("No layer's neurons restore")


def test_the_front_holds_what_no_control_beats() -> None:
    example = member("pareto").example()
    assert drawn("pareto").layout.meta["title"].startswith("4 of 4 doses of H-neurons move more")
    example["table"] = example["table"].assign(dominated=example["table"].kind == "target")
    assert figures.pareto(**example).layout.meta["title"].startswith("None of the 4 doses")


@pytest.mark.parametrize(
    "name", ["scores", "tokens", "explorer", "overlap_explorer", "circuitsvis_text"]
)
def test_every_page_may_ask_no_host_and_runs_its_own_scripts_alone(
    tmp_path: Path, name: str
) -> None:
    page = drawn(name).save(tmp_path / "page.html").read_text(encoding="utf-8")
    rules = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert rules is not None
    assert rules[1].startswith("default-src 'none'; script-src '")
    assert "unsafe-inline" not in rules[1].partition("script-src")[2].partition(";")[0]
    inner = html.unescape("".join(re.findall(r'srcdoc="([^"]*)"', page)))
    running = r"<script(?! type=.text/plain)[^>]*>(.*?)</script>"
    for text in re.findall(running, page + inner, re.DOTALL):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in rules[1]


def test_a_page_or_picture_that_hlens_did_not_write_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        sys.modules, "kaleido", SimpleNamespace(calc_fig_sync=lambda *_, **__: b"%PDF-1.4 new")
    )
    for name in ("mine.html", "mine.pdf", "mine.JPG"):
        (tmp_path / name).write_text("of my own")
        with pytest.raises(HlensError, match="hlens did not write it"):
            drawn("scores").save(tmp_path / name)
        assert (tmp_path / name).read_text() == "of my own"
    for name in ("new.html", "new.PDF"):
        first = drawn("scores").save(tmp_path / name).read_bytes()
        assert drawn("scores").save(tmp_path / name).read_bytes() == first
    for name in ("none", ".html", "x.htm"):
        with pytest.raises(HlensError, match=r"cannot save .* expected"):
            drawn("scores").save(tmp_path / name)


def test_a_reader_s_spans_are_underlined_and_the_threshold_is_not() -> None:
    spans = [MarkedSpan(0, 2, True), MarkedSpan(3, 4, False)]
    strip = figures.tokens(
        ["p", " a", " b", " c", " d"], [math.nan, 0.9, 0.1, 0.2, 0.3], n_prompt=1, spans=spans
    )
    assert strip.alt.endswith("1 of 4 tokens at or above 0.5; 1 span marked as hallucinated")
    body = str(strip).partition('class="hl-marked">')[2]
    marked = re.findall(r'<span class="hl-t([^"]*)"[^>]*>([^<]*)<', body)
    assert marked == [
        (" hl-prompt", "p"), (" hl-bold hl-wrong", "a"), (" hl-wrong", " b"), ("", " c"),
        (" hl-right", "d"),
    ]  # fmt: skip
    assert body.count('tabindex="0"') == 2  # the first token of each span
    assert body.count("marked as hallucinated") == 2
    (band,) = re.findall(r'<svg class="hl-map" viewBox="0 0 4 25".*?</svg>', str(strip))
    assert 'class="hl-wrong" x="0" y="20" width="2"' in band
    assert 'class="hl-right" x="3" y="20" width="1"' in band
    assert 'class="hl-bar" x="0" y="1.8" width="1" height="16.2"' in band  # 18 times 0.9


def test_what_is_marked_twice_is_shown_as_hallucinated() -> None:
    both = [MarkedSpan(0, 2, True), MarkedSpan(0, 3, False)]
    strip = str(figures.tokens(["a", "b", "c"], [0.1, 0.1, 0.1], spans=both))
    body = strip.partition('class="hl-marked">')[2]
    assert re.findall(r'class="hl-t ([^"]*)"', body) == ["hl-wrong", "hl-wrong", "hl-right"]


def test_a_long_answer_has_no_more_bars_than_a_screen_has_room_for() -> None:
    n = 3001
    strip = str(figures.tokens(["a"] * n, [0.5] * n, spans=[MarkedSpan(0, 1, True)]))
    assert strip.count('class="hl-bar"') == 400
    widths = re.findall(r'class="hl-bar" x="\d+" y="[\d.]+" width="(\d+)"', strip)
    assert sum(map(int, widths)) == n


def test_a_span_beyond_the_answer_is_refused() -> None:
    with pytest.raises(HlensError, match=r"span \[1, 3\) of an answer of 2 tokens"):
        figures.tokens(
            ["p", "a", "b"], [math.nan, 0.1, 0.1], n_prompt=1, spans=[MarkedSpan(1, 3, True)]
        )


# For a paper


def drawn_by_plotly(name: str) -> Any:
    """The example of a member that is drawn by plotly."""
    figure = drawn(name)
    if not isinstance(figure, Figure):
        pytest.skip(f"{name} is a page")
    return figure


def drawn_for(width: Any, monkeypatch: pytest.MonkeyPatch, folder: Path, **options: Any) -> Any:
    """What the scores are handed to kaleido as, and with which options, for a width."""
    asked: dict[str, Any] = {}

    def calc(figure: Any, opts: Any, kopts: Any) -> bytes:
        asked.update(figure=figure, **opts)
        return b"%PDF"

    monkeypatch.setitem(sys.modules, "kaleido", SimpleNamespace(calc_fig_sync=calc))
    name = options.pop("name", "scores")
    drawn(name).save(folder / options.pop("file", "a.pdf"), width=width, **options)
    return SimpleNamespace(**asked)


def test_a_column_is_as_wide_as_was_asked_and_its_type_is_legible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for width, points in (("84mm", 7), ("5.5in", 7), ("240pt", 7)):
        picture = drawn_for(width, monkeypatch, tmp_path)
        pixels = {"84mm": 84 / 25.4 * 96, "5.5in": 528, "240pt": 320}[width]
        assert picture.width * picture.scale == pytest.approx(pixels, abs=1)
        assert 9 * picture.scale == pytest.approx(points, rel=0.05)
    wide = drawn_for("90mm", monkeypatch, tmp_path, name="leaderboard", height="50mm")
    assert wide.width == 560
    assert wide.height * wide.scale == pytest.approx(50 / 25.4 * 96, abs=1)
    assert drawn_for("84mm", monkeypatch, tmp_path, file="a.png").scale == pytest.approx(
        300 / 96 * 7 / 9, rel=0.05
    )
    assert drawn_for(700, monkeypatch, tmp_path).scale == 2


def test_without_a_title_a_picture_is_the_lower_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = drawn("scores")
    bare = drawn_for("84mm", monkeypatch, tmp_path, title=False)
    assert "text" not in bare.figure["layout"]["title"]
    assert bare.height == figure.layout.height - figure.meta["words"]
    titled = drawn_for("84mm", monkeypatch, tmp_path)
    lines = re.sub("<[^>]*>", "\n", titled.figure["layout"]["title"]["text"]).split("\n")
    assert max(map(len, lines)) <= 0.42 * 90
    words = re.sub(r"\s", "", html.unescape("".join(lines)))  # some are kept from breaking
    assert words == (figure.meta["title"] + figure.meta["subtitle"]).replace(" ", "")
    assert titled.height > figure.layout.height
    assert figure.meta == drawn("scores").meta  # which is as it was


def test_a_column_that_is_too_narrow_says_how_wide_it_must_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HlensError, match=r"3\.6 points high; give it 83mm or more"):
        drawn_for("60mm", monkeypatch, tmp_path, name="leaderboard")
    for size in ("84", "84 ells", "-3in", "0mm", "1e9mm", "999in", 3, 10**9, ""):
        with pytest.raises(HlensError, match="no size of a figure; give pixels"):
            drawn_for(size, monkeypatch, tmp_path)
    with pytest.raises(HlensError, match="a page, which is as wide as its window"):
        drawn("scores").save(tmp_path / "a.html", width="84mm")
    assert not [*tmp_path.iterdir()]
    page = drawn("scores").save(tmp_path / "a.html", title=False).read_text(encoding="utf-8")
    assert drawn("scores").meta["title"] not in re.sub(r'"meta":\{[^}]*\}', "", page)


@pytest.mark.parametrize("name", lookup.names("figures"))
def test_axis_titles_of_a_column_are_no_wider_than_their_axes(name: str) -> None:
    figure = drawn_by_plotly(name)
    width = figure.meta["narrowest"]
    fitted: Any = figure.fitted(width)
    space = width - fitted.layout.margin.l - fitted.layout.margin.r
    for axis in fitted.select_xaxes():
        start, end = axis.domain or (0, 1)
        for line in (axis.title.text or "").split("<br>"):
            letters = len(html.unescape(re.sub("<[^>]*>", "", line)))
            assert letters <= max(26, (end - start) * space / 6), line


def look_of(trace: Any) -> tuple[str, tuple[Any, ...]] | None:
    """The one colour of a trace, and the shape beside it."""
    marker: Any = getattr(trace, "marker", None)
    line, mode = getattr(trace, "line", None), getattr(trace, "mode", None)
    is_bar, has_marks = trace.type == "bar", "markers" in (mode or "")
    colour = marker.color if is_bar or has_marks else line and line.color
    if not isinstance(colour, str) or not colour.startswith("#"):
        return None
    shape = marker.pattern.shape if is_bar else marker.symbol if has_marks else None
    # Bars on either side of a line are told apart by their side.
    side = np.sign(sum(trace.x if trace.orientation == "h" else trace.y)) if is_bar else 0
    return colour, (trace.type, mode, shape, line and line.dash, side)


@pytest.mark.parametrize("name", lookup.names("figures"))
def test_what_colours_tell_apart_is_told_apart_in_grey(name: str) -> None:
    """Printed in grey, colours of about one lightness need another shape, dash or hatch."""
    looks = [look for trace in drawn_by_plotly(name).data if (look := look_of(trace))]
    for number, (colour, shape) in enumerate(looks):
        for other, its_shape in looks[:number]:
            if colour != other and contrast(colour, other) < 1.5:
                assert shape != its_shape, (
                    f"{name}: {colour} and {other} are one grey, and both are {shape}: give one of "
                    "them another symbol, dash or hatch"
                )
