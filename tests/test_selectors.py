"""Selectors in planted worlds: where each should win, lose or tie, and does."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import hlens
from hlens import selectors
from hlens.audit import compare_selectors, selectors_across
from hlens.errors import HlensError
from hlens.evaluation import auroc, k_sweep, split_by_group, split_halves
from hlens.evaluation.fitting import fit_detector, refit_scores
from hlens.figures import selectors as figure
from hlens.probe import SparseProbe
from hlens.probe.ways import probe_of
from hlens.selectors.cna import fires_everywhere
from hlens.types import Contributions
from synthetic import joined, made

N, LAYERS, WIDTH = 400, 4, 200
CHOSEN = [name for name in selectors.names() if name != "attribution"]


def world(kind: str, seed: int = 0) -> Contributions:
    """Contributions of 800 neurons, of which some follow the label."""
    data = made(N, d_mlp=WIDTH, n_layers=LAYERS, per_group=2, seed=seed)
    draw, label = np.random.default_rng(seed + 7), data.labels.numpy()
    values = data.values.clone()

    def plant(layer: int, neuron: int, signal: np.ndarray) -> None:
        values[:, layer, neuron] = torch.from_numpy(1 + signal).float()

    if kind == "twins":  # one reading twelve times over, and six weaker ones of their own
        one = 0.8 * label + draw.normal(size=N) * 0.5
        for neuron in range(12):
            plant(1, neuron, one + 0.02 * draw.normal(size=N))
        for neuron in range(6):
            plant(2, neuron, 0.5 * label + draw.normal(size=N) * 0.5)
    if kind == "loud":  # quiet neurons that tell, and loud ones that tell little
        for neuron in range(6):
            plant(1, neuron, 0.05 * label + draw.normal(size=N) * 0.04)
            plant(2, neuron, 6 * label + draw.normal(size=N) * 30)
    if kind == "everywhere":  # one neuron fires in every answer, a little more in wrong ones
        plant(3, 5, 60 + 9 * label + 2 * draw.normal(size=N))
        for neuron in range(6):
            plant(1, neuron, 0.8 * label + draw.normal(size=N) * 0.5)
    return replace(data, values=values)


def read(kind: str, k: int = 6, probe: SparseProbe | None = None) -> dict[str, dict]:
    train, test = split_by_group(world(kind), 0.4, seed=0)
    table = compare_selectors(train, test, k, selectors=CHOSEN, probe=probe, draws=20, halves=2)
    assert (table["note"] == "").all(), table["note"].tolist()
    return {row["selector"]: row for row in table.to_dict("records")}


def test_jointly_fitted_beats_alone_where_neurons_repeat_one_another() -> None:
    rows = read("twins")
    assert rows["best_alone"]["difference"] > 0.03
    assert rows["best_alone"]["difference_low"] > 0
    assert rows["best_alone"]["p"] <= 0.05


def test_a_difference_of_means_follows_what_is_loud_and_so_does_an_unscaled_probe() -> None:
    scaled = read("loud")
    assert abs(scaled["best_alone"]["difference"]) < 0.02
    assert scaled["best_alone"]["with_l1"] >= 5 / 6
    rows = read("loud", probe=probe_of("hlens", scale=None))
    assert rows["best_alone"]["difference_high"] < 0
    assert rows["best_alone"]["auroc"] > 0.8
    assert rows["best_alone"]["with_l1"] <= 1 / 6
    assert abs(rows["cna"]["difference"]) < 0.05
    assert rows["cna"]["with_l1"] >= 5 / 6


def test_what_fires_everywhere_is_left_out_by_cna_alone() -> None:
    data = world("everywhere")
    place = 3 * WIDTH + 5
    assert fires_everywhere(data)[place]
    assert place not in selectors.named("cna")(data, 6).flat_indices
    assert place in selectors.named("best_alone")(data, 6).flat_indices
    assert place in selectors.named("l1")(data, 6).flat_indices


def test_on_noise_all_tie_and_nothing_comes_back() -> None:
    beyond = []
    for seed in range(8):
        train, test = split_by_group(world("noise", seed), 0.4, seed=0)
        table = compare_selectors(
            train, test, 6, selectors=["cna", "random"], draws=19, halves=1, seed=seed
        ).set_index("selector")
        beyond.append(table.loc["random", "p"] <= 0.05)
        assert table.loc["l1", "shared"] <= 1 / 3
        assert 0.3 < table.loc["cna", "auroc"] < 0.7
    assert sum(beyond) <= 2  # of eight tests at 5 %


@pytest.mark.parametrize("name", CHOSEN)
def test_a_selector_names_k_neurons_by_the_seed(name: str) -> None:
    data = world("twins")
    selector = selectors.named(name)
    first = selector(data, 5, seed=3)
    assert len(first) == 5
    assert first == selector(data, 5, seed=3)
    assert first.name == name
    if "random" in name:
        assert first != selector(data, 5, seed=4)
    planted = {(1, neuron) for neuron in range(12)} | {(2, neuron) for neuron in range(6)}
    assert ("random" in name) != (len(first.members & planted) >= 4)


def test_attribution_reads_its_own_formula() -> None:
    data = world("twins")
    other = replace(data, metric="gradient_x_activation")
    selector = selectors.named("attribution")
    means = data.values[data.labels].mean(0) - data.values[~data.labels].mean(0)
    strongest = int(means.abs().flatten().argmax())
    assert selector(other, 1).flat_indices == [strongest]
    with pytest.raises(HlensError, match="reads gradient_x_activation, the contributions are cett"):
        selector(data, 1)
    train, test = split_by_group(data, 0.4, seed=0)
    asked = {"selectors": ["attribution"], "halves": 1}
    (_, absent) = compare_selectors(train, test, 3, **asked).to_dict("records")
    assert absent["note"] == "gradient_x_activation was not measured"
    measured = replace(train, metric="gradient_x_activation")
    (_, there) = compare_selectors(train, test, 3, others=[measured], **asked).to_dict("records")
    assert there["auroc"] > 0.6


def test_where_layers_are_narrower_a_selector_names_neurons_that_are_there() -> None:
    experts = ((0, 0, 28), (0, 0, 30), (3, 10, 0))
    data = made(120, d_mlp=30, n_layers=3, planted={(2, 5): 3.0}, per_group=2)
    values = data.values.clone()
    values[:, 0, 28:] = 0
    data = replace(data, values=values, provenance=replace(data.provenance, experts=experts))
    for name in CHOSEN:
        chosen = selectors.named(name)(data, 2)
        assert ("random" in name) or (2, 5) in chosen.members, name


def test_a_half_that_is_too_small_costs_its_share_and_no_more() -> None:
    data = made(90, n_layers=2, d_mlp=100, planted={(1, 3): 2.0}, per_group=1)
    train, test = split_by_group(data, 0.34, seed=0)
    found = hlens.find(train, hlens.SparseProbe(C=30.0)).selected
    table = compare_selectors(
        train, test, len(found), found=found, selectors=["cna", "random"], draws=5, halves=1
    ).set_index("selector")
    assert table["auroc"].notna().all()
    assert table.loc["l1", "note"].startswith(f"on a half: no penalty selects {len(found)}")
    assert np.isnan(table.loc["l1", "shared"])
    unfound = compare_selectors(train, test, 60, selectors=["cna"], halves=1).set_index("selector")
    assert unfound.loc["l1", "note"].startswith("no penalty selects 60")
    assert unfound["auroc"].notna().tolist() == [False, True]


def test_a_detectors_own_set_is_what_others_are_compared_with() -> None:
    data = world("twins")
    train, test = split_by_group(data, 0.4, seed=0)
    found = selectors.named("best_alone")(train, 4)
    table = compare_selectors(
        train, test, 500, found=found, selectors=["cna", "matched_random"], draws=3, halves=1
    ).set_index("selector")
    assert table["neurons"].tolist() == [4, 400, 4]  # half of the model's at most


TITLES = {
    "not above chance": ({"auroc": 0.52, "low": 0.47}, "is not shown to be above chance"),
    "random as good": ({"p": 0.3}, "not more than random ones"),
    "beaten": ({}, "more than random ones, more than best alone and CNA"),
    "lost": ({"difference_low": -0.05, "difference_high": -0.01}, "less than stability"),
}


@pytest.mark.parametrize("what", TITLES)
def test_a_title_says_what_the_table_shows(what: str) -> None:
    change, said = TITLES[what]
    table = figure.example()["table"]
    row = {"not above chance": "l1", "random as good": "random", "lost": "stability"}.get(what)
    for column, value in change.items():
        table.loc[table["selector"] == row, column] = value
    assert said in str(figure.draw(table).layout.title.text).replace("<br>", " ")


def test_a_mistake_is_one_line() -> None:
    data = world("noise")
    with pytest.raises(HlensError, match="k=401; expected a whole number from 1 to 400"):
        selectors.named("cna")(data, 401)
    with pytest.raises(HlensError, match="have one label"):
        selectors.named("cna")(replace(data, labels=torch.ones_like(data.labels)), 3)
    with pytest.raises(HlensError, match="unknown member of selectors 'l2'"):
        selectors.named("l2")


# --- In the place of a probe, and between domains ------------------------------------------------


def test_a_selector_takes_the_place_of_a_probe() -> None:
    train, test = split_by_group(world("twins"), 0.4, seed=0)
    found = fit_detector(train, selectors.probe("best_alone", 6))
    neurons = selectors.named("best_alone")(train, 6)
    assert found.selected.members == neurons.members
    scores = refit_scores(train, test, neurons=neurons.flat_indices)
    np.testing.assert_allclose(found(test).numpy(), scores, rtol=1e-4, atol=1e-4)
    (first, _), *_ = split_halves(train, selectors.probe("cna", 6), repeats=1).sets["general"]
    assert 0 < len(first) <= 6  # those of them that raise the score when they are amplified
    with pytest.raises(HlensError, match="did you mean 'cna'"):
        selectors.probe("can", 6)


def test_a_sweep_has_other_selectors_beside_it() -> None:
    train, test = split_by_group(world("twins"), 0.4, seed=0)
    ranks = {"best alone": selectors.named("best_alone").rank}
    table = k_sweep(train, test, ks=(2, 6), draws=3, others=ranks)
    own = table.loc[table["neurons"] == "best alone"].set_index("k")["auroc"]
    k = selectors.named("best_alone")(train, 6).flat_indices
    assert own[6] == auroc(refit_scores(train, test, neurons=k), test.labels.numpy())
    assert not table.loc[table["neurons"] == "best alone", "chosen"].any()


def test_between_domains_it_is_seen_what_carries_over_and_what_is_shared() -> None:
    """Neurons 0 to 5 tell in both domains, and 6 to 11 in one each."""
    parts = []
    for number, domain in enumerate(("a", "b")):
        data = made(200, d_mlp=WIDTH, n_layers=LAYERS, per_group=2, domains=(domain,), seed=number)
        values, label = data.values.clone(), data.labels.numpy()
        draw = np.random.default_rng(number)
        own = range(6 + 6 * number, 12 + 6 * number)
        for neuron in (*range(6), *own):
            signal = 2 + 1.0 * label + draw.normal(size=len(label)) * 0.8
            values[:, 1, neuron] = torch.from_numpy(signal).float()
        parts.append(replace(data, values=values))
    table = selectors_across(joined(*parts), 12, selectors=("best_alone", "random"), folds=3)
    rows = table.set_index("selector")
    assert 0.25 <= rows["shared"]["best_alone"] <= 0.75
    assert rows["shared"]["random"] < 0.2
    assert rows["chance"]["random"] == pytest.approx(12 / (LAYERS * WIDTH))
    assert rows["across"]["best_alone"] > rows["across"]["random"] + 0.2
    assert rows["above_chance"]["best_alone"] == rows["pairs"]["best_alone"] == 2
    assert rows["drop"]["best_alone"] == pytest.approx(
        rows["within"]["best_alone"] - rows["across"]["best_alone"]
    )
    (alone,) = selectors_across(parts[0], 12, selectors=("cna",)).to_dict("records")
    assert "two domains or more" in alone["note"]
