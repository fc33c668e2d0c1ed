"""From examples to a detector and its scores: measure, find, evaluate, and further checks."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from hlens import figures, metrics, selectors, store
from hlens.audit.covariates import covariates as describe_replies
from hlens.audit.judgements import known_evidence
from hlens.audit.leaderboard import score_all, scores_of
from hlens.audit.over_output import COLUMNS as OVER_OUTPUT
from hlens.audit.over_output import numbers_of
from hlens.audit.over_output import over_output as compare_with_output
from hlens.baselines import named
from hlens.contributions import measure
from hlens.display import display_name
from hlens.errors import HlensError
from hlens.evaluation import (
    confidently_wrong,
    controls,
    k_sweep,
    published_row,
    split_by_group,
    univariate,
)
from hlens.evaluation.controls import score_length
from hlens.evaluation.fitting import over_random_sets, refit_scores
from hlens.evaluation.usage import match_of
from hlens.model import Model
from hlens.probe import SparseProbe, find
from hlens.probe.ways import probe_of
from hlens.recipe import MeasureRecipe, key_of, plain_section
from hlens.selection import path as regularisation_path
from hlens.selection import stability as select_stable
from hlens.steps.answers import examples, judgements
from hlens.steps.sources import Naming, model, naming
from hlens.steps.step import TABLE, Storage, step
from hlens.store.contributions import load_contributions, save_contributions
from hlens.store.detectors import read_detector, save_detector
from hlens.types import (
    Contributions,
    Detector,
    Evidence,
    Example,
    Judgement,
    RoutedValues,
    same_fingerprint,
)
from hlens.types.labels import OUTPUT, Control, Covariate, Part

log = logging.getLogger("hlens")
DIGESTS = ".digests.txt"


@dataclass(frozen=True, eq=False)
class Measured:
    """Contributions, and which examples they are of.

    Attributes:
        contributions: What each neuron contributed to each example.
        digests: Hash of each example, in order: tokens, span, label, question, group, sample.
    """

    contributions: Contributions
    digests: tuple[str, ...]

    def of_domain(self, domain: str) -> "Measured":
        """The examples of one domain."""
        pairs = zip(self.digests, self.contributions.domains, strict=True)
        own = tuple(digest for digest, name in pairs if name == domain)
        return Measured(self.contributions.of_domain(domain), own)

    @property
    def identity(self) -> list[Any]:
        """Plain values that identify these measurements."""
        data = self.contributions
        measured = [data.provenance.fingerprint, data.metric, data.region, str(data.values.dtype)]
        return [*measured, self.digests]


def _save_measured(measured: Measured, file: Path) -> None:
    save_contributions(measured.contributions, file)
    lines = "".join(f"{digest}\n" for digest in measured.digests)
    store.write_text(file.with_suffix(DIGESTS), lines)


def _load_measured(file: Path) -> Measured:
    digests = file.with_suffix(DIGESTS).read_text(encoding="utf-8").split()
    return Measured(load_contributions(file, check=False), tuple(digests))


def _measured_facts(measured: Measured) -> dict[str, Any]:
    data = measured.contributions
    widths = {"neurons a layer": data.d_mlp}
    if data.provenance.experts:  # whose layers may differ in width
        widths = {"neurons": data.n_neurons}
    kept = {}
    if isinstance(data.values, RoutedValues):
        n = data.values.matrix.n_values
        size, share = n * data.values.dtype.itemsize / 1e6, n / (len(data) * data.n_neurons)
        kept = {"stored": f"{size:,.1f} MB: {share:.1%} of the values are not zero"}
    return {
        "n": len(data),
        "layers": data.n_layers,
        **widths,
        "metric": data.metric,
        **kept,
    }


MEASURED: Storage[Measured] = Storage(
    ".safetensors", _save_measured, _load_measured, also=(DIGESTS, ".index.jsonl")
)


@step(
    needs=(examples, model),
    options=("measure",),
    storage=MEASURED,
    name="contributions",
    verb="measure",
    facts=_measured_facts,
)
def measured(
    examples: list[Example],
    model: Model,
    *,
    measure: MeasureRecipe,
    earlier: Path | None,
    parts: Path,
    progress: Callable[[int, int], None],
) -> Measured:
    """Measure what each neuron contributed to each answer.

    An example that was measured before keeps its values.
    """
    check_labels(examples)
    return measure_new(
        examples, model, measure=measure, earlier=earlier, parts=parts, progress=progress
    )


def measure_new(
    examples: list[Example],
    model: Model,
    *,
    measure: MeasureRecipe,
    earlier: Path | None,
    parts: Path,
    progress: Callable[[int, int], None],
) -> Measured:
    """Measure the examples that are not among those measured earlier, and join both."""

    def run(some: Sequence[Example], digests: list[str]) -> Contributions:
        own = parts / key_of(
            [plain_section("measure", measure), model.fingerprint, str(model.dtype), digests]
        )
        if not model.workers.continues:
            store.remove_folder(parts, but=own.name)  # of a run that will not be continued
        elif any(path != own and path.is_dir() for path in parts.glob("*")):
            raise HlensError(
                f"{parts} holds blocks of another measurement (other examples, model or options), "
                "which others may be at; restore what they belong to, or remove that folder"
            )
        return measure_examples(model, some, measure, own, progress)

    wanted = [digest_of(example) for example in examples]
    before = _load_measured(earlier) if earlier else None
    if before is None or not same_fingerprint(
        before.contributions.provenance.fingerprint, model.fingerprint
    ):
        return Measured(run(examples, wanted), tuple(wanted))
    known = {digest: column for column, digest in enumerate(before.digests)}
    missing = [digest for digest in wanted if digest not in known]
    joined = before.contributions
    if missing:
        new = [e for e, digest in zip(examples, wanted, strict=True) if digest not in known]
        fresh = run(new, missing)
        if len(fresh) != len(new):  # a region that some of the new examples do not have
            return Measured(run(examples, wanted), tuple(wanted))
        known |= {digest: len(joined) + column for column, digest in enumerate(missing)}
        joined = Contributions.concatenate([joined, fresh])
        joined = replace(joined, provenance=fresh.provenance)
    return Measured(joined.select([known[digest] for digest in wanted]), tuple(wanted))


def measure_examples(
    model: Model,
    examples: Sequence[Example],
    options: MeasureRecipe,
    folder: Path,
    progress: Callable[[int, int], None],
) -> Contributions:
    """Measure examples as a recipe says, into a folder that a killed run goes on with.

    What the official code's formula and regions give goes by our names of them, so that a detector
    of these can be read where they are not known: the formula is CETT but for an epsilon of 1e-8.
    """
    data = measure(
        model,
        examples,
        metric=metrics.by_name(options.metric),
        region=options.region,
        reduce=options.reduce,
        position=options.position,
        dtype=getattr(torch, options.dtype),
        progress=progress,
        store=folder,
        compat=options.compat or None,
    )
    return replace(data, metric=options.metric, region=options.region)


def digest_of(example: Example) -> str:
    """Hash of one example: its tokens, span, thought, label, question, group and sample."""
    e = example
    return key_of([
        e.domain, e.question_id, e.group, e.sample, e.token_ids.tolist(), e.n_prompt, e.start,
        e.stop, e.hallucinated, *([e.n_thought] if e.n_thought else []),
        *(["span", e.span] if e.span else []),
    ])  # fmt: skip


def check_labels(examples: Sequence[Example]) -> None:
    """Raise `HlensError` unless there are examples of both labels."""
    wrong = sum(example.hallucinated for example in examples)
    if 0 < wrong < len(examples):
        return
    label = "hallucinated" if examples and wrong else "true" if examples else "no"
    raise HlensError(
        f"all {len(examples)} examples are of one label ({label}); a probe needs both: use easier "
        'or harder questions, more samples, or keep = "all"'
    )


@step(needs=(measured,), name="measured_contributions")
def contributions(measured: Measured) -> Contributions:
    """What each neuron contributed to each example; memory-mapped."""
    return measured.contributions


class Split(NamedTuple):
    """Training and held-out part; no group is in both."""

    train: Contributions
    test: Contributions


@step(needs=(contributions,), options=("evaluation.test", "seed"))
def split(contributions: Contributions, *, test: float, seed: int) -> Split:
    """Training and held-out part, split by group."""
    return Split(*split_by_group(contributions, test, seed=seed))


@step(needs=(contributions, split))
def in_test(contributions: Contributions, split: Split) -> np.ndarray:
    """Which examples are held out."""
    held_out = set(split.test.groups)
    return np.array([group in held_out for group in contributions.groups])


@step(needs=(examples, judgements), storage=TABLE)
def covariates(examples: list[Example], judgements: list[Judgement]) -> pd.DataFrame:
    """What a detector could read in place of truth, one row per example."""
    return describe_replies(examples, judgements)


def _none(option: str) -> Any:
    """An option of the recipe, where the word "none" means None."""
    return None if option == "none" else option


@step(
    options=("probe.C", "probe.l1_ratio", "probe.scale", "probe.class_weight", "seed"),
    later=("probe.way", "probe.rule"),
)
def probe(
    *, way: str, rule: str, C: float, l1_ratio: float, scale: str, class_weight: str, seed: int
) -> SparseProbe:
    """The recipe's probe, not fitted."""
    if way == "paper":
        return probe_of(way, random_state=seed)
    return SparseProbe(
        C=C or "cv",
        rule=rule,
        l1_ratio=l1_ratio,
        scale=_none(scale),
        class_weight=_none(class_weight),
        random_state=seed,
    )


def exact(probe: SparseProbe) -> SparseProbe:
    """The probe where a path or a given number of neurons is asked for.

    The paper's liblinear has neither; its penalty is solved exactly, with a free intercept.
    """
    return SparseProbe(**{**probe.get_params(), "solver": "exact"})


# Options of the tables that compare the detector with random neurons.
DRAWS = ("draws=evaluation.random_sets", "seed")

DETECTOR: Storage[Detector] = Storage(".safetensors", save_detector, read_detector, also=(".json",))


@step(
    needs=(split, probe),
    options=("probe.calibration",),
    storage=DETECTOR,
    verb="find",
    facts=lambda detector: {
        "selected": len(detector.selected),
        "H-neurons": len(detector.neurons),
        **detector.fit,
    },
)
def detector(split: Split, probe: SparseProbe, *, calibration: str) -> Detector:
    """Fit the sparse probe on the training part."""
    return find(split.train, probe, calibration=_none(calibration))


@step(
    needs=(split, probe, detector, covariates, in_test),
    options=("evaluation.shuffles", "evaluation.n_boot", *DRAWS),
    storage=TABLE,
    verb="evaluate",
    figure=figures.scores,
)
def scores(
    split: Split,
    probe: SparseProbe,
    detector: Detector,
    covariates: pd.DataFrame,
    in_test: np.ndarray,
    negatives: Contributions | None = None,
    **draws: int,
) -> pd.DataFrame:
    """Held-out AUROC and accuracy beside their controls."""
    replies = covariates.loc[~in_test], covariates.loc[in_test]
    return controls(
        *split, probe=probe, detector=detector, replies=replies, negatives=negatives, **draws
    )


@step(needs=(examples, judgements, contributions))
def known(
    examples: list[Example], judgements: list[Judgement], contributions: Contributions
) -> Evidence:
    """What can be read of the answers without running the model."""
    return known_evidence(examples, judgements, contributions=contributions)


@step(
    needs=(known, in_test, probe, detector),
    options=("evaluation.n_boot", "seed"),
    storage=TABLE,
    verb="evaluate",
)
def over_output(
    known: Evidence,
    in_test: np.ndarray,
    probe: SparseProbe,
    detector: Detector,
    **draws: int,
) -> pd.DataFrame:
    """What the neurons add to the model's own output; empty where that cannot be told.

    It cannot where the output's probabilities are unknown, or too few groups can be held out.
    """
    labels, groups = known.labels.numpy(), np.asarray(known.groups)
    try:
        table = score_all(
            known,
            in_test,
            probe=probe,
            detector=detector,
            rivals=[named(OUTPUT)],
            seed=draws["seed"],
        )
        if reason := "".join(table["note"].unique()):  # why its one rival could not be run
            raise HlensError(reason)
        return compare_with_output(
            scores_of(table, Part.TRAIN),
            scores_of(table, Part.TEST),
            numbers=numbers_of(known, in_test),
            labels=(labels[~in_test], labels[in_test]),
            groups=(list(groups[~in_test]), list(groups[in_test])),
            **draws,
        )
    except HlensError as error:
        log.warning("what the neurons add to the model's output cannot be told: %s", error)
        return pd.DataFrame(columns=OVER_OUTPUT)


HELD_OUT = "held out"


@step(needs=(scores, detector, naming), options=("probe.way",))
def published(
    scores: pd.DataFrame, detector: Detector, naming: Naming, *, way: str
) -> pd.DataFrame:
    """What is held out as a row of the published table: random neurons, H-neurons, how few."""
    model, domains = detector.provenance.model, ", ".join(map(naming, detector.domains))
    return published_row(
        scores, detector.selected, model=model, domains=domains, way=way, test=HELD_OUT
    )


@step(
    needs=(split, detector, covariates, in_test, examples, judgements),
    options=DRAWS,
    storage=TABLE,
    verb="evaluate",
)
def confident(
    split: Split,
    detector: Detector,
    covariates: pd.DataFrame,
    in_test: np.ndarray,
    examples: list[Example],
    judgements: list[Judgement],
    *,
    draws: int,
    seed: int,
) -> pd.DataFrame:
    """The detector and its controls among answers that most samples of their question give."""
    train, test = split
    held_out = covariates.loc[in_test]
    given = {
        Control.PROBE: detector(test).double().numpy(),
        Control.ANSWER_LENGTH: score_length(train, test),
        Covariate.LOG_PROBABILITY: -held_out[Covariate.LOG_PROBABILITY].to_numpy(),
    }
    if len(detector.selected):
        sets = detector.selected.random_sets(draws, seed=seed, **match_of(train))
        drawn, _ = over_random_sets(sets, lambda neurons: refit_scores(*split, neurons=neurons))
        refit = refit_scores(*split, neurons=detector.selected.flat_indices)
        given |= {Control.SELECTED_REFIT: refit}
        if drawn:  # where most neurons of a layer are selected there are no others
            given |= {Control.RANDOM_NEURONS: np.array(drawn)}
    known = {name: score for name, score in given.items() if np.isfinite(score).all()}
    own = [example for example, held in zip(examples, in_test, strict=True) if held]
    return confidently_wrong(known, own, judgements)


@step(needs=(split,), storage=TABLE)
def alone(split: Split) -> pd.DataFrame:
    """AUROC of every neuron alone, on the training part."""
    return univariate(split.train)


@step(needs=(split, probe), storage=TABLE)
def path(split: Split, probe: SparseProbe) -> pd.DataFrame:
    """The regularisation path: weight of each neuron at each C."""
    return regularisation_path(split.train, exact(probe)).table()


@step(
    needs=(split,),
    options=("probe.class_weight", "evaluation.stability_pairs", "seed"),
    storage=TABLE,
)
def stability(split: Split, *, class_weight: str, stability_pairs: int, seed: int) -> pd.DataFrame:
    """How often half-samples select each neuron; what that promises, in ``attrs``."""
    # Scaled by feature: the bound on false selections needs it.
    probe = SparseProbe(scale="feature", class_weight=_none(class_weight))
    selection = select_stable(split.train, probe, n_pairs=stability_pairs, seed=seed)
    table = selection.table()
    table.attrs = {
        "threshold": selection.threshold,
        "resamples": selection.n_resamples,
        "expected_false": selection.expected_false,
        "assumption": selection.assumption,
    }
    return table


SPREAD = 20  # draws that show a spread; only a p asks for more


@step(needs=(split, probe), options=DRAWS, storage=TABLE)
def sparsity(split: Split, probe: SparseProbe, *, draws: int, seed: int) -> pd.DataFrame:
    """AUROC of the top k neurons beside k random ones, k of other selectors, and all of them."""
    others = {
        display_name("selectors", name): selectors.named(name).rank
        for name in ("best_alone", "cna")
    }
    return k_sweep(*split, probe=probe, draws=min(draws, SPREAD), others=others, seed=seed)
