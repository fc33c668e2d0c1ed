"""Opens study folders written by hlens before 0.2, which stored other stamps.

Their ``steps.json`` holds one key per artefact, hashed over a list that each old step kept by hand.
An artefact whose old key matches the folder's recipe gets a new stamp; every other artefact is
remade when next asked for. The old file and all artefacts are left untouched.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from hlens import baselines
from hlens.errors import HlensError
from hlens.recipe import key_of
from hlens.steps import all_steps
from hlens.steps.answers import judgements, located, questions, responses
from hlens.steps.audit import TABLES, evidence, other_asks, rival_scores
from hlens.steps.detection import alone, detector, measured, path, scores, sparsity, stability
from hlens.steps.domains import detector_of, domains, format_transfer, halves_of, overlap, transfer
from hlens.steps.effects import outcomes, patching, patching_map
from hlens.steps.origin import base_runner, drift, origin
from hlens.steps.runner import Runner
from hlens.steps.sources import asked
from hlens.steps.step import Step
from hlens.store.checked import parse_json
from hlens.store.jsonl import load_questions, question_to_row
from hlens.store.stamps import Stamp, Stamps

log = logging.getLogger(__name__)
T = TypeVar("T")

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
    """Give new stamps to the artefacts whose old stamps match the recipe.

    Returns:
        Names of the artefacts whose old stamps do not match; empty if the folder has no old stamps,
        or has new ones already.
    """
    old = _old_stamps(run.folder)
    if run.stamps.path.exists() or not old:
        return []
    base = run.folder / "origin" / "questions.jsonl"
    if run.recipe.base and base.exists():
        adopt(base_runner(run, load_questions(base)))
    # In memory first: a kill, or a damaged file, must not leave half of the stamps behind.
    run.stamps, kept = _InMemory(run.folder), run.stamps
    vouched: dict[str, str] = {}
    try:
        for name, step, key in _old_keys(run, vouched):
            if old.get(name) != key:
                continue
            run.stamps.set(step.name, Stamp(run.key(step), run.options_key(step)))
            run.forget_keys()
            if _read(run, step) is None:
                run.stamps.remove(step.name)
            else:
                vouched[name] = key
        # What no stamp vouches for is hlens's own all the same, and may be replaced.
        kept.write({step.name: Stamp("") for step in _old_steps(old)} | run.stamps.read())
    finally:
        run.stamps = kept
        run.forget_keys()
    return [name for name in old if name not in vouched and name not in NO_ARTEFACT]


NO_ARTEFACT = ("asked", "measured", "audit page")


class _InMemory(Stamps):
    """Stamps that are not written yet."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._stamps: dict[str, Stamp] = {}

    def _all(self) -> dict[str, Stamp]:
        return self._stamps

    def write(self, stamps: Mapping[str, Stamp]) -> None:
        self._stamps = dict(stamps)


def _read(run: Runner, step: Step[T]) -> T | None:
    """An artefact that is vouched for; None if it is not, or cannot be read."""
    try:
        return run.value(step) if run.is_current(step) else None
    except (HlensError, OSError, ValueError) as error:  # what rests on it is made again
        log.warning("%s cannot be read: %s", run.path(step), error)
        return None


class _OldStamp(TypedDict):
    key: str


def _old_stamps(folder: Path) -> dict[str, str]:
    path = folder / "steps.json"
    if not path.exists():
        return {}
    mend = "remove it, and what it vouched for is made anew"
    rows = parse_json(
        path.read_bytes(), f"{path} is damaged", shape=dict[str, _OldStamp], mend=mend
    )
    return {name: row["key"] for name, row in rows.items()}


def _old_steps(old: Iterable[str]) -> list[Step[Any]]:
    """The steps whose artefacts may lie in an old folder."""
    pairs = [name.partition(" ") for name in old]
    by_domain = {"find": detector_of, "halves": halves_of}
    own = [by_domain[verb](domain) for verb, _, domain in pairs if domain and verb in by_domain]
    return [*all_steps(), *own]


def _old_keys(run: Runner, vouched: dict[str, str]) -> Iterator[tuple[str, Step[Any], str]]:
    """Old name of each step, the current step, and the key that the old code would have given it.

    In order of dependence. A key is built from the keys that were found right so far, `vouched`:
    below a step whose own key was wrong none can be right.
    """
    recipe, seed = run.recipe, run.recipe.seed
    sampling, labels, measure, probe, evaluation, intervene = (
        {name: getattr(getattr(recipe, section), name) for name in names}
        for section, names in SECTIONS.items()
    )
    yield "questions", questions, key_of([question_to_row(one) for one in run.value(asked)])
    made = [recipe.model, recipe.dtype, seed, sampling]
    yield "sample", responses, key_of([vouched.get("questions"), *made])
    yield "judge", judgements, key_of([vouched.get("sample"), labels["judge"]])
    yield "locate", located, key_of([vouched.get("judge"), labels])
    yield "measure", measured, key_of([vouched.get("locate"), measure])
    values = vouched.get("measure")
    yield "find", detector, key_of([values, probe, evaluation["test"], seed])
    detected = vouched.get("find")
    draws = [evaluation["random_sets"], evaluation["n_boot"], seed]
    yield "evaluate", scores, key_of([detected, evaluation["shuffles"], *draws])
    yield "alone", alone, key_of([values, evaluation["test"]])
    yield "path", path, key_of([detected])
    yield "stability", stability, key_of([detected, evaluation["stability_pairs"]])
    yield "sparsity", sparsity, key_of([detected, *draws])
    yield "outcomes", outcomes, key_of([detected, intervene, seed])
    yield "patching", patching, key_of([detected, seed])
    if (table := _read(run, patching)) is not None:
        best = table.loc[(table["clean"] - table["corrupted"]).idxmax(), "pair"]
        yield "patching_map", patching_map, key_of([detected, best, seed])
    yield from _old_audit_keys(run, [values, sampling, seed], [detected, evaluation, seed])
    yield "drift", drift, key_of([recipe.model, recipe.base, recipe.dtype])
    base = _old_stamps(run.folder / "origin").get("measure") if _base_is_current(run) else None
    of_base = [evaluation["random_sets"], evaluation["folds"], evaluation["n_boot"], seed]
    yield "origin", origin, key_of([detected, base, probe, *of_base])
    names, all_measured = _read(run, domains), _read(run, measured)
    if names is None or all_measured is None:
        return
    for name in names:
        own = all_measured.of_domain(name).digests
        digest = key_of([list(own), measure, recipe.model, recipe.dtype])
        yield f"find {name}", detector_of(name), key_of([digest, probe, seed])
        halves = [vouched.get(f"find {name}"), probe, evaluation["halves"], seed]
        yield f"halves {name}", halves_of(name), key_of(halves)
    compared = [values, sorted(names), probe]
    yield "transfer", transfer, key_of([*compared, evaluation["folds"], seed])
    yield "transfer by format", format_transfer, key_of([*compared, evaluation["folds"], seed])
    yield "overlap", overlap, key_of([*compared, seed])


def _old_audit_keys(
    run: Runner, evidence_rests_on: list[Any], tables_rest_on: list[Any]
) -> Iterator[tuple[str, Step[Any], str]]:
    asks = _read(run, other_asks)
    if asks is None:
        return
    yield "audit evidence", evidence, key_of([*evidence_rests_on, sorted(asks)])
    tables = key_of([*tables_rest_on, baselines.names(), False])
    for table in (rival_scores, *TABLES):
        yield f"audit {table.name.removeprefix('audit/')}", table, tables


def _base_is_current(run: Runner) -> bool:
    """Whether the old stamps of the base model's own artefacts vouch for what was measured."""
    kept = run.folder / "origin" / "questions.jsonl"
    if not run.recipe.base or not kept.exists():
        return False
    return base_runner(run, load_questions(kept)).is_current(measured)
