"""The server with a detector beside the server without one, and what it holds after many requests.

    python benchmarks/serving.py [--engine vllm] [--rounds 3] [--only latency|risk|memory]

One process serves the embedded model twice, with a detector of 40 neurons and without any; clients
ask both in turn, 32 at a time. ``latency``: seconds from request to last byte at p50 and p99, and
their ratios. ``risk``: `/v1/risk` of 1,000 answers (``--answers``) beside `hlens.measure` of the
same ones.
``memory``: resident memory while 2,000 requests are answered, with a client that leaves in every
tenth.
"""

import argparse
import asyncio
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import hlens
from hlens import domains
from hlens.model import Model
from hlens.server import Offer
from hlens.types import Detector, Example
from serving import serving

AT_ONCE = 32


def detector_of(model: Model, neurons: int = 40) -> Detector:
    draw = torch.Generator().manual_seed(0)
    weights = torch.zeros(model.n_layers, model.d_mlp)
    chosen = torch.randperm(weights.numel(), generator=draw)[:neurons]
    weights.view(-1)[chosen] = torch.randn(neurons, generator=draw)
    return Detector(weights, 0.0, region="response", provenance=model.provenance)


def texts(n: int) -> list[str]:
    asked = [question.text for question in domains.load("general")]
    return [asked[i % len(asked)] for i in range(n)]


async def ask_all(
    url: str, n: int, tokens: int, *, leaves: int = 0, at_once: int = AT_ONCE
) -> list[float]:
    """Seconds of each request, `at_once` under way all the time; every `leaves`-th is left."""
    waiting, taken = list(enumerate(texts(n))), []
    async with httpx.AsyncClient(base_url=url, timeout=600) as client:

        async def ask() -> None:
            while waiting:
                i, text = waiting.pop()
                body = {
                    "model": "served",
                    "messages": [{"role": "user", "content": text}],
                    "max_tokens": tokens,
                    "temperature": 0,
                    "stream": True,
                }
                start = time.monotonic()
                async with client.stream("POST", "/v1/chat/completions", json=body) as reply:
                    async for _ in reply.aiter_bytes():
                        if leaves and i % leaves == 0:
                            break
                taken.append(time.monotonic() - start)

        await asyncio.gather(*(ask() for _ in range(at_once)))
    return taken


def percentile(taken: list[float], share: float) -> float:
    return statistics.quantiles(taken, n=100)[round(100 * share) - 1]


def compare_latency(model: Model, rounds: int, tokens: int) -> None:
    """Requests under a detector beside requests under none, of one server."""
    ways = {"without": {}, "with": {"main": detector_of(model)}}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):  # the first warms both up
        for name, detectors in ways.items():
            with serving(Offer(model, "served", detectors=detectors)) as served:
                start = time.monotonic()
                found = asyncio.run(ask_all(served.url, 4 * AT_ONCE, tokens))
            if number:
                wall[name].append(time.monotonic() - start)
                taken[name] += found
    for share in (0.5, 0.99):
        one, other = (percentile(taken[name], share) for name in ways)
        print(f"p{share * 100:g}: {one:.2f} s without, {other:.2f} s with, ratio {other / one:.3f}")
    ratios = [b / a for a, b in zip(wall["without"], wall["with"], strict=True)]
    shown = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    print(
        f"time of all, with over without, by round: {shown}; median {statistics.median(ratios):.3f}"
    )


def compare_risk(model: Model, rounds: int, n: int) -> None:
    """`/v1/risk` of conversations, and measuring all neurons of the same answers."""
    detector = detector_of(model)
    asked = texts(n)
    answers = [
        f"The answer to that is number {i}, as everybody in the town knows." for i in range(n)
    ]
    examples = []
    for i, (text, answer) in enumerate(zip(asked, answers, strict=True)):
        prompt = model.encode_chat([{"role": "user", "content": text}])
        ids = torch.tensor([*prompt, *model.encode_words(answer)])
        n = len(prompt)
        examples.append(Example(ids, n, n, len(ids), bool(i % 2), str(i), str(i), "general"))
    turns = [
        {"messages": [{"role": "user", "content": a}, {"role": "assistant", "content": b}]}
        for a, b in zip(asked, answers, strict=True)
    ]
    metric = hlens.metrics.by_name("cett")
    taken: dict[str, list[float]] = {"measure": [], "risk": []}
    with serving(Offer(model, "served", detectors={"main": detector})) as served:
        for number in range(rounds + 1):
            start = time.monotonic()
            data = hlens.measure(model, examples, metric=metric, region="response")
            middle = time.monotonic()
            body = {"conversations": turns}
            found = httpx.post(f"{served.url}/v1/risk", json=body, timeout=3600).json()["data"]
            if number:
                taken["measure"].append(middle - start)
                taken["risk"].append(time.monotonic() - middle)
    expected = detector(data).tolist()
    apart = max(abs(one["score"] - score) for one, score in zip(found, expected, strict=True))
    one, other = (statistics.median(taken[name]) for name in taken)
    print(
        f"{n:,} answers: measured in {one:.1f} s, /v1/risk in {other:.1f} s: throughput "
        f"{one / other:.2f} of measuring's; scores apart by {apart:.1e}"
    )


def watch_memory(model: Model, n: int, tokens: int) -> None:
    """Resident memory after each tenth of the requests."""
    with serving(Offer(model, "served", detectors={"main": detector_of(model)})) as served:
        held = []
        for _ in range(10):
            asyncio.run(ask_all(served.url, n // 10, tokens, leaves=10))
            served.wait_until_idle(120)
            held.append(_resident())
    shown = ", ".join(f"{one:.0f}" for one in held)
    print(
        f"MB after each tenth of {n} requests: {shown}; "
        f"growth behind the second: {held[-1] - held[1]:+.0f} MB"
    )


def _resident() -> float:
    status = Path("/proc/self/status")
    if not status.exists():  # no Linux: the most so far
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", default="local")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--answers", type=int, default=1000)
    parser.add_argument("--only", choices=("latency", "risk", "memory"))
    given = parser.parse_args()
    options: dict[str, Any] = {}
    if given.engine == "vllm":
        options = {"max_model_len": 1024, "max_num_seqs": AT_ONCE}
    model = hlens.load("smollm2-135m", engine=given.engine, engine_options=options)
    if given.only in (None, "latency"):
        compare_latency(model, given.rounds, given.tokens)
    if given.only in (None, "risk"):
        compare_risk(model, given.rounds, given.answers)
    if given.only in (None, "memory"):
        watch_memory(model, given.requests, 4)


if __name__ == "__main__":
    main()
