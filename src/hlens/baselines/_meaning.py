"""Which answers mean the same: by their words, or by a local model of entailment.

Gold answers are not used: two answers that match the same alias would share a meaning only because
the truth is known.
"""

from collections.abc import Callable, Sequence

from hlens.judges import word_keys
from hlens.judges.nli import Entails

# Question and answers -> a number for each answer, equal where the meaning is; first answer: 0.
Alike = Callable[[str, Sequence[str]], list[int]]


def by_words(overlap: float = 0.6) -> Alike:
    """Answers of the same words: all of one in the other, or so large a share in both.

    Words are compared in the judges' normal form (case, accents, articles and spellings of a
    number aside). An answer without words matches only another such answer.

    Args:
        overlap: Common words over all words of the two (Jaccard) from which they mean the same.

    >>> by_words()("Who?", ["The Beatles", "Beatles!", "Paul McCartney", "McCartney", "nobody"])
    [0, 0, 1, 1, 2]
    >>> by_words()("Which king?", ["Henry VIII of England", "Henry VII of England"])
    [0, 0]
    >>> by_words(overlap=0.7)("Which king?", ["Henry VIII of England", "Henry VII of England"])
    [0, 1]
    """

    def same(question: str, one: str, other: str) -> bool:
        a, b = set(word_keys(one)), set(word_keys(other))
        if not a or not b:
            return not a and not b
        return a <= b or b <= a or len(a & b) >= overlap * len(a | b)

    return _clustered(same)


def by_entailment(entails: Entails, threshold: float = 0.5) -> Alike:
    """Answers that entail each other, both read after the question (Farquhar et al. 2024).

    Args:
        entails: Such as `hlens.judges.nli.entailment` of a local classifier.
        threshold: Probability from which a direction counts.
    """

    def same(question: str, one: str, other: str) -> bool:
        a, b = f"{question} {one}", f"{question} {other}"
        return a == b or min(entails([(a, b), (b, a)])) >= threshold

    return _clustered(same)


def _clustered(same: Callable[[str, str, str], bool]) -> Alike:
    """Each answer joins the first meaning whose first answer matches it, as in Kuhn et al."""

    def alike(question: str, answers: Sequence[str]) -> list[int]:
        firsts: list[str] = []
        meanings: list[int] = []
        for answer in answers:
            matches = (i for i, first in enumerate(firsts) if same(question, first, answer))
            meaning = next(matches, len(firsts))
            if meaning == len(firsts):
                firsts.append(answer)
            meanings.append(meaning)
        return meanings

    return alike
