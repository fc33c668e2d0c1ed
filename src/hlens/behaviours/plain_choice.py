"""Plain questions as a choice among answers: the likeliest option. A hit is the right one.

The questions of `plain_qa`, put in the same words: there the model writes its answer, here it is
read which of four answers it finds likeliest as its reply (log-probability summed over tokens;
options are not shown). What an edit gains in one has been lost in the other, so ask both:
`hlens.effects.compare_answers` pairs them question by question.

Nothing is written, so that the rules read likelihoods here too: a second grader by likelihood (the
right answer against one wrong one, by the mean over tokens) adds a scale, and no other kind.

A question of a file needs ``choices`` of which one is right: the one that ``meta.answer_index``
names, or else the one among its ``answers``.
"""

from collections.abc import Sequence

from hlens.behaviours import plain_qa
from hlens.behaviours._graders import encode_reply
from hlens.behaviours._outcome import Contrast, Outcome
from hlens.behaviours._suite import ANSWER_ONLY, Suite, user_message
from hlens.errors import HlensError
from hlens.model import Continuations, Model, Settings, continuation_logprobs
from hlens.types import Question

DISPLAY = "plain questions, as a choice"

BANK = "plain_qa"  # the same questions under the same ids, so that both can be paired
generate = plain_qa.generate


def right_option(question: Question) -> int | None:
    """The place of the right option; None where none or several could be.

    >>> right_option(Question("1", "d", "Capital of Spain?", ("Madrid",), ("Lisbon", "Madrid")))
    1
    """
    index = question.meta.get("answer_index")
    if index is not None:
        return index if index < len(question.choices) else None
    right = [i for i, choice in enumerate(question.choices) if choice in question.answers]
    return right[0] if len(right) == 1 else None


def check(question: Question) -> None:
    """Raise `HlensError` unless the question has two options or more and one of them is right."""
    if len(question.choices) < 2 or right_option(question) is None:
        raise HlensError(
            f"question {question.id!r} of plain_choice needs choices, of which just one is right; "
            "give them, and meta.answer_index or answers"
        )


def ask(model: Model, questions: Sequence[Question], settings: Settings) -> list[Outcome]:
    """The likeliest option of every question, as the reply that `plain_qa` would be given."""
    prompts = [model.encode(user_message(question, ANSWER_ONLY)) for question in questions]
    texts = [
        Continuations(
            [[*prompt, *encode_reply(model, option)] for option in question.choices],
            len(prompt),
            len(prompt),
        )
        for question, prompt in zip(questions, prompts, strict=True)
    ]
    read = continuation_logprobs(model, texts)
    return [
        _outcome(question, prompt, [float(one) for one in logprobs])
        for question, prompt, logprobs in zip(questions, prompts, read, strict=True)
    ]


def _outcome(question: Question, prompt: Sequence[int], logprobs: Sequence[float]) -> Outcome:
    best, second = sorted(logprobs, reverse=True)[:2]
    picked, right = logprobs.index(best), right_option(question)
    wrong = next(i for i in range(len(logprobs)) if i != right)
    target, neutral = (question.choices[i] for i in (right or 0, wrong))
    return Outcome(
        measure="plain_choice",
        question_id=question.id,
        group=question.group,
        hit=picked == right if best > second else None,
        reason=f"likeliest by {best - second:.2f} nats",
        text=question.choices[picked],
        n_tokens=0,
        capped=False,
        contrast=Contrast(question, tuple(prompt), target, neutral),
    )


SUITE = Suite(
    name="plain_choice",
    hit="finds the right answer likeliest",
    settings=Settings(max_new_tokens=1, temperature=0.0),  # nothing is written
    ask=ask,
    measures=("plain_choice",),
    labels=("Right choices among answers to plain questions",),
    needs_modules=True,
)
