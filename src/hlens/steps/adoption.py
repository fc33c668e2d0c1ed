"""A study's folder from hlens before 0.2, whose stamps were written by the steps by hand.

Its ``steps.json`` holds one key an artefact, hashed over what the old code listed. What such a key
vouches for under the folder's recipe gets a stamp of today; everything else is made again when it
is asked for. The old file and all artefacts are left as they are.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hlens import baselines
from hlens.recipe import key_of
from hlens.steps.answers import judgements, located, questions, responses
from hlens.steps.audit import TABLES, evidence, other_asks, rival_scores
from hlens.steps.detection import alone, detector, measured, path, scores, sparsity, stability
from hlens.steps.domains import detector_of, domains, format_transfer, halves_of, overlap, transfer
from hlens.steps.effects import outcomes, patching, patching_map
from hlens.steps.origin import base_runner, drift, origin
from hlens.steps.runner import Runner
from hlens.steps.step import Step
from hlens.store.jsonl import load_questions, question_to_row
from hlens.store.stamps import Stamp

# The options of that time; those that came later took no part in its keys.
SECTIONS = {
    "sampling": (
        "n", "max_new_tokens", "temperature", "top_k", "top_p", "instruction", "rows",
    ),
    "labels": ("judge", "keep", "span", "per_question"),
    "measure": ("metric", "region", "reduce", "position", "dtype"),
    "probe": ("C", "l1_ratio", "scale", "class_weight", "calibration"),
    "evaluation": (
        "test", "n_boot", "shuffles", "random_sets", "stability_pairs", "folds", "halves",
    ),
    "intervene": (
        "behaviours", "items", "alphas", "random_sets", "matched_sets", "perturbations",
        "capability",
    ),
}  # fmt: skip


def adopt(run: Runner) -> list[str]:
    """Stamp what the old stamps vouch for.

    Returns:
        Names of the artefacts that they do not vouch for; empty where there are no old stamps, or
        stamps of today already.
    """
    old = _old_stamps(run.folder)
    if run.stamps.path.exists() or not old:
        return []
    base = run.folder / "origin" / "questions.jsonl"
    if run.recipe.base and base.exists():
        adopt(base_runner(run, load_questions(base)))
    doubtful: list[str] = []
    for name, step, key in _old_keys(run, old):
        if name not in old:
            continue
        if old[name] == key:
            run.stamps.set(step.name, Stamp(run.key(step), run.options_key(step)))
            run.forget_keys()
        else:
            doubtful.append(name)
    return doubtful


def _old_stamps(folder: Path) -> dict[str, str]:
    path = folder / "steps.json"
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {name: row["key"] for name, row in rows.items()}


def _old_keys(run: Runner, old: dict[str, str]) -> Iterator[tuple[str, Step[Any], str]]:
    """Old name of each step, the step of today, and the key that the old code would give it.

    Steps come after what they rest on, which is stamped by then if it is current.
    """
    recipe, seed = run.recipe, run.recipe.seed
    sampling, labels, measure, probe, evaluation, intervene = (
        {name: getattr(getattr(recipe, section), name) for name in names}
        for section, names in SECTIONS.items()
    )
    kept = run.folder / "questions.jsonl"
    asked = load_questions(kept) if kept.exists() else []
    yield "questions", questions, key_of([question_to_row(question) for question in asked])
    made = [recipe.model, recipe.dtype, seed, sampling]
    yield "sample", responses, key_of([old.get("questions"), *made])
    yield "judge", judgements, key_of([old.get("sample"), labels["judge"]])
    yield "locate", located, key_of([old.get("judge"), labels])
    yield "measure", measured, key_of([old.get("locate"), measure])
    detected, values = old.get("find"), old.get("measure")
    draws = [evaluation["random_sets"], evaluation["n_boot"], seed]
    yield "find", detector, key_of([values, probe, evaluation["test"], seed])
    yield "evaluate", scores, key_of([detected, evaluation["shuffles"], *draws])
    yield "alone", alone, key_of([values, evaluation["test"]])
    yield "path", path, key_of([detected])
    yield "stability", stability, key_of([detected, evaluation["stability_pairs"]])
    yield "sparsity", sparsity, key_of([detected, *draws])
    yield "outcomes", outcomes, key_of([detected, intervene, seed])
    yield "patching", patching, key_of([detected, seed])
    if run.is_current(patching):
        table = run.value(patching)
        best = table.loc[(table["clean"] - table["corrupted"]).idxmax(), "pair"]
        yield "patching_map", patching_map, key_of([detected, best, seed])
    yield from _old_audit_keys(run, [values, sampling, seed], [detected, evaluation, seed])
    yield "drift", drift, key_of([recipe.model, recipe.base, recipe.dtype])
    base = _old_stamps(run.folder / "origin").get("measure")
    of_base = [evaluation["random_sets"], evaluation["folds"], evaluation["n_boot"], seed]
    yield "origin", origin, key_of([detected, base, probe, *of_base])
    if not run.is_current(domains):
        return
    names = run.value(domains)
    for name in names:
        own = run.value(measured).of_domain(name).digests
        digest = key_of([list(own), measure, recipe.model, recipe.dtype])
        yield f"find {name}", detector_of(name), key_of([digest, probe, seed])
        halves = [old.get(f"find {name}"), probe, evaluation["halves"], seed]
        yield f"halves {name}", halves_of(name), key_of(halves)
    compared = [values, sorted(names), probe]
    yield "transfer", transfer, key_of([*compared, evaluation["folds"], seed])
    yield "transfer by format", format_transfer, key_of([*compared, evaluation["folds"], seed])
    yield "overlap", overlap, key_of([*compared, seed])


def _old_audit_keys(
    run: Runner, evidence_rests_on: list[Any], tables_rest_on: list[Any]
) -> Iterator[tuple[str, Step[Any], str]]:
    if not run.is_current(other_asks):
        return
    asks = sorted(run.value(other_asks))
    yield "audit evidence", evidence, key_of([*evidence_rests_on, asks])
    tables = key_of([*tables_rest_on, baselines.names(), False])
    for table in (rival_scores, *TABLES):
        yield f"audit {table.name.removeprefix('audit/')}", table, tables
