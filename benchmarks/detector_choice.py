"""The default way of reading: chosen on one half of the questions, reported on the other.

    python benchmarks/detector_choice.py FOLDER --public DATA [--model gemma3-270m] [--stage make]

The six banks and six public sets of short answers are asked once of each embedded model. Groups of
questions are halved by a fixed seed. On the first half every combination of what is measured and
how it is scaled is scored by nested cross-validation (C chosen inside): `MODEL-choice.csv` says
what each reads, how many neurons it takes and how many of them another half finds again. Whoever
chooses looks at that table alone. `MODEL-report.csv` is of the second half, which no choice has
seen: what was the default, what is, the paper's way, the output numbers, and neurons and output
numbers together.

`DATA` holds the public sets as JSON Lines, a folder for each domain (`hlens.domains.jsonl`);
without it the banks are asked alone.
"""

import argparse
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import hlens
from hlens import baselines, metrics
from hlens.audit import set_agreement
from hlens.audit.over_output import combined_scores
from hlens.contributions import Ask
from hlens.evaluation import estimate_auroc, split_by_group
from hlens.evaluation.auroc import auroc
from hlens.evaluation.paired import compare_auroc
from hlens.probe import SparseProbe
from hlens.probe.nested import nested_scores
from hlens.probe.prepared import copy_unfitted
from hlens.probe.ways import probe_of
from hlens.recipe import MeasureRecipe, Recipe, SamplingRecipe
from hlens.steps import answers
from hlens.steps.detection import contributions as contributions_of
from hlens.store.evidence import load_evidence, save_evidence
from hlens.study import Study
from hlens.types import Evidence
from hlens.types.labels import COMBINED, OUTPUT, Agreement, Part

MODELS = ("smollm2-135m", "gemma3-270m")
BANKS = ("general", "science", "legal", "financial", "moral", "code_vulnerability")
PUBLIC = (
    "general/relation_facts", "general/wikidata_completion", "general/web_questions",
    "science/sciq", "science/arc_da", "science/chemical_elements",
)  # fmt: skip
QUESTIONS = 150
ASKS = {
    "cett, predicted": Ask(metrics.cett, "answer", position="predicted"),
    "cett, prompt's end": Ask(metrics.cett, "last_prompt"),
    "cett, first token": Ask(metrics.cett, "first_answer"),
    "signed": Ask(metrics.signed_cett, "answer"),
    "activation_norm": Ask(metrics.activation_norm, "answer"),
}
READ = "cett, read"
SCALES = (None, "layer", "feature")


def write_public(data: Path, folder: Path) -> list[str]:
    """The first rows of each public set, in the order of a fixed seed, each a domain of its own."""
    names = []
    for name in PUBLIC:
        lines = (data / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        order = np.random.default_rng(0).permutation(len(rows))[:QUESTIONS]
        own = Path(name).name
        path = folder / f"{own}.jsonl"
        chosen = [rows[i] | {"domain": own} for i in sorted(order)]
        path.write_text("".join(json.dumps(row) + "\n" for row in chosen), encoding="utf-8")
        names.append(f"jsonl:{path}")
    return names


def make(name: str, folder: Path, public: Path | None) -> None:
    """Ask, judge and measure, unless it was done before."""
    kept = folder / f"{name}-evidence"
    if kept.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    further = write_public(public.resolve(), folder.resolve()) if public else []
    recipe = Recipe(
        model=name,
        domains=(*BANKS, *further),
        questions=QUESTIONS,
        sampling=SamplingRecipe(n=2, max_new_tokens=20, style="completion", shots=4),
        measure=MeasureRecipe(metric="cett"),  # the default when the choice was made
    )
    model = hlens.load(name, device="cpu")
    study = Study(folder / name, recipe, model=model)
    began = time.process_time()
    evidence = baselines.gather(
        model, study[answers.examples], study[answers.responses], study[contributions_of],
        samples=0, ask=False, also=ASKS,
    )  # fmt: skip
    save_evidence(evidence, kept)
    print(f"{name}: {len(evidence)} examples, {time.process_time() - began:.0f} CPU seconds")


def halves_of(name: str, folder: Path) -> tuple[Evidence, Evidence]:
    """The half to choose on, and the half to report."""
    study = Study(folder / name)
    evidence = load_evidence(folder / f"{name}-evidence", study[contributions_of])
    _, second = split_by_group(evidence.contributions, 0.5, seed=0)
    reported = np.isin(evidence.contributions.groups, list(set(second.groups)))
    first = np.flatnonzero(~reported).tolist()
    return evidence.select(first), evidence.select(np.flatnonzero(reported).tolist())


def ways(evidence: Evidence) -> Iterator[tuple[str, hlens.Contributions]]:
    """What is measured, by its name."""
    yield READ, evidence.contributions
    yield from evidence.measured.items()


def choose(name: str, folder: Path) -> None:
    """Score each combination on the first half."""
    path = folder / f"{name}-choice.csv"
    rows = pd.read_csv(path, keep_default_na=False).to_dict("records") if path.exists() else []
    done = {(row["measured"], row["scale"], row["rule"]) for row in rows}
    evidence, _ = halves_of(name, folder)
    for measured, data in ways(evidence):
        for scale in SCALES:
            for rule in ("best", "1se"):
                if (measured, str(scale), rule) in done:
                    continue
                began = time.process_time()
                probe = SparseProbe(C="cv", scale=scale, rule=rule)
                found = nested_scores(data, probe)
                seconds = time.process_time() - began
                label = data.labels.numpy()
                fixed = SparseProbe(C=float(np.median(found.C)), scale=scale)
                agreed = set_agreement(data, fixed, seed=0)
                rows.append(
                    {
                        "measured": measured, "scale": str(scale), "rule": rule,
                        "auroc": auroc(found.scores, label), "of_folds": found.auroc.mean(),
                        "least_fold": found.auroc.min(),
                        "neurons": float(np.median(found.n_selected)),
                        "shared": agreed.loc[agreed["what"] == Agreement.HALVES, "shared"].item(),
                        "n": len(data), "seconds": seconds,
                    }
                )  # fmt: skip
                print(name, rows[-1], flush=True)
                pd.DataFrame(rows).to_csv(path, index=False)


TIE = 0.005  # AUROC within which the smaller number of neurons is taken
BEFORE, PAPER, CHOSEN = "default before", "the paper's way", "chosen"


def pick(folder: Path) -> tuple[str, str, str]:
    """What is measured, scale and rule of the choice: the highest AUROC, mean over the models.

    Of those within `TIE` of it the one of the fewest neurons.
    """
    tables = [pd.read_csv(folder / f"{name}-choice.csv", keep_default_na=False) for name in MODELS]
    keys = ["measured", "scale", "rule"]
    mean = pd.concat(tables).groupby(keys)[["auroc", "neurons", "shared"]].mean()
    whole = pd.concat(tables).groupby(keys).size() == len(MODELS)
    mean = mean.loc[whole].sort_values("auroc", ascending=False)
    print(mean.head(12).round(3).to_string())
    near = mean.loc[mean["auroc"] >= mean["auroc"].iloc[0] - TIE]
    return near["neurons"].idxmin()


RIVALS = (
    "min_logprob", "perplexity", "sequence_probability", "token_entropy", "length", OUTPUT,
)  # fmt: skip


def report(name: str, folder: Path) -> None:
    """Score the second half, out of fold: five folds by group, everything chosen inside."""
    measured, scale, rule = pick(folder)
    print(f"chosen: {measured}, scale {scale}, rule {rule}")
    _, evidence = halves_of(name, folder)
    own_data = dict(ways(evidence))[measured]
    balanced = {"C": "cv", "class_weight": "balanced"}
    now = SparseProbe(**balanced, scale=None if scale == "None" else scale, rule=rule)
    probes = {
        PAPER: (evidence.contributions, probe_of("paper")),
        BEFORE: (evidence.contributions, SparseProbe(**balanced)),
        CHOSEN: (own_data, now),
    }
    evidence = replace(evidence, measured={}, contributions=own_data)
    label, fold = evidence.labels.numpy(), np.empty(0)
    scores, about = {}, {}
    for way, (data, probe) in probes.items():
        found = nested_scores(data, probe)
        scores[way] = found.scores
        fixed = probe if probe.C != "cv" else copy_unfitted(probe).set_params(C=np.median(found.C))
        agreed = set_agreement(data, fixed, seed=0)
        about[way] = {
            "neurons": float(np.median(found.n_selected)),
            "shared": agreed.loc[agreed["what"] == Agreement.HALVES, "shared"].item(),
        }
        fold = found.fold
    for rival in (*RIVALS, COMBINED):
        scores[rival] = np.empty(len(label))
    for k in np.unique(fold):
        train, test = (
            evidence.select(np.flatnonzero(rows).tolist()) for rows in (fold != k, fold == k)
        )
        own = nested_scores(train.contributions, now)
        detector = hlens.find(train.contributions, now)
        both = combined_scores(train, test, detector=detector, own=own)
        scores[COMBINED][fold == k] = both[Part.TEST]
        for rival in RIVALS:
            scores[rival][fold == k] = baselines.named(rival)(train, test).numpy()
    rows = []
    for what, own_scores in scores.items():
        row = {
            "detector": what,
            **estimate_auroc(own_scores, label, groups=evidence.groups).to_row(),
        }
        for beside in (BEFORE, OUTPUT, COMBINED):
            paired = compare_auroc(own_scores, scores[beside], labels=label, groups=evidence.groups)
            row |= {f"{key} ({beside})": value for key, value in paired.items() if key != "n"}
        rows.append(row | about.get(what, {}))
        print(name, rows[-1], flush=True)
    pd.DataFrame(rows).to_csv(folder / f"{name}-report.csv", index=False)


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("folder", type=Path)
    options.add_argument("--public", type=Path, help="folder of public sets")
    options.add_argument("--model", choices=MODELS)
    options.add_argument("--stage", choices=("make", "choose", "report"))
    asked = options.parse_args()
    logging.getLogger("hlens").setLevel(logging.ERROR)
    for name in [asked.model] if asked.model else MODELS:
        if asked.stage in (None, "make"):
            make(name, asked.folder, asked.public)
        if asked.stage in (None, "choose"):
            choose(name, asked.folder)
        if asked.stage in (None, "report"):
            report(name, asked.folder)


if __name__ == "__main__":
    main()
