"""drift: do live answers still look, to a detector, like those that it was recalibrated on?

Problem: thresholds and probabilities hold for answers like those that they were taken from. Users
ask other things, prompts and models change, and live answers have no labels by which it would show.

Idea: compare what needs no label. The scores of live answers are compared with those at home in
their mean and in their spread, by a permutation of whole groups of questions that holds its error
rate for all domains together. Beside it stands how small a shift these answers could have shown:
that nothing was seen in twelve answers says nothing. Where the neurons were read, too, those that
moved are named, with what each adds to the score.

Example: live answers score 0.4 standard deviations of home higher, p = 0.001. Of the true ones the
threshold promised to flag 5 %; now 14 % of all answers lie above it, at home 9 %.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from hlens.checks import check_real, check_whole
from hlens.counting import count
from hlens.errors import HlensError
from hlens.evaluation import Shifts, estimate_share, find_shifts
from hlens.evaluation.shifts import FEWEST_GROUPS, MOST_PERMUTATIONS
from hlens.evaluation.significance import holm
from hlens.types import Detector, ReadAnswers, address

LEVEL = 0.05
POWER = 0.8
SHIFT = 0.3  # standard deviations of home
NAMED = 3  # neurons in a sentence


@dataclass(frozen=True, eq=False)
class Drift:
    """How live answers differ from those at home.

    Attributes:
        scores: A row for all answers together (``domain`` is empty) and, where there are several,
            for each domain at home and live: ``home, home_groups, live, live_groups`` (answers and
            groups), ``shift, low, high`` (of the mean, in standard deviations of home, with its
            95 % interval), ``spread_ratio`` (mean distance from the median, over that of home),
            ``p`` (Holm's, for all rows), ``shifted`` (p at most 0.05), ``smallest_seen`` (shift
            that these answers show in 80 % of cases) and ``needed`` (live answers that show
            `sought`; missing where home has too few).
        thresholds: A row for each threshold that live answers belong to: ``domain, false_alarms``
            (share of true answers that may be flagged), ``home`` (share of all answers at home that
            it flags), ``live, low, high`` (of the live ones, whose labels are unknown), ``n``.
        neurons: A row for each neuron: ``layer, neuron, address, weight, shift, low, high`` (as
            above, of its contributions), ``to_score`` (what that adds to the mean score, in
            log-odds), ``p`` (max-T, for all neurons) and ``moved``; the largest shift first. None
            where the neurons were not read at home and live.
        not_compared: Domains of live answers with too few groups there or at home, and why.
        sought: The shift that matters, in standard deviations of home.
    """

    scores: pd.DataFrame
    thresholds: pd.DataFrame
    neurons: pd.DataFrame | None
    not_compared: dict[str, str]
    sought: float

    @property
    def shifted(self) -> bool:
        """Whether the scores have shifted, together or in a domain."""
        return bool(self.scores["shifted"].any())

    def in_words(self) -> list[str]:
        """What was found, and when to test again, a sentence each."""
        rows = self.scores.to_dict("records")
        said = [_sentence(row, self.sought) for row in rows]
        if rows[0]["shifted"] and len(rows) > 1 and not any(row["shifted"] for row in rows[1:]):
            said.append("No domain alone has shifted: perhaps their mix is another than at home.")
        said += [f"{name}: not compared, {why}." for name, why in self.not_compared.items()]
        if self.shifted:
            said.append(
                "Thresholds and probabilities may no longer hold: label some of these answers and "
                "recalibrate (hlens recalibrate)."
            )
        if self.neurons is not None:
            said.append(_name_neurons(self.neurons))
        return said


def drift(
    detector: Detector,
    live: ReadAnswers,
    *,
    shift: float = SHIFT,
    permutations: int = 2000,
    seed: int = 0,
) -> Drift:
    """Compare live answers with those that a detector was recalibrated on.

    Args:
        detector: From `recalibrate`, which keeps what it read at home.
        live: From `read_scores`, or `ReadAnswers.of` scored answers; with `measure_answers` the
            neurons are compared, too. Labels are not needed.
        shift: The smallest shift of the mean that matters, in standard deviations of home.
        permutations: Of whole groups of questions.
        seed: Of these.

    Raises:
        HlensError: A detector without a home, fewer than ten groups of questions, scores at home
            that are all the same, or a number out of its limits.
    """
    sought = check_real("shift", shift, above=0, most=10)
    permutations = check_whole("permutations", permutations, least=99, most=MOST_PERMUTATIONS)
    home = home_of(detector)
    both, lacking = _comparable(home, live)
    if permutations < (least := ceil(len(both) / LEVEL) - 1):
        raise HlensError(
            f"permutations={permutations}; {len(both)} comparisons (all answers, and each domain) "
            f"take at least {least}"
        )
    how = {"permutations": permutations, "seed": seed}
    found = [_compare(*pair, **how) for pair in both.values()]
    adjusted = holm(np.array([one.p.min() for one in found]))
    level = LEVEL / len(found)  # the strictest that Holm may ask, so that the promise is kept
    rows = [
        _score_row(name, *both[name], found=one, p=p, level=level, sought=sought)
        for name, one, p in zip(both, found, adjusted, strict=True)
    ]
    return Drift(
        pd.DataFrame(rows).astype({"needed": "Int64"}),
        _shares(detector, home, live),
        _moved(detector, home, live, **how),
        lacking,
        sought,
    )


def home_of(detector: Detector) -> ReadAnswers:
    """What a detector read at its home.

    Raises:
        HlensError: It kept nothing of it, or scores that are all the same.
    """
    home = detector.home
    if home is None:
        raise HlensError(
            "the detector keeps nothing of the answers at its home; recalibrate it first (hlens "
            "recalibrate DETECTOR labelled.jsonl --to FILE)"
        )
    if len(home) == 0 or np.ptp(home.scores) == 0:
        raise HlensError("all scores at the detector's home are the same; recalibrate it on others")
    return home


def _compare(home: ReadAnswers, live: ReadAnswers, *, permutations: int, seed: int) -> Shifts:
    """The shift of the scores' mean, and of their mean distance from a middle."""
    # The median of all: from medians of their own the smaller sample would always lie nearer.
    middle = np.median(np.concatenate([home.scores, live.scores]))
    columns = [np.stack([one.scores, np.abs(one.scores - middle)], axis=1) for one in (home, live)]
    return find_shifts(
        *columns,
        home_groups=home.groups,
        live_groups=live.groups,
        permutations=permutations,
        seed=seed,
    )


def _score_row(
    domain: str,
    home: ReadAnswers,
    live: ReadAnswers,
    *,
    found: Shifts,
    p: float,
    level: float,
    sought: float,
) -> dict[str, Any]:
    unit = float(home.scores.std())
    return {
        "domain": domain,
        "home": len(home), "home_groups": len(set(home.groups)),
        "live": len(live), "live_groups": len(set(live.groups)),
        "shift": found.difference[0] / unit,
        "low": found.low[0] / unit,
        "high": found.high[0] / unit,
        "spread_ratio": _spread(live.scores) / _spread(home.scores),
        "p": p,
        "shifted": bool(p <= LEVEL),
        "smallest_seen": found.smallest_seen(level, POWER)[0] / unit,
        "needed": found.answers_needed(sought * unit, level, POWER),
    }  # fmt: skip


def _comparable(
    home: ReadAnswers, live: ReadAnswers
) -> tuple[dict[str, tuple[ReadAnswers, ReadAnswers]], dict[str, str]]:
    """What is compared by name, all together first; and why other domains are not."""
    both, lacking = {"": (home, live)}, {}
    names = sorted(set(live.domains))
    if names == sorted(set(home.domains)) and len(names) == 1:
        return both, lacking
    for name in names:
        pair = home.of_domain(name), live.of_domain(name)
        few = [
            f"{count(n, 'group')} of questions {where}"
            for one, where in zip(pair, ("at home", "live"), strict=True)
            if (n := len(set(one.groups))) < FEWEST_GROUPS
        ]
        if not len(pair[0]):
            lacking[name] = "it is no domain of home"
        elif few:
            lacking[name] = f"it has {' and '.join(few)}, and a comparison takes {FEWEST_GROUPS}"
        elif np.ptp(pair[0].scores) == 0:
            lacking[name] = "its scores at home are all the same"
        else:
            both[name] = pair
    return both, lacking


def _spread(scores: Float[np.ndarray, " answer"]) -> float:
    """Mean distance from the median."""
    return float(np.abs(scores - np.median(scores)).mean())


def _shares(detector: Detector, home: ReadAnswers, live: ReadAnswers) -> pd.DataFrame:
    """What share of all answers each threshold flags, at home and live."""
    rows = []
    for one in detector.thresholds:
        here = live.of_domain(one.domain) if one.domain else live
        there = home.of_domain(one.domain) if one.domain else home
        if not len(here):
            continue
        share = estimate_share(here.scores >= one.score, np.array(here.groups))
        at_home = float((there.scores >= one.score).mean()) if len(there) else float("nan")
        head = {"domain": one.domain, "false_alarms": one.false_alarms, "home": at_home}
        rows.append(head | share.to_row("live"))
    columns = ["domain", "false_alarms", "home", "live", "low", "high", "n"]
    return pd.DataFrame(rows, columns=columns)


def _moved(
    detector: Detector, home: ReadAnswers, live: ReadAnswers, permutations: int, seed: int
) -> pd.DataFrame | None:
    """Each neuron's shift, where neurons were read on both sides."""
    if home.neurons is None or live.neurons is None:
        return None
    if live.neurons.shape[1] != home.neurons.shape[1]:
        raise HlensError(
            f"contributions of {count(live.neurons.shape[1], 'neuron')}; the detector has "
            f"{home.neurons.shape[1]}: give those of measure_answers"
        )
    one, other = home.neurons.astype(np.float64), live.neurons.astype(np.float64)
    found = find_shifts(
        one,
        other,
        home_groups=home.groups,
        live_groups=live.groups,
        permutations=permutations,
        seed=seed,
    )
    unit = np.where((spread := one.std(axis=0)) > 0, spread, np.nan)
    members = list(detector.selected)
    weights = np.array([float(detector.weights[layer, neuron]) for layer, neuron in members])
    table = pd.DataFrame(members, columns=["layer", "neuron"])
    table["address"] = [address(member, detector.provenance.experts) for member in members]
    table["weight"] = weights
    for name, values in (("shift", found.difference), ("low", found.low), ("high", found.high)):
        table[name] = values / unit
    table["to_score"] = weights * found.difference
    table["p"] = found.p
    table["moved"] = found.p <= LEVEL
    order = np.argsort(-np.abs(found.statistic), kind="stable")
    return table.iloc[order].reset_index(drop=True)


def _sentence(row: Mapping[Hashable, Any], sought: float) -> str:
    """What is said of one comparison, and when to test again."""
    head = f"{row['domain'] or 'All answers'}: "
    if row["shifted"]:
        return (
            f"{head}the scores have shifted (p = {row['p']:.2g}), their mean by "
            f"{row['shift']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}] standard deviations of "
            f"home, their spread to {row['spread_ratio']:.0%} of home's."
        )
    return (
        f"{head}no shift seen (p = {row['p']:.2g}); with {count(row['live'], 'answer')} one of "
        f"{row['smallest_seen']:.2f} standard deviations of home would have been seen in "
        f"{POWER:.0%} of cases. {_when_to_test(row, sought)}"
    )


def _name_neurons(neurons: pd.DataFrame) -> str:
    """The neurons that moved, the first few by name."""
    moved = neurons.loc[neurons["moved"]]
    if not len(moved):
        return f"None of the {count(len(neurons), 'neuron')} moved."
    named = ", ".join(
        f"{row['address']} by {row['shift']:+.2f} ({row['to_score']:+.2g} to the score)"
        for row in moved.head(NAMED).to_dict("records")
    )
    more = f" and {len(moved) - NAMED:,} more" if len(moved) > NAMED else ""
    return (
        f"{len(moved)} of {count(len(neurons), 'neuron')} moved, in standard deviations of home: "
        f"{named}{more}."
    )


def _when_to_test(row: Mapping[Hashable, Any], sought: float) -> str:
    needed = row["needed"]
    if pd.isna(needed):
        return (
            f"One of {sought:g} no number of live answers can show beside the {row['home']:,} at "
            "home: recalibrate on more."
        )
    if needed > row["live"]:
        return f"Test again after {needed - row['live']:,} more: {needed:,} can show {sought:g}."
    return f"Test again on the next {needed:,}, which can show {sought:g}."
