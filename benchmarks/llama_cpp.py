"""Sampling beside llama.cpp's own server, on the same prompts and settings, in CPU seconds.

    .venv-engines/bin/python benchmarks/llama_cpp.py [--questions 64] [--rounds 3]

As the demo asks: worked examples before the question, three samples of each, a reply of one line
and of 20 tokens at most. llama.cpp reads the published GGUF file, whose weights are quantised, and
keeps beginnings that prompts share; hlens writes with the float32 weights that it makes of the same
file, and in bfloat16 where the CPU multiplies that. Both draw, so that replies differ. One thread
each, in one process, in turn; the server's own work is in the process's time.
"""

import argparse
import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any

import torch

import hlens
from hlens import domains
from hlens.domains import choose_worked
from hlens.model.pretrained import EMBEDDED, _fetch_gguf
from hlens.prompts import encode_prompt

N, TOKENS = 3, 20
SLOTS = 16  # replies that the server writes at once


def serve(gguf: Path) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(gguf)
    params.n_parallel = SLOTS
    params.n_ctx = 256 * SLOTS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    return xllamacpp.Server(params)


def ask(server: Any, prompt: list[int], seed: int) -> list[int]:
    body = {
        "prompt": prompt, "n_predict": TOKENS, "temperature": 1.0, "top_p": 0.9, "top_k": 50,
        "seed": seed, "stop": ["\n"], "cache_prompt": True, "return_tokens": True,
    }  # fmt: skip
    request = urllib.request.Request(
        f"{server.listening_address}/completion",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=600) as reply:
        return json.load(reply)["tokens"]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--model", choices=sorted(EMBEDDED), default="smollm2-135m")
    options.add_argument("--questions", type=int, default=64)
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    if find_spec("xllamacpp") is None:
        print("skipped: llama.cpp is not installed (make test-engines makes .venv-engines with it)")
        return
    torch.set_num_threads(1)
    model = hlens.load(given.model, device="cpu")
    questions = domains.load("general", given.questions)
    prompts = [
        encode_prompt(model, one, style="completion", worked=choose_worked(one, 4, own=()))
        for one in questions
    ]
    asked = [(prompt, seed) for prompt in prompts for seed in range(N)]

    def by_hlens(precision: str) -> list[int]:
        settings = hlens.Settings(max_new_tokens=TOKENS, until_newline=True)
        replies = hlens.sample(
            model, questions, n=N, settings=settings, style="completion", shots=4,
            precision=precision,
        )  # fmt: skip
        return [len(reply.token_ids) - reply.n_prompt for reply in replies]

    def by_llama_cpp(server: xllamacpp.Server) -> list[int]:
        with ThreadPoolExecutor(SLOTS) as pool:
            return [len(one) for one in pool.map(lambda one: ask(server, *one), asked)]

    with TemporaryDirectory() as scratch:
        server = serve(_fetch_gguf(EMBEDDED[given.model], Path(scratch)))
        ways = {
            "llama.cpp, quantised": lambda: by_llama_cpp(server),
            "hlens, float32": lambda: by_hlens("model"),
            "hlens, as it chooses": lambda: by_hlens("auto"),
        }
        took: dict[str, list[float]] = {name: [] for name in ways}
        written: dict[str, list[int]] = {}
        for _ in range(given.rounds):
            for name, way in ways.items():
                start = time.process_time()
                written[name] = way()
                took[name].append(time.process_time() - start)
        print(f"{given.model}: {len(asked)} replies, prompts of {mean(map(len, prompts)):.0f}")
        for name, seconds in took.items():
            ratio = median(seconds) / median(took["hlens, float32"])
            rate = sum(written[name]) / median(seconds)
            print(
                f"  {name:21s} {median(seconds):6.1f} s, {ratio:.2f} of hlens in float32; "
                f"{mean(written[name]):.1f} tokens a reply, {rate:.0f} a second"
            )
        del server


if __name__ == "__main__":
    main()
