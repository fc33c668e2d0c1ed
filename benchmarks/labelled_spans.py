"""What labelled spans cost: a response measured on five spans against the same measured once.

    python benchmarks/labelled_spans.py [responses]

200 responses of 400 tokens, each behind a prompt of its own of 30, with five spans of 8 tokens; a
randomly initialised Llama, float32, one thread. "Once" is the response as one example: its whole
(``unit="response"``), or the one span that ends last. "Apart" is what the spans would cost if each
ran its response for itself, on a tenth of the responses. Ways run in turn, round after round; a
ratio is the median over rounds of CPU time.
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import hlens
from hlens.types import Example

PROMPT, LENGTH, SPANS, WIDTH, ROUNDS = 30, 400, 5, 8, 3


def model() -> hlens.Model:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=320,
        intermediate_size=1024,
        num_hidden_layers=6,
        num_attention_heads=5,
        num_key_value_heads=5,
    )
    return hlens.load((LlamaForCausalLM(config).eval(), None), name="random")


def spans_of(n: int) -> list[Example]:
    draw = torch.Generator().manual_seed(0)
    found = []
    for number in range(n):
        ids = torch.randint(3, 512, (PROMPT + LENGTH,), generator=draw)
        starts = torch.randint(PROMPT, PROMPT + LENGTH - WIDTH, (SPANS,), generator=draw).tolist()
        for at, start in enumerate(starts):
            found.append(
                Example(
                    token_ids=ids,
                    n_prompt=PROMPT,
                    start=start,
                    stop=start + WIDTH,
                    hallucinated=at % 2 == 0,
                    question_id=str(number),
                    group=str(number),
                    domain="d",
                    span=at,
                )
            )
    return found


def ratio(ways: dict[str, Callable[[], object]], slow: str, fast: str) -> float:
    """How many times the CPU seconds of one way are the other's, the median over rounds."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name in (slow, fast):
            began = time.process_time()
            ways[name]()
            times[name].append(time.process_time() - began)
    return statistics.median(a / b for a, b in zip(times[slow], times[fast], strict=True))


def main(words: Sequence[str]) -> None:
    torch.set_num_threads(1)
    n = int(words[0]) if words else 200
    measured, examples = model(), spans_of(n)
    by_response = [examples[at : at + SPANS] for at in range(0, len(examples), SPANS)]
    whole = [replace(own[0], start=PROMPT, stop=PROMPT + LENGTH) for own in by_response]
    last = [max(own, key=lambda one: one.stop) for own in by_response]
    few = examples[: max(1, n // 10) * SPANS]

    def apart() -> None:
        for at in range(SPANS):
            hlens.measure(measured, few[at::SPANS])

    ways: dict[str, Callable[[], object]] = {
        "spans": lambda: hlens.measure(measured, examples),
        "whole": lambda: hlens.measure(measured, whole),
        "last": lambda: hlens.measure(measured, last),
        "few": lambda: hlens.measure(measured, few),
        "apart": apart,
    }
    ways["last"]()  # warms up
    print(f"{n} responses of {LENGTH} tokens, {SPANS} spans each, in one pass:")
    print(f"  of the whole response measured once  {ratio(ways, 'spans', 'whole'):.2f}")
    print(f"  of the last span measured alone      {ratio(ways, 'spans', 'last'):.2f}")
    print(f"  apart, of together                   {ratio(ways, 'apart', 'few'):.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
