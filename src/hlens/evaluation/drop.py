"""How much of what is read is lost between domains: in one model, and in several together.

Problem: the drop from within a domain to across is a difference of means of AUROCs that share
their answers, and several models are asked the same questions. None of these is independent.

Idea: an AUROC moves by a little with each group of questions. The drop of a model is a linear
combination of AUROCs, so each group moves it by the same combination of these influences; the mean
over models, by their mean. Added up group by group first, and squared then, they give the variance
over samples of questions, of these models and these probes. What other models would show is
another question: it takes the spread between models, of three or more. Where two studies are of
one model, as when it was asked in two ways, their mean is that model's.

Example: two models read .80 within and .70 across, on the same questions. Their drops of .10 do
not stand for twice the questions.

Source of the question: arXiv 2604.19765 (five models; within .783, across .563, drop .220).
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

from hlens.evaluation.folded import influences_folded
from hlens.evaluation.intervals import Sizes, difference_interval
from hlens.evaluation.transfer import Tested
from hlens.types.labels import ALL_MODELS, Pool

COLUMNS = [
    "model", "n_models", "n_studies", "within", "across", "drop", "low", "high", "p", "spread_low",
    "spread_high", "spread_p", "n_domains", "n_pairs", "n",
]  # fmt: skip
FEWEST_MODELS = 3  # that say anything of others

Row = dict[str, object]


@dataclass(frozen=True, eq=False)
class _Drop:
    """The drop of one model, and how far each group of questions moves it."""

    within: float
    across: float
    moved: Mapping[str, float]
    labels: np.ndarray
    groups: np.ndarray
    n_domains: int
    n_pairs: int

    @property
    def value(self) -> float:
        return self.within - self.across


def drops(
    scores: Mapping[str, pd.DataFrame], *, weights: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """The mean drop from within a domain to across, of each model and of all together.

    A domain counts once, whatever its number of answers: its own probe, less the mean of the probes
    of the other domains on the same answers.

    Args:
        scores: What `hlens.evaluation.score_across` returns, by model, or by study.
        weights: What tells models apart, by the same names; by default each name is a model. A
            model counts once, whatever its number of studies.

    Returns:
        One row a name and, of several, one more, ``"all models"``: ``model, n_models, n_studies,
        within, across, drop, low, high, p, spread_low, spread_high, spread_p, n_domains, n_pairs,
        n``.
        ``within`` and ``across`` are mean AUROCs; ``low, high`` the 95 % interval of the drop and
        ``p`` its two-sided test over samples of questions, of these very models and probes: a
        question that several models answered counts once. The columns ``spread_...`` are of the
        mean over models like these, by the spread between models (Student's t), where there are
        three or more. ``n`` counts answers. Of all models ``n_domains`` is the largest, ``n_pairs``
        and ``n`` are sums.

        A model in which no domain was read both by its own probe and by another's has no row.

    Raises:
        HlensError: No fold has answers of both labels.
    """
    found = {name: one for name, table in scores.items() if (one := _drop_of(table))}
    rows = [{"model": name, **_row([[one]])} for name, one in found.items()]
    if len(found) > 1:
        models = defaultdict[str, list[_Drop]](list)
        for name, one in found.items():
            models[(weights or {}).get(name, name)].append(one)
        rows.append({"model": ALL_MODELS, **_row(list(models.values()))})
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


def _drop_of(scores: pd.DataFrame) -> _Drop | None:
    """Mean over the tested domains of their own probe less the others', with its influences."""
    single = scores.loc[~scores["train"].isin(list(Pool))]
    parts = {str(name): Tested.of(single, str(name)) for name in dict.fromkeys(single["test"])}
    used = {
        name: part
        for name, part in parts.items()
        if name in part.scores.index and len(part.scores.index) > 1
    }
    if not used:
        return None
    moved: dict[str, float] = defaultdict(float)
    within = across = 0.0
    for name, part in used.items():
        own = np.asarray(part.scores.index == name, dtype=float) / len(used)
        others = (own == 0) / (len(own) - 1) / len(used)
        area, by_group = influences_folded(
            part.scores.to_numpy(), part.labels, fold=part.fold, groups=part.groups
        )
        within, across = within + float(own @ area), across + float(others @ area)
        for group, push in zip(np.unique(part.groups), (own - others) @ by_group, strict=True):
            moved[str(group)] += float(push)
    n_pairs = sum(len(part.scores.index) - 1 for part in used.values())
    labels, groups = (
        np.concatenate([getattr(part, of) for part in used.values()]) for of in ("labels", "groups")
    )
    return _Drop(within, across, dict(moved), labels, groups, len(used), n_pairs)


def _row(models: list[list[_Drop]]) -> Row:
    """The mean over models, of each the mean over its studies."""
    found = [one for studies in models for one in studies]
    shares = [1 / len(studies) / len(models) for studies in models for _ in studies]
    moved: dict[str, float] = defaultdict(float)
    for one, share in zip(found, shares, strict=True):
        for group, push in one.moved.items():
            moved[group] += push * share
    variance = float(np.square(list(moved.values())).sum())
    labels, groups = (
        np.concatenate([getattr(one, of) for one in found]) for of in ("labels", "groups")
    )
    values = np.array([np.mean([one.value for one in studies]) for studies in models])
    drop, p = difference_interval(float(values.mean()), variance, sizes=Sizes.of(labels, groups))
    row: Row = {
        "n_models": len(models),
        "n_studies": len(found),
        "within": float(np.dot(shares, [one.within for one in found])),
        "across": float(np.dot(shares, [one.across for one in found])),
        **drop.to_row("drop"),
        "p": p,
        "n_domains": max(one.n_domains for one in found),
        "n_pairs": sum(one.n_pairs for one in found),
        "n": len(labels),
    }
    return row | (_spread(values) if len(models) >= FEWEST_MODELS else {})


def _spread(values: np.ndarray) -> Row:
    """Interval and p of the mean over models like these."""
    mean, freedom = float(values.mean()), len(values) - 1
    error = float(values.std(ddof=1)) / len(values) ** 0.5
    if error == 0:
        return {"spread_low": mean, "spread_high": mean, "spread_p": 1.0 if mean == 0 else 0.0}
    half = float(student.ppf(0.975, freedom)) * error
    p = float(2 * student.sf(abs(mean) / error, freedom))
    return {"spread_low": mean - half, "spread_high": mean + half, "spread_p": p}
