"""Find out whether a response attempts and finishes an answer.

Problem: a reply that repeats the question, offers help or is cut off before it answers is not
correct, but it is no falsehood either. A probe that learns to tell such replies from right answers
reads "does not answer", and would pass for one that reads "is wrong".

Idea: look at the first sentence with words, where an answer stands. It is no attempt if it begins
with a phrase of `attempt.toml`, if it asks back, or if it says nothing that the question has not
said. A response that the token limit cut is finished where its first clause with something new had
come to an end. The gold answers are not read: the judges accept them before they ask here.

>>> from hlens.types import Question, Response
>>> kenya = Question("1", "general", "What is the capital of Kenya?", ("Nairobi",))
>>> for text in ("Mombasa, on the coast of", "The capital of Kenya is"):
...     print(non_answer(Response(kenya, text, (), 0, finish_reason="length")) or "an answer")
an answer
cut off
"""

import re
import tomllib

from hlens.judges._answer_span import first_sentence
from hlens.judges._normal_words import LISTS, read_file, word_keys
from hlens.types import Judgement, Question, Response, Verdict

_PHRASES = {
    reason: re.compile("|".join(f"(?:{p})" for p in lines.strip().split("\n")), re.IGNORECASE)
    for reason, lines in tomllib.loads(read_file("attempt.toml")).items()
}
_FILLER, _ABOUT = frozenset(LISTS["filler"]), frozenset(LISTS["about"])
# Where a clause ends, whatever follows: the answer before it is whole.
_CLAUSE_END = re.compile(
    r"[,;:(\n]|\b(?:which|who|whose|where|when|while|because|since|although|but)\b",
    re.IGNORECASE,
)
LONGEST = 20_000  # characters; some rules take the square of the length
NAME = 3  # words that are no filler: what is longer is a remark and no answer
_QUOTED = re.compile(r"[\"“`*]([^\"“”`*]+)[\"”`*]")
_NUMBER = re.compile(r"\d")
_ASKS_NUMBER = re.compile(
    r"\bhow (?:many|much|old|long|far|tall|high)\b|\bnumber\b"
    r"|\b(?:what|which) (?:year|date|day|age)\b",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(r"[\[(<][^\])>]*[\])>][.!]?")
_ENDED = re.compile(r"[.!?。！？][\"'”’)\]*_]*\s*$|\n\s*$")
_YES_NO = re.compile(r"(?:yes|no)\b[,.!]*\s+", re.IGNORECASE)
# How a clause begins that only leads to another one.
_OPENS = re.compile(
    r"(?:when|in|as|if|for|by|with|at|on|from|to|during|after|before|according|while|although)\b",
    re.IGNORECASE,
)
_VERB = re.compile(
    r"(\b(?:is|are|was|were|'s|stands for|means|became|has been|had been)\b"
    r"(?: (?:also |commonly |often )?(?:known as|called|named))?)",
    re.IGNORECASE,
)
_DENIES = re.compile(
    r"(?:it|that|this|there|they)(?: (?:is|was|are|were) not|\S*n't)\b", re.IGNORECASE
)
_AUXILIARIES = "is|are|was|were|do|does|did|can|could|would|will|should|must|may|have|has"
_ASKS_IF = re.compile(rf"(?:{_AUXILIARIES})\b", re.IGNORECASE)
_ASKS = re.compile(
    rf"(?:(?:from|in|on|at|to|by|of|for|with) )?"
    rf"(?:what|which|who|whom|whose|when|where|why|how|{_AUXILIARIES})\b",
    re.IGNORECASE,
)


def judge_unread(response: Response) -> Judgement | None:
    """The judgement of a response that no rule reads: empty, or far longer than any answer."""
    n = len(response.text)
    if n > LONGEST:
        return Judgement(response, Verdict.UNSCORED, f"too long to read ({n:,} characters)")
    return None if response.text.strip() else Judgement(response, Verdict.UNSCORED, "empty")


def judge_false(
    response: Response, reason: str, answer: tuple[int, int] | None = None
) -> Judgement:
    """Hallucinated, for this reason; unscored where the response is no answer."""
    why_not = non_answer(response)
    if why_not:
        return Judgement(response, Verdict.UNSCORED, why_not)
    return Judgement(response, Verdict.HALLUCINATED, reason, answer)


def non_answer(response: Response) -> str:
    """Why a response is no answer: ``"cut off"`` or ``"no attempt: ..."``; empty where it is one.

    >>> from hlens.types import Question
    >>> question = Question("1", "general", "Capital of France?", ("Paris",))
    >>> non_answer(Response(question, "Lyon.", (), 0))
    ''
    >>> non_answer(Response(question, "What would you like to know?", (), 0))
    'no attempt: offers help'
    """
    text, question = response.text, response.question
    sentence = first_sentence(text, question.text)
    if sentence is None:
        return "no attempt: empty"
    start, stop = sentence
    first = text[start:stop].replace("’", "'")
    if not _is_polar(question):
        first = first[match.end() :] if (match := _YES_NO.match(first)) else first
    if _PLACEHOLDER.fullmatch(text.strip()):
        return "no attempt: only a placeholder"
    if not _is_title(first):
        for reason, phrases in _PHRASES.items():
            # "use after free" and "SELECT" are terms.
            is_term = reason == "repeats the instruction" and len(first.split()) <= 3
            if phrases.match(first) and not is_term:
                return f"no attempt: {reason}"
        if first.rstrip().endswith("?") and _ASKS.match(first):
            return "no attempt: asks back"
    if _DENIES.match(first) and not _is_polar(question):
        return "no attempt: only denies"
    if response.finish_reason == "length":
        # The token limit ended the sentence, or what may have led to an answer.
        is_whole = stop < len(text.rstrip()) or bool(_ENDED.search(text))
        clause = _first_clause(first, is_whole=is_whole)
        names = [clause, *_QUOTED.findall(first)]
        return "" if any(_names_something(name, question) for name in names) else "cut off"
    if _says_something(first, question):
        return ""
    is_heading = first.rstrip().endswith(":")
    return f"no attempt: {'only a heading' if is_heading else 'repeats the question'}"


def _is_title(sentence: str) -> bool:
    """Whether a sentence may be a title: "I Want to Hold Your Hand"."""
    rest = sentence.split()[1:]
    names = [word for word in rest if len(word) > 3 or word[0].isupper()]
    ends = sentence.rstrip().endswith((".", "!", "?", ":", ","))
    return not ends and any(word != "I" for word in names) and all(w[0].isupper() for w in names)


def _is_polar(question: Question) -> bool:
    """Whether a question asks for yes or no, or offers options."""
    return bool(_ASKS_IF.match(question.text.strip())) or "or" in word_keys(question.text)


def _first_clause(sentence: str, *, is_whole: bool) -> str:
    """The first clause of a sentence, if it came to its end; else nothing."""
    end = _CLAUSE_END.search(sentence, 1)
    return sentence[: end.start()] if end else sentence if is_whole else ""


def _names_something(clause: str, question: Question) -> bool:
    """Whether a clause gives an answer: a name that is new, alone or behind its verb."""
    if _OPENS.match(clause):
        return False
    verb = _VERB.search(clause)
    said = [word for word in _content(clause[verb.end() :] if verb else clause) if word != "and"]
    # "Wrong", for "Is it right or wrong to lie?", is in the question and answers it.
    offers = _ASKS_IF.match(question.text.strip())
    known = {*_FILLER, *(() if offers else (*_ABOUT, *word_keys(question.text)))}
    if _ASKS_NUMBER.search(question.text):
        return any(_NUMBER.search(word) and word not in known for word in word_keys(clause))
    is_name = len(said) <= (NAME if verb else NAME + 1)
    return is_name and not set(said) <= known


def _says_something(clause: str, question: Question) -> bool:
    """Whether a clause says a word that the question does not, or too little to repeat it."""
    said, content = word_keys(clause), _content(clause)
    if not set(content) <= {*word_keys(question.text), *_ABOUT}:
        return True
    # "Mars is larger", for "Is Mars or Venus larger?", is an answer, right or wrong.
    chooses = _is_polar(question) and "or" not in said
    return bool(content) and (chooses or (len(said) <= 2 and not set(content) <= _ABOUT))


def _content(clause: str) -> list[str]:
    words = list(word_keys(clause))
    return [word for word in words if word not in _FILLER] or words
