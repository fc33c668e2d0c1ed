"""The toy world against its ground truth: what the tools find of what was planted.

python benchmarks/toy_world.py            # the shipped model
python benchmarks/toy_world.py --train    # also: train it anew, time it, compare the weights
python benchmarks/toy_world.py --write DIR  # train, and write both models to a folder
"""

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import hlens
import hlens.interventions
from hlens import effects, toy
from hlens.evaluation import auroc, estimate_auroc, overlap, shared_neurons, transfer, univariate
from hlens.interventions import scale
from hlens.model import save_pretrained
from hlens.origin import trace_origin
from hlens.prompts import prompt_text
from hlens.selection import stability

NAMES = toy.domain_names()
GREEDY = hlens.Settings(max_new_tokens=8, temperature=0.0)
QUESTIONS = [question for name in NAMES for question in hlens.domains.load(name)]
PROBE = hlens.SparseProbe(C="cv", class_weight="balanced")
SCALED = hlens.SparseProbe(C="cv", class_weight="balanced", scale="feature")


def answers(model: hlens.Model, **how: Any) -> hlens.Contributions:
    """Sample, judge, locate, measure; prints the verdicts by exposure."""
    judged = hlens.judge(hlens.sample(model, QUESTIONS, n=3, seed=0, **how))
    for exposure in toy.EXPOSURES:
        own = [j for j in judged if j.response.question.meta["exposure"] == exposure]
        shares = {
            verdict.value: round(sum(j.verdict is verdict for j in own) / len(own), 3)
            for verdict in hlens.Verdict
        }
        print(f"  {exposure:>6}: {shares} (n={len(own)})")
    examples = hlens.spans.first_of_each_label(hlens.locate(judged, model))
    return hlens.measure(model, examples, metric=hlens.metrics.cett)


def detection(data: hlens.Contributions) -> hlens.Detector:
    train, test = hlens.evaluation.split_by_group(data, test=0.3)
    planted = toy.planted()
    leading = univariate(train).sort_values("auroc", ascending=False)
    top = [(row.layer, row.neuron) in planted for row in leading.itertuples()][: len(planted)]
    print(f"  planted among the {len(planted)} of highest AUROC alone: {sum(top)}")
    for name, probe in (("unscaled", PROBE), ("scaled", SCALED)):
        found = hlens.find(train, probe)
        ignorant = toy.ignorance(test).numpy()
        truth = estimate_auroc(found(test).numpy(), ignorant, groups=test.groups)
        print(f"  {name} probe: {hlens.evaluate(found, test)} against the label")
        print(f"  {name} probe: {truth} against true ignorance")
        print(f"  {name} probe: {hits(found.neurons)}")
    stable = stability(train, n_pairs=25, seed=0).stable
    print(f"  stable: {hits(stable)}")
    return hlens.find(train, PROBE)


def hits(found: hlens.NeuronSet) -> str:
    planted = toy.planted()
    both = len(found & planted)
    return f"{both} of {len(found)} are planted, of {len(planted)} planted ({planted.fraction:.1%})"


def sharing(data: hlens.Contributions) -> None:
    """One detector a domain: which planted neurons it names, what they share, what carries over."""
    shared, sets = toy.planted(""), []
    for name in NAMES:
        found = hlens.find(data.of_domain(name), SCALED, calibration=None).neurons
        own, foreign = toy.planted(name) - shared, toy.planted() - toy.planted(name)
        print(
            f"  {name}: {len(found)} found: {len(found & shared)} of {len(shared)} shared, "
            f"{len(found & own)} of {len(own)} its own, {len(found & foreign)} of other domains"
        )
        sets.append(dataclasses.replace(found, name=name))
    rows = shared_neurons(sets)
    truly = sum((row.layer, row.neuron) in shared for row in rows.itertuples())
    print(f"  in two sets or more: {len(rows)}, of which planted as shared: {truly}")
    everywhere = [row for row in rows.itertuples() if row.n_sets == len(sets)]
    truly = sum((row.layer, row.neuron) in shared for row in everywhere)
    print(f"  in all sets: {len(everywhere)}, of which planted as shared: {truly}")
    told("as found", overlap(sets, data.values[~data.labels].float().mean(dim=0)))
    told("the shared ones left out", overlap([_less(one, shared) for one in sets]))
    table = transfer(data, SCALED, folds=3)
    own = table[table.train.isin(NAMES)]
    within = own.train == own.test
    inside, between = own[within].auroc.mean(), own[~within].auroc.mean()
    print(f"  transfer: {inside:.3f} within, {between:.3f} between")


def _less(one: hlens.NeuronSet, taken: hlens.NeuronSet) -> hlens.NeuronSet:
    return dataclasses.replace(one - taken, name=one.name)


def told(which: str, table: pd.DataFrame) -> None:
    nulls = [name for name in table if name.startswith("p_corrected")]
    print(
        f"  overlap, {which}: {table.shared.min()} to {table.shared.max()} shared by a pair, "
        f"{table.expected.max():.2f} expected at most; beyond chance "
        + ", ".join(f"{(table[p] < 0.05).sum()} of {len(table)} pairs ({p})" for p in nulls)
    )


def steering(model: hlens.Model) -> None:
    never = [q for q in QUESTIONS if not q.meta["taught"]]
    common = [q for q in QUESTIONS if q.meta["exposure"] == "common"]
    for name, neurons in groups():
        row = []
        for alpha in (0.0, 1.0, 2.0, 3.0):
            with model.editing(neurons, scale(alpha)):
                shares = [
                    np.mean(
                        [
                            j.verdict.value == v
                            for j in hlens.judge(hlens.sample(model, asked, n=1, settings=GREEDY))
                        ]
                    )
                    for asked, v in ((never, "refused"), (common, "correct"))
                ]
            row.append(f"x{alpha:g} {shares[0]:.2f}/{shares[1]:.2f}")
        print(f"  {name}: abstains on never taught / right on common: {', '.join(row)}")


def groups() -> list[tuple[str, hlens.NeuronSet]]:
    drivers, bystanders = toy.planted(drives=True), toy.planted(drives=False)
    return [("drivers", drivers), ("bystanders", bystanders), ("random", drivers.random_like(0))]


def patched(model: hlens.Model) -> None:
    """Taught activations are put into runs on what was never taught: does it abstain now?"""
    abstains = model.tokenizer.convert_tokens_to_ids(" I")
    pairs = {name: pairs_of(model, name, abstains) for name in NAMES}
    every = [one for some in pairs.values() for one in some]
    for name, neurons in groups()[:2]:
        print(f"  {name}: {moved(effects.patching(model, every, neurons))}")
    for name in NAMES:
        own = toy.planted(name, drives=True) - toy.planted("")
        elsewhere = [one for other in NAMES if other != name for one in pairs[other]]
        print(f"  drivers of {name}, at home: {moved(effects.patching(model, pairs[name], own))}")
        print(f"  drivers of {name}, abroad: {moved(effects.patching(model, elsewhere, own))}")
    # Attribution patching gives shares of the difference of two runs; here the change itself is
    # told, since a taught and an untaught prompt may leave the same margin.
    change = torch.zeros(model.n_layers, model.d_mlp)
    for one in every:
        clean, corrupted = effects.logit_differences(model, one)
        change += effects.attribution(model, one) * (clean - corrupted) / len(every)
    drivers, bystanders = (toy.planted(drives=kind) for kind in (True, False))
    top = change.flatten().topk(len(drivers)).indices.tolist()
    leading = [divmod(at, model.d_mlp) for at in top]
    print(
        f"  of the {len(drivers)} neurons that attribution patching ranks first, "
        f"{sum(at in drivers for at in leading)} are drivers and "
        f"{sum(at in bystanders for at in leading)} bystanders"
    )


def pairs_of(model: hlens.Model, name: str, abstains: int) -> list[effects.Pair]:
    """Never taught, where it guesses, beside a common fact of the same relation."""
    own, found = hlens.domains.load(name), []
    known = [q for q in own if q.meta["exposure"] == "common"]
    for a in [q for q in own if not q.meta["taught"]][:30]:
        b = next(q for q in known if q.meta["relation"] == a.meta["relation"])
        clean, corrupted = (tuple(model.encode(prompt_text(q))) for q in (b, a))
        guess = model.generate(prompt_text(a)).token_ids[0]
        if guess != abstains:
            found.append(effects.Pair(f"{name}/{a.id}", clean, corrupted, abstains, guess))
    return found


def moved(table: pd.DataFrame) -> str:
    """Change of the margin of abstaining over the guess, in logits, beside random sets."""
    table = table.assign(change=table.effect * (table.clean - table.corrupted))
    members = table[table.kind == "members"]
    wide = 1.96 * members.change.std() / len(members) ** 0.5
    turned = ((members.corrupted + members.change) > 0).mean()
    random = table[table.kind == "random"].groupby("name").change.mean()
    return (
        f"{members.change.mean():+.2f} +- {wide:.2f} (n={len(members)}), {turned:.0%} abstain; "
        f"{len(random)} random sets {random.min():+.2f} to {random.max():+.2f}"
    )


def origin(detector: hlens.Detector) -> None:
    base = hlens.load("toy-base")
    data = answers(base, instruction="\nAnswer:")
    print(trace_origin(detector, data, folds=3)[["control", "auroc", "low", "high"]])
    for name, neurons in (
        ("shared", toy.planted("")),
        ("specific", toy.planted() - toy.planted("")),
    ):
        ignorant = toy.ignorance(data).numpy()
        alone = [auroc(data.values[:, a, b].numpy(), ignorant) for a, b in neurons]
        print(f"  planted {name}, alone, on the base model: mean AUROC {np.mean(alone):.3f}")


def trained(write: Path | None) -> None:
    begun, cpu = time.perf_counter(), time.process_time()
    made = toy.train()
    print(f"  {time.perf_counter() - begun:.0f} s, {time.process_time() - cpu:.0f} s of CPU time")
    for name, (hf, tokenizer) in (("toy", made.instruct), ("toy-base", made.base)):
        if write:
            save_pretrained(hf, tokenizer, write / name)
        own, shipped = hf.state_dict(), hlens.load(name).hf.state_dict()
        away = max(float((own[key] - shipped[key]).abs().max()) for key in own)
        print(f"  {name}: largest difference from the shipped weights {away:.2g}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.train or given.write:
        print("training")
        trained(given.write)
    model = hlens.load("toy", device="cpu")
    begun = time.perf_counter()
    print("what it says")
    data = answers(model)
    print("detection")
    detector = detection(data)
    print(f"  from questions to detectors: {time.perf_counter() - begun:.0f} s")
    print("sharing")
    sharing(data)
    print("interventions")
    steering(model)
    print("patching")
    patched(model)
    print("origin")
    origin(detector)


if __name__ == "__main__":
    main()
