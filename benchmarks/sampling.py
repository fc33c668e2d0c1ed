"""Sampling beside plain ``generate``, on the same prompts and settings, as ratios of one run.

    OMP_NUM_THREADS=1 python benchmarks/sampling.py [--model gemma3-270m] [--questions N]

As the demo asks: four worked examples, three samples of each question, a reply of one line and of
20 tokens at most. The ways take turns; seconds are CPU seconds of the process:

- plain: ``generate`` of transformers on every prompt, padded on the left, a batch at a time, until
  the last of its replies has ended;
- shared: what all prompts begin with, and the prompt of each question, is read once;
- hlens: the same, and replies that have ended leave the batch;
- bfloat16: the same by a copy in bfloat16, which is made anew, where the CPU multiplies that.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch

import hlens
from hlens import domains
from hlens.domains import choose_worked
from hlens.model import Generation, Model, generate_batch, mix_seed
from hlens.model.quick_copy import multiplies_bfloat16, to_write_with
from hlens.prompts import encode_prompt

N = 3
ROWS = 96
SETTINGS = hlens.Settings(max_new_tokens=20, until_newline=True)
Prompts = list[list[int]]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--model", default="smollm2-135m")
    options.add_argument("--questions", type=int, default=64)
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    model = hlens.load(given.model, device="cpu")
    questions = domains.load("general", given.questions)
    prompts = [
        encode_prompt(model, one, style="completion", worked=choose_worked(one, 4, own=()))
        for one in questions
    ]
    prompts.sort(key=len)
    ways: dict[str, Callable[[Model, Prompts, list[list[int]]], list[list[Generation]]]] = {
        "plain": plain, "shared": shared, "hlens": leaving,
    }  # fmt: skip
    if multiplies_bfloat16():
        ways["bfloat16"] = leaving
    took: dict[str, list[float]] = {name: [] for name in ways}
    texts: dict[str, list[str]] = {}
    tokens = 0
    for _ in range(given.rounds):
        for name, way in ways.items():
            start, texts[name], tokens = time.process_time(), [], 0
            own = to_write_with(model, "auto") if name == "bfloat16" else model
            for begin in range(0, len(prompts), ROWS // N):
                batch = prompts[begin : begin + ROWS // N]
                seeds = [[mix_seed(0, begin + i, k) for k in range(N)] for i in range(len(batch))]
                for row in way(own, batch, seeds):
                    texts[name] += [one.text for one in row]
                    tokens += sum(len(one.token_ids) for one in row)
            took[name].append(time.process_time() - start)
    n = len(texts["hlens"])
    print(f"{given.model}: {n} replies of {tokens / n:.1f} tokens, median of {given.rounds} rounds")
    for name, seconds in took.items():
        same = sum(a == b for a, b in zip(texts[name], texts["hlens"], strict=True))
        ratio = median(seconds) / median(took["hlens"])
        print(f"  {name:8} {median(seconds):6.1f} s, {ratio:.2f} x hlens; {same} of {n} the same")


def plain(model: Model, prompts: Prompts, seeds: list[list[int]]) -> list[list[Generation]]:
    """Every prompt as often as it is asked, none of it shared."""
    repeated = [prompt for prompt in prompts for _ in range(N)]
    drawn = [[seed] for row in seeds for seed in row]
    flat = [row[0] for row in generate_batch(model, repeated, drawn, settings=SETTINGS)]
    return [flat[i : i + N] for i in range(0, len(flat), N)]


def shared(model: Model, prompts: Prompts, seeds: list[list[int]]) -> list[list[Generation]]:
    with model.clock.holding_rows():
        return generate_batch(model, prompts, seeds, settings=SETTINGS, share_beginning=True)


def leaving(model: Model, prompts: Prompts, seeds: list[list[int]]) -> list[list[Generation]]:
    return generate_batch(model, prompts, seeds, settings=SETTINGS, share_beginning=True)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
