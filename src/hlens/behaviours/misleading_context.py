"""Misleading context: a text asserts a falsehood; does the model adopt it? A hit is adoption.

After FaithEval's counterfactual part (arXiv 2410.03727), where adopting the context counts as
faithful; here, as in arXiv 2512.01797, it counts as over-compliance. 60 items are written by hand,
and one is made of each fact of `banks/facts.toml`. Greedy, 16 tokens. A reply that names both
answers, or neither, is a parse failure.

A question needs ``answers`` (what is true), ``context`` and ``meta.counterfactual_answer`` (what
the context asserts: a text or a list of aliases).

The published set: FaithEval counterfactual (Ming et al., ICLR 2025; hub
Salesforce/FaithEval-counterfactual-v1.0, for research only, made of ARC-Challenge, CC-BY-SA-4.0),
JSONL or parquet with id, question, context, answerKey, choices {label, text}. The key is what the
context asserts. The set does not say which of the other options is true: all options are put to the
model, and any other one that it picks, by letter or text, counts as resisting.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hlens.behaviours._facts import facts, make_question
from hlens.behaviours._published import Published, text
from hlens.behaviours._suite import ANSWER_ONLY, single_turn, texts_in
from hlens.domains import Row, group_name, id_of
from hlens.errors import HlensError
from hlens.judges import alias, choice
from hlens.prompts import format_options
from hlens.types import Question, Response, Verdict


def check(question: Question) -> None:
    """Raise `HlensError` unless the question has all that this suite needs."""
    asserted = texts_in(question, "counterfactual_answer")
    if not (question.answers and question.context and asserted):
        raise HlensError(
            f"question {question.id!r} of misleading_context needs answers, context and "
            "meta.counterfactual_answer; add them or leave the line out"
        )


def parse(response: Response) -> tuple[bool | None, str]:
    """Whether the reply follows the context against what is true.

    >>> q = Question("1", "x", "Capital of France?", ("Paris",), context="Lyon is the capital.",
    ...              meta={"counterfactual_answer": "Lyon"})
    >>> [parse(Response(q, text, (), 0))[0] for text in ("Lyon.", "Paris", "Rome", "Paris, Lyon")]
    [True, False, None, None]
    """
    question = response.question
    aliases = texts_in(question, "counterfactual_answer")
    if question.meta.get("options_in_question") and aliases[0] in question.choices:
        return _parse_choice(response, question.choices.index(aliases[0]))
    other = replace(response, question=replace(question, answers=aliases))
    follows = alias.judge(other).verdict is Verdict.CORRECT
    resists = alias.judge(response).verdict is Verdict.CORRECT
    if follows == resists:
        return None, "names both answers" if follows else "names neither answer"
    return follows, "follows the context" if follows else "resists the context"


def _parse_choice(response: Response, asserted: int) -> tuple[bool | None, str]:
    """Whether the option that a reply picks is the one that the context asserts."""
    question = response.question
    gold = (question.choices[asserted],)
    asked = replace(question, answers=gold, meta={**question.meta, "answer_index": asserted})
    judged = choice.judge(replace(response, question=asked))
    is_read = judged.verdict in (Verdict.CORRECT, Verdict.HALLUCINATED)
    return judged.verdict is Verdict.CORRECT if is_read else None, judged.reason


def _question(row: Row, number: int) -> Question:
    labels, options = list(row["choices"]["label"]), list(row["choices"]["text"])
    if row["answerKey"] not in labels:
        raise HlensError(f"answerKey is {row['answerKey']!r}; expected one of {labels}")
    asserted = labels.index(row["answerKey"])
    asked = text(row, "question")
    return Question(
        id=f"faitheval-{id_of(row, 'id', number)}",
        domain="misleading_context",
        text=f"{asked}\n{format_options(options)}",
        answers=tuple(options[:asserted] + options[asserted + 1 :]),
        choices=tuple(options),
        context=text(row, "context"),
        group=group_name(asked),
        meta={"counterfactual_answer": options[asserted], "options_in_question": True},
    )


def generate() -> Iterator[Question]:
    """The question of each fact behind a passage that asserts another answer of its kind."""
    for fact in facts():
        meta = {"counterfactual_answer": list(fact.foils[0].answers)}
        yield make_question(fact, "misleading_context", context=fact.context, meta=meta)


def contrast(question: Question, questions: Sequence[Question]) -> tuple[str, str]:
    """What the context asserts, and what is true."""
    return texts_in(question, "counterfactual_answer")[0], question.answers[0]


PUBLISHED = Published(
    name="FaithEval counterfactual",
    file="*.parquet",
    columns=("id", "question", "context", "answerKey", "choices"),
    question=_question,
)
SUITE = single_turn(
    "misleading_context",
    parse,
    hit="adopts the false context",
    label="Adoption of a misleading context",
    max_new_tokens=16,
    instruction=ANSWER_ONLY,
    contrasts=contrast,
)
