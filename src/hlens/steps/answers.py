"""From questions to labelled examples: sample, judge, locate."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hlens import judges, spans
from hlens.domains import choose_worked
from hlens.model import Model, Settings
from hlens.prompts import encode_prompt
from hlens.recipe import SamplingRecipe
from hlens.sampling import sample
from hlens.steps.sources import asked, judge_of, model, worked_examples
from hlens.steps.step import Storage, step
from hlens.store.checked import read_rows
from hlens.store.jsonl import (
    ResponseRow,
    load_examples,
    load_judgements,
    load_questions,
    load_responses,
    response_from_row,
    save_examples,
    save_judgements,
    save_questions,
    save_responses,
)
from hlens.store.tables import load_table, save_table
from hlens.types import Example, Judgement, Question, Response

JSONL = ".jsonl"
LOSSES = "losses.parquet"
QUESTIONS: Storage[list[Question]] = Storage(JSONL, save_questions, load_questions)


@step(
    needs=(asked,),
    storage=QUESTIONS,
    verb="ask",
    facts=lambda questions: {"n": len(questions)},
)
def questions(asked: list[Question]) -> list[Question]:
    """The questions of all domains of the recipe."""
    return asked


@step(needs=(worked_examples,), storage=QUESTIONS)
def worked(worked_examples: list[Question]) -> list[Question]:
    """The worked examples that are shown before the questions."""
    return worked_examples


@step(
    needs=(questions, model, worked),
    options=("sampling", "seed"),
    storage=Storage(JSONL, save_responses, load_responses, beside=(questions,)),
    verb="sample",
    facts=lambda responses: {"n": len(responses)},
)
def responses(
    questions: list[Question],
    model: Model,
    worked: list[Question],
    *,
    sampling: SamplingRecipe,
    seed: int,
    earlier: Path | None,
    parts: Path,
    progress: Callable[[int, int], None],
) -> list[Response]:
    """Ask the questions, several times each.

    A question already asked with exactly this prompt keeps its answers: each sample has a seed
    derived from its question, so sampling again would give the same text (up to rounding; see
    `hlens.model.generation.SeededSampler`).
    """
    known = _answered(questions, model, worked, sampling, earlier) if earlier else {}
    new = [q for q in questions if (q.domain, q.id) not in known]
    if new:
        for response in sample(
            model,
            new,
            n=sampling.n,
            seed=seed,
            settings=settings_of(sampling),
            instruction=sampling.instruction,
            style=sampling.style,
            shots=sampling.shots,
            worked=worked,
            rows=sampling.rows,
            precision=sampling.precision,
            folder=parts,
            progress=progress,
        ):
            known.setdefault((response.question.domain, response.question.id), []).append(response)
    return [response for q in questions for response in known[q.domain, q.id]]


def settings_of(sampling: SamplingRecipe) -> Settings:
    """How the recipe draws tokens."""
    return Settings(
        sampling.max_new_tokens,
        sampling.temperature,
        sampling.top_k,
        sampling.top_p,
        until_newline=sampling.style == "completion",
    )


def prompt_of(
    question: Question, model: Model, worked: Sequence[Question], sampling: SamplingRecipe
) -> list[int]:
    """Token ids of a question, asked as the recipe asks."""
    return encode_prompt(
        model,
        question,
        instruction=sampling.instruction,
        style=sampling.style,
        worked=choose_worked(question, sampling.shots, own=worked),
    )


def _answered(
    questions: Sequence[Question],
    model: Model,
    worked: Sequence[Question],
    sampling: SamplingRecipe,
    earlier: Path,
) -> dict[tuple[str, str], list[Response]]:
    """The earlier responses to each question that has all its samples, from the same prompt."""
    by_key = {(q.domain, q.id): q for q in questions}
    answers: dict[tuple[str, str], list[Response]] = defaultdict(list)
    for row in read_rows(earlier, dict, ResponseRow):
        if (row["domain"], row["question_id"]) in by_key:
            response = response_from_row(row, by_key)
            answers[response.question.domain, response.question.id].append(response)

    def is_whole(key: tuple[str, str], given: list[Response]) -> bool:
        prompt = prompt_of(by_key[key], model, worked, sampling)
        return [response.sample for response in given] == list(range(sampling.n)) and all(
            response.token_ids[: response.n_prompt] == tuple(prompt) for response in given
        )

    return {key: given for key, given in answers.items() if is_whole(key, given)}


JUDGED: Storage[list[Judgement]] = Storage(
    JSONL, save_judgements, load_judgements, beside=(responses,)
)


@step(
    needs=(responses,),
    options=("labels.judge",),
    storage=JUDGED,
    verb="judge",
    facts=lambda judgements: {
        "n": len(judgements),
        **{str(verdict): n for verdict, n in Counter(j.verdict for j in judgements).items()},
    },
)
def judgements(responses: list[Response], *, judge: str) -> list[Judgement]:
    """Say which responses are true."""
    return judges.judge(responses, judge_of(judge))


@dataclass(frozen=True, eq=False)
class Located:
    """Labelled token sequences, and why the other judgements gave none.

    Attributes:
        examples: The examples.
        losses: Number of judgements by label and reason, including those that were located.
    """

    examples: list[Example]
    losses: pd.DataFrame


def _save_located(located: Located, file: Path) -> None:
    save_table(located.losses, file.with_name(LOSSES))
    save_examples(located.examples, file)


def _load_located(file: Path) -> Located:
    return Located(load_examples(file), load_table(file.with_name(LOSSES)))


def _located_facts(located: Located) -> dict[str, Any]:
    losses = located.losses
    return {
        "n": len(located.examples),
        "hallucinated": sum(example.hallucinated for example in located.examples),
        "lost": int(losses.loc[losses["reason"] != "located", "n"].sum()),
    }


@step(
    needs=(judgements, model),
    options=("labels.keep", "labels.span", "labels.per_question"),
    later=("labels.per_class",),
    storage=Storage(JSONL, _save_located, _load_located, also=(LOSSES,)),
    name="examples",
    verb="locate",
    facts=_located_facts,
)
def located(
    judgements: list[Judgement],
    model: Model,
    *,
    keep: str,
    span: str,
    per_question: int,
    per_class: int,
) -> Located:
    """Find the answer's tokens in each response."""
    kept = spans.consistent(judgements) if keep == "consistent" else judgements
    examples, losses = spans.locate_with_losses(kept, model, span=span)
    kept_examples = spans.first_of_each_label(examples, per_question)
    return Located(spans.draw_of_each_label(kept_examples, per_class), losses)


@step(needs=(located,), name="labelled_examples")
def examples(located: Located) -> list[Example]:
    """Labelled token sequences."""
    return located.examples


@step(needs=(located,))
def losses(located: Located) -> pd.DataFrame:
    """How many judgements became no example, by label and reason."""
    return located.losses
