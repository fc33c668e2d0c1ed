"""Questions asked under a detector, and their answers token by token, coloured by risk."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from hlens.cli.refusing import refuse
from hlens.cli.show import err, out, say
from hlens.counting import count
from hlens.errors import HlensError
from hlens.lookup import unknown
from hlens.monitor import (
    Monitored,
    Policy,
    Risk,
    at_probability,
    in_domain,
    monitor,
    threshold_of,
    watch_only,
)
from hlens.monitor.flagging import flagging
from hlens.steps import answers, levels
from hlens.steps.answers import prompt_of, settings_of
from hlens.study import Study
from hlens.types import Question, Threshold

AFTER = 3  # tokens: a mean over fewer is a poor mean
SHADES = ((0.75, "red"), (0.5, "yellow"), (0.0, "green"))
ENDS = {"length": "cut at the token limit", "risk": "stopped there"}


def watch(
    folder: str,
    questions: Sequence[str],
    policy: Policy,
    on_token: Callable[[int, str, float], None] | None,
    false_alarms: float | None = None,
    domain: str = "",
) -> dict[str, Any]:
    """Answer questions greedily, in one batch, under the study's detector.

    Its probabilities and thresholds are those of whole held-out answers (`hlens recalibrate`).

    Args:
        folder: Folder of the study.
        questions: What to ask.
        policy: What to do about a risk.
        on_token: Called with each token's row and text, and the probability up to it.
        false_alarms: Flag finished answers from the threshold of this rate on; None for none.
        domain: Whose probabilities and threshold are taken; empty for those of all together.

    Raises:
        HlensError: An empty question, a domain that the study has not, or no such threshold.
    """
    if not all(question.strip() for question in questions):
        raise HlensError("an empty question; say what to ask, in quotes")
    study = Study(folder)
    detector, sampling = study[levels.live_detector], study.recipe.sampling
    if domain:
        known = sorted(set(detector.home.domains if detector.home else detector.domains))
        if domain not in known:
            raise unknown("domain", domain, known)
        detector = in_domain(detector, domain)
    threshold = None if false_alarms is None else threshold_of(detector, false_alarms, domain)
    # Asked as the study asked: a detector reads answers to prompts like its own.
    asked_in, worked = study.recipe.domains[0], study[answers.worked]
    asked = [Question(str(i), asked_in, text, ()) for i, text in enumerate(questions)]
    prompts = [prompt_of(question, study.model, worked, sampling) for question in asked]

    def report(risk: Risk) -> None:
        if on_token is not None:
            on_token(risk.row, risk.text, risk.probability)

    settings = replace(settings_of(sampling), temperature=0.0)
    monitored = monitor(
        study.model, detector, prompts, settings=settings, on_token=report, policy=policy
    )
    watched = [_answer(*pair, threshold) for pair in zip(questions, monitored, strict=True)]
    return {
        "answers": watched,
        "calibrated": detector.calibration is not None,
        "neurons": len(detector.selected),
        "tokens x neurons read": sum(one.touched for one in monitored),
    }


def rate_of(threshold: str | None) -> float | None:
    """The rate of false alarms of ``--threshold false-alarms=0.05``.

    Raises:
        HlensError: Another text, or no share.
    """
    if threshold is None:
        return None
    rule = None
    with suppress(HlensError):  # which offers a risk, too; here that is --flag-at
        rule = flagging(threshold)
    if rule is None or rule.kind != "false-alarms":
        raise HlensError(
            f"--threshold {threshold!r:.60}; expected a share of true answers that may be flagged, "
            "such as false-alarms=0.05"
        )
    return rule.at


def policy(flag_at: float | None, stop_at: float | None, after: int | None) -> Policy:
    """Flag or stop at a probability, or watch only.

    Raises:
        HlensError: Both were asked for, no probability, or `after` without either.
    """
    if flag_at is None and stop_at is None:
        refuse({"after": after}, "--flag-at or --stop-at")
    after = AFTER if after is None else after
    if flag_at is not None and stop_at is not None:
        raise HlensError(
            "--flag-at and --stop-at together; a stopped answer is flagged, choose one"
        )
    if stop_at is not None:
        return at_probability(stop_at, "stop", after)
    return watch_only if flag_at is None else at_probability(flag_at, "flag", after)


def _answer(question: str, monitored: Monitored, threshold: Threshold | None) -> dict[str, Any]:
    last = monitored.risks[-1].probability if monitored.risks else None
    flagged = {} if threshold is None else {"flagged": monitored.score >= threshold.score}
    return flagged | {
        "question": question,
        "answer": monitored.generation.text,
        "probability": last,
        "finish": monitored.generation.finish_reason,
        "flagged_at": monitored.flagged_at,
        "tokens": [
            {"token": r.text, "probability": round(r.probability, 4)} for r in monitored.risks
        ],
    }


@contextmanager
def show_tokens(n: int) -> Iterator[Callable[[int, str, float], None]]:
    """Show tokens as they are written, a line an answer on stderr, and clear them at the end.

    Where stderr is no terminal, nothing is shown.
    """
    lines = [Text() for _ in range(n)]
    if not err.is_terminal:
        yield lambda row, text, probability: None
        return
    with Live(Group(*lines), console=err, auto_refresh=False, transient=True) as live:

        def add(row: int, text: str, probability: float) -> None:
            lines[row].append_text(_token(text, probability))
            live.update(Group(*lines), refresh=True)

        yield add


def show_answers(watched: Mapping[str, Any]) -> None:
    """What was watched: each answer, its risk and its end, and how much was read."""
    for one in watched["answers"]:
        say(one["question"])
        tokens = [_token(token["token"], token["probability"]) for token in one["tokens"]]
        out.print(Text.assemble("  ", *tokens) if tokens else "  (an empty answer)", soft_wrap=True)
        out.print(f"  {_fate(one)}\n", soft_wrap=True)
    calibration = "calibrated on held-out answers" if watched["calibrated"] else "not calibrated"
    read = f"risk: probability of hallucination, read up to each token, {calibration}: "
    shades = ("below 0.5", "green"), ", ", ("from 0.5", "yellow"), ", ", ("from 0.75", "red")
    out.print(Text.assemble(read, *shades), soft_wrap=True)
    read = (
        f"{count(watched['neurons'], 'neuron')} at each token, "
        f"{watched['tokens x neurons read']:,} in all"
    )
    out.print(f"read: {read}", soft_wrap=True)


def _fate(one: Mapping[str, Any]) -> str:
    """Risk of the whole answer, where it was flagged, and how it ended."""
    if one["probability"] is None:
        return "risk: none, nothing was written"
    parts = [f"risk {one['probability']:.2f}"]
    if one["flagged_at"] is not None:
        parts.append(f"flagged at token {one['flagged_at'] + 1}")
    if one.get("flagged") is not None:  # where a threshold was asked for
        parts.append("flagged" if one["flagged"] else "not flagged")
    return ", ".join([*parts, *([ENDS[one["finish"]]] if one["finish"] in ENDS else [])])


def _token(text: str, probability: float) -> Text:
    shade = next(colour for least, colour in SHADES if probability >= least)
    return Text(text.replace("\n", "↵"), style=shade)
