"""Compare two judges, and measure how wrong labels would change a result."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from hlens.checks import check_real
from hlens.errors import HlensError
from hlens.types import Judgement, Verdict

ORDER = [verdict.value for verdict in Verdict]


def confusion(a: Iterable[Judgement], b: Iterable[Judgement]) -> pd.DataFrame:
    """Counts of each pair of verdicts, of judge `a` (rows) and judge `b` (columns).

    Judgements are matched by domain, question and sample.

    Raises:
        HlensError: The two judged different responses.
    """
    pairs, _ = _paired(a, b)
    table = pd.DataFrame(0, index=pd.Index(ORDER, name="a"), columns=pd.Index(ORDER, name="b"))
    for first, second in pairs:
        table.loc[first, second] += 1
    return table


def agreement(
    a: Iterable[Judgement], b: Iterable[Judgement], *, draws: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Agreement of two judges, with 95 % intervals by bootstrap over groups.

    Returns:
        Rows ``agreement`` (share of equal verdicts), ``kappa`` (Cohen's, over all four verdicts)
        and ``kappa of labels`` (over responses that both called correct or hallucinated), with
        columns ``measure``, ``value``, ``low``, ``high``, ``n``. Kappa is nan where both judges
        give one and the same verdict only, so that chance agreement is 1.

    Raises:
        HlensError: The two judged different responses, or none.
    """
    pairs, groups = _paired(a, b)
    counts = np.zeros((len(set(groups)), len(ORDER), len(ORDER)))
    index = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    for (first, second), group in zip(pairs, groups, strict=True):
        counts[index[group], ORDER.index(first), ORDER.index(second)] += 1
    # Groups are drawn with replacement: answers to one question are not independent.
    n = len(index)
    weights = np.random.default_rng(seed).multinomial(n, [1 / n] * n, draws)
    drawn = np.einsum("dg,gij->dij", weights, counts)
    total = counts.sum(0, keepdims=True)
    # The first two verdicts are the labels.
    labelled, drawn_labelled = total[:, :2, :2], drawn[:, :2, :2]
    rows = [
        _summarize("agreement", _share(total), _share(drawn), total),
        _summarize("kappa", _kappa(total), _kappa(drawn), total),
        _summarize("kappa of labels", _kappa(labelled), _kappa(drawn_labelled), labelled),
    ]
    return pd.DataFrame(rows)


def flip_sensitivity(
    labels: Sequence[bool] | np.ndarray,
    score: Callable[[np.ndarray], float],
    *,
    rates: Sequence[float] = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2),
    draws: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """How a result changes if a share of the labels is wrong.

    Args:
        labels: The labels; True is hallucinated.
        score: The result for given labels, such as the AUROC of a detector fitted to them.
        rates: Shares of labels, drawn at random, that are flipped.
        draws: Draws per rate; one for rate 0, which is the result itself.
        seed: Seed of the draws.

    Returns:
        Columns ``rate``, ``value`` (mean over draws), ``low`` and ``high`` (minimum and maximum),
        ``n`` (labels flipped).

    >>> import numpy as np
    >>> truth = np.arange(100) % 2 == 0
    >>> def share_kept(labels):
    ...     return float((labels == truth).mean())
    >>> flip_sensitivity(truth, share_kept, rates=(0.0, 0.1))["value"].tolist()
    [1.0, 0.9]

    Raises:
        HlensError: A rate outside of [0, 0.5], or no labels.
    """
    truth = np.asarray(labels, dtype=bool)
    if not len(truth) or draws < 1:
        raise HlensError(f"{len(truth)} labels and {draws} draws; expected at least one of each")
    rng = np.random.default_rng(seed)
    rows: list[dict[str, float]] = []
    for rate in rates:
        n = round(check_real("flip rate", rate, most=0.5) * len(truth))
        values = [score(_flipped(truth, n, rng)) for _ in range(draws if n else 1)]
        summary = {"value": float(np.mean(values)), "low": min(values), "high": max(values)}
        rows.append({"rate": float(rate), **summary, "n": n})
    return pd.DataFrame(rows)


def _flipped(truth: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    return truth ^ np.isin(np.arange(len(truth)), rng.choice(len(truth), n, replace=False))


def _paired(
    a: Iterable[Judgement], b: Iterable[Judgement]
) -> tuple[list[tuple[str, str]], list[str]]:
    """Verdicts of both judges on each response, and the groups of the responses."""
    first, second = {_key(j): j for j in a}, {_key(j): j for j in b}
    if not first or first.keys() != second.keys():
        unshared = len(first.keys() ^ second.keys())
        raise HlensError(
            f"the judges share {len(first.keys() & second.keys())} responses and {unshared} were "
            "judged by one of them only; compare judgements of the same responses"
        )
    pairs = [(j.verdict.value, second[key].verdict.value) for key, j in first.items()]
    return pairs, [j.response.question.group for j in first.values()]


def _key(judgement: Judgement) -> tuple[str, str, int]:
    response = judgement.response
    return response.question.domain, response.question.id, response.sample


def _share(counts: np.ndarray) -> np.ndarray:
    total = counts.sum((1, 2))
    return np.divide(
        np.trace(counts, axis1=1, axis2=2), total, out=np.full(len(counts), np.nan), where=total > 0
    )


def _kappa(counts: np.ndarray) -> np.ndarray:
    """Cohen's kappa of each table; nan where chance agreement is 1."""
    total = np.maximum(counts.sum((1, 2)), 1e-300)
    chance = (counts.sum(1) * counts.sum(2)).sum(1) / total**2
    rest = 1 - chance
    return np.divide(
        _share(counts) - chance, rest, out=np.full(len(counts), np.nan), where=rest > 1e-12
    )


def _summarize(
    name: str, value: np.ndarray, drawn: np.ndarray, counts: np.ndarray
) -> dict[str, object]:
    usable = drawn[~np.isnan(drawn)]
    low, high = np.quantile(usable, [0.025, 0.975]) if len(usable) else (np.nan, np.nan)
    return {
        "measure": name,
        "value": float(value[0]),
        "low": float(low),
        "high": float(high),
        "n": int(counts.sum()),
    }
