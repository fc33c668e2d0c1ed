"""How long a kept model takes to open: after the imports, and again in the same process.

    OMP_NUM_THREADS=1 python benchmarks/opening.py

Each round is a process of its own. A first `hlens.load` imports what the architecture needs of
transformers; a second one does not. The models are fetched and converted before anything is timed.
"""

import argparse
import json
import statistics
import subprocess
import sys

OPEN = """
import json, sys, time
clocks = lambda: (time.perf_counter(), time.process_time())
taken, before = {}, clocks()
def lap(name):
    global before
    taken[name] = [now - then for now, then in zip(clocks(), before)]
    before = clocks()
import torch, transformer_lens, hlens
hlens.load
lap("imports")
first = hlens.load(sys.argv[1], device="cpu")
lap("load")
hlens.load(sys.argv[1], device="cpu")
lap("load again")
print(json.dumps(taken))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="smollm2-135m,gemma3-270m")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    models = args.models.split(",")
    seen: dict[str, list[dict[str, list[float]]]] = {model: [] for model in models}
    for turn in range(args.rounds + 1):  # in turn; the first fetches, and is not counted
        for model in models:
            done = subprocess.run(
                [sys.executable, "-c", OPEN, model], stdout=subprocess.PIPE, text=True, check=True
            )
            if turn:
                seen[model].append(json.loads(done.stdout.splitlines()[-1]))
    print(f"medians of {args.rounds} processes; seconds: wall (CPU)")
    for model, rounds in seen.items():
        for step in rounds[0]:
            wall, cpu = (statistics.median(one[step][clock] for one in rounds) for clock in (0, 1))
            print(f"{model:14s} {step:11s} {wall:5.2f} ({cpu:.2f})")


if __name__ == "__main__":
    main()
