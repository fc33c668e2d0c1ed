"""vLLM beside the local engine: sampling, measuring and watching, as ratios of one run.

    .venv-engines/bin/python benchmarks/engines.py [--questions 32] [--rounds 3] [--only watching]
    .venv-engines/bin/python benchmarks/engines.py --only bfloat16 --model gemma3-270m

Sampling is compared as a recipe asks unless it is told otherwise (a short prompt, a reply of up to
50 tokens) and as the demo asks (worked examples before the question, a reply of one line): the
first is mostly writing, the second mostly reading.

Both engines hold the embedded model, float32 on the CPU, in one process, and take turns; seconds
are CPU seconds of the process. Watching is compared on vLLM with itself: the same 32 prompts at
once, with and without a detector of 40 neurons, one read at each token.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, median

import torch

import hlens
from hlens import domains, monitor, spans
from hlens.model import Model
from hlens.prompts import encode_prompt
from hlens.recipe import Recipe, SamplingRecipe
from hlens.steps.answers import settings_of
from hlens.types import Detector, Response

CONCURRENT = 32


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def in_turn(rounds: int, **ways: Callable[[], object]) -> dict[str, float]:
    """Median seconds of each way; every way runs once before it is timed."""
    for way in ways.values():
        way()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(seconds(way))
    return {name: median(own) for name, own in taken.items()}


def detector_of(model: Model, neurons: int = 40) -> Detector:
    draw = torch.Generator().manual_seed(0)
    weights = torch.zeros(model.n_layers, model.d_mlp)
    chosen = torch.randperm(weights.numel(), generator=draw)[:neurons]
    weights.view(-1)[chosen] = torch.randn(neurons, generator=draw)
    return Detector(
        weights=weights,
        bias=0.0,
        metric="cett",
        region="response",
        provenance=model.provenance,
    )


def compare_sampling(
    name: str, sampling: SamplingRecipe, local: Model, vllm: Model, given: argparse.Namespace
) -> list[Response]:
    """One way of asking, on both engines; the local replies."""
    ask = partial(
        hlens.sample,
        questions=domains.load("general", given.questions),
        n=given.samples,
        settings=settings_of(sampling),
        instruction=sampling.instruction,
        style=sampling.style,
        shots=sampling.shots,
    )
    ours, theirs = ask(local), ask(vllm)
    same = sum(a.token_ids == b.token_ids for a, b in zip(ours, theirs, strict=True))
    took = in_turn(given.rounds, local=lambda: ask(local), vllm=lambda: ask(vllm))
    read = mean(reply.n_prompt for reply in ours)
    written = mean(len(reply.token_ids) - reply.n_prompt for reply in ours)
    print(
        f"sampling {len(ours)} replies as {name} asks ({read:.0f} tokens read, {written:.1f} "
        f"written each): vllm / local {took['vllm'] / took['local']:.2f}"
    )
    print(f"  {took}; {same} of {len(ours)} replies are the same")
    return ours


def compare_measuring(
    local: Model, vllm: Model, replies: list[Response], given: argparse.Namespace
) -> None:
    """The replies, measured on both engines."""
    examples = spans.locate(hlens.judge(replies), local)
    values = [hlens.measure(model, examples).values for model in (local, vllm)]
    apart = float((values[0] - values[1]).abs().max() / values[0].abs().max())
    measure = partial(hlens.measure, examples=examples)
    took = in_turn(given.rounds, local=lambda: measure(local), vllm=lambda: measure(vllm))
    print(f"measuring {len(examples)} examples: vllm / local {took['vllm'] / took['local']:.2f}")
    print(f"  {took}; apart by {apart:.1e} of the largest value")


def compare_bfloat16(name: str) -> None:
    """CETT of 200 short answers in bfloat16 beside float32 of the local engine."""
    exact = hlens.load(name, device="cpu", dtype="float32")
    questions = [*domains.load("general", 110), *domains.load("science", 110)]
    settings = hlens.Settings(24, until_newline=True)
    replies = hlens.sample(exact, questions, n=1, settings=settings, style="completion", shots=4)
    examples = spans.locate(hlens.judge(replies), exact)[:200]
    expected = hlens.measure(exact, examples).values
    for engine, options in (("local", {}), ("vllm", {"max_model_len": 512})):
        model = hlens.load(name, dtype="bfloat16", engine=engine, engine_options=options)
        off = hlens.measure(model, examples).values.float() - expected
        largest = float(off.abs().max() / expected.abs().max())
        rms = float(off.norm() / expected.norm())
        print(f"{name} in bfloat16, {engine}: {largest:.1e} of the largest value, rms {rms:.1e}")
        if engine == "vllm":
            model.close()  # type: ignore[attr-defined]


def compare_watching(vllm: Model, given: argparse.Namespace) -> None:
    """Questions at once, with and without a detector."""
    questions = domains.load("general", CONCURRENT)[:CONCURRENT]
    prompts = [encode_prompt(vllm, question) for question in questions]
    greedy = hlens.Settings(24, temperature=0.0)
    watch = partial(monitor.monitor, vllm, detector_of(vllm), prompts, settings=greedy)
    # One token more is read under watch, so as many are written without.
    plain = partial(vllm.generate_many, prompts, hlens.Settings(25, temperature=0.0))
    took = in_turn(2 * given.rounds, plain=plain, watched=watch)
    print(f"watching {len(prompts)} at once: {took['watched'] / took['plain'] - 1:+.1%}  {took}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=32)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["sampling", "watching", "bfloat16"])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--block-size", type=int, help="tokens that vLLM shares at once")
    given = parser.parse_args()
    if find_spec("vllm") is None:
        print(
            "skipped: vLLM is not installed (make test-engines makes .venv-engines, which has it)"
        )
        return
    if given.only == "bfloat16":
        compare_bfloat16(given.model)
        return
    options = {"max_model_len": 512}
    load = partial(hlens.load, given.model, dtype="float32")
    if given.block_size:
        options["block_size"] = given.block_size
    vllm = load(engine="vllm", engine_options=options)
    if given.only != "watching":
        local = load(device="cpu")
        demo = Recipe.read(Path(hlens.__file__).parent / "recipes" / "demo.toml")
        compare_sampling("the demo", demo.sampling, local, vllm, given)
        replies = compare_sampling("a recipe", Recipe().sampling, local, vllm, given)
        if given.only != "sampling":
            compare_measuring(local, vllm, replies, given)
    if given.only != "sampling":
        compare_watching(vllm, given)
    vllm.close()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
