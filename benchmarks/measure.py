"""What measuring costs: against a bare forward pass, TransformerLens' cache and the official way.

    python benchmarks/measure.py [speed] [shared_prompts] [slope] [peaks]

All ways run the same tokens on one thread, round after round in turn, so that a busy machine is
busy for each of them alike; a ratio is the median over the rounds of CPU time. Peak memory is that
of a forked process, above what it had with the loaded model.
"""

import multiprocessing
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor

import hlens.model
from hlens import metrics
from hlens.contributions import measure, measure_many
from hlens.contributions.engine import auto_tokens
from hlens.contributions.passes import right_padded
from hlens.contributions.plan import plan
from hlens.contributions.regions import Ask
from hlens.contributions.tasks import task_of
from hlens.model import Model
from hlens.types import Example

ROUNDS = 3


def examples(n: int, answers: int = 1, seed: int = 0, factor: int = 1) -> list[Example]:
    """Question-and-answer lengths as the embedded model's: 35-70 tokens asked, 4-16 answered."""
    draw = random.Random(seed)
    tokens = torch.Generator().manual_seed(seed)
    found = []
    for question in range(n):
        n_prompt = factor * draw.randint(35, 70)
        prompt = torch.randint(10, 49000, (n_prompt,), generator=tokens)
        for sample in range(answers):
            length = factor * draw.randint(4, 16)
            answer = torch.randint(10, 49000, (length,), generator=tokens)
            found.append(
                Example(
                    token_ids=torch.cat([prompt, answer]),
                    n_prompt=n_prompt,
                    start=n_prompt,
                    stop=n_prompt + min(4, length),
                    hallucinated=bool(sample % 2),
                    question_id=f"q{question}",
                    group=f"q{question}",
                    domain="bench",
                    sample=sample,
                )
            )
    return found


def batches(model: Model, items: Sequence[Example], region: str = "answer") -> Iterator[Tensor]:
    """The very batches that hlens runs for a region."""
    tasks = [task_of(item, [Ask(metrics.cett, region)]) for item in items]
    for batch in plan(tasks, auto_tokens(model), share=False):
        yield right_padded([tasks[index].token_ids for index in batch.members], model)


def bare(model: Model, items: Sequence[Example], region: str = "answer") -> None:
    """The model without its unembedding, on the same batches, nothing read."""
    with torch.inference_mode():
        for ids in batches(model, items, region):
            model.body(input_ids=ids, use_cache=False)


def official(model: Model, items: Sequence[Example]) -> Tensor:
    """One sample at a time, with logits; all tokens of all layers stacked, then reduced."""
    norms = torch.stack([model.w_out(layer).norm(dim=1) for layer in range(model.n_layers)])
    rows = []
    for item in items:
        acts: list[Tensor] = []
        outs: list[Tensor] = []

        def keep(
            module: object,
            args: tuple[Tensor, ...],
            output: Tensor,
            acts: list[Tensor] = acts,
            outs: list[Tensor] = outs,
        ) -> None:
            acts.append(args[0][0])
            outs.append(output[0].norm(dim=-1, keepdim=True))

        hooks = [down.register_forward_hook(keep) for down in model.down_projections]
        with torch.no_grad():
            model.hf(item.token_ids[None])
        for hook in hooks:
            hook.remove()
        stacked = torch.stack(acts).transpose(0, 1).abs() * norms[None]
        cett = (stacked / (torch.stack(outs).transpose(0, 1) + 1e-8)).transpose(0, 1)
        rows.append(cett[:, item.start : item.stop].mean(1))
    return torch.stack(rows)


def cached(model: Model, items: Sequence[Example]) -> None:
    """TransformerLens' run_with_cache, everything cached, on the same batches."""
    for ids in batches(model, items):
        with torch.inference_mode():
            model.run_with_cache(ids)


WAYS: dict[str, Callable[[Model, Sequence[Example]], object]] = {
    "bare, answer": bare,
    "hlens, answer": measure,
    "bare, whole response": lambda m, e: bare(m, e, "response"),
    "hlens, whole response": lambda m, e: measure(m, e, region="response"),
    "hlens, all but the answer": lambda m, e: measure(m, e, region="other"),
    "hlens, 4 metrics x 3 regions": lambda m, e: measure_many(
        m,
        e,
        [metrics.cett, metrics.signed_cett, metrics.activation, metrics.activation_norm],
        ["answer", "other", "response"],
    ),
    "run_with_cache": cached,
    "official way": official,
}


def seconds(way: Callable[[], object]) -> float:
    """CPU seconds of one call: waiting for other processes does not count."""
    began = time.process_time()
    way()
    return time.process_time() - began


def in_turn(ways: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(seconds(way))
    return times


def ratio(times: dict[str, list[float]], slow: str, fast: str) -> float:
    """How many times faster, the median over rounds."""
    pairs = zip(times[slow], times[fast], strict=True)
    return statistics.median(a / b for a, b in pairs)


def speed(model: Model) -> list[str]:
    items = examples(32)
    times = in_turn({name: lambda w=way: w(model, items) for name, way in WAYS.items()})
    n_tokens = sum(len(item.token_ids) for item in items)
    lines = ["| way | tokens/s (best round) | of the bare pass | of the official way |"]
    lines.append("|---|---|---|---|")
    for name, taken in times.items():
        same = "bare, answer" if name.endswith(", answer") else "bare, whole response"
        against = ratio(times, same, name), ratio(times, "official way", name)
        best = n_tokens / min(taken)
        lines.append(f"| {name} | {best:.0f} | {against[0]:.2f} | {against[1]:.2f} |")
    lines.append("")
    lines.append("Tokens/s count the examples' own tokens, also those that hlens need not run.")
    return lines


def shared_prompts(model: Model) -> str:
    items = examples(4, answers=5)
    ways = {"official": lambda: official(model, items), "hlens": lambda: measure(model, items)}
    faster = ratio(in_turn(ways, 3), "official", "hlens")
    return f"Five answers a question sharing their prompt: {faster:.2f} times the official way."


def slope(model: Model) -> list[str]:
    """Exponents of CPU time: in tokens, and in examples at fixed tokens."""
    by_examples = {n: examples(n, seed=1) for n in (8, 16, 32)}
    tokens = [sum(len(e.token_ids) for e in items) for items in by_examples.values()]
    grown = in_turn({str(n): lambda i=i: measure(model, i) for n, i in by_examples.items()}, 3)
    linear = exponent(tokens, [min(taken) for taken in grown.values()])
    by_length = {n: examples(n, seed=1, factor=32 // n) for n in (8, 16, 32)}
    counts = [len(items) for items in by_length.values()]
    held = in_turn({str(n): lambda i=i: measure(model, i) for n, i in by_length.items()}, 3)
    per_token = [
        min(taken) / sum(len(e.token_ids) for e in items)
        for taken, items in zip(held.values(), by_length.values(), strict=True)
    ]
    flat = exponent(counts, per_token)
    return [
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
    items = examples(32)
    fork = multiprocessing.get_context("fork")
    first = 0.0
    for name in WAYS:
        mine, theirs = fork.Pipe()
        child = fork.Process(target=peak, args=(model, items, name, theirs))
        child.start()
        found = mine.recv()
        child.join()
        first = first or found
        lines.append(f"| {name} | {found:.0f} | {found / first:.2f} |")
    return lines


def peak(model: Model, items: list[Example], name: str, answer: Connection) -> None:
    """Send how many MB one way takes above what the process has."""
    bare(model, items[:2])  # what a first call allocates, and the weights' pages in this process
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = status("VmRSS")
    WAYS[name](model, items)
    answer.send((status("VmHWM") - before) / 1024)


def status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def load() -> Model:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    model = hlens.model.load("smollm2-135m")
    assert model.provenance  # computed once a model, not once a measurement
    assert len(model.w_norms) == model.n_layers  # so are the norms
    return model


def main() -> None:
    model = load()
    print(f"{model.name}, float32, CPU, one thread, torch {torch.__version__}\n")
    chosen = sys.argv[1:] or ["speed", "shared_prompts", "slope", "peaks"]
    for part in (globals()[name] for name in chosen):
        lines = part(model)
        print(lines if isinstance(lines, str) else "\n".join(lines), "\n", sep="", flush=True)


if __name__ == "__main__":
    main()
