"""Mixtures in figures, tables and nulls: neurons stand at their expert, are named and counted."""

import json
import re
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

import hlens
import mixture_maps as made_maps
from hlens import figures
from hlens.drawing.figure import Figure
from hlens.evaluation import (
    Halves,
    expert_usage,
    frequency_correlation,
    overlap,
    split_by_group,
    split_halves,
    univariate,
)
from hlens.evaluation.auroc import auroc
from hlens.evaluation.fitting import refit_scores
from hlens.evaluation.overlap import null_strata
from hlens.evaluation.sparsity import rank_neurons
from hlens.figures.explorer import panel_data
from hlens.figures.neuron_map.places import ExpertPlaces, places_of
from hlens.probe import SparseProbe
from hlens.report.sections import neurons as neuron_table
from hlens.selection import stability
from hlens.store.sharing_card import sharing_card
from hlens.types import Contributions, Detector, Experts, NeuronSet, Provenance, address
from synthetic import made

SHAPES = {
    "uniform": made_maps.QWEN3_30B,
    "dense first layer, shared experts": made_maps.DEEPSEEK_V2_LITE,
    "few experts": made_maps.MIXTRAL,
    "every other layer": made_maps.EVERY_OTHER,
    "layers of several kinds": ((4, 10, 6), (2, 3, 0), (0, 0, 46), (4, 1, 1)),
}


def empty(experts: Experts) -> NeuronSet:
    widest = max(n * width + beside for n, width, beside in experts)
    return NeuronSet(frozenset(), len(experts), widest, experts=experts)


def marks(figure: Figure) -> dict[str, tuple[float, float]]:
    """Where each neuron is marked, by its address."""
    return {
        name: (float(x), float(y))
        for trace in figure.data
        if trace.type == "scatter" and trace.hovertext is not None
        for name, x, y in zip(trace.hovertext, trace.x, trace.y, strict=True)
    }


def scatters(figure: Figure) -> list[Any]:
    return [trace for trace in figure.data if trace.type == "scatter"]


# The map


@pytest.mark.parametrize("experts", SHAPES.values(), ids=SHAPES)
def test_each_neuron_is_marked_at_its_expert_and_named_by_it(experts: Experts) -> None:
    neurons = empty(experts)
    draw = np.random.default_rng(0)
    ends = {(a, i) for a, width in enumerate(neurons.widths) for i in (0, width // 2, width - 1)}
    some = {(a, int(draw.integers(width))) for a, width in enumerate(neurons.widths)}
    neurons = replace(neurons, members=frozenset(ends | some))
    figure = figures.neuron_map(neurons)
    found, end = marks(figure), figure.layout.xaxis.range[1]
    assert set(found) == {neurons.address(one) for one in neurons}
    for layer, index in neurons:
        x, y = found[neurons.address((layer, index))]
        n, width, _ = experts[layer]
        assert y == layer
        if index < n * width:
            expert, within = divmod(index, width)
            assert x == pytest.approx(expert + (within + 0.5) / width)
        else:  # in the strip, behind the experts of whichever layer has most
            assert max(n for n, _, _ in experts) < x < end
    assert figure.layout.xaxis.range[0] == 0


@pytest.mark.parametrize("experts", SHAPES.values(), ids=SHAPES)
def test_bins_of_the_backdrop_end_where_experts_do(experts: Experts) -> None:
    places: Any = places_of(empty(experts))
    assert isinstance(places, ExpertPlaces)
    widths = empty(experts).widths
    for layer, (n, width, _) in enumerate(experts):
        index = np.arange(widths[layer])
        bins = places.bins(layer, index)
        assert (np.diff(bins) >= 0).all()
        assert places.there(layer)[bins].all()
        of = np.where(index < n * width, index // max(width, 1), n)
        assert all(len(np.unique(of[bins == one])) == 1 for one in np.unique(bins))


def test_the_backdrop_shows_the_best_neuron_of_a_bin_and_blanks_what_is_no_neuron() -> None:
    experts = ((0, 0, 6), (4, 2, 3))
    alone = torch.full((2, 11), 0.5)
    alone[0, 5], alone[1, 3], alone[1, 9] = 0.9, 0.7, 0.6
    alone[0, 6:] = 1.0  # no neurons, whatever stands there
    figure = figures.neuron_map(empty(experts), auroc=alone)
    heat = next(t for t in figure.data if t.type == "heatmap")
    places: Any = places_of(empty(experts))
    z = np.array(heat.z)
    assert z.shape == (2, places.n_bins)
    centres = heat.x0 + heat.dx * np.arange(places.n_bins)
    assert not z[0][centres < 4].any()  # the dense layer has no experts
    assert not z[:, (centres > 4) & (centres < places.strip[0])].any()  # the gap
    assert z.max() == z[0, int(places.bins(0, np.array([5])).item())] == 255
    assert z[1, int(places.bins(1, np.array([3])).item())] == round(255 / 2)
    assert z[1, int(places.bins(1, np.array([0])).item())] == 1  # there, and at chance


def test_the_strip_is_named_for_what_it_holds() -> None:
    def labels(experts: Experts) -> list[str]:
        return list(figures.neuron_map(empty(experts)).layout.xaxis.ticktext)

    assert labels(((4, 2, 0),) * 2) == ["0", "1", "2", "3"]
    assert labels(((4, 2, 3),) * 2)[-1] == "shared"
    assert labels(((0, 0, 8), (4, 2, 0)))[-1] == "dense"
    assert labels(((0, 0, 8), (4, 2, 3)))[-1] == "shared<br>or dense"
    assert labels(made_maps.QWEN3_30B) == [str(tick) for tick in range(0, 128, 16)]


def test_a_map_says_how_neurons_gather_in_experts_only_beyond_chance() -> None:
    experts = made_maps.QWEN3_30B
    gathered = figures.neuron_map(made_maps.detector(experts)).meta
    assert re.search(r", half in layers 31–34, half in \d of 6,144 experts$", gathered["title"])
    assert "spread evenly in each layer, 42 experts would hold half" in gathered["subtitle"]
    # As many in each layer, anywhere in it: gathered in layers, and not in experts.
    even = made_maps.detector(experts).selected.random_like(1)
    meta = figures.neuron_map(even).meta
    assert meta["title"].endswith("half of them in layers 31–34")
    assert re.search(r"half in 4\d of 6,144 experts; spread evenly in each layer, 42 would",
                     meta["subtitle"])  # fmt: skip


def test_random_sets_are_rarely_said_to_gather_in_experts() -> None:
    like = made_maps.detector(made_maps.DEEPSEEK_V2_LITE, n_gathered=0).selected
    titles = [figures.neuron_map(one).meta["title"] for one in like.random_sets(40)]
    assert sum("experts" in title for title in titles) <= 5  # 2 expected at most


def test_neurons_of_dense_layers_are_not_said_to_be_in_experts() -> None:
    title = figures.neuron_map(made_maps.detector(made_maps.EVERY_OTHER)).meta["title"]
    assert re.search(r"half of the 72 in layers with experts in \d of 1,548 experts", title)


def test_shares_and_even_spreads_count_the_neurons_that_are_there() -> None:
    experts = ((0, 0, 50), (5, 10, 50))
    members = frozenset({(0, 1), (0, 2), (1, 3)})
    figure = figures.neuron_map(NeuronSet(members, 2, 100, experts=experts))
    assert "3 selected (2%)" in figure.meta["subtitle"]
    assert "2 layers, 1 with 5 experts × 10 neurons + 50 shared" in figure.meta["subtitle"]
    even = next(
        t for t in scatters(figure) if t.mode == "lines" and t.xaxis == "x2" and len(t.x) > 1
    )
    assert dict(zip(even.y, even.x, strict=False)) == {-0.5: 1.0, 0.5: 2.0, 1.5: 2.0}


def test_the_densest_experts_are_counted_in_the_picture_where_marks_overlap() -> None:
    def numbers(experts: Experts) -> list[int]:
        found = figures.neuron_map(made_maps.detector(experts))
        texts = [t.text for t in scatters(found) if t.mode == "text"]
        return [int(text.strip("\xa0×")) for text in texts[0]] if texts else []

    assert sum(numbers(made_maps.QWEN3_30B)) >= 45
    assert numbers(made_maps.MIXTRAL) == []


def test_a_model_without_experts_is_drawn_as_ever() -> None:
    """Layers that are said to be dense and of one width: nothing but the addresses is added."""
    example = hlens.lookup.member("figures", "neuron_map").example()
    found = example["detector"]
    n_layers, d_mlp = found.weights.shape
    said = replace(found, provenance=replace(found.provenance, experts=((0, 0, d_mlp),) * n_layers))
    plain, other = (
        json.loads(str(figures.neuron_map(**{**example, "detector": one}).to_json()))
        for one in (found, said)
    )
    for trace in plain["data"] + other["data"]:
        trace.pop("hovertext", None)
        trace.pop("hovertemplate", None)
    assert plain == other
    assert all(t.hovertext is None for t in figures.neuron_map(found).data)


def test_the_map_of_a_large_mixture_is_small() -> None:
    found = made_maps.detector(((256, 512, 512),) * 40, n=2_300, n_gathered=300)
    figure = figures.neuron_map(found, auroc=made_maps.auroc(found))
    assert len(figure.to_json()) < 220_000
    assert len(marks(figure)) == 2_000


# Other figures and tables


def test_the_explorer_finds_a_mark_by_its_address_and_rings_its_place() -> None:
    found = made_maps.detector(made_maps.DEEPSEEK_V2_LITE)
    none: dict[str, Any] = dict.fromkeys(("frequency", "auroc", "contribution", "shared"))
    panels = panel_data(found, {}, **none, most=2_000)
    places = marks(figures.neuron_map(found))
    assert set(panels) == set(places)
    for name, panel in panels.items():
        assert panel["at"] == pytest.approx([places[name][1], places[name][0]])


def test_path_and_volcano_name_neurons_by_expert() -> None:
    experts = ((4, 10, 6),) * 12
    path = hlens.lookup.member("figures", "path")
    example = path.example()
    for table in (example["path"], example["stability"]):
        table["neuron"] %= 46
    texts = [t.text for t in path.draw(**example, experts=experts).data if t.text is not None]
    assert any("L1E0N7" in text for text in texts)
    volcano = hlens.lookup.member("figures", "volcano")
    example = {**volcano.example(), "selected": None}
    drawn = volcano.draw(**example, experts=((10, 20, 50),) * 12)
    names = [name for t in drawn.data if t.type == "scatter" for name in t.text]
    assert "L0E0N2" in names
    assert all("E" in name or "S" in name for name in names)


def test_a_sharing_card_speaks_of_experts() -> None:
    found = made_maps.detector(made_maps.DEEPSEEK_V2_LITE)
    card = sharing_card(found, "there")
    assert f"90 of {found.selected.n_neurons:,} MLP neurons" in card
    assert "27 layers, 26 with 64 experts × 1,408 neurons + 2,816 shared" in card
    assert re.search(r"\| L\d+E\d+N\d+ \| [+-]", card)
    assert "hook" not in card
    assert "None" not in card


# A planted neuron of an expert

EXPERTS: Experts = ((0, 0, 12), (6, 8, 4), (6, 8, 4))
PLANTED = (1, 3 * 8 + 5)


@cache
def planted(seed: int = 0, shift: float = 3.0) -> Contributions:
    """Contributions of a mixture: experts that answers are not routed to contribute nothing."""
    data = made(600, n_layers=3, d_mlp=52, planted={PLANTED: shift}, seed=seed)
    values, draw = data.values.clone(), torch.Generator().manual_seed(seed)
    for layer, (n, width, beside) in enumerate(EXPERTS):
        values[:, layer, n * width + beside :] = 0.0
        for expert in range(n):
            used = torch.rand(len(data), generator=draw) < (0.9 if expert % 2 else 0.3)
            values[:, layer, expert * width : (expert + 1) * width] *= used[:, None]
    return replace(data, values=values, provenance=Provenance(model="made", experts=EXPERTS))


@cache
def found_on(seed: int = 0) -> Detector:
    return hlens.find(planted(seed), SparseProbe(C="cv"))


def test_a_planted_neuron_of_an_expert_is_found_and_named_in_map_and_table() -> None:
    found, name = found_on(), "L1E3N5"
    assert address(PLANTED, EXPERTS) == name
    weights = found.selected.weights or {}
    assert max(weights, key=lambda neuron: abs(weights[neuron])) == PLANTED
    figure = figures.neuron_map(found)
    positive: Any = next(t for t in figure.data if t.name == "hallucination-associated")
    assert positive.hovertext[-1] == name  # the strongest is drawn last
    assert 3 < positive.x[-1] < 4
    rows = str(neuron_table.draw(found).content[0])
    assert re.findall(r"\bL\d+(?:E\d+|S)?N\d+\b", rows)[0] == name


def test_random_neurons_of_experts_that_are_used_alike_tell_nothing() -> None:
    train, test = split_by_group(planted(), 0.3, seed=0)
    neurons = replace(found_on().selected, members=frozenset({PLANTED}), weights=None)

    def told(one: NeuronSet) -> float:
        return float(auroc(refit_scores(train, test, neurons=one.flat_indices), test.labels))

    assert told(neurons) > 0.85
    usage = expert_usage(train)
    drawn = list(neurons.random_sets(20, match="expert", usage=usage))
    assert all(address(n, EXPERTS)[:3] in ("L1E", "L1S") for one in drawn for n in one)
    assert np.mean([told(one) for one in drawn]) < 0.6


def test_what_is_no_neuron_is_neither_tested_nor_ranked() -> None:
    data = planted()
    table = univariate(data)
    assert len(table) == data.n_neurons == 12 + 52 + 52
    assert table[["layer", "neuron"]].apply(tuple, axis=1).is_unique
    assert not ((table.layer == 0) & (table.neuron >= 12)).any()
    assert tuple(table.loc[table.p.idxmin(), ["layer", "neuron"]]) == PLANTED
    order = rank_neurons(data, SparseProbe(C=0.05), n=data.n_neurons)
    assert len(set(order)) == data.n_neurons
    assert all(index % 52 < (12 if index < 52 else 52) for index in order)
    broken = replace(data, values=data.values.clone())
    broken.values[0, 1, 50] = float("nan")
    with pytest.raises(hlens.HlensError, match="L1SN2"):
        univariate(broken)


def test_bounds_and_nulls_count_the_neurons_that_are_there() -> None:
    data = planted()
    stable = stability(data, n_pairs=10, threshold=0.75)
    assert stable.stable.experts == EXPERTS
    assert PLANTED in stable.stable
    assert stable.expected_false == pytest.approx(stable.n_selected**2 / (0.5 * data.n_neurons))
    halves = split_halves(data, SparseProbe(C=0.1), repeats=1)
    again = Halves.of_tables([_stored(halves.table())])
    ((stored, kept),) = zip(again.sets["general"], halves.sets["general"], strict=True)
    assert [(a.members, a.experts) for a in stored] == [(b.members, EXPERTS) for b in kept]
    one, two = torch.rand(2, 3, 52, generator=torch.Generator().manual_seed(0)).round()
    one[0, 12:] = two[0, 12:] = 0.0  # agreement where there is nothing to agree on
    there = np.r_[0:12, 52:156]
    rho = spearmanr(one.flatten()[there], two.flatten()[there])[0]
    frame = frequency_correlation({"a": one, "b": two}, experts=EXPERTS)
    assert frame.rho.item() == pytest.approx(rho)
    assert frequency_correlation({"a": one, "b": two}).rho.item() > rho


def _stored(table: pd.DataFrame) -> pd.DataFrame:
    """The table as it comes back from a file, whose lists were tuples."""
    table.attrs = json.loads(json.dumps(table.attrs))
    return table


def test_the_upset_and_the_overlap_expect_what_layers_of_several_widths_give() -> None:
    expected = hlens.lookup.member("figures", "upset").expected
    sets = [
        NeuronSet(frozenset((0, i) for i in range(at, at + 6)), 3, 52, name=name, experts=EXPERTS)
        for name, at in (("a", 0), ("b", 3))
    ]
    assert expected(sets, frozenset({"a", "b"})) == pytest.approx(6 * 6 / 12)
    assert overlap(sets).iloc[0].expected == pytest.approx(6 * 6 / 12)
    mean = planted().values.mean(dim=0)
    strata = null_strata(sets[0], "contribution", contribution=mean).reshape(3, 52)
    assert not set(strata[0, :12]) & set(strata[0, 12:])
