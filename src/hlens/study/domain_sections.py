"""The sections of a report that put domains side by side, every number in a table of its own."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hlens import figures
from hlens.report import Section
from hlens.report.table import table
from hlens.types.labels import Changed, Pool, spaced

if TYPE_CHECKING:
    from hlens.study.deeper import Study

SHOWN = 200  # shared neurons in the report; the study's table holds all


def domain_sections(study: "Study") -> Iterator[Section]:
    """What the domains are and, where two or more can be compared, what they share."""
    yield _domains(study)
    if len(study.domains()) < 2:
        return
    yield _transfer(study)
    if study.has_formats():
        yield _formats(study)
    yield _overlap(study)
    yield _reliability(study)


def _domains(study: "Study") -> Section:
    formats = study.formats()
    left_out = sorted(set(formats["domain"]) - set(study.domains()))
    said = [f"Left out of the comparisons: {', '.join(left_out)}."] if left_out else []
    return Section(
        "What was asked?",
        "Domains and the formats of their answers. A domain is compared where it has "
        f"{study.least} groups of each label or more.",
        (table(formats, "Questions and examples of each domain, by format."), *said),
        _confounded(formats.loc[formats["domain"].isin(study.domains())], study.has_formats()),
    )


def _confounded(formats: pd.DataFrame, apart: bool) -> str:
    names = sorted(set(formats["format"]))
    if len(names) == 1:
        return f"All domains are of one format ({spaced(names[0])}): no drop is one of format."
    if apart:
        return "Formats differ; their part in a drop is measured below."
    return "Formats differ with the domains: a drop may be one of format."


def _count(rows: Any) -> int:
    """How many rows of a boolean column hold."""
    return int(np.asarray(rows).sum())


def _transfer(study: "Study") -> Section:
    found = study.transfer()
    return Section(
        "Does a probe carry over?",
        "Trained on one domain, tested on another, on the same footing: groups are never split, "
        "and every cell of a column holds the same answers.",
        (
            partial(figures.transfer, found),
            *transfer_in_words(found),
            "Each pair in numbers: the drop from within the tested domain with its DeLong p, that "
            "p corrected by Holm over the matrix, and the examples of the smallest training fold.",
            table(found, "AUROC of each pair.", tall=True),
        ),
        "Training sets have the sizes that the domains have (n train): a small one makes a weak "
        "probe, whatever it transfers.",
    )


def transfer_in_words(found: pd.DataFrame) -> Iterator[str]:
    """What a transfer table says, in sentences."""
    known = found.loc[found["auroc"].notna()]
    single = known.loc[~known["train"].isin(list(Pool))]
    own = single.loc[single["train"] == single["test"]]
    across = single.loc[single["train"] != single["test"]]
    worse = _count((across["p_corrected"] < 0.05) & (across["auroc_drop"] > 0))
    inverse = across.loc[across["high"] < 0.5]
    yield (
        f"Within domains the mean AUROC is {own['auroc'].mean():.3f}, across "
        f"{across['auroc'].mean():.3f}; {worse} of {len(across)} pairs drop (corrected p < .05), "
        f"{_count(across['low'] > 0.5)} still beat chance."
    )
    for name, what in (
        (Pool.ALL, "all domains together"),
        (Pool.OTHERS, "all domains but the tested"),
    ):
        rows = known.loc[known["train"] == name]
        if len(rows):
            yield f"Trained on {what}, the mean AUROC is {rows['auroc'].mean():.3f}."
    if len(inverse):
        pairs = ", ".join(f"{r.train} to {r.test}" for r in inverse.itertuples())
        yield f"Inverse transfer (the interval lies below 0.5): {pairs}."


def _formats(study: "Study") -> Section:
    effect, pairs = study.format_effect(), study.transfer_by_format()
    return Section(
        "Domain or format?",
        "Each domain in each of its formats, trained on and tested on by itself; the pairs are "
        "sorted by what changes between them.",
        (
            *format_in_words(effect),
            table(effect, "Mean AUROC and mean drop where the domain, the format or both change."),
            partial(figures.transfer, pairs),
            table(pairs, "AUROC of each pair of cells.", tall=True),
        ),
        "Cells are small, and formats differ in more than looks: a yes or no is right half the "
        "time by chance.",
    )


def format_in_words(effect: pd.DataFrame) -> Iterator[str]:
    """What a table of format effects says, a sentence a kind of change."""
    for row in effect.to_dict("records"):
        if row["changed"] == Changed.NOTHING:
            yield f"Where nothing changes the mean AUROC is {row['auroc']:.3f}."
            continue
        verdict = (
            "a drop" if row["p_corrected"] < 0.05 and row["auroc_drop"] > 0 else "no sure drop"
        )
        yield (
            f"Where the {row['changed']} changes it is {row['auroc']:.3f}: {verdict} of "
            f"{row['auroc_drop']:.3f} [{row['drop_low']:.3f}, {row['drop_high']:.3f}] "
            f"({row['n_pairs']} pairs)."
        )


def _overlap(study: "Study") -> Section:
    found, shared = study.overlap(), study.shared_neurons()
    many = len(shared) > 0
    return Section(
        "Do domains share neurons?",
        "H-neurons selected separately in each domain: overlap, and how far it lies above chance.",
        (
            partial(figures.overlap, found),
            *overlap_in_words(found),
            partial(figures.upset, study.neuron_sets()),
            "Each pair in numbers, beside what chance gives: within layers (the plain columns), "
            "over the whole model (hypergeometric), and among neurons of like contribution in a "
            "layer (contribution); p corrected by Holm over the pairs.",
            table(found, "Overlap of each pair.", tall=True),
            table(shared, "Neurons of two domains or more, with their weight in each.", SHOWN)
            if many
            else "No neuron is in two sets.",
        ),
        "L1 picks one of several like neurons: a small overlap does not show that domains differ.",
    )


def overlap_in_words(found: pd.DataFrame) -> Iterator[str]:
    """How many pairs share more than chance, under each null."""
    nulls = {
        "_hypergeometric": "drawn from the whole model",
        "": "drawn within layers",
        "_contribution": "drawn among neurons of like contribution in a layer",
    }
    counts = [
        f"{_count(found[f'p_corrected{suffix}'] < 0.05)} where sets are {words}"
        for suffix, words in nulls.items()
        if f"p_corrected{suffix}" in found
    ]
    yield f"Of {len(found)} pairs, more than chance (corrected p < .05): {', '.join(counts)}."


def _reliability(study: "Study") -> Section:
    ceiling, together = study.reliability(), study.selection_correlation()
    return Section(
        "How much overlap could there be?",
        "Sets found on two random halves of one domain are the ceiling: no other domain can be "
        "expected to share more. Halves of two domains stand beside them, at the same size.",
        (
            partial(figures.reliability, ceiling),
            *reliability_in_words(ceiling),
            table(
                ceiling,
                "Jaccard and overlap coefficient of halves, mean over repeats; low and high span "
                "the central 95 % of repeats.",
            ),
            table(
                together,
                "Rank correlation, over all neurons, of how often halves select them; how many "
                "were ever selected in either domain, and in both.",
            ),
        ),
        "Repeats share their examples: their spread is no confidence interval.",
    )


def reliability_in_words(found: pd.DataFrame) -> Iterator[str]:
    """The mean ceiling, and the mean overlap between domains beside it."""
    own, other = found.loc[found["a"] == found["b"]], found.loc[found["a"] != found["b"]]
    yield (
        f"Halves of one domain have a mean Jaccard of {own['jaccard'].mean():.3f}, halves of two "
        f"domains {other['jaccard'].mean():.3f}."
    )
