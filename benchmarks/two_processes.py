"""Two processes that measure at once on the same cores, beside one alone.

    python benchmarks/two_processes.py

Each measures the same answers of SmolLM2-135M; two share the cores, so that twice the time of one
is the most that they should take. Three ways: as hlens settles threads when it is imported first,
with ``HLENS_THREADS=1``, and with torch imported first, which keeps the libraries' own defaults.
"""

import argparse
import os
import statistics
import subprocess
import sys

JOB = """
import sys, time
if sys.argv[1] == "torch first":
    import torch
import hlens
model = hlens.load("smollm2-135m", device="cpu")
questions = hlens.domains.load("general", n=int(sys.argv[2]))
rows = [{"question": q.text, "response": q.answers[0], "correct": True} for q in questions]
examples = hlens.labelled(rows, model).examples
hlens.measure(model, examples[:8])
print("ready", flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    hlens.measure(model, examples)
    print(time.perf_counter() - start, flush=True)
"""
WAYS = ("as hlens settles it", "HLENS_THREADS=1", "torch first")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores; medians of {args.rounds} rounds in turn; wall seconds")
    for way in WAYS:
        pair = [start(way, args.questions) for _ in range(2)]
        alone, both = [], []
        for _ in range(args.rounds):
            alone.append(max(measure(pair[:1])))
            both.append(max(measure(pair)))
        for one in pair:
            one.kill()
            one.wait()
        one, two = statistics.median(alone), statistics.median(both)
        print(f"{way:20s} alone {one:6.2f}   two at once {two:6.2f}   ratio {two / one:5.2f}")


def start(way: str, questions: int) -> subprocess.Popen[str]:
    own = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    name, _, value = way.partition("=")
    extra = {name: value} if value else {}
    process = subprocess.Popen(
        [sys.executable, "-c", JOB, way, str(questions)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=own | extra,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def measure(processes: list[subprocess.Popen[str]]) -> list[float]:
    """Seconds that each takes, begun together."""
    for one in processes:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    return [float(one.stdout.readline()) for one in processes if one.stdout is not None]


if __name__ == "__main__":
    main()
