"""Judges: is a response correct? One judge per file, ``judge(response) -> Judgement``.

A judge is a value: any function from `Response` to `Judgement` will do.
"""

from collections.abc import Callable, Iterable
from functools import cache

from hlens import lookup
from hlens.errors import HlensError
from hlens.judges._agreement import agreement, confusion, flip_sensitivity
from hlens.judges._answer_span import answer_span
from hlens.judges._attempt import non_answer
from hlens.judges._normal_words import word_keys
from hlens.judges._refusal import abstention, refusal
from hlens.kinds import explain_public
from hlens.thoughts import judge_behind_thought
from hlens.types import Judgement, Question, Response
from hlens.undecoded import check_decoded

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
    "non_answer",
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

    A thought is no part of what is judged; a response that ends within it is unscored ("cut off").

    Args:
        responses: What the model said.
        judge: One judge for all, such as ``judges.named("alias")``; None uses the one that each
            question names.

    Raises:
        HlensError: Texts that were never decoded, or a question that names an unknown judge.

    >>> q = Question("1", "general", "Capital of France?", ("Paris",))
    >>> [judged] = globals()["judge"]([Response(q, "Paris.", (), 0)])
    >>> judged.verdict.value, judged.answer
    ('correct', (0, 5))
    """
    responses = list(responses)
    check_decoded((response.text for response in responses), "responses")
    return [judge_behind_thought(one, judge or judge_of(one.question)) for one in responses]


explain_public(globals())
