"""sample: questions to responses, several for each, reproducibly."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path

import torch

from hlens.checks import check_seed, check_whole
from hlens.domains import choose_worked
from hlens.errors import HlensError
from hlens.kinds import explain_public
from hlens.model import Generation, Model, Settings, generate_batch, mix_seed
from hlens.model.quick_copy import Precision, dtype_to_write_in, to_write_with
from hlens.prompts import INSTRUCTION, Style, encode_prompt
from hlens.store import RowParts
from hlens.store.jsonl import questions_by_id, response_from_row, response_to_row
from hlens.types import Question, Response

log = logging.getLogger("hlens")

MOST_SAMPLES = 100_000  # of one question
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
    style: Style = "chat",
    shots: int = 0,
    worked: Sequence[Question] = (),
    rows: int = ROWS,
    folder: str | Path | None = None,
    precision: Precision = "model",
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
        instruction: Text after each question of a chat, as in the paper.
        style: ``"chat"`` asks in the chat template, where there is one. ``"completion"`` asks as
            the paper asks base models: the question is text to be continued (``Answer:`` on a line
            of its own, neither instruction nor chat template), and the reply ends at its first
            newline.
        shots: Worked examples shown before each question (`hlens.domains.choose_worked`).
        worked: Worked examples of your own; those of the question's domain come first, and what
            they lack is taken from those that ship with hlens.
        rows: Sequences at a time; halved, with a warning, when memory runs out.
        folder: Where finished batches are kept, so that an interrupted run can resume.
        precision: ``"model"`` writes in the model's own; ``"auto"`` in bfloat16 where the model is
            of float32, 50 million parameters or more, and on a CPU that multiplies bfloat16 itself
            (AMX, AVX512-BF16). Replies then say so (`Response.written_in`).
        progress: Called with (samples done, samples in all).

    Returns:
        The responses, in the order of the questions, the samples of a question together.

    Raises:
        HlensError: No questions, a number out of its limits, fewer worked examples than `shots`,
            or prompts that the model cannot read.
    """
    if not questions:
        raise HlensError("no questions to sample; load a domain that holds some")
    n, seed, rows = _checked(n=n, seed=seed, rows=rows)
    settings = replace(settings or Settings(), until_newline=style == "completion")
    prompts = [
        encode_prompt(
            model,
            question,
            instruction=instruction,
            style=style,
            worked=choose_worked(question, shots, own=worked),
        )
        for question in questions
    ]
    model.check_prompts(prompts, new=settings.max_new_tokens)
    asked = list(zip(questions, prompts, strict=True))
    rows = model.rows_at_once(rows)
    batches = _batches(questions, prompts, max(1, rows // n))
    work = Sampling(model, asked, batches, n, seed, settings, precision)
    parts, done = None, {}
    if folder is not None:
        ids = [(question.domain, question.id) for question in questions]
        key = repr((model.fingerprint, ids, prompts, seed, n, settings, batches))
        key += model.rounding or dtype_to_write_in(model, precision)
        digest = hashlib.sha256(key.encode()).hexdigest()
        parts = RowParts(folder, digest, beside=model.workers.continues)
        done = _stored(parts, work)
    mine = set(model.workers.own(range(len(batches))))
    total = n * sum(len(batches[number]) for number in mine)
    finished = n * sum(len(batches[number]) for number in mine.intersection(done))
    if progress and finished:
        progress(finished, total)
    waiting = [number for number in range(len(batches)) if number not in done]
    for number, responses in model.workers.results(work, waiting, parts and parts.folder):
        if parts:
            parts.save(number, [response_to_row(r) for row in responses for r in row])
        done[number] = responses
        finished += n * len(responses)
        if progress:
            progress(finished, total)
    of_question = {
        i: own
        for number, batch in enumerate(batches)
        for i, own in zip(batch, done[number], strict=True)
    }
    return [response for i in range(len(questions)) for response in of_question[i]]


def _stored(parts: RowParts, work: "Sampling") -> dict[int, list[list[Response]]]:
    """The responses of the batches that are done, by the number of the batch."""
    known = questions_by_id([question for question, _ in work.asked])
    stored = {}
    for number, batch in enumerate(work.batches):
        rows = parts.load(number)
        if rows is not None:
            flat = [response_from_row(row, known) for row in rows]
            stored[number] = [flat[k * work.n : (k + 1) * work.n] for k in range(len(batch))]
    return stored


@dataclass(frozen=True, eq=False)
class Sampling:
    """Sampling as work in blocks (`hlens.work.Work`): one block is one batch.

    Attributes:
        model: The model.
        asked: Questions and their prompts.
        batches: Positions of what is asked together.
        n: Samples of each question.
        seed: Seed of the run.
        settings: How tokens are drawn.
        precision: That of `sample`.
    """

    model: Model
    asked: Sequence[tuple[Question, Sequence[int]]]
    batches: Sequence[Sequence[int]]
    n: int
    seed: int
    settings: Settings
    precision: Precision = "model"

    @cached_property
    def writer(self) -> Model:
        """What writes them: the model, or a copy that does it faster."""
        return to_write_with(self.model, self.precision)

    def maker(self) -> Callable[[Model], "Sampling"]:
        """What makes the same work of another copy of the model."""
        rest = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "model"}
        return partial(Sampling, **rest)

    def run(self, number: int) -> list[list[Response]]:
        """The samples of each question of a batch."""
        generate = partial(
            generate_batch, self.writer, settings=self.settings, share_beginning=True
        )
        asked = [self.asked[i] for i in self.batches[number]]
        written_in = dtype_to_write_in(self.model, self.precision)
        own = {"numbers": range(self.n), "seed": self.seed, "written_in": written_in}
        return _sample_batch(generate, asked, **own)


def sample_more(
    model: Model,
    responses: Sequence[Response],
    *,
    n: int,
    seed: int = 0,
    settings: Settings | None = None,
    rows: int = ROWS,
    progress: Progress | None = None,
) -> list[Response]:
    """Sample questions again, with the prompts of earlier responses, until each has n samples.

    With the options of the first run (those of `sample`), these are the very samples that it would
    have drawn with a larger n (but for rounding: the common beginning of the prompts is read once).
    Where earlier ones were written in bfloat16, so are these, if this machine does that.

    Returns:
        The new responses alone; empty where every question has enough.
    """
    settings = settings or Settings()
    n, seed, rows = _checked(n=n, seed=seed, rows=rows)
    rows = model.rows_at_once(rows)
    precision: Precision = "auto" if any(one.written_in for one in responses) else "model"
    writer = to_write_with(model, precision)
    written_in = dtype_to_write_in(model, precision)
    generate = partial(generate_batch, writer, settings=settings, share_beginning=True)
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
        questions = [response.question for response in same_start]
        for batch in _batches(questions, prompts, max(1, rows // (n - start))):
            asked = [(questions[i], prompts[i]) for i in batch]
            own = {"numbers": range(start, n), "seed": seed, "written_in": written_in}
            sampled = _sample_batch(generate, asked, **own)
            new += [response for row in sampled for response in row]
            if progress:
                progress(len(new), sum(n - counts[key] for key in short))
    return new


def _checked(*, n: int, seed: int, rows: int) -> tuple[int, int, int]:
    """Samples of each question, seed and rows of a batch, once they are within their limits."""
    rows = check_whole("rows", rows, least=1)
    return check_whole("n", n, least=1, most=MOST_SAMPLES), check_seed(seed), rows


def _batches(
    questions: Sequence[Question], prompts: Sequence[Sequence[int]], size: int
) -> list[list[int]]:
    """Positions in batches, the longest prompts first: too large a batch fails at once.

    The questions of a domain come together: they share their worked examples, and what the prompts
    of a batch begin with is read once.
    """
    longest: dict[str, int] = {}
    for question, prompt in zip(questions, prompts, strict=True):
        longest[question.domain] = max(longest.get(question.domain, 0), len(prompt))

    def rank(i: int) -> tuple[int, str, int, int]:
        domain = questions[i].domain
        return -longest[domain], domain, -len(prompts[i]), i

    order = sorted(range(len(prompts)), key=rank)
    return [
        batch[start : start + size]
        for _, group in groupby(order, key=lambda i: questions[i].domain)
        for batch in [list(group)]
        for start in range(0, len(batch), size)
    ]


def _sample_batch(
    generate: Callable[..., list[list[Generation]]],
    asked: Sequence[tuple[Question, Sequence[int]]],
    *,
    numbers: Sequence[int],
    seed: int,
    written_in: str,
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
        own = {"numbers": numbers, "seed": seed, "written_in": written_in}
        again = partial(_sample_batch, generate, **own)
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
                written_in=written_in,
            )
            for generation, own_seed, number in zip(row, own_seeds, numbers, strict=True)
        ]
        for (question, prompt), row, own_seeds in zip(asked, generated, seeds, strict=True)
    ]


explain_public(globals())
