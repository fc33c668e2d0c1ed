"""recalibrate: thresholds and probabilities of a detector, from answers it was not found on.

Problem: a detector is calibrated on the spans that it was found on, and then read over all tokens
of a reply, or in a domain that it never saw. Its neurons may still rank answers; its probabilities
and thresholds are somebody else's.

Idea: keep the neurons, and take both from labelled answers read the way the monitor reads. The
threshold of a rate of false alarms (`hlens.evaluation.find_thresholds`) needs true answers alone;
the map to probabilities needs both labels.

Example: a detector of answer spans gives whole replies lower scores than spans, since most of their
tokens say nothing. At its old "0.9" hardly a reply is flagged; recalibrated, one in ten true ones.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from hlens.errors import HlensError
from hlens.evaluation import RATES, find_thresholds
from hlens.probe.calibration import Method, calibrate
from hlens.probe.crossval import assign_folds
from hlens.types import Calibration, Detector, ReadAnswers, ScoredAnswer, Threshold
from hlens.visible import harmless

log = logging.getLogger("hlens")
WHOLE = "response"  # what a monitor reads: all tokens of a reply, without its thought
FOLDS = 5
FEWEST = 10  # groups of either label


def recalibrate(
    detector: Detector,
    answers: Sequence[ScoredAnswer],
    *,
    rates: Sequence[float] = RATES,
    neurons: Float[np.ndarray, "answer neuron"] | None = None,
) -> Detector:
    """The detector with thresholds and probabilities for whole answers; its neurons are kept.

    Each domain with at least ten groups of either label gets probabilities of its own, and a
    threshold for each rate that its true answers can tell. Any other domain falls back on those of
    all together (`describe_labels` says which).

    Args:
        detector: The detector that scored the answers.
        answers: From `score`, labelled, and none of them among those it was found on. Those without
            a label, or without a token, are left out.
        rates: Shares of true answers that may be flagged, one threshold for each and each domain.
        neurons: From `measure_answers`, of the same answers. They are kept in the detector beside
            its scores, so that `drift` can name the neurons that moved.

    Raises:
        HlensError: Fewer than ten groups with answers of either label, or a rate that is no share.
    """
    check_labels(answers)
    labelled = _Labelled.of(answers)
    rows = [i for i, one in enumerate(answers) if _is_labelled(one)]
    known = [answers[i] for i in rows]
    known_method = detector.calibration and detector.calibration.method
    method: Method = "isotonic" if known_method == "isotonic" else "platt"
    thresholds, calibrations = labelled.find_thresholds(rates), []
    names = sorted(set(labelled.domains.tolist()))
    for domain in names if len(names) > 1 else ():
        own = labelled.of_domain(domain)
        if own.labels.any() and not own.labels.all():
            thresholds += own.find_thresholds(rates, domain)
        if min(own.groups_by_label) >= FEWEST:
            calibrations.append(own.calibrate(method, domain))
    return replace(
        detector,
        calibration=labelled.calibrate(method),
        calibrations=tuple(calibrations),
        thresholds=tuple(thresholds),
        calibrated_on=WHOLE,
        home=ReadAnswers.of(known, None if neurons is None else neurons[rows]),
    )


def check_labels(answers: Sequence[ScoredAnswer]) -> None:
    """Raise `HlensError` unless there are enough labels to recalibrate by."""
    correct, wrong = _Labelled.of(answers).groups_by_label
    if min(correct, wrong) < FEWEST:
        raise HlensError(
            f"{correct} groups of questions with correct and {wrong} with hallucinated answers; "
            f"recalibrating takes at least {FEWEST} of either: give more labelled answers"
        )


def describe_labels(detector: Detector, answers: Sequence[ScoredAnswer]) -> pd.DataFrame:
    """What the labels of each domain are enough for, in a recalibrated detector.

    Returns:
        One row a domain, all together first (``domain`` is empty): ``correct`` and
        ``hallucinated`` (groups of questions with such answers), ``true_answers``, ``own``
        (whether it has probabilities of its own), ``ece`` (their expected calibration error on
        held-out folds), and ``rates`` (the rates of false alarms that it has thresholds for).
    """
    labelled = _Labelled.of(answers)
    names = sorted(set(labelled.domains.tolist()))
    rows = []
    for domain in ["", *(names if len(names) > 1 else [])]:
        own = labelled.of_domain(domain) if domain else labelled
        correct, hallucinated = own.groups_by_label
        calibration = detector.calibration_of(domain)
        has_own = calibration is not None and calibration.domain == domain
        rows.append(
            {
                "domain": domain,
                "correct": correct,
                "hallucinated": hallucinated,
                "true_answers": int((~own.labels).sum()),
                "own": has_own,
                "ece": calibration.ece if calibration and has_own else float("nan"),
                "rates": [t.false_alarms for t in detector.thresholds if t.domain == domain],
            }
        )
    return pd.DataFrame(rows)


def _is_labelled(answer: ScoredAnswer) -> bool:
    return answer.hallucinated is not None and len(answer) > 0


@dataclass(frozen=True, eq=False)
class _Labelled:
    """Labelled answers as arrays."""

    scores: Float[np.ndarray, " answer"]
    labels: Bool[np.ndarray, " answer"]
    groups: np.ndarray
    domains: np.ndarray

    @classmethod
    def of(cls, answers: Sequence[ScoredAnswer]) -> "_Labelled":
        known = [one for one in answers if _is_labelled(one)]
        return cls(
            np.array([one.score for one in known]),
            np.array([bool(one.hallucinated) for one in known], dtype=bool),
            np.array([one.group for one in known], dtype=str),
            np.array([one.domain for one in known], dtype=str),
        )

    def of_domain(self, domain: str) -> "_Labelled":
        own = self.domains == domain
        return _Labelled(self.scores[own], self.labels[own], self.groups[own], self.domains[own])

    @property
    def groups_by_label(self) -> tuple[int, int]:
        """Groups with correct and with hallucinated answers."""
        correct, wrong = (len(set(self.groups[self.labels == value])) for value in (False, True))
        return correct, wrong

    def find_thresholds(self, rates: Sequence[float], domain: str = "") -> list[Threshold]:
        return find_thresholds(
            self.scores, self.labels, groups=self.groups, rates=rates, domain=domain
        )

    def calibrate(self, method: Method, domain: str = "") -> Calibration:
        fold = assign_folds(self.labels.astype(float), self.groups, n_folds=FOLDS, seed=0)
        found = calibrate(self.scores, self.labels, fold=fold, method=method)
        return replace(found, domain=domain)


def in_domain(detector: Detector, domain: str) -> Detector:
    """The detector with the probabilities of one domain, for `monitor` and `risks`.

    Where the domain has none of its own, those of all together are kept, and the log says so.
    """
    warn_of_fallback(detector, [domain])
    return replace(detector, calibration=detector.calibration_of(domain), calibrations=())


def fallback_domains(detector: Detector, domains: Iterable[str]) -> list[str]:
    """Those domains whose probabilities are of all domains together, for want of labels.

    Of a detector that was not recalibrated none: its probabilities are of what it was found on.
    """
    if detector.calibrated_on != WHOLE or detector.home is None:
        return []
    at_home = set(detector.home.domains)
    own = {one.domain for one in detector.calibrations} or (at_home if len(at_home) == 1 else set())
    return sorted(set(domains) - own)


def warn_of_fallback(detector: Detector, domains: Iterable[str]) -> None:
    """Say for which domains the probabilities of all together are taken."""
    if lacking := fallback_domains(detector, domains):
        log.warning(
            "no probabilities of %s alone; those of all domains together are taken",
            harmless(", ".join(lacking)),
        )


def threshold_of(detector: Detector, false_alarms: float, domain: str = "") -> Threshold:
    """The threshold of a detector for a rate of false alarms, of a domain or of all together.

    Where the domain has none of its own, the log says so.

    Raises:
        HlensError: The detector was not recalibrated, or has no threshold for such a rate.
    """
    found = find_threshold(detector, false_alarms, domain)
    if found.domain != domain:
        said = harmless(domain)
        log.warning("no threshold of %s alone; that of all domains together is taken", said)
    return found


def find_threshold(detector: Detector, false_alarms: float, domain: str = "") -> Threshold:
    """As `threshold_of`, without a word in the log."""
    own = [one for one in detector.thresholds if one.false_alarms == false_alarms]
    by_domain = {one.domain: one for one in own}
    found = by_domain.get(domain, by_domain.get(""))
    if found is None:
        known = ", ".join(
            f"{rate:g}" for rate in sorted({t.false_alarms for t in detector.thresholds})
        )
        there = f"it has some for {known}" if known else "it has none: recalibrate it first"
        raise HlensError(
            f"the detector has no threshold for a share of {false_alarms:g} false alarms; {there}"
        )
    return found


def warn_of_another_region(detector: Detector) -> None:
    """Say where a detector's probabilities are of other tokens than those that are read."""
    on = detector.calibrated_on or detector.region
    if detector.calibration is not None and on != WHOLE:
        log.warning(
            "the detector was calibrated on %s tokens and is read over whole replies: its "
            "probabilities do not hold; recalibrate it (hlens recalibrate)", on,
        )  # fmt: skip
