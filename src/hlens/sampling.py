"""sample: questions to responses, several for each, reproducibly."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from hlens.errors import HlensError
from hlens.model import Generation, Model, Settings, generate_batch, mix_seed
from hlens.prompts import INSTRUCTION, encode_prompt
from hlens.store import RowParts
from hlens.store.jsonl import questions_by_id, response_from_row, response_to_row
from hlens.types import Question, Response

log = logging.getLogger("hlens")

ROWS = 96  # sequences at a time: past this, two cores gain nothing
Progress = Callable[[int, int], None]


def sample(
    model: Model,
    questions: Sequence[Question],
    *,
    n: int = 5,
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
        instruction: Text after each question, as in the paper.
        chat: Use the chat template; None uses it where there is one.
        completion: As the paper asks base models: the question is text to be continued
            (``Answer:`` on a line of its own, neither instruction nor chat template), and the
            reply is cut at its first newline.
        rows: Sequences at a time; halved, with a warning, when memory runs out.
        folder: Where finished batches are kept, so that an interrupted run can resume.
        progress: Called with (samples done, samples in all).

    Returns:
        The responses, in the order of the questions, the samples of a question together.

    Raises:
        HlensError: No questions, or `n` below 1.
    """
    if not questions:
        raise HlensError("no questions to sample; load a domain that holds some")
    if n < 1:
        raise HlensError(f"n={n} samples of each question; ask for at least 1")
    settings = settings or Settings()
    prompts = [
        encode_prompt(model, q, instruction=instruction, chat=chat, completion=completion)
        for q in questions
    ]
    batches = _batches(prompts, max(1, rows // n))
    parts = None
    if folder is not None:
        ids = [(question.domain, question.id) for question in questions]
        work = repr((model.fingerprint, ids, prompts, seed, n, settings, batches))
        parts = RowParts(folder, hashlib.sha256(work.encode()).hexdigest())
    known = questions_by_id(questions)
    generate = partial(generate_batch, model, settings=settings)
    done: dict[int, list[Response]] = {}
    for number, batch in enumerate(batches):
        stored = parts.load(number) if parts else None
        if stored is None:
            asked = [(questions[i], prompts[i]) for i in batch]
            responses = _sample_batch(generate, asked, numbers=range(n), seed=seed)
            if completion:
                responses = [[cut_at_newline(r, model) for r in row] for row in responses]
            if parts:
                parts.save(number, [response_to_row(r) for row in responses for r in row])
        else:
            flat = [response_from_row(row, known) for row in stored]
            responses = [flat[i * n : (i + 1) * n] for i in range(len(batch))]
        done.update(zip(batch, responses, strict=True))
        if progress:
            progress(len(done) * n, len(questions) * n)
    return [response for i in range(len(questions)) for response in done[i]]


def sample_more(
    model: Model,
    responses: Sequence[Response],
    *,
    n: int,
    seed: int = 0,
    settings: Settings | None = None,
    completion: bool = False,
    rows: int = ROWS,
    progress: Progress | None = None,
) -> list[Response]:
    """Sample questions again, with the prompts of earlier responses, until each has n samples.

    With the options of the first run (those of `sample`), these are the very samples that it would
    have drawn with a larger n (but for rounding: the common beginning of the prompts is read once).

    Returns:
        The new responses alone; empty where every question has enough.
    """
    settings = settings or Settings()
    generate = partial(generate_batch, model, settings=settings, share_beginning=True)
    first: dict[tuple[str, str], Response] = {}
    counts: dict[tuple[str, str], int] = {}
    for response in responses:
        key = response.question.domain, response.question.id
        first.setdefault(key, response)
        counts[key] = max(counts.get(key, 0), response.sample + 1)
    short = [key for key in first if counts[key] < n]
    new: list[Response] = []
    for start in sorted({counts[key] for key in short}):
        same_start = [first[key] for key in short if counts[key] == start]
        prompts = [response.token_ids[: response.n_prompt] for response in same_start]
        for batch in _batches(prompts, max(1, rows // (n - start))):
            asked = [(same_start[i].question, prompts[i]) for i in batch]
            sampled = _sample_batch(generate, asked, numbers=range(start, n), seed=seed)
            flat = [response for row in sampled for response in row]
            new += [cut_at_newline(r, model) for r in flat] if completion else flat
            if progress:
                progress(len(new), sum(n - counts[key] for key in short))
    return new


def cut_at_newline(response: Response, model: Model) -> Response:
    """The response before its first newline; the token that holds it goes, with all that follow."""
    ids = response.token_ids[response.n_prompt :]
    kept = next((k for k in range(len(ids)) if "\n" in model.decode(ids[: k + 1])), len(ids))
    if kept == len(ids):
        return response
    return replace(
        response,
        text=model.decode(ids[:kept]),
        token_ids=response.token_ids[: response.n_prompt + kept],
        logprobs=response.logprobs[:kept],
        finish_reason="stop",
    )


def _batches(prompts: Sequence[Sequence[int]], size: int) -> list[list[int]]:
    """Positions in batches of similar length, longest first: too large a batch fails at once."""
    order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i))
    return [order[start : start + size] for start in range(0, len(order), size)]


def _sample_batch(
    generate: Callable[..., list[list[Generation]]],
    asked: Sequence[tuple[Question, Sequence[int]]],
    *,
    numbers: Sequence[int],
    seed: int,
) -> list[list[Response]]:
    """The samples of these numbers for questions with prompts, halved when memory runs out."""
    seeds = [[mix_seed(seed, q.domain, q.id, k) for k in numbers] for q, _ in asked]
    try:
        generated = generate([prompt for _, prompt in asked], seeds)
    except (torch.OutOfMemoryError, MemoryError):
        if len(asked) == 1:
            raise HlensError(
                f"out of memory on a single question ({len(asked[0][1])} prompt tokens, "
                f"{len(numbers)} samples); use fewer samples, a smaller model or another device"
            ) from None
        half = len(asked) // 2
        log.warning("out of memory: continuing with %d questions at a time", half)
        again = partial(_sample_batch, generate, numbers=numbers, seed=seed)
        return again(asked[:half]) + again(asked[half:])
    return [
        [
            Response(
                question=question,
                text=generation.text,
                token_ids=(*prompt, *generation.token_ids),
                n_prompt=len(prompt),
                logprobs=generation.logprobs,
                finish_reason=generation.finish_reason,
                seed=own_seed,
                sample=number,
                thought=generation.thought,
            )
            for generation, own_seed, number in zip(row, own_seeds, numbers, strict=True)
        ]
        for (question, prompt), row, own_seeds in zip(asked, generated, seeds, strict=True)
    ]
