"""A study's domains side by side: does a probe carry over, and do they share neurons?"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pandas as pd

from hlens import figures
from hlens.errors import HlensError
from hlens.evaluation import (
    Halves,
    alone_by_domain,
    domains_with_both,
    drops,
    frequency_correlation,
    score_across,
    split_halves,
    tabulate_transfer,
)
from hlens.evaluation import overlap as measure_overlap
from hlens.evaluation import reliability as measure_reliability
from hlens.evaluation import shared_neurons as find_shared_neurons
from hlens.evaluation import transfer_by_format as measure_transfer_by_format
from hlens.evaluation.usage import match_of
from hlens.probe import SparseProbe, find
from hlens.recipe import key_of
from hlens.steps.answers import examples, questions
from hlens.steps.detection import DETECTOR, Measured, contributions, exact, measured, probe
from hlens.steps.sources import model_options
from hlens.steps.step import TABLE, Each, Step, Storage, step
from hlens.store.tables import load_table, save_table
from hlens.types import Contributions, Detector, Example, NeuronSet, Question

Cell = tuple[str, str]  # domain and format
Progress = Callable[[int, int], None]


def groups_needed(folds: int) -> int:
    """Groups of each label that a domain needs, so that every fold of every fit has some."""
    return 2 * folds


@step(needs=(contributions,), options=("evaluation.folds",), content=list)
def domains(contributions: Contributions, *, folds: int) -> list[str]:
    """Domains with enough examples of both labels: those that can be compared."""
    return domains_with_both(contributions, groups_needed(folds))


@step(needs=(contributions, domains))
def compared(contributions: Contributions, domains: list[str]) -> Contributions:
    """The contributions of the domains that can be compared.

    Raises:
        HlensError: There are fewer than two.
    """
    if len(domains) < 2:
        raise HlensError(
            f"only {domains or 'no domain'} has enough groups of each label, and a comparison "
            "takes two domains or more; ask more questions, name another domain in the recipe, or "
            "lower evaluation.folds (a domain needs two groups of each label for every fold)"
        )
    if set(domains) == set(contributions.domains):
        return contributions
    rows = [row for row, name in enumerate(contributions.domains) if name in domains]
    return contributions.select(rows)


@step(
    needs=(compared, probe),
    options=("evaluation.folds", "seed"),
    storage=TABLE,
    name="transfer_scores",
)
def scores_across(
    compared: Contributions, probe: SparseProbe, *, folds: int, seed: int, progress: Progress
) -> pd.DataFrame:
    """Train on each domain, score the answers of each."""
    return score_across(compared, probe, folds=folds, seed=seed, progress=progress)


@step(needs=(scores_across,), storage=TABLE, verb="transfer", figure=figures.transfer)
def transfer(scores_across: pd.DataFrame) -> pd.DataFrame:
    """Train on each domain, test on each."""
    return tabulate_transfer(scores_across)


@step(needs=(scores_across,))
def drop(scores_across: pd.DataFrame) -> pd.DataFrame:
    """The mean drop from within a domain to across, in one row."""
    return drops({"": scores_across})


# --- Domain and format -----------------------------------------------------------------------


@step(needs=(questions,))
def format_of(questions: list[Question]) -> dict[tuple[str, str], str]:
    """The format that each question asks in, by domain and id."""
    return {(q.domain, q.id): str(q.meta.get("format", "short_answer")) for q in questions}


@step(needs=(contributions, format_of), options=("evaluation.folds",), content=list)
def cells(
    contributions: Contributions, format_of: Mapping[tuple[str, str], str], *, folds: int
) -> list[Cell]:
    """Domains in one format with enough examples of both labels."""
    own = _cells_of(contributions, format_of)
    names = {f"{domain}\n{form}": (domain, form) for domain, form in own}
    renamed = replace(contributions, domains=tuple(f"{domain}\n{form}" for domain, form in own))
    return [names[name] for name in domains_with_both(renamed, groups_needed(folds))]


def _cells_of(data: Contributions, format_of: Mapping[tuple[str, str], str]) -> list[Cell]:
    pairs = zip(data.domains, data.question_ids, strict=True)
    return [(domain, format_of[domain, qid]) for domain, qid in pairs]


@step(needs=(cells,))
def has_formats(cells: list[Cell]) -> bool:
    """Whether the effects of domain and format can be separated: one varies without the other."""
    varies = any((a[0] == b[0]) != (a[1] == b[1]) for a in cells for b in cells if a != b)
    return varies and len({form for _, form in cells}) > 1


@step(needs=(questions, examples, format_of, cells))
def formats(
    questions: list[Question],
    examples: list[Example],
    format_of: Mapping[tuple[str, str], str],
    cells: list[Cell],
) -> pd.DataFrame:
    """What each domain asks and how many examples it gave, by format.

    Returns:
        One row a domain and format: ``domain, format, questions, examples, hallucinated, true,
        compared`` (whether the cell itself has enough of both labels to be compared).
    """
    asked = Counter((q.domain, format_of[q.domain, q.id]) for q in questions)
    counts = Counter(
        (e.domain, format_of[e.domain, e.question_id], e.hallucinated) for e in examples
    )
    return pd.DataFrame(
        {
            "domain": domain,
            "format": form,
            "questions": n,
            "examples": counts[domain, form, True] + counts[domain, form, False],
            "hallucinated": counts[domain, form, True],
            "true": counts[domain, form, False],
            "compared": (domain, form) in cells,
        }
        for (domain, form), n in asked.items()
    )


@dataclass(frozen=True, eq=False)
class FormatTransfer:
    """Transfer between domains in each of their formats.

    Attributes:
        pairs: Every pair of cells, with what ``changed`` between them.
        effect: Mean AUROC and drop where the domain, the format, or both change.
    """

    pairs: pd.DataFrame
    effect: pd.DataFrame


EFFECT = "format_effect.parquet"


def _save_format_transfer(transfer: FormatTransfer, file: Path) -> None:
    save_table(transfer.effect, file.with_name(EFFECT))
    save_table(transfer.pairs, file)


def _load_format_transfer(file: Path) -> FormatTransfer:
    return FormatTransfer(load_table(file), load_table(file.with_name(EFFECT)))


@step(
    needs=(contributions, format_of, cells, probe),
    options=("evaluation.folds", "seed"),
    storage=Storage(".parquet", _save_format_transfer, _load_format_transfer, also=(EFFECT,)),
    name="transfer_by_format",
)
def format_transfer(
    contributions: Contributions,
    format_of: Mapping[tuple[str, str], str],
    cells: list[Cell],
    probe: SparseProbe,
    *,
    folds: int,
    seed: int,
    progress: Progress,
) -> FormatTransfer:
    """Train and test on each domain in each of its formats.

    Raises:
        HlensError: Fewer than two cells of domain and format can be compared.
    """
    if len(cells) < 2:
        raise HlensError(
            f"only {len(cells)} cells of domain and format have {groups_needed(folds)} groups of "
            "each label, and a comparison takes two or more; ask more questions"
        )
    own = _cells_of(contributions, format_of)
    data = contributions.select([row for row, cell in enumerate(own) if cell in cells])
    forms = [form for _, form in _cells_of(data, format_of)]
    return FormatTransfer(
        *measure_transfer_by_format(
            data, forms, probe=probe, folds=folds, seed=seed, progress=progress
        )
    )


@step(needs=(format_transfer,))
def format_pairs(transfer: FormatTransfer) -> pd.DataFrame:
    """Transfer between all domains in each of their formats, with what ``changed``."""
    return transfer.pairs


@step(needs=(format_transfer,))
def format_effect(transfer: FormatTransfer) -> pd.DataFrame:
    """Mean AUROC and drop where the domain, the format, or both change."""
    return transfer.effect


# --- Neurons of each domain ------------------------------------------------------------------


@cache
def measured_in(domain: str) -> Step[Measured]:
    """The measured examples of one domain; a change in another domain reruns nothing here."""

    @step(
        needs=(measured, model_options),
        name=f"measured/{domain}",
        content=lambda own: own.identity,
    )
    def measured_domain(measured: Measured, _: None) -> Measured:
        return measured.of_domain(domain)

    return measured_domain


@cache
def detector_of(domain: str) -> Step[Detector]:
    """The step that finds a detector on all examples of one domain."""

    @step(
        needs=(measured_in(domain), probe),
        storage=DETECTOR,
        name=f"detectors/{file_name(domain)}",
    )
    def detector(measured: Measured, probe: SparseProbe) -> Detector:
        """A detector found on all examples of a domain: for its neurons, not its score."""
        return find(measured.contributions, probe, calibration=None)

    return detector


@cache
def halves_of(domain: str) -> Step[pd.DataFrame]:
    """The step that finds the neurons of one domain on random halves of it."""

    @step(
        needs=(measured_in(domain), probe, detector_of(domain)),
        options=("evaluation.halves", "seed"),
        storage=TABLE,
        name=f"halves/{file_name(domain)}",
    )
    def halves(
        measured: Measured,
        probe: SparseProbe,
        detector: Detector,
        *,
        halves: int,
        seed: int,
        progress: Progress,
    ) -> pd.DataFrame:
        """The neurons found on random halves of a domain, half as many as on the whole of it."""
        # Fix the number of neurons, not C, so that repeats and domains are comparable. Half the
        # examples can support about half as many neurons; more is not always possible.
        half = exact(probe).set_params(n_neurons=max(1, len(detector.selected) // 2))
        return split_halves(
            measured.contributions, half, repeats=halves, seed=seed, progress=progress
        ).table()

    return halves


detectors = Each("detectors", domains, detector_of)
domain_halves = Each("halves", domains, halves_of)


@step(needs=(detectors,))
def detectors_by_domain(detectors: Mapping[str, Detector]) -> dict[str, Detector]:
    """A detector of each domain, found on all its examples: for its neurons, not its score."""
    return dict(detectors)


@step(needs=(detectors,))
def neuron_sets(detectors: Mapping[str, Detector]) -> list[NeuronSet]:
    """The H-neurons of each domain, named by it."""
    return [replace(detector.neurons, name=name) for name, detector in detectors.items()]


@step(
    needs=(compared, neuron_sets),
    storage=TABLE,
    verb="overlap",
    figure=figures.overlap,
)
def overlap(compared: Contributions, neuron_sets: list[NeuronSet]) -> pd.DataFrame:
    """Overlap of the domains' H-neurons, beside chance and beside halves of one domain."""
    true = compared.select(~compared.labels).size()
    return measure_overlap(neuron_sets, contribution=true, usage=match_of(compared).get("usage"))


@step(needs=(neuron_sets,))
def shared_neurons(neuron_sets: list[NeuronSet]) -> pd.DataFrame:
    """The neurons that the H-neurons of two domains or more hold."""
    return find_shared_neurons(neuron_sets)


@step(needs=(compared, neuron_sets))
def alone_in_domains(compared: Contributions, neuron_sets: list[NeuronSet]) -> pd.DataFrame:
    """AUROC of the domains' H-neurons alone, in each domain by itself."""
    return alone_by_domain(compared, sorted(set().union(*(one.members for one in neuron_sets))))


@step(needs=(domain_halves,))
def halves(domain_halves: Mapping[str, pd.DataFrame]) -> Halves:
    """The neurons found on random halves of each domain, half as many as on the whole of it."""
    return Halves.of_tables(domain_halves.values())


@step(needs=(halves,))
def reliability(halves: Halves) -> pd.DataFrame:
    """Overlap of halves, within a domain (the ceiling of any overlap) and between domains."""
    return measure_reliability(halves)


@step(needs=(halves,))
def selection_correlation(halves: Halves) -> pd.DataFrame:
    """Rank correlation of how often halves select each neuron, for each pair of domains."""
    pairs = next(iter(halves.sets.values()))
    frequencies = {name: halves.frequencies(name) for name in halves.sets}
    return frequency_correlation(frequencies, experts=pairs[0][0].experts)


def file_name(domain: str) -> str:
    """A domain's name as a file's.

    >>> file_name("legal"), file_name("law & order")
    ('legal', 'law_order-820887')
    """
    # No name of hidden files, nor of the folder itself or the one above.
    plain = re.sub(r"[^\w.-]+", "_", domain).lstrip(".")
    plain = plain.encode()[:80].decode(errors="ignore")
    # Two names that differ only in what a file's name cannot hold get two files.
    return plain if plain == domain else f"{plain}-{key_of(domain)[:6]}"
