"""Making the fingerprints of a model: hashes over all weights, and over what its tokenizer does.

`hlens.types.fingerprints` says when two of them are of the same.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from operator import itemgetter
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from hlens.model.weights import fetch, named_weights

TEXTS = (
    "The quick brown fox jumps over the lazy dog; Sphinx of black quartz, judge my vow!",
    "Who wrote the novel 'Emma', and when? It was published anonymously in December 1815.",
    "  def area(r):\n\treturn 3.14159 * r ** 2   # 1,234,567.89 and 0x1F\r\n\n",
    "Übergrößenträger, naïve café, ¿dónde está?, Ελληνικά, Москва, עברית, العربية, हिन्दी",
    "日本語の文章、中文句子，한국어 문장。 🙂👩\u200d🔬 ﬁ Ⅷ e\u0301",
)
CHUNK = 1 << 16  # weights at a time: eight bytes each, which a processor's cache holds


@dataclass
class Remembered:
    """Values that are costly to make, each with the state of what it was made from."""

    values: dict[str, tuple[object, Any]] = field(default_factory=dict)

    def value_of(self, name: str, state: object, make: Callable[[], Any]) -> Any:
        """The value of this name, made anew where the state is another."""
        known = self.values.get(name)
        if known is None or known[0] != state:
            known = self.values[name] = (state, make())
        return known[1]


def sum_words(weight: Tensor) -> Int[Tensor, ""]:
    """Sum over the memory of a tensor in words of 64 bits: exact, and as fast as memory is read.

    Any bit that is written changes it; values that change places may not.
    """
    values = weight.detach().reshape(-1)
    n_words = values.numel() * values.element_size() // 8
    whole = n_words * 8 // values.element_size()
    rest = values[whole:].view(torch.uint8).sum(dtype=torch.int64)
    return values[:whole].view(torch.int64).sum() + rest


def fingerprint_weights(hf: nn.Module) -> str:
    """Hash over all weights at bfloat16 precision, so that the dtype of loading does not matter.

    Its first 32 characters are what older versions stored: for each parameter a sum over every bit
    pattern and a strided sample. The others hold every weight with its place: sums of bit patterns
    times odd numbers of their places, exact, so that neither order nor thread count matters, and
    made where the weights are. Of quantised weights it is made as they are packed.
    """
    sampled, whole = hashlib.sha256(), hashlib.sha256()
    for name, parameter in sorted(named_weights(hf).items(), key=itemgetter(0)):
        held = fetch(hf, name, parameter)
        assert held is not None  # loading refuses what is nowhere
        bits = held.reshape(-1)
        if bits.is_floating_point():
            bits = bits.to(torch.bfloat16).view(torch.int16)
        stride = max(1, bits.numel() // 1024)
        sample = bits[::stride].cpu().numpy().tobytes()
        total = int(bits.sum(dtype=torch.int64))
        sampled.update(f"{name}{tuple(parameter.shape)}{total}".encode() + sample)
        factors = _factors(bits.device)
        sums = [(part.long() * factors[: len(part)]).sum() for part in bits.split(CHUNK)]
        whole.update(name.encode() + torch.stack(sums).cpu().numpy().tobytes())
    return sampled.hexdigest()[:32] + whole.hexdigest()[:40]


@cache
def _factors(device: torch.device) -> Int[Tensor, " place"]:
    """An odd number of 64 bits for each place of a chunk, without a pattern."""
    place = torch.arange(1, CHUNK + 1, device=device) * 0x1E3779B97F4A7C15
    return ((place ^ (place >> 29)) * 0x3F58476D1CE4E5B9) | 1


def fingerprint_tokenizer(tokenizer: Any) -> str:
    """Hash over vocabulary, chat template and how a text is cut; empty without a tokenizer.

    Its first 32 characters are what older versions stored, without how a text is cut.
    """
    if tokenizer is None:
        return ""
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    template = getattr(tokenizer, "chat_template", None)
    known = hashlib.sha256(repr((vocabulary, template)).encode()).hexdigest()[:32]
    # Two vocabularies may be equal and their merges not; what counts is what they do.
    try:
        cut = [list(tokenizer(text).input_ids) for text in TEXTS]
    except (KeyError, ValueError):  # it cannot cut every text, such as one of a few characters
        return known
    return known + hashlib.sha256(repr(cut).encode()).hexdigest()[:40]
