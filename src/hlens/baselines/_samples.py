"""Other answers to the same questions: those that the study has, then further ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hlens.errors import HlensError
from hlens.judges._answer import answer_span
from hlens.model import Model, Settings
from hlens.sampling import sample_more
from hlens.types import Example, Response


@dataclass(frozen=True)
class Sampling:
    """How the study sampled, and how many other answers each example shall have.

    Attributes:
        n: Other answers to each example's question.
        seed: The study's seed.
        settings: The study's settings.
        completion: Whether it put its questions as text to be continued.
    """

    n: int
    seed: int
    settings: Settings
    completion: bool

    def others(
        self,
        model: Model,
        own: Sequence[Response],
        responses: Sequence[Response],
        progress: Callable[[int, int], None],
    ) -> list[list[Response]]:
        """For each example's response, n other samples of its question."""
        if self.n == 0:
            return [[] for _ in own]
        asked = {_key(response) for response in own}
        pool = [response for response in responses if _key(response) in asked]
        settings = self.settings
        if settings.temperature == 0:  # all samples are one, and count as one
            settings = replace(settings, temperature=1.0)
            pool = [response for response in pool if response.sample == 0]
        drawn = sample_more(
            model,
            pool,
            n=self.n + 1,
            seed=self.seed,
            settings=settings,
            completion=self.completion,
            progress=progress,
        )
        found: dict[tuple[str, str], list[Response]] = {}
        for response in sorted([*pool, *drawn], key=lambda response: response.sample):
            found.setdefault(_key(response), []).append(response)
        rest = [[r for r in found[_key(mine)] if r.sample != mine.sample] for mine in own]
        least = min(self.n, *map(len, rest))  # a study whose samples were thinned out has fewer
        if least == 0:
            name = own[[len(row) for row in rest].index(0)].question.id
            raise HlensError(
                f"no other sample of question {name!r}; give all responses of the study, or "
                "samples=0 to do without"
            )
        return [row[:least] for row in rest]


def distinct(
    others: Sequence[Sequence[Response]],
) -> tuple[list[Example], Int[Tensor, "example sample"]]:
    """Each different sample once, as a sequence to run; and where each stands among them."""
    number: dict[tuple[int, ...], int] = {}
    sequences: list[Example] = []
    for response in (response for row in others for response in row):
        if response.token_ids not in number:
            number[response.token_ids] = len(sequences)
            sequences.append(_sequence(response))
    place = [[number[response.token_ids] for response in row] for row in others]
    return sequences, torch.tensor(place, dtype=torch.long).reshape(len(others), -1)


def fields(
    others: Sequence[Sequence[Response]], states: Float[Tensor, "example sample d_model"]
) -> dict[str, Any]:
    """What `Evidence` keeps of the samples."""
    return {
        "samples": tuple(tuple(_answer(response) for response in row) for row in others),
        "sample_logprobs": tuple(tuple(sum(r.logprobs) for r in row) for row in others),
        "sample_states": states,
    }


def _key(response: Response) -> tuple[str, str]:
    return response.question.domain, response.question.id


def _sequence(response: Response) -> Example:
    """A sample as a sequence whose last token is read: that of the prompt where it is empty."""
    tokens = torch.tensor(response.token_ids)
    start = min(response.n_prompt, len(tokens) - 1)
    question = response.question
    return Example(
        tokens, response.n_prompt, start, len(tokens), False, question.id, question.group,
        question.domain, response.sample,
    )  # fmt: skip


def _answer(response: Response) -> str:
    """The answer within a sample, by the rule that found it in the examples."""
    span = answer_span(response.text, response.question.text)
    return response.text[slice(*span)] if span else response.text.strip()
