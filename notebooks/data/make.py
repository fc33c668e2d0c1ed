"""Make the data of the lessons: replies that were read by hand, and numbers of a real model.

    python notebooks/data/make.py read               # read_replies.jsonl, of tests/: seconds
    python notebooks/data/make.py smollm2 runs/demo  # smollm2_*: some six minutes on one CPU core

The folder is that of the demonstration (``hlens run demo --set sampling.precision=model --out
runs/demo``); what is not there yet is made. `README.md` says what each file holds.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import hlens
from hlens.recipe import Recipe
from hlens.types import Contributions, Example

HERE = Path(__file__).parent
READ = HERE.parents[1] / "tests" / "read_replies.jsonl"
RECIPE = Path(hlens.__file__).parent / "recipes" / "demo.toml"
N_BEST = 65  # as many as the probe of the demonstration selects
N_RANDOM = 130
STEPS = 16  # a neuron's values are kept in so many steps to its standard deviation


def read() -> None:
    """SmolLM2's replies in its chat template to two domains, and both readings of each."""
    kept = []
    for line in READ.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        by_chat = row["model"] == "smollm2-135m" and row["style"] == "chat"
        if by_chat and row["domain"] in ("general", "science"):
            columns = ("domain", "id", "reply", "finish_reason", "readings")
            kept.append({column: row[column] for column in columns})
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
    (HERE / "read_replies.jsonl").write_text(lines, encoding="utf-8")


def smollm2(folder: Path) -> None:
    """Replies, verdicts and contributions of the demonstration on SmolLM2-135M-Instruct."""
    # Replies in the model's own precision: the same on every CPU.
    recipe = Recipe.read(RECIPE).with_options({"sampling": {"precision": "model"}})
    study = hlens.Study(folder, recipe)
    judgements, train = study.judgements(), study.split()[0]
    located: list[Example | None] = [
        next(iter(hlens.locate([judgement], study.model)), None) for judgement in judgements
    ]
    distinct, rows = _distinct([example for example in located if example is not None])
    measured = hlens.measure(study.model, distinct)
    _write_replies(study, located, rows)
    table = _choose(study, train)
    table.to_csv(HERE / "smollm2_neurons.csv", index=False)
    _write_values(measured, table)
    _write_halves(train)


def _distinct(examples: Sequence[Example]) -> tuple[list[Example], list[int]]:
    """Examples without those that say the same of the same question, and which each one is.

    A model reads the same tokens in the same way, so their contributions are the same.
    """
    index: dict[tuple[Any, ...], int] = {}
    first, rows = [], []
    for one in examples:
        key = (one.domain, one.question_id, *one.token_ids.tolist(), one.start, one.stop)
        if key not in index:
            index[key] = len(first)
            first.append(one)
        rows.append(index[key])
    return first, rows


def _write_replies(study: Any, located: Sequence[Example | None], rows: Sequence[int]) -> None:
    """One line a reply; what is not scored has no row of contributions."""
    held_out = set(study.split()[1].groups)
    kept = {(one.domain, one.question_id, one.sample) for one in study.examples()}
    left, lines = iter(rows), []
    for judgement, example in zip(study.judgements(), located, strict=True):
        response, question = judgement.response, judgement.response.question
        line = {
            "domain": question.domain,
            "question": question.id,
            "group": question.group.removeprefix(f"{question.domain}/"),
            "sample": response.sample,
            "reply": response.text.strip(),
            "verdict": judgement.verdict.value,
            "part": "test" if question.group in held_out else "train",
        }
        if example is not None:
            start, stop = example.start - example.n_prompt, example.stop - example.n_prompt
            own = response.logprobs[start:stop]
            line |= {
                "kept": int((question.domain, question.id, response.sample) in kept),
                "tokens": stop - start,
                "logprob": round(sum(own), 3),
                "least_logprob": round(min(own), 3),
                "row": next(left),
            }
        lines.append(line)
    table = pd.DataFrame(lines)
    whole = ["kept", "tokens", "row"]
    table[whole] = table[whole].astype("Int64")
    table.to_csv(HERE / "smollm2_replies.csv", index=False)


def _choose(study: Any, train: Contributions) -> pd.DataFrame:
    """The probe's neurons, those that tell best alone in training, and random others."""
    detector = study.detector()
    weights = detector.weights.flatten().double().numpy()
    auroc = hlens.evaluation.univariate(train).auroc.to_numpy()
    best = np.argsort(-np.abs(auroc - 0.5), kind="stable")[:N_BEST]
    named = np.union1d(np.flatnonzero(weights), best)
    others = np.setdiff1d(np.arange(len(weights)), named)
    random = np.random.default_rng(0).choice(others, N_RANDOM, replace=False)
    chosen = np.sort(np.concatenate([named, random]))
    return pd.DataFrame(
        {
            "layer": chosen // train.d_mlp,
            "neuron": chosen % train.d_mlp,
            "weight": weights[chosen].round(4),
            "best": np.isin(chosen, best).astype(int),
            "random": np.isin(chosen, random).astype(int),
            "train_auroc": auroc[chosen].round(4),
        }
    )


def _write_values(measured: Contributions, table: pd.DataFrame) -> None:
    """Contributions in whole steps of a sixteenth of each neuron's standard deviation."""
    columns = torch.tensor((table.layer * measured.d_mlp + table.neuron).to_numpy())
    values = measured.values.flatten(1)[:, columns].double().numpy()
    step = values.std(axis=0) / STEPS
    steps = np.clip(np.round(values / step), -127, 127).astype(np.int8)
    np.savez_compressed(HERE / "smollm2_values.npz", steps=steps, step=step.astype(np.float32))


def _write_halves(train: Contributions) -> None:
    """How well every neuron of the model tells alone, and whom the probe names, on either half."""
    arrays = {}
    halves = hlens.evaluation.split_by_group(train, test=0.5)
    for name, half in zip(("first", "second"), halves, strict=True):
        auroc = hlens.evaluation.univariate(half).auroc.to_numpy()
        arrays[f"auroc_{name}"] = np.round(1000 * auroc).astype(np.uint16)
        found = hlens.find(half, calibration=None).selected
        arrays[f"probe_{name}"] = np.array(sorted(found.flat_indices), dtype=np.int32)
    np.savez_compressed(HERE / "smollm2_halves.npz", **arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the data of the lessons.")
    parser.add_argument("what", choices=["read", "smollm2"])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("runs/demo"))
    given = parser.parse_args()
    if given.what == "read":
        read()
    else:
        smollm2(given.folder)


if __name__ == "__main__":
    main()
