"""Weights and tokenizers are known whole, and as they are now."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import PreTrainedTokenizerFast

import architectures
import hlens
from hlens.effects import Pair, patching
from hlens.errors import HlensError
from hlens.interventions import capture_reference, folded, mean_difference, norm_matched, scale
from hlens.model import Model, fingerprint_weights
from hlens.model.fingerprints import sum_words
from hlens.monitor import monitor
from hlens.selection import correlated_groups
from hlens.types import Detector, Example, NeuronSet, Provenance, same_fingerprint, warn_unbound

EXAMPLES = [Example(torch.arange(3, 15), 4, 4, 12, h, "q", "g", "d") for h in (True, False)]


def _cett(model: Model) -> torch.Tensor:
    return hlens.measure(model, EXAMPLES).values


def _multiply(weight: nn.Parameter) -> None:
    with torch.no_grad():
        weight[:, 5] *= 3


def _write_data(weight: nn.Parameter) -> None:
    weight.data[:, 5] *= 3


def _exchange_data(weight: nn.Parameter) -> None:
    weight.data = weight.data * (torch.arange(56) == 5).float().mul(2).add(1)


@pytest.mark.parametrize("change", [_multiply, _write_data, _exchange_data])
def test_weights_that_changed_are_measured_as_they_are(change: Callable) -> None:
    hf = architectures.llama()
    model = hlens.load((hf, None))
    before, known = _cett(model), model.fingerprint
    change(hf.model.layers[1].mlp.down_proj.weight)
    fresh = hlens.load((hf, None))
    assert torch.equal(_cett(model), _cett(fresh))
    assert not torch.equal(_cett(model), before)
    assert model.fingerprint == fresh.fingerprint == model.provenance.fingerprint != known
    torch.testing.assert_close(model.w_norms[1, 5], fresh.w_out(1)[5].norm())


def _write_one_through_data(weight: nn.Parameter) -> None:
    weight.data[3, 5] = torch.nextafter(weight.data[3, 5], torch.tensor(9.0))


def _write_through_a_view(weight: nn.Parameter) -> None:
    weight.detach().view(-1)[7:9].zero_()


def _round_elsewhere(weight: nn.Parameter) -> None:
    with torch.no_grad():
        weight.copy_(weight.half())


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (_write_one_through_data, "model.layers.2.mlp.down_proj"),
        (_write_through_a_view, "model.layers.0.mlp.up_proj"),
        (_round_elsewhere, "model.embed_tokens"),
    ],
)
def test_the_least_change_is_seen(change: Callable, place: str) -> None:
    """One bit of one weight: a sum of floating-point numbers would round it away."""
    hf = architectures.llama()
    model = hlens.load((hf, None))
    known, state = model.fingerprint, model._state_of_weights()
    assert model._state_of_weights() == state
    change(hf.get_submodule(place).weight)
    assert model._state_of_weights() != state
    if change is not _write_one_through_data:  # fingerprints are at bfloat16 precision
        assert model.fingerprint != known


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
@pytest.mark.parametrize("shape", [(8, 4), (5, 3), (1, 1), (3, 7)])
def test_every_value_counts_in_the_sum_of_words(shape: tuple[int, int], dtype: torch.dtype) -> None:
    weight = torch.arange(shape[0] * shape[1]).reshape(shape).to(dtype)
    known = int(sum_words(weight))
    for row, column in np.ndindex(*shape):
        other = weight.clone()
        other[row, column] += 1
        assert int(sum_words(other)) != known
        assert int(sum_words(other.T)) == int(sum_words(other.T.clone()))


def test_what_was_found_before_weights_changed_is_of_another_model() -> None:
    hf = architectures.llama()
    model = hlens.load((hf, None))
    neurons = hlens.NeuronSet(frozenset({(0, 1)}), 3, 56, model=model.fingerprint)
    detector = Detector(torch.ones(3, 56), 0.0, provenance=model.provenance)
    with torch.no_grad():
        hf.model.layers[0].self_attn.q_proj.weight[3, 4] += 0.5
    with (
        pytest.raises(HlensError, match="found on another model"),
        model.editing(neurons, scale(0.0)),
    ):
        pass
    with pytest.raises(HlensError, match="found on"):
        monitor(model, detector, [[3, 4]])


def test_folded_weights_are_another_model_and_afterwards_the_same_again() -> None:
    model = hlens.load((architectures.llama(), None))
    known = model.fingerprint
    neurons = hlens.NeuronSet(frozenset({(0, 1)}), 3, 56)
    with folded(model, neurons, scale(0.0)):
        assert model.fingerprint != known
        assert float(model.w_norms[0, 1]) == 0
    assert model.fingerprint == known


def test_the_fingerprint_holds_every_weight_in_its_place() -> None:
    """A sum and a sample would not see weights that change places."""
    hf = architectures.llama(vocab_size=4096)
    whole = fingerprint_weights(hf)
    weight = hf.lm_head.weight.detach().reshape(-1)
    a, b = 33, 65  # neither of them among the sampled places
    assert weight[a] != weight[b]
    weight[[a, b]] = weight[[b, a]]
    swapped = fingerprint_weights(hf)
    assert swapped[:32] == whole[:32]  # what older versions stored
    assert swapped != whole
    assert not same_fingerprint(swapped, whole)


def test_what_older_versions_stored_is_read_with_a_word(caplog) -> None:
    model = hlens.load((architectures.llama(), None))
    old = model.fingerprint[:32]
    neurons = hlens.NeuronSet(frozenset({(0, 1)}), 3, 56, model=old)
    with model.editing(neurons, scale(0.0)) as receipt:
        model.hf(torch.tensor([[3, 4]]))
    assert receipt.touched == 2
    assert "older version" in caplog.text
    of_another = hlens.NeuronSet(frozenset({(0, 1)}), 3, 56, model="0" * 32)
    with pytest.raises(HlensError, match="on another"), model.editing(of_another, scale(0.0)):
        pass


def _merging(merges: list[tuple[str, str]]) -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = sorted({a + b for a, b in merges})
    vocabulary = {token: at for at, token in enumerate([*alphabet, *words])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=inner)


def test_the_same_weights_with_another_tokenizer_are_another_model() -> None:
    hf = architectures.llama(vocab_size=300)
    merges = [("t", "h"), ("h", "e"), ("o", "w")]
    one, two = (hlens.load((hf, _merging(m))) for m in (merges, merges[::-1]))
    assert one.tokenizer.get_vocab() == two.tokenizer.get_vocab()
    assert one.provenance.tokenizer != two.provenance.tokenizer
    detector = Detector(torch.ones(3, 56), 0.0, provenance=one.provenance)
    with pytest.raises(HlensError, match="its tokenizer or chat template is another"):
        monitor(two, detector, [[3, 4]])
    older = Provenance(fingerprint=one.fingerprint[:32], tokenizer=one.provenance.tokenizer[:32])
    older.check_same_model(one.provenance, "contributions")


MODEL = hlens.load((architectures.llama(), None))
PAIR = Pair("p", (3, 4, 5), (3, 6, 5), 7, 8)
UNBOUND = NeuronSet(frozenset({(0, 1)}), 3, 56)


def edited(block: AbstractContextManager[object], model: Model) -> None:
    with block:
        model.hf(torch.tensor([[3, 4]]))


USES: dict[str, Callable[[Model, NeuronSet], object]] = {
    "editing": lambda model, neurons: edited(model.editing(neurons, scale(0.0)), model),
    "folding": lambda model, neurons: edited(folded(model, neurons, scale(0.0)), model),
    "a reference": lambda model, neurons: capture_reference(model, [[3, 4]], neurons),
    "a direction": lambda model, neurons: mean_difference(model, EXAMPLES, neurons=neurons),
    "a matched push": lambda model, neurons: norm_matched(model, neurons, scale(0.0), seed=0),
    "patching": lambda model, neurons: patching(model, [PAIR], neurons, random=0),
    "groups": lambda model, neurons: correlated_groups(hlens.measure(model, EXAMPLES), neurons),
}


@pytest.mark.parametrize("use", USES)
def test_neurons_of_another_model_are_refused_and_without_a_fingerprint_it_is_said(
    use: str, caplog
) -> None:
    warn_unbound.cache_clear()
    with pytest.raises(HlensError, match=r"another model|measured on") as raised:
        USES[use](MODEL, replace(UNBOUND, model="f" * 72))
    assert "\n" not in str(raised.value)
    with pytest.raises(HlensError, match=r"layers|of a model of"):
        USES[use](MODEL, NeuronSet(frozenset({(0, 1)}), 3, 55))
    assert not caplog.records
    bound = replace(UNBOUND, model=MODEL.fingerprint)
    for neurons, said in ((bound, 0), (UNBOUND, 1), (UNBOUND, 1)):
        USES[use](hlens.load((architectures.llama(), None)), neurons)
        assert [r.message for r in caplog.records if "no fingerprint" in r.message] == said * [
            f"a set of neurons: no fingerprint says of which model; taken for {MODEL.name}, whose "
            "shape fits, unchecked"
        ]


def test_a_detector_without_a_fingerprint_is_read_with_a_word(caplog) -> None:
    warn_unbound.cache_clear()
    loose = Detector(torch.ones(3, 56), 0.0)
    bound = replace(loose, provenance=MODEL.provenance)
    cett = hlens.metrics.cett
    for data, detector, said in (
        (hlens.measure(MODEL, EXAMPLES, metric=cett), bound, 0),
        (hlens.measure(MODEL, EXAMPLES, metric=cett), loose, 1),
        (replace(hlens.measure(MODEL, EXAMPLES, metric=cett), provenance=Provenance()), bound, 2),
    ):
        detector(data)
        assert len([r for r in caplog.records if "no fingerprint" in r.message]) == said
    warn_unbound.cache_clear()
    monitor(MODEL, loose, [[3, 4]])
    assert "a detector or contributions: no fingerprint" in caplog.records[-1].message
