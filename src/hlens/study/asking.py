"""Ask what was not asked before: a question that stands with its answers is left alone."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from hlens.model import Model, Settings
from hlens.prompts import encode_prompt
from hlens.recipe import Recipe
from hlens.sampling import sample
from hlens.store.records import load_rows, response_from
from hlens.types import Question, Response

Key = tuple[str, str]


def ask_again(
    model: Model,
    questions: Sequence[Question],
    recipe: Recipe,
    folder: Path,
    before: Path | None,
    reporter: Callable[[str], Callable[[int, int], None]],
    completion: bool = False,
) -> list[Response]:
    """The responses to all questions; those that stand in `before` are taken from there.

    A sample draws from a seed of its question, so what was asked in another company is what would
    be said now (but for rounding; see `hlens.model.generation.SeededSampler`).

    Args:
        model: The model.
        questions: What to ask.
        recipe: How to ask.
        folder: Folder of the study.
        before: Responses of an earlier run with the same model, seed and sampling, or None.
        reporter: Makes the callback of a step.
        completion: Ask as base models are asked (`hlens.sample`).
    """
    how = recipe.sampling
    known = {} if before is None else _standing(model, questions, recipe, before, completion)
    new = [q for q in questions if (q.domain, q.id) not in known]
    made: dict[Key, list[Response]] = defaultdict(list)
    if new:
        for response in sample(
            model,
            new,
            n=how.n,
            seed=recipe.seed,
            settings=Settings(how.max_new_tokens, how.temperature, how.top_k, how.top_p),
            instruction=how.instruction,
            completion=completion,
            rows=how.rows,
            folder=folder / "responses.parts",
            progress=reporter("sample"),
        ):
            made[response.question.domain, response.question.id].append(response)
    both = {**known, **made}
    return [response for q in questions for response in both[q.domain, q.id]]


def _standing(
    model: Model, questions: Sequence[Question], recipe: Recipe, before: Path, completion: bool
) -> dict[Key, list[Response]]:
    """All responses to each question that was asked with this very prompt."""
    if not before.exists():
        return {}
    own = {(q.domain, q.id): q for q in questions}
    found: dict[Key, list[Response]] = defaultdict(list)
    for row in load_rows(before):
        if (row["domain"], row["question_id"]) in own:
            response = response_from(row, own)
            found[response.question.domain, response.question.id].append(response)
    how = recipe.sampling
    prompts = {
        key: tuple(
            encode_prompt(model, own[key], instruction=how.instruction, completion=completion)
        )
        for key in found
    }
    return {key: said for key, said in found.items() if _whole(said, prompts[key], how.n)}


def _whole(said: Sequence[Response], prompt: tuple[int, ...], n: int) -> bool:
    """Whether these are all n samples, and of this prompt."""
    numbers = [response.sample for response in said]
    return numbers == list(range(n)) and all(
        response.token_ids[: response.n_prompt] == prompt for response in said
    )
