"""What measuring costs: against a bare forward pass, TransformerLens' cache and the official way.

    python benchmarks/measure.py [speed] [unshared] [shared_prompts] [slope] [peaks] [gpu]

All ways run the same examples on one thread, round after round in turn, so that a busy machine is
busy for each of them alike; a ratio is the median over the rounds of CPU time. Peak memory is the
anonymous memory of a forked process above what it had with the loaded model, results included, and
the median of three. The examples are questions of the general bank through the model's chat
template, each answered by answers of the bank; random tokens where a part says so. ``gpu`` is left
out unless it is named.

Two bare passes stand beside hlens, both without unembedding and on its batches: one over whole
rows, and one that shares prompts as hlens does, and so costs what hlens would without measuring.
"""

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

import torch
from measure_ways import (
    LLAMA_8B,
    WAYS,
    bare,
    bare_sharing,
    examples,
    llama,
    load,
    official,
    random_examples,
)
from peak_memory import Peak
from torch import Tensor

from hlens.contributions import measure
from hlens.model import Model
from hlens.types import Example

ROUNDS = 3


def seconds(way: Callable[[], object]) -> float:
    """CPU seconds of one call: waiting for other processes does not count."""
    began = time.process_time()
    way()
    return time.process_time() - began


def seconds_on_gpu(way: Callable[[], object]) -> float:
    """Wall-clock seconds of one call, until the GPU has done all of it."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    way()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def in_turn(
    ways: dict[str, Callable[[], object]],
    clock: Callable[[Callable[[], object]], float] = seconds,
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            times[name].append(clock(way))
    return times


def ratio(times: dict[str, list[float]], slow: str, fast: str) -> float:
    """How many times faster, the median over rounds."""
    pairs = zip(times[slow], times[fast], strict=True)
    return statistics.median(a / b for a, b in pairs)


def speed(model: Model) -> list[str]:
    """One answer a question."""
    items = examples(model, 64)
    times = in_turn({name: lambda w=way: w(model, items) for name, way in WAYS.items()})
    n_tokens = sum(len(item.token_ids) for item in items)
    lines = [f"{len(items)} questions, {n_tokens} tokens, of which hlens runs {ran(model, items)}."]
    lines += ["", "| way | tokens/s | of the bare pass | of the bare pass sharing alike | of the "]
    lines[-1] += "official way |"
    lines.append("|---|---|---|---|---|")
    for name, taken in times.items():
        which = "answer" if name.endswith(", answer") else "all"
        against = (f"bare, {which}", f"bare sharing alike, {which}", "official way")
        ratios = " | ".join(f"{ratio(times, other, name):.2f}" for other in against)
        lines.append(f"| {name} | {n_tokens / min(taken):.0f} | {ratios} |")
    return [*lines, "", "Tokens/s count the examples' own tokens, in the best round."]


def ran(model: Model, items: Sequence[Example]) -> int:
    """How many tokens the model reads while hlens measures the answers, padding included."""
    seen = 0

    def count(module: object, args: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal seen
        seen += args[0].numel()

    hook = model.hf.get_input_embeddings().register_forward_hook(count)
    measure(model, items)
    hook.remove()
    return seen


def unshared(model: Model) -> list[str]:
    """Where no two examples begin alike: what the reading itself costs."""
    items = random_examples(64)
    ways = {"bare": lambda: bare(model, items), "hlens": lambda: measure(model, items)}
    times = in_turn(ways | {"official": lambda: official(model, items)})
    against = ratio(times, "bare", "hlens"), ratio(times, "official", "hlens")
    return [
        f"64 examples of random tokens, which share nothing: {against[0]:.2f} of the bare pass, "
        f"{against[1]:.2f} times the official way."
    ]


def shared_prompts(model: Model) -> list[str]:
    """Five answers a question."""
    items = examples(model, 16, answers=5)
    ways = {
        "official": lambda: official(model, items),
        "bare": lambda: bare(model, items),
        "alike": lambda: bare_sharing(model, items),
        "hlens": lambda: measure(model, items),
    }
    times = in_turn(ways)
    n_tokens = sum(len(item.token_ids) for item in items)
    return [
        f"16 questions with five answers each, {n_tokens} tokens, of which hlens runs "
        f"{ran(model, items)}: {ratio(times, 'official', 'hlens'):.2f} times the official way, "
        f"{ratio(times, 'bare', 'hlens'):.2f} of the bare pass over whole rows, "
        f"{ratio(times, 'alike', 'hlens'):.2f} of the one that shares alike."
    ]


def slope(model: Model) -> list[str]:
    """Exponents of CPU time: in tokens, and in examples at fixed tokens."""
    by_examples = {n: random_examples(n, seed=1) for n in (16, 32, 64)}
    tokens = [sum(len(e.token_ids) for e in items) for items in by_examples.values()]
    grown = in_turn({str(n): lambda i=i: measure(model, i) for n, i in by_examples.items()})
    linear = exponent(tokens, [min(taken) for taken in grown.values()])
    by_length = {n: random_examples(n, 2400 // n - 10, 2400 // n + 10) for n in (12, 24, 48)}
    counts = [len(items) for items in by_length.values()]
    held = in_turn({str(n): lambda i=i: measure(model, i) for n, i in by_length.items()})
    per_token = [
        min(taken) / sum(len(e.token_ids) for e in items)
        for taken, items in zip(held.values(), by_length.values(), strict=True)
    ]
    flat = exponent(counts, per_token)
    return [
        "Random tokens, which share nothing:",
        f"CPU time grows with the number of tokens to the power {linear:.2f} (1 is linear);",
        f"at fixed tokens, with the number of examples to the power {flat:.2f} (0 is flat).",
    ]


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """Slope of a straight line through logarithms."""
    logs = torch.tensor([x, y], dtype=torch.float64).log()
    dx, dy = logs - logs.mean(1, keepdim=True)
    return float((dx * dy).sum() / (dx * dx).sum())


def peaks(model: Model) -> list[str]:
    """Peak memory of each way in a process of its own, above the loaded model's; Linux only."""
    lines = ["| way | peak memory above the model's, MB | of the bare pass |", "|---|---|---|"]
    items = examples(model, 64)
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, mine in found.items():
            mine.append(in_a_process(model, items, name))
    middle = {name: statistics.median(mine) for name, mine in found.items()}
    first = middle["bare, answer"]
    return lines + [f"| {name} | {mb:.0f} | {mb / first:.2f} |" for name, mb in middle.items()]


def in_a_process(model: Model, items: list[Example], name: str) -> float:
    """Peak MB of one way in a process of its own."""
    fork = multiprocessing.get_context("fork")
    mine, theirs = fork.Pipe()
    child = fork.Process(target=peak, args=(model, items, name, theirs))
    child.start()
    found = mine.recv()
    child.join()
    return found


def peak(model: Model, items: list[Example], name: str, answer: Connection) -> None:
    """Send how many MB one way takes above what the process has."""
    bare(model, items[:2])  # what a first call allocates
    with Peak() as seen:
        WAYS[name](model, items)
    answer.send(seen.megabytes)


def gpu() -> list[str]:
    """Llama-3.1-8B's shape, random bfloat16 weights, on the GPU that is there."""
    if not torch.cuda.is_available():
        return ["gpu: no CUDA device here, nothing was measured"]
    model = llama(LLAMA_8B, torch.bfloat16, "cuda")
    items = random_examples(256, 40, 120, vocabulary=LLAMA_8B["vocab_size"])
    lines = [f"{torch.cuda.get_device_name()}, Llama-3.1-8B's shape, bfloat16, random weights:"]
    return lines + on_gpu(model, items, seconds_on_gpu)


def on_gpu(
    model: Model, items: Sequence[Example], clock: Callable[[Callable[[], object]], float]
) -> list[str]:
    ways: dict[str, Callable[[], object]] = {
        "bare": lambda: bare(model, items),
        "hlens": lambda: measure(model, items),
        "official": lambda: official(model, items),
    }
    peaks = {}
    for name, way in ways.items():  # the first call of each allocates, and is not timed
        if model.device.type != "cuda":
            way()
            continue
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        way()
        peaks[name] = (torch.cuda.max_memory_allocated() - before) / 1e6
    times = in_turn(ways, clock)
    n_tokens = sum(len(item.token_ids) for item in items)
    best = {name: f"{n_tokens / min(taken):.0f} tokens/s" for name, taken in times.items()}
    return [
        f"{len(items)} examples, {n_tokens} tokens: {best}",
        f"hlens: {ratio(times, 'bare', 'hlens'):.2f} of the bare pass, "
        f"{ratio(times, 'official', 'hlens'):.1f} times the official way",
        f"peak memory above the weights, MB: { {k: round(v) for k, v in peaks.items()} }",
    ]


def main() -> None:
    chosen = sys.argv[1:] or list(PARTS)
    if chosen == ["gpu"]:
        print("\n".join(gpu()))
        return
    model = load()
    print(f"{model.name}, float32, CPU, one thread, torch {torch.__version__}\n")
    for name in chosen:
        lines = gpu() if name == "gpu" else PARTS[name](model)
        print("\n".join(lines), "\n", sep="", flush=True)


PARTS: dict[str, Callable[[Model], list[str]]] = {
    "speed": speed,
    "unshared": unshared,
    "shared_prompts": shared_prompts,
    "slope": slope,
    "peaks": peaks,
}


if __name__ == "__main__":
    main()
