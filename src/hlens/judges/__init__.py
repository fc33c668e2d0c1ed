"""Judges: is a response correct? One judge per file, ``judge(response) -> Judgement``.

A judge is a value: any function from `Response` to `Judgement` will do.
"""

from collections.abc import Callable, Iterable
from functools import cache

from hlens import lookup
from hlens.errors import HlensError
from hlens.judges._agreement import agreement, confusion, flip_sensitivity
from hlens.judges._answer_span import answer_span
from hlens.judges._normal_words import word_keys
from hlens.judges._refusal import abstention, refusal
from hlens.types import Judgement, Question, Response

Judge = Callable[[Response], Judgement]

__all__ = [
    "Judge",
    "abstention",
    "agreement",
    "answer_span",
    "confusion",
    "flip_sensitivity",
    "judge",
    "judge_of",
    "named",
    "names",
    "refusal",
    "word_keys",
]


def names() -> list[str]:
    """Names of the judges that a question's ``meta["judge"]`` may name, sorted."""
    return [
        name for name in lookup.names("judges") if hasattr(lookup.member("judges", name), "judge")
    ]


@cache
def named(name: str) -> Judge:
    """The judge of that name, or a language model for ``"llm:MODEL"`` or ``"llm:MODEL@URL"``.

    The address is that of an endpoint as in `hlens.judges.llm.Endpoint`, up to and including
    ``/v1``.

    Raises:
        HlensError: There is none; the nearest are named.
    """
    if name.startswith("llm:"):
        llm = lookup.member("judges", "llm")
        return llm.judge_by(llm.endpoint_of(name))
    if name not in names():
        raise lookup.unknown("judge", name, names())
    return lookup.member("judges", name).judge


def judge_of(question: Question) -> Judge:
    """The judge that a question names in ``meta["judge"]``, or alias.

    Raises:
        HlensError: The question names an unknown judge.
    """
    name = question.meta.get("judge", "alias")
    if not isinstance(name, str):
        raise HlensError(f"question {question.id!r}: judge is {name!r}; expected a name")
    return named(name)


def judge(responses: Iterable[Response], judge: Judge | None = None) -> list[Judgement]:
    """Judge responses, in their order.

    Args:
        responses: What the model said.
        judge: One judge for all; None uses the one that each question names.

    >>> q = Question("1", "general", "Capital of France?", ("Paris",))
    >>> [judged] = globals()["judge"]([Response(q, "Paris.", (), 0)])
    >>> judged.verdict.value, judged.answer
    ('correct', (0, 5))
    """
    return [(judge or judge_of(response.question))(response) for response in responses]
