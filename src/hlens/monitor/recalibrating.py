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
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hlens.errors import HlensError
from hlens.evaluation import RATES, find_thresholds
from hlens.probe.calibration import Method, calibrate
from hlens.probe.crossval import assign_folds
from hlens.types import Detector, ScoredAnswer, Threshold

log = logging.getLogger("hlens")
WHOLE = "response"  # what a monitor reads: all tokens of a reply, without its thought
FOLDS = 5
FEWEST = 10  # groups of either label


def recalibrate(
    detector: Detector, answers: Sequence[ScoredAnswer], *, rates: Sequence[float] = RATES
) -> Detector:
    """The detector with thresholds and probabilities for whole answers; its neurons are kept.

    Args:
        detector: The detector that scored the answers.
        answers: From `score`, labelled, and none of them among those it was found on. Those without
            a label, or without a token, are left out.
        rates: Shares of true answers that may be flagged, one threshold for each and each domain. A
            domain with too few answers of its own falls back on all together.

    Raises:
        HlensError: Fewer than ten groups with answers of either label, or a rate that is no share.
    """
    known = [one for one in answers if one.hallucinated is not None and len(one)]
    scores = np.array([one.score for one in known])
    labels = np.array([bool(one.hallucinated) for one in known])
    groups = np.array([one.group for one in known], dtype=str)
    domains = np.array([one.domain for one in known], dtype=str)
    for value, name in ((True, "hallucinated"), (False, "correct")):
        if (n := len(np.unique(groups[labels == value]))) < FEWEST:
            raise HlensError(
                f"{n} groups of questions with {name} answers; recalibrating takes at least "
                f"{FEWEST} of either label: give more labelled answers"
            )
    thresholds = find_thresholds(scores, labels, groups=groups, rates=rates)
    for domain in np.unique(domains) if len(np.unique(domains)) > 1 else ():
        own = domains == domain
        if labels[own].any() and not labels[own].all():
            thresholds += find_thresholds(
                scores[own], labels[own], groups=groups[own], rates=rates, domain=str(domain)
            )
    known_method = detector.calibration and detector.calibration.method
    method: Method = "isotonic" if known_method == "isotonic" else "platt"
    fold = assign_folds(labels.astype(float), groups, n_folds=FOLDS, seed=0)
    calibration = calibrate(scores, labels, fold=fold, method=method)
    return replace(
        detector, calibration=calibration, thresholds=tuple(thresholds), calibrated_on=WHOLE
    )


def threshold_of(detector: Detector, false_alarms: float, domain: str = "") -> Threshold:
    """The threshold of a detector for a rate of false alarms, of a domain or of all together.

    Raises:
        HlensError: The detector was not recalibrated, or has no threshold for such a rate.
    """
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
    if domain not in by_domain and domain:
        log.warning("no threshold of %s alone; that of all domains together is taken", domain)
    return found


def warn_of_another_region(detector: Detector) -> None:
    """Say where a detector's probabilities are of other tokens than those that are read."""
    on = detector.calibrated_on or detector.region
    if detector.calibration is not None and on != WHOLE:
        log.warning(
            "the detector was calibrated on %s tokens and is read over whole replies: its "
            "probabilities do not hold; recalibrate it (hlens recalibrate)", on,
        )  # fmt: skip
