"""sample: what the model says when it is asked, several times over, repeatably."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from hlens.errors import HlensError
from hlens.model import Generation, Model, Settings, generate_batch, mix_seed
from hlens.prompts import INSTRUCTION, prompt_of
from hlens.store import RowParts
from hlens.store.jsonl import questions_by_id, response_from_row, response_to_row
from hlens.types import Question, Response

log = logging.getLogger("hlens")

ROWS = 96  # sequences at a time: past this, two cores gain nothing
Progress = Callable[[int, int], None]


def sample(
    model: Model,
    questions: Sequence[Question],
    n: int = 5,
    *,
    seed: int = 0,
    settings: Settings | None = None,
    instruction: str = INSTRUCTION,
    chat: bool | None = None,
    completion: bool = False,
    rows: int = ROWS,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> list[Response]:
    """Ask every question n times.

    Each sample draws from a seed made of `seed`, its domain, question and number, so neither the
    other questions nor the batch size change it (but for rounding; see `SeededSampler`).

    Args:
        model: The model.
        questions: What to ask.
        n: Samples of each question.
        seed: Seed of the run.
        settings: Sampling settings; default those of arXiv 2512.01797.
        instruction: Put after each question, as in the paper.
        chat: Use the chat template; None uses it where there is one.
        completion: Put the question as text to be continued (``Answer:`` on a line of its own,
            neither instruction nor chat template) and cut the reply at its first newline, as the
            paper asks base models.
        rows: Sequences at a time; halved, and said so, when memory runs out.
        folder: Where finished batches are kept, so that an interrupted run goes on there.
        progress: Called with (samples done, samples in all).

    Returns:
        The responses, in the order of the questions, samples of one question together.

    Raises:
        HlensError: No questions, or `n` below 1.
    """
    if not questions:
        raise HlensError("no questions to sample; load a domain that holds some")
    if n < 1:
        raise HlensError(f"n={n} samples of each question; ask for at least 1")
    settings = settings or Settings()
    prompts = [prompt_of(model, q, instruction, chat, completion) for q in questions]
    batches = _batches(prompts, max(1, rows // n))
    parts = _parts(folder, model, questions, prompts, seed, n, settings, batches)
    known = questions_by_id(questions)
    found: dict[int, list[Response]] = {}
    for number, batch in enumerate(batches):
        stands = parts.load(number) if parts else None
        if stands is None:
            asked = [questions[i] for i in batch]
            made = _ask(model, asked, [prompts[i] for i in batch], range(n), seed, settings)
            if completion:
                made = [[first_line(response, model) for response in row] for row in made]
            if parts:
                parts.save(number, [response_to_row(r) for row in made for r in row])
        else:
            flat = [response_from_row(row, known) for row in stands]
            made = [flat[i * n : (i + 1) * n] for i in range(len(batch))]
        found.update(zip(batch, made, strict=True))
        if progress:
            progress(len(found) * n, len(questions) * n)
    return [response for i in range(len(questions)) for response in found[i]]


def more(
    model: Model,
    responses: Sequence[Response],
    n: int,
    *,
    seed: int = 0,
    settings: Settings | None = None,
    completion: bool = False,
    rows: int = ROWS,
    progress: Progress | None = None,
) -> list[Response]:
    """Ask questions again that were asked before, until each has n samples.

    With the seed and the settings of the run that asked first, these are the very samples that it
    would have drawn with a larger n (but for rounding: what all prompts begin with is read once).

    Args:
        model: The model.
        responses: What it said so far.
        n: Samples that each question should have in all.
        seed: Seed of the run.
        settings: Sampling settings; default those of arXiv 2512.01797.
        completion: Whether that run cut replies at their first newline.
        rows: Sequences at a time.
        progress: Called with (samples done, samples in all).

    Returns:
        The further responses alone; empty where every question has enough.
    """
    settings = settings or Settings()
    first: dict[tuple[str, str], Response] = {}
    had: dict[tuple[str, str], int] = {}
    for response in responses:
        key = response.question.domain, response.question.id
        first.setdefault(key, response)
        had[key] = max(had.get(key, 0), response.sample + 1)
    short = [key for key in first if had[key] < n]
    found: list[Response] = []
    for start in sorted({had[key] for key in short}):
        asked = [first[key] for key in short if had[key] == start]
        prompts = [response.token_ids[: response.n_prompt] for response in asked]
        for batch in _batches(prompts, max(1, rows // (n - start))):
            questions = [asked[i].question for i in batch]
            chosen = [prompts[i] for i in batch]
            made = _ask(model, questions, chosen, range(start, n), seed, settings, share=True)
            flat = [response for row in made for response in row]
            found += [first_line(each, model) for each in flat] if completion else flat
            if progress:
                progress(len(found), sum(n - had[key] for key in short))
    return found


def first_line(response: Response, model: Model) -> Response:
    """The response up to its first newline; a token that holds one goes with all behind it."""
    said = response.token_ids[response.n_prompt :]
    kept = next((k for k in range(len(said)) if "\n" in model.decode(said[: k + 1])), len(said))
    if kept == len(said):
        return response
    return replace(
        response,
        text=model.decode(said[:kept]),
        token_ids=response.token_ids[: response.n_prompt + kept],
        logprobs=response.logprobs[:kept],
        finish_reason="stop",
    )


def _batches(prompts: Sequence[Sequence[int]], size: int) -> list[list[int]]:
    """Positions in batches of like length, longest first: what does not fit shows at once."""
    order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i))
    return [order[start : start + size] for start in range(0, len(order), size)]


def _ask(
    model: Model,
    questions: Sequence[Question],
    prompts: Sequence[Sequence[int]],
    numbers: Sequence[int],
    seed: int,
    settings: Settings,
    share: bool = False,
) -> list[list[Response]]:
    """Sample one batch, the samples of these numbers; halve it when memory runs out.

    With `share`, what all prompts begin with is read once.
    """
    seeds = [[mix_seed(seed, q.domain, q.id, k) for k in numbers] for q in questions]
    try:
        made = generate_batch(model, prompts, seeds, settings=settings, share_beginning=share)
    except (torch.OutOfMemoryError, MemoryError):
        if len(questions) == 1:
            raise HlensError(
                f"out of memory on a single question ({len(prompts[0])} prompt tokens, "
                f"{len(numbers)} samples); use fewer samples, a smaller model or another device"
            ) from None
        half = len(questions) // 2
        log.warning("out of memory: going on with %d questions at a time", half)
        first = _ask(model, questions[:half], prompts[:half], numbers, seed, settings, share)
        return first + _ask(model, questions[half:], prompts[half:], numbers, seed, settings, share)
    return [
        [_response(q, p, *of) for of in zip(row, s, numbers, strict=True)]
        for q, p, row, s in zip(questions, prompts, made, seeds, strict=True)
    ]


def _response(
    question: Question, prompt: Sequence[int], made: Generation, seed: int, sample: int
) -> Response:
    return Response(
        question=question,
        text=made.text,
        token_ids=(*prompt, *made.token_ids),
        n_prompt=len(prompt),
        logprobs=made.logprobs,
        finish_reason=made.finish_reason,
        seed=seed,
        sample=sample,
    )


def _parts(
    folder: str | Path | None,
    model: Model,
    questions: Sequence[Question],
    prompts: Sequence[Sequence[int]],
    seed: int,
    n: int,
    settings: Settings,
    batches: list[list[int]],
) -> RowParts | None:
    if folder is None:
        return None
    ids = [(question.domain, question.id) for question in questions]
    work = repr((model.fingerprint, ids, prompts, seed, n, settings, batches))
    return RowParts(folder, hashlib.sha256(work.encode()).hexdigest())
