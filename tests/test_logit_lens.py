"""The logit lens: the last layer is the model's own output, and the numbers are those by hand."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import architectures
import hlens
from hlens.baselines._lens import SIGNALS, layers_to_read, signals
from hlens.baselines._reading import read
from hlens.model import Model, capturing, lens_logits
from hlens.types import Example
from test_gather import sequences

BUILDERS = architectures.DENSE | architectures.MIXTURES | architectures.SCALED_LOGITS


def last_states(model: Model, ids: Tensor) -> tuple[Tensor, Tensor]:
    """The residual stream behind the last layer, and the model's own logits."""
    found: list[Tensor] = []
    keep = lambda layer, hidden: found.append(hidden.clone())  # noqa: E731
    with torch.no_grad(), capturing(model, residual=keep):
        logits = model.hf(ids, use_cache=False).logits
    return found[-1], logits


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_the_last_layer_gives_the_models_own_logits(name: str) -> None:
    model = hlens.load((BUILDERS[name](), None))
    ids = torch.randint(3, architectures.VOCAB, (2, 9), generator=torch.Generator().manual_seed(1))
    states, logits = last_states(model, ids)
    found = lens_logits(model, states.flatten(0, 1))
    torch.testing.assert_close(found, logits.flatten(0, 1), atol=1e-5, rtol=1e-5)
    if name == "gemma2":  # whose logits are capped
        assert model.hf.config.final_logit_softcapping


def test_an_architecture_that_forces_the_shape_of_its_input() -> None:
    """GPT-BigCode views its stream in the shape of what it was given."""
    config = {"vocab_size": architectures.VOCAB, "n_positions": 64, "n_embd": 32, "n_layer": 3,
              "n_head": 4, "n_inner": 56}  # fmt: skip
    model = hlens.load((architectures._build("GPTBigCode", **config), None))
    states, logits = last_states(model, torch.tensor([[5, 9, 4]]))
    torch.testing.assert_close(lens_logits(model, states[0]), logits[0], atol=1e-5, rtol=1e-5)


def by_hand(layers: list[Tensor], answer: list[int]) -> list[float]:
    """The numbers of `SIGNALS`, token by token: logits ``[layer, token, vocabulary]``."""
    n = len(layers)
    agree, says, settled, changes, upper, gained = [], [], [], [], [], []
    for at, token in enumerate(answer):
        top = [int(each[at].argmax()) for each in layers]
        logprob = [float(each[at].log_softmax(-1)[token]) for each in layers]
        agree.append(sum(one == top[-1] for one in top) / n)
        says.append(sum(one == token for one in top) / n)
        first = n - 1
        while first > 0 and top[first - 1] == top[-1]:
            first -= 1
        settled.append(first / (n - 1))
        changes.append(sum(a != b for a, b in pairwise(top)) / (n - 1))
        half = logprob[n // 2 : n - 1]
        upper.append(sum(half) / len(half))
        gained.append(logprob[-1] - upper[-1])
    mean = lambda values: sum(values) / len(values)  # noqa: E731
    return [
        mean(agree), min(agree), mean(says), mean(settled), max(settled), mean(changes),
        mean(upper), mean(gained),
    ]  # fmt: skip


def by_transformer_lens(model: Model, example: Example) -> list[Tensor]:
    """Logits of each layer at the predicting positions, by the bridge's own modules."""
    _, cache = model.run_with_cache(example.token_ids[None])
    at = slice(example.start - 1, example.stop - 1)
    streams = [cache[f"blocks.{layer}.hook_resid_post"] for layer in range(model.n_layers)]
    return [model.bridge.unembed(model.bridge.ln_final(each))[0, at] for each in streams]


def by_hugging_face(after: Callable[[Any, Tensor], Tensor]) -> Callable[..., list[Tensor]]:
    """The same by hidden states; the last of these is behind the final norm already."""

    def logits(model: Model, example: Example) -> list[Tensor]:
        out = model.hf(example.token_ids[None], output_hidden_states=True)
        at = slice(example.start - 1, example.stop - 1)
        below = [after(model.hf, hidden[0, at]) for hidden in out.hidden_states[1:-1]]
        return [*below, out.logits[0, at]]

    return logits


def capped(hf: Any, hidden: Tensor) -> Tensor:
    cap = hf.config.final_logit_softcapping
    return cap * torch.tanh(hf.lm_head(hf.model.norm(hidden)) / cap)


WAYS: dict[str, tuple[Callable[..., nn.Module], Callable[..., list[Tensor]]]] = {
    "llama": (architectures.llama, by_transformer_lens),
    "gemma2": (architectures.gemma2, by_hugging_face(capped)),
    "granite": (
        architectures.granite,
        by_hugging_face(lambda hf, hidden: hf.lm_head(hf.model.norm(hidden)) / 4.0),
    ),
    "gpt2": (
        architectures.gpt2,
        by_hugging_face(lambda hf, hidden: hf.lm_head(hf.transformer.ln_f(hidden))),
    ),
}


@pytest.mark.parametrize("name", sorted(WAYS))
def test_the_numbers_are_those_by_hand(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build, logits = WAYS[name]
    model = hlens.load((build(num_hidden_layers=4) if name != "gpt2" else build(n_layer=4), None))
    monkeypatch.setattr("hlens.baselines._lens._LOGITS", 7 * architectures.VOCAB)  # many pieces
    examples = sequences(4, common=20)
    found = read(model, examples, sequences(2, n_answer=9), lookback=False, lens=True)
    assert found.lens is not None
    assert found.lens.shape == (len(examples), len(SIGNALS))
    for row, example in enumerate(examples):
        with torch.no_grad():
            answer = example.token_ids[example.start : example.stop].tolist()
            expected = by_hand(logits(model, example), answer)
        torch.testing.assert_close(found.lens[row], torch.tensor(expected), atol=1e-4, rtol=1e-4)
    assert len(found.lens.unique(dim=0)) > len(examples) // 2  # and they differ


def test_a_deep_model_is_read_at_twelve_layers() -> None:
    for n in range(1, 200):
        layers = layers_to_read(n)
        assert layers == sorted({*layers})
        assert (layers[0], layers[-1], len(layers)) == (0, n - 1, min(n, 12))


def test_a_model_of_one_layer_agrees_with_itself() -> None:
    one = signals(torch.tensor([[4]]), torch.tensor([[-1.0]]), torch.tensor([4]))
    assert one.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0]


def test_what_fails_otherwise_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    model = hlens.load((architectures.llama(), None))
    monkeypatch.setattr(model.hf, "forward", refuse)
    with pytest.raises(RuntimeError, match="out of memory"):
        lens_logits(model, torch.zeros(2, 32))


def refuse(**options: Any) -> None:
    raise torch.OutOfMemoryError("out of memory")
