"""Answers and readings asked of a batcher, and what came of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hlens.model import Settings
from hlens.monitor import Risk
from hlens.monitor.requests import Batcher, Reading, Writing


@dataclass
class Written:
    """What a request was told of its answer; `stop_after` tokens it ends itself."""

    stop_after: float = math.inf
    risks: list[Risk] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

    @property
    def tokens(self) -> tuple[int, ...]:
        return tuple(risk.token_id for risk in self.risks)

    @property
    def scores(self) -> list[float]:
        return [risk.score for risk in self.risks]

    def take(self, risk: Risk, logprob: float) -> Any:
        self.risks.append(risk)
        self.logprobs.append(logprob)
        return "stop" if len(self.risks) >= self.stop_after else "go"


def writing(
    told: Written, prompt: Sequence[int], settings: Settings, seed: int = 0, **further: Any
) -> Writing:
    return Writing(
        prompt, settings, seed, told.take, told.ends.append, told.errors.append, **further
    )


def reading(
    told: list[Any], rows: Sequence[Sequence[int]], detector: str, errors: list[Exception]
) -> Reading:
    def keep(scores: list[np.ndarray]) -> None:
        told.append(scores)

    return Reading(rows, detector, keep, errors.append)


def finish(batcher: Batcher, asked: Sequence[Writing | Reading], at_once: int = 100) -> None:
    """Give requests to a batcher, some at a time and a step in between, until all are done."""
    waiting = list(asked)
    while waiting or batcher.busy:
        for one in waiting[:at_once]:
            batcher.add(one)
        del waiting[:at_once]
        if batcher.busy:
            batcher.step()
