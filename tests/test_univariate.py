"""All neurons at once agree with one at a time, ties, signs and half precision included."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu

from hlens.errors import HlensError
from hlens.evaluation import alone_by_domain, delong, univariate
from hlens.evaluation.significance import holm
from synthetic import joined, made


def variants() -> dict[str, torch.Tensor]:
    values = made(120).values
    return {
        "continuous": values,
        "half": values.half(),
        "tied": values.round(),
        "signed": values - 2,
        "signed half": (values - 2).round().half(),
        "with zeros": (values - 2).relu(),
        "minus zero": -((2 - values).relu()) * 0 + (values - 2).round(),
    }


@pytest.mark.parametrize("kind", sorted(variants()))
def test_every_row_equals_the_single_neuron_computation(kind: str) -> None:
    data = replace(made(120), values=variants()[kind])
    found = univariate(data)
    label = data.labels.numpy()
    for row in found.itertuples():
        scores = data.values[:, row.layer, row.neuron].double().numpy()
        alone = delong(scores, label)
        assert row.auroc == pytest.approx(alone.auroc[0], abs=1e-12)
        assert row.se == pytest.approx(alone.se[0], abs=1e-9)
        reference = mannwhitneyu(
            scores[label], scores[~label], use_continuity=False, method="asymptotic"
        )
        assert row.p == pytest.approx(reference.pvalue, rel=1e-6)
        yes, no = scores[label], scores[~label]
        pooled = np.sqrt(
            ((len(yes) - 1) * yes.var(ddof=1) + (len(no) - 1) * no.var(ddof=1)) / (len(label) - 2)
        )
        assert row.effect == pytest.approx((yes.mean() - no.mean()) / pooled, rel=1e-3, abs=1e-5)


def test_neither_threads_nor_block_size_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    data = made(100, d_mlp=50)
    first = univariate(data, threads=1)
    module = importlib.import_module("hlens.evaluation.univariate")
    monkeypatch.setattr(module, "_CELLS", 700)
    blocks = univariate(data, threads=1)
    assert blocks.equals(univariate(data, threads=3))
    assert blocks.drop(columns="effect").equals(first.drop(columns="effect"))
    np.testing.assert_allclose(blocks.effect, first.effect, rtol=1e-4)  # float32 sums


def test_planted_neurons_survive_both_corrections_and_noise_does_not() -> None:
    planted = {(0, 3): -2.0, (1, 7): 2.0}  # lower in hallucinated examples counts as well
    found = univariate(made(300, d_mlp=100, planted=planted), permutations=200)
    kept = found[found.p_max < 0.05]
    assert list(zip(kept.layer, kept.neuron, strict=True)) == sorted(planted)
    assert (found.p_bh.loc[kept.index] < 1e-6).all()
    assert (found.p_max >= 1 / 201).all()


def test_max_t_keeps_its_level_where_groups_make_plain_p_wrong() -> None:
    wrong, false_alarms = 0, 0
    for seed in range(25):
        data = made(200, d_mlp=20, per_group=5, seed=seed)
        shared = np.random.default_rng(seed).normal(size=(40, 2, 20)).repeat(5, axis=0)
        grouped = replace(data, values=data.values * 0.1 + torch.from_numpy(shared).float() + 5)
        found = univariate(grouped, permutations=99, seed=seed)
        wrong += (found.p_bh < 0.05).any()
        false_alarms += (found.p_max <= 0.05).any()
    assert wrong > 15
    assert false_alarms <= 5


def test_a_constant_neuron_knows_nothing() -> None:
    data = made(60)
    data.values[:, 0, 4] = 0.25
    row = univariate(data, permutations=20).iloc[4]
    assert (row.auroc, row.se, row.effect, row.p, row.p_max) == (0.5, 0, 0, 1, 1)


def test_a_contribution_that_is_no_number_is_named() -> None:
    data = made(60)
    data.values[17, 1, 4] = float("nan")
    with pytest.raises(HlensError, match="L1N4 to example 17 is nan"):
        univariate(data)


def test_neurons_alone_in_a_domain_are_those_of_that_domain_s_data() -> None:
    parts = [
        made(80, planted={(0, 3): 2.0}, domains=(name,), seed=seed)
        for seed, name in enumerate(["science", "law"])
    ]
    neurons = [(1, 7), (0, 3)]
    table = alone_by_domain(joined(*parts), neurons)
    assert table.domain.tolist() == ["science", "science", "law", "law"]
    assert list(zip(table.layer, table.neuron, strict=True)) == [*neurons, *neurons]
    for data in parts:
        own = table.loc[table.domain == data.domains[0]].set_index(["layer", "neuron"])
        expected = univariate(data).set_index(["layer", "neuron"]).loc[own.index]
        for column in ("auroc", "low", "high", "p"):
            np.testing.assert_allclose(own[column], expected[column])
    assert table.p_corrected.tolist() == holm(table.p.to_numpy()).tolist()
    assert alone_by_domain(parts[0], []).columns.tolist() == table.columns.tolist()
    for wrong in [(2, 0), (0, -1)]:
        with pytest.raises(HlensError, match=f"L{wrong[0]}N{wrong[1]} is no neuron of 2 layers"):
            alone_by_domain(parts[0], [wrong])
    parts[0].values[3, 1, 7] = float("inf")
    with pytest.raises(HlensError, match="contribution of L1N7 in science is not finite"):
        alone_by_domain(parts[0], neurons)
    one_label = parts[1].select(torch.nonzero(parts[1].labels).ravel().tolist())
    with pytest.raises(HlensError, match="AUROC in law needs hallucinated and true"):
        alone_by_domain(one_label, neurons)
