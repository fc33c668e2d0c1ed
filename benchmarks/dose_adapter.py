"""Doses as adapters beside the edit of activations, on both embedded models.

For alpha 0, 2 and 3, as many random neurons as the demo finds are scaled. Each adapter runs through
PEFT, the edit through hlens's hooks: how many of the greedy answers are equal, how far the logits
are apart, and what the adapter costs in time, in turn in one run.

    python benchmarks/dose_adapter.py [--prompts 100] [--neurons 120] [--model gemma3-270m]
        [--alpha 2 --alpha 3]
"""

import argparse
import itertools
import logging
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import hlens
from hlens import interventions as iv
from hlens.domains import general, science
from hlens.model import Settings, attached
from hlens.types import NeuronSet

MODELS = ("smollm2-135m", "gemma3-270m")
ALPHAS = (0.0, 2.0, 3.0)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--prompts", type=int, default=100)
    options.add_argument("--neurons", type=int, default=120)
    options.add_argument("--model", choices=MODELS, help="one of the two alone")
    options.add_argument("--alpha", type=float, action="append", help="these alone")
    asked = options.parse_args()
    logging.getLogger("hlens").setLevel(logging.ERROR)
    questions = itertools.chain(general.questions(), science.questions())
    prompts = [question.text for question in itertools.islice(questions, asked.prompts)]
    for name in [asked.model] if asked.model else MODELS:
        model = hlens.load(name, device="cpu")
        neurons = _random_neurons(model, asked.neurons)
        ids = [model.encode(prompt) for prompt in prompts]
        for alpha in asked.alpha or ALPHAS:
            with tempfile.TemporaryDirectory() as scratch:
                edit = iv.scale(alpha)
                folder = iv.adapter(model, neurons, edit, Path(scratch) / "dose")
                found = iv.verify_adapter(folder, model, ids)
                with model.editing(neurons, edit):
                    hooked = _seconds(model, ids)
                with attached(model.hf, folder):
                    adapted = _seconds(model, ids)
            plain = _seconds(model, ids)
            print(
                f"{name} alpha {alpha:g}, {len(neurons)} neurons: {found.answers_agree} of "
                f"{found.prompts} greedy answers equal, largest difference of a logit "
                f"{found.largest_difference:.1e} of the largest, rows agree {found.rows_agree}; "
                f"time beside the plain model: adapter {adapted / plain:.2f}, "
                f"edit {hooked / plain:.2f}"
            )


def _random_neurons(model: hlens.Model, n: int) -> NeuronSet:
    picked = np.random.default_rng(0).choice(model.n_layers * model.d_mlp, n, replace=False)
    members = frozenset(divmod(int(flat), model.d_mlp) for flat in picked)
    return NeuronSet(members, model.n_layers, model.d_mlp, model=model.fingerprint)


def _seconds(model: hlens.Model, prompts: list[list[int]]) -> float:
    began = time.process_time()
    model.generate_many(prompts[:32], Settings(max_new_tokens=16, temperature=0.0))
    return time.process_time() - began


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
