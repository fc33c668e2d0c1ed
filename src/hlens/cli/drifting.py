"""``hlens drift``: a detector's home and live answers are read, their differences are shown."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from hlens.cli import scoring, show
from hlens.cli.answers import AnswerOptions
from hlens.cli.forms import Form
from hlens.counting import count
from hlens.monitor import Drift, drift, is_scores_file, read_scores
from hlens.monitor.drifting import home_of
from hlens.types import ReadAnswers

NEURONS = 20  # that a terminal shows
CAPTIONS = {
    "scores": "Scores of live answers in standard deviations of home, with 95 % intervals.",
    "thresholds": "Share of all answers above each threshold, with 95 % intervals.",
    "neurons": "Shift of each neuron, most moved first, in standard deviations of home.",
}


def find_drift(
    source: str,
    file: Path,
    how: AnswerOptions,
    *,
    shift: float,
    permutations: int,
    progress: Callable[[str, int, int], None],
) -> Drift:
    """Compare a file of scores, or of answers, with the home of a detector or of a study.

    `how` is for answers: how they are read.

    Raises:
        HlensError: No detector with a home, no scores or answers that can be read, too few of
            them, or options of answers beside scores.
    """
    is_scores = is_scores_file(file)
    if is_scores:
        how.refuse(f"a file of answers; {file.name} holds scores")
    detector = scoring.live_detector_of(source, progress)
    home = home_of(detector)  # said before a model is opened
    if is_scores:
        live = read_scores(file, detector)
    else:
        opened = scoring.open_answers(source, file, how, detector=detector)
        answers = opened.score(progress)
        has_neurons = home.neurons is not None
        live = ReadAnswers.of(answers, opened.measure(progress) if has_neurons else None)
    return drift(detector, live, shift=shift, permutations=permutations)


def show_drift(found: Drift, form: Form) -> None:
    """What was found in words, and the tables behind it."""
    neurons = found.neurons
    if form == Form.JSON:
        show.write(
            {
                "shifted": found.shifted,
                "in_words": found.in_words(),
                "scores": found.scores,
                "thresholds": found.thresholds,
                "neurons": neurons,
                "not_compared": found.not_compared,
            }
        )
        return
    if form:
        moved = {} if neurons is None else {"neurons": neurons.drop(columns=["layer", "neuron"])}
        shares = _share_rows(found.thresholds)
        facts = {"in_words": found.in_words(), "scores": _named(found.scores), "thresholds": shares}
        show.write({**facts, **moved}, form, captions=CAPTIONS)
        return
    for line in found.in_words():
        show.say("•", line)
    show.table("scores, in standard deviations of home", _named(found.scores))
    if len(found.thresholds):
        show.table("share of all answers above each threshold", _share_rows(found.thresholds))
    if neurons is None:
        show.say(
            "neurons", "not compared; give answers, not scores, and a detector that knows them"
        )
        return
    shown = neurons.drop(columns=["layer", "neuron"]).head(NEURONS)
    show.table("neurons, most moved first, in standard deviations of home", shown)
    if len(neurons) > NEURONS:
        show.say(f"{count(len(neurons) - NEURONS, 'further neuron')} not shown; --json has all")


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """What matters first: a narrow terminal leaves out the last columns."""
    first = ["domain", "shift", "low", "high", "spread_ratio", "p", "shifted", "live", "home"]
    named = table.assign(domain=table["domain"].where(table["domain"] != "", "all"))
    return named.reindex(columns=[*first, *(name for name in table if name not in first)])


def _share_rows(thresholds: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "domain": row["domain"] or "all",
                "of true answers at most": f"{row['false_alarms']:.0%}",
                "of all at home": f"{row['home']:.1%}",
                "of all live": f"{row['live']:.1%}",
                "low": f"{row['low']:.1%}",
                "high": f"{row['high']:.1%}",
                "answers": row["n"],
            }
            for row in thresholds.to_dict("records")
        ]
    )
