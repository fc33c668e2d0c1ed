"""Siblings: realigning mends what was only scaled, finding afresh what has moved, labels unseen."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import architectures
import hlens
from hlens import lookup
from hlens.errors import HlensError
from hlens.model import Model
from hlens.siblings import (
    SiblingComparison,
    check_siblings,
    check_tokens,
    compare_siblings,
    compare_weights,
    examples_of_texts,
    neuron_drift,
    realign,
)
from hlens.siblings.describe import _compared
from hlens.types import Contributions, Detector, Example, NeuronSet, Provenance
from synthetic import made
from tiny_tokenizer import VOCAB, byte_tokenizer

PLANTED = {(0, 2): 2.5, (0, 7): 2.5, (1, 5): 2.5}
N, D_MLP = 600, 24
PROBE = hlens.SparseProbe(C=0.3, random_state=0)
HOME, AS_IS, REALIGNED, REFITTED = "home", "as is", "realigned", "refitted"


def of_model(data: Contributions, name: str) -> Contributions:
    return replace(data, provenance=Provenance(model=name, fingerprint=name))


@pytest.fixture(scope="module")
def home() -> Contributions:
    return of_model(made(N, d_mlp=D_MLP, planted=PLANTED, per_group=2, seed=1), "home")


@pytest.fixture(scope="module")
def held_out(home: Contributions) -> tuple[str, ...]:
    return hlens.evaluation.split_by_group(home, 0.4, seed=0)[1].groups


@pytest.fixture(scope="module")
def detector(home: Contributions) -> Detector:
    train, _ = hlens.evaluation.split_by_group(home, 0.4, seed=0)
    found = hlens.find(train, PROBE)
    assert set(PLANTED) <= set(found.selected)
    return found


def sibling_of(home: Contributions, change: Callable[[Tensor], Tensor]) -> Contributions:
    """The same answers on a model whose neurons were changed: ``[example, layer, neuron]``."""
    changed = change(home.values.clone())
    return of_model(replace(home, values=changed), "sibling")


def rescaled(values: Tensor) -> Tensor:
    """Every neuron louder or softer by a factor of its own, and shifted."""
    draw = torch.Generator().manual_seed(3)
    shape = values.shape[1:]
    factor = torch.rand(shape, generator=draw) * 4 + 0.1
    return values * factor + torch.rand(shape, generator=draw) * 6


def permuted(values: Tensor) -> Tensor:
    """Every neuron does what another did."""
    return values.roll(9, dims=2)


def rounded(values: Tensor) -> Tensor:
    """As a sibling of 8-bit weights errs: by half a per cent."""
    draw = torch.Generator().manual_seed(4)
    return values * (1 + 0.005 * torch.randn(values.shape, generator=draw))


def compared(
    detector: Detector, home: Contributions, there: Contributions, held_out: tuple[str, ...]
) -> SiblingComparison:
    return compare_siblings(detector, home, there, held_out=held_out, probe=PROBE, n_boot=200)


def by_name(found: SiblingComparison) -> pd.DataFrame:
    return found.scores.set_index("detector")


def pair(found: SiblingComparison, first: str, second: str) -> pd.Series:
    return found.differences.set_index(["detector", "against"]).loc[(first, second)]


def test_realigning_mends_neurons_that_were_scaled_and_shifted(
    home: Contributions, detector: Detector, held_out: tuple[str, ...]
) -> None:
    found = compared(detector, home, sibling_of(home, rescaled), held_out)
    rows = by_name(found)
    lost, regained = pair(found, AS_IS, HOME), pair(found, REALIGNED, AS_IS)
    assert lost.difference_high < 0
    assert regained.difference_low > 0
    # An affine change is undone wholly: to the moments' own rounding the scores are those of home.
    assert rows.auroc[REALIGNED] == pytest.approx(rows.auroc[HOME], abs=0.01)
    assert rows.balanced_accuracy[REALIGNED] == pytest.approx(
        rows.balanced_accuracy[HOME], abs=0.02
    )
    assert rows.balanced_accuracy[AS_IS] < rows.balanced_accuracy[HOME] - 0.1
    assert found.drift.correlation.min() > 0.999
    words = " ".join(found.in_words())
    assert "a loss of" in words
    assert "a gain of" in words


def test_one_factor_for_all_costs_the_threshold_and_not_the_ranking(
    home: Contributions, detector: Detector, held_out: tuple[str, ...]
) -> None:
    found = compared(detector, home, sibling_of(home, lambda values: values * 3), held_out)
    as_is, regained = pair(found, AS_IS, HOME), pair(found, REALIGNED, AS_IS)
    assert as_is.difference == pytest.approx(0, abs=1e-6)
    assert as_is.accuracy_difference_high < 0
    assert regained.accuracy_difference_low > 0


def test_realigning_cannot_mend_neurons_that_changed_places_and_finding_afresh_can(
    home: Contributions, detector: Detector, held_out: tuple[str, ...]
) -> None:
    found = compared(detector, home, sibling_of(home, permuted), held_out)
    rows = by_name(found)
    assert rows.low[REALIGNED] < 0.5 < rows.high[REALIGNED]
    assert rows.auroc[REFITTED] == pytest.approx(rows.auroc[HOME], abs=0.03)
    assert pair(found, REFITTED, REALIGNED).difference_low > 0
    assert found.drift.correlation.abs().max() < 0.5
    assert rows.shared[REFITTED] < len(detector.selected) / 2
    assert rows.shared[HOME] == rows.shared[AS_IS] == len(detector.selected)


def test_rounding_is_harmless_and_no_loss_is_claimed(
    home: Contributions, detector: Detector, held_out: tuple[str, ...]
) -> None:
    found = compared(detector, home, sibling_of(home, rounded), held_out)
    for reading in (AS_IS, REALIGNED):
        against = pair(found, reading, HOME)
        assert abs(against.difference) < 0.01
        assert against.difference_low <= 0 <= against.difference_high
    first = found.in_words()[0]
    assert "no difference is shown" in first or "no change at all" in first
    assert "a loss of up to 0.0" in first or "no change" in first
    assert "harmless" not in " ".join(found.in_words())  # which no interval shows


def test_realigning_looks_at_no_label(home: Contributions, detector: Detector) -> None:
    there = sibling_of(home, rescaled)
    own = realign(detector, home, there)
    flipped = (replace(data, labels=~data.labels) for data in (home, there))
    again = realign(detector, *flipped)
    assert torch.equal(own.weights, again.weights)
    assert own.bias == again.bias
    table = neuron_drift(detector, home, there)
    blind = neuron_drift(detector, *(replace(data, labels=~data.labels) for data in (home, there)))
    pd.testing.assert_frame_equal(table, blind, check_exact=True)


def test_realigning_undoes_an_affine_change_and_on_the_home_model_changes_nothing(
    home: Contributions, detector: Detector
) -> None:
    there = sibling_of(home, rescaled)
    moved = realign(detector, home, there)
    torch.testing.assert_close(moved(there), detector(home), atol=1e-3, rtol=1e-3)
    assert moved.provenance == there.provenance
    assert moved.threshold == detector.threshold
    assert moved.calibration == detector.calibration
    assert moved.fit["realigned_from"] == "home"
    assert moved.fit["realigned_on"] == N
    with pytest.raises(HlensError, match="measured on home"):
        moved(home)  # it is a detector of the sibling, and strict as any other
    still = realign(detector, home, home)
    assert torch.equal(still.weights, detector.weights)
    assert still.bias == detector.bias
    # The rows need not be the same, nor as many.
    part = realign(detector, home, there.select(range(0, N, 2)))
    assert float((part.weights - moved.weights).abs().max()) > 0


def test_a_neuron_that_fell_silent_has_no_weight_and_its_mean_stays(
    home: Contributions, detector: Detector, held_out: tuple[str, ...]
) -> None:
    def silence(values: Tensor) -> Tensor:
        values[:, 0, 2] = 0.1  # which no sum of floats repeats exactly
        return values

    there = sibling_of(home, silence)
    moved = realign(detector, home, there)
    assert moved.weights[0, 2] == 0
    assert len(moved.selected) == len(detector.selected) - 1
    scores, mended = detector(home).double(), moved(there).double()
    assert float(mended.mean()) == pytest.approx(float(scores.mean()), abs=1e-4)
    found = compared(detector, home, there, held_out)
    silent = found.drift.set_index(["layer", "neuron"]).loc[(0, 2)]
    assert np.isnan(silent.correlation)
    assert silent.layer_correlation == pytest.approx(1)
    assert "1 do not vary on one of the models" in " ".join(found.in_words())


def test_drift_is_that_of_the_change(home: Contributions, detector: Detector) -> None:
    there = sibling_of(home, lambda values: 2 * values + 1)
    table = neuron_drift(detector, home, there)
    assert list(zip(table.layer, table.neuron, strict=True)) == list(detector.selected)
    np.testing.assert_allclose(table.spread_ratio, 2, rtol=1e-5)
    np.testing.assert_allclose(table["shift"], (table.home_mean + 1) / table.home_sd, rtol=1e-4)
    np.testing.assert_allclose(table.correlation, 1, atol=1e-6)
    assert table.cosine.isna().all()
    values = home.values[:, 1, 5].double().numpy()
    row = table.set_index(["layer", "neuron"]).loc[(1, 5)]
    assert row.home_mean == pytest.approx(values.mean())
    assert row.home_sd == pytest.approx(values.std())


def test_the_frame_has_a_row_a_reading_and_its_difference_from_home(
    home: Contributions, detector: Detector, held_out: tuple[str, ...]
) -> None:
    found = compared(detector, home, sibling_of(home, rescaled), held_out)
    table = found.to_frame()
    assert list(table["detector"]) == [HOME, AS_IS, REALIGNED, REFITTED]
    assert list(table["model"]) == ["home", *["sibling"] * 3]
    assert table["difference"].isna().tolist() == [True, False, False, False]
    differences = table["auroc"] - table["auroc"][0]
    np.testing.assert_allclose(table["difference"][1:], differences[1:], atol=1e-12)
    assert (found.differences.p_corrected >= found.differences.p).all()


def test_what_is_no_sibling_is_one_line(
    home: Contributions, detector: Detector, held_out: tuple[str, ...]
) -> None:
    there = sibling_of(home, rescaled)

    def refused(match: str, **given: object) -> None:
        arguments = {"home": home, "sibling": there, "held_out": held_out} | given
        with pytest.raises(HlensError, match=match) as raised:
            compare_siblings(detector, **arguments)  # type: ignore[arg-type]
        assert "\n" not in str(raised.value)

    refused("of home itself, so it is no sibling", sibling=home)
    refused("a sibling has the same shape", sibling=of_model(made(N, d_mlp=12), "sibling"))
    refused("measure both with the same options", sibling=replace(there, metric="act"))
    refused("are not the same, one by one", sibling=there.select(range(N - 2)))
    refused("0 of 600 examples are held out", held_out=("elsewhere",))
    none = torch.zeros_like(detector.weights)
    silent = replace(detector, weights=none, means=(), spreads=())
    with pytest.raises(HlensError, match="selected no neuron"):
        compare_siblings(silent, home, there, held_out=held_out)
    with pytest.raises(HlensError, match="a spread takes two or more"):
        realign(detector, home, there.select([0]))
    with pytest.raises(HlensError, match="measured on sibling"):
        detector(there)  # never by accident


def test_neurons_that_do_not_vary_are_counted_and_not_drawn() -> None:
    example = lookup.member("figures", "sibling").example()
    drift = example["drift"]
    drift.loc[:2, "correlation"] = np.nan
    figure = hlens.figures.sibling(**example)
    assert sum(len(trace.x) for trace in figure.data if trace.xaxis == "x2") == len(drift) - 3 + 2
    assert "8 neurons, 3 not varying" in figure.layout.meta["subtitle"]
    drift["correlation"] = np.nan
    assert "8 not varying" in hlens.figures.sibling(**example).layout.meta["subtitle"]
    alone = hlens.figures.sibling(example["table"])
    assert alone.layout.height < figure.layout.height


@pytest.mark.parametrize(
    ("low", "value", "high", "said"),
    [
        (-0.2, -0.1, -0.03, "a loss of 0.10 [0.03, 0.20]"),
        (0.001, 0.004, 0.007, "a gain of 0.0040 [0.0010, 0.0070]"),
        (-0.041, 0.01, 0.06, "(+0.01 [−0.04, +0.06]: room for a loss of up to 0.05 and a gain of"),
        (0.0, 0.0, 0.0, "no change at all"),
        (np.nan, -0.1, np.nan, "−0.10, whose interval is not known"),
    ],
)
def test_a_sentence_says_no_more_than_its_interval(
    low: float, value: float, high: float, said: str
) -> None:
    row = {"difference": value, "difference_low": low, "difference_high": high, "n": 9}
    assert said in _compared(row)


# Models


def tiny(change: Callable[[nn.Module], object] | None = None, **fields: object) -> Model:
    hf = architectures.llama(vocab_size=VOCAB, **fields)
    if change is not None:
        with torch.no_grad():
            change(hf)
    return hlens.load((hf, byte_tokenizer()), name="changed" if change else "tiny")


def to_int8(hf: nn.Module) -> None:
    """Round every matrix to 255 steps a row, as 8-bit quantisation does."""
    for weight in hf.parameters():
        if weight.dim() == 2:
            step = weight.abs().amax(dim=1, keepdim=True) / 127
            weight.copy_((weight / step).round() * step)


def to_bfloat16(hf: nn.Module) -> None:
    for weight in hf.parameters():
        weight.copy_(weight.bfloat16())


def test_a_copy_in_another_precision_is_a_sibling_and_the_same_weights_are_not() -> None:
    home = tiny()
    with pytest.raises(HlensError, match="has the very weights of tiny, so it is no sibling"):
        check_siblings(home, tiny())
    same = tiny(to_bfloat16)
    assert same.fingerprint == home.fingerprint  # fingerprints are of bfloat16 precision
    check_siblings(home, same)
    check_siblings(home, tiny(to_int8))
    with pytest.raises(HlensError, match="a sibling has the same shape"):
        check_siblings(home, tiny(intermediate_size=64))


def test_rows_of_w_out_are_compared() -> None:
    def turn(hf: nn.Module) -> None:
        rows = hf.model.layers[1].mlp.down_proj.weight  # type: ignore[union-attr,index]
        rows[:, 3] *= 2
        rows[:, 4] *= -1
        rows[:, 5] = 0

    neurons = NeuronSet(frozenset({(0, 1), (1, 3), (1, 4), (1, 5)}), 3, architectures.D_MLP)
    table = compare_weights(tiny(), tiny(turn), neurons).set_index(["layer", "neuron"])
    np.testing.assert_allclose(table.cosine[:3], [1, 1, -1], atol=1e-6)
    np.testing.assert_allclose(table.norm_ratio, [1, 2, 1, 0], atol=1e-6)
    assert np.isnan(table.cosine.iloc[3])
    with pytest.raises(HlensError, match="give the neurons of a detector of tiny"):
        compare_weights(tiny(), tiny(turn), NeuronSet(frozenset({(0, 1)}), 2, 4))


def example(*tokens: int) -> Example:
    return Example(torch.tensor(tokens), 1, 1, len(tokens), False, "q", "g", "d")


def test_only_tokens_that_occur_must_be_the_same() -> None:
    home, sibling = tiny(), tiny(to_int8)
    vocabulary = byte_tokenizer().get_vocab()
    a, b = vocabulary["a"], vocabulary["b"]

    class Swapped:
        """The same vocabulary, in which two letters have changed places."""

        def get_vocab(self) -> dict[str, int]:
            return {**vocabulary, "a": b, "b": a}

    other = replace(sibling, tokenizer=Swapped())
    check_tokens(home, sibling, [example(1, a, b)])
    check_tokens(home, other, [example(1, vocabulary["c"])])
    with pytest.raises(HlensError, match="2 of the 3 tokens in these answers are others in the"):
        check_tokens(home, other, [example(1, a), example(1, b)])
    small = hlens.load((architectures.llama(vocab_size=16), None), name="small")
    with pytest.raises(HlensError, match=r"small has 16 tokens, .* another vocabulary"):
        check_tokens(home, small, [example(1, a)])


def test_the_whole_line_on_models_and_texts() -> None:
    """Two models, examples of random labels: rounding to 8 bits moves each neuron but little."""
    home, sibling = tiny(), tiny(to_int8)
    draw = np.random.default_rng(0)
    examples = [
        replace(example(1, *draw.integers(3, VOCAB, 12)), hallucinated=bool(i % 2),
                question_id=f"q{i}", group=f"g{i}")
        for i in range(80)
    ]  # fmt: skip
    check_tokens(home, sibling, examples)
    data, there = (hlens.measure(model, examples) for model in (home, sibling))
    train, test = hlens.evaluation.split_by_group(data, 0.4)
    detector = hlens.find(train, hlens.SparseProbe(C=5.0, random_state=0))
    weights = compare_weights(home, sibling, detector.selected)
    texts = examples_of_texts(home, ["The cat sat.", "A dog ran off.", "It rains.", "x" * 30])
    unlabelled = [hlens.measure(model, texts) for model in (home, sibling)]
    found = compare_siblings(
        detector, data, there, held_out=test.groups, weights=weights, n_boot=50,
        realigned=realign(detector, *unlabelled), probe=hlens.SparseProbe(C=5.0),
    )  # fmt: skip
    assert found.drift.cosine.min() > 0.999
    assert found.drift.correlation.median() > 0.99
    assert abs(pair(found, AS_IS, HOME).difference) < 0.1
    with pytest.raises(HlensError, match="1 of 2 texts have three tokens or more"):
        examples_of_texts(home, ["ab", "abc"])
