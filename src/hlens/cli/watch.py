"""Questions, watched while the model writes."""

from collections.abc import Callable, Sequence
from typing import Any

from hlens.errors import HlensError
from hlens.model import Settings
from hlens.monitor import Monitored, Policy, Risk, at_probability, monitor, watch_only
from hlens.prompts import INSTRUCTION
from hlens.study import Study


def watch(
    folder: str,
    questions: Sequence[str],
    policy: Policy,
    on_token: Callable[[int, str, float], None] | None,
) -> dict[str, Any]:
    """Answer questions greedily, in one batch, under the study's detector.

    Args:
        folder: Folder of the study.
        questions: What to ask.
        policy: What to do about a risk.
        on_token: Called with each token's row and text, and the probability up to it.
    """
    if not all(question.strip() for question in questions):
        raise HlensError("an empty question; say what to ask, in quotes")
    study = Study(folder)
    detector, how = study.detector(), study.recipe.sampling
    asked = [f"{question} {how.instruction or INSTRUCTION}" for question in questions]
    prompts = [study.model.encode(text) for text in asked]

    def tell(risk: Risk) -> None:
        if on_token is not None:
            on_token(risk.row, risk.text, risk.probability)

    settings = Settings(how.max_new_tokens, 0.0)
    found = monitor(study.model, detector, prompts, settings=settings, on_token=tell, policy=policy)
    answers = [_answer(*pair) for pair in zip(questions, found, strict=True)]
    return {
        "answers": answers,
        "calibrated": detector.calibration is not None,
        "neurons": len(detector.selected),
        "tokens x neurons read": sum(one.touched for one in found),
    }


def policy(flag_at: float | None, stop_at: float | None, after: int) -> Policy:
    """Flag or stop at a probability, or watch only.

    Raises:
        HlensError: Both were asked for, or no probability.
    """
    if flag_at is not None and stop_at is not None:
        raise HlensError(
            "--flag-at and --stop-at together; a stopped answer is flagged, choose one"
        )
    if stop_at is not None:
        return at_probability(stop_at, "stop", after)
    return watch_only if flag_at is None else at_probability(flag_at, "flag", after)


def _answer(question: str, found: Monitored) -> dict[str, Any]:
    last = found.risks[-1].probability if found.risks else None
    return {
        "question": question,
        "answer": found.generation.text,
        "probability": last,
        "finish": found.generation.finish_reason,
        "flagged_at": found.flagged_at,
        "tokens": [{"token": r.text, "probability": round(r.probability, 4)} for r in found.risks],
    }
