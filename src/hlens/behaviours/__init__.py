"""Behaviours: what a model does when it is asked in a certain way. One suite a file.

Each suite but `harmful_compliance` ships questions: those written by hand for hlens
(``banks/<name>.jsonl``) and those that its ``generate`` makes, the same on every machine.
``"NAME:PATH"`` reads a published set instead, in its authors' layout (``PUBLISHED`` of the suite's
file) or in the schema of the banks (see `hlens.domains.jsonl`). Parsers are rules; a reply that
they cannot read is counted as a parse failure, never guessed. A second grader, different in kind,
may say of the same replies how far they show the behaviour (``load(..., second="likelihood")``).
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from hlens import lookup
from hlens.behaviours import _published
from hlens.behaviours._facts import BANKS
from hlens.behaviours._graders import LIKELIHOOD
from hlens.behaviours._outcome import RULES, Contrast, Outcome
from hlens.behaviours._suite import ANSWER_ONLY, Ask, Behaviour, Suite, single_turn
from hlens.display import display_name
from hlens.domains import draw_groups
from hlens.domains.jsonl import read
from hlens.errors import HlensError
from hlens.kinds import explain_public
from hlens.types import Question

__all__ = [
    "ANSWER_ONLY",
    "LIKELIHOOD",
    "RULES",
    "Ask",
    "Behaviour",
    "Contrast",
    "Outcome",
    "Suite",
    "label_of",
    "labels",
    "load",
    "load_bank",
    "names",
    "single_turn",
]


def names() -> list[str]:
    """Names of all suites, sorted.

    >>> "false_premises" in names()
    True
    """
    return lookup.names("behaviours")


def labels() -> dict[str, str]:
    """What figures call the rate of each measure of every suite.

    >>> labels()["false_premises"]
    'Acceptance of false premises'
    """
    suites = [lookup.member("behaviours", name).SUITE for name in names()]
    return {m: words for s in suites for m, words in zip(s.measures, s.labels, strict=True)}


def label_of(measure: str, labels: Mapping[str, str] | None = None) -> str:
    """What figures call the rate of a measure: as in `labels`, as its suite says, or its own words.

    >>> label_of("false_premises"), label_of("my_own")
    ('Acceptance of false premises', 'my own')
    """
    known = labels if labels and measure in labels else globals()["labels"]()
    return known.get(measure) or display_name("behaviours", measure)


def load(
    name: str,
    n: int | None = None,
    seed: int = 0,
    *,
    second: str = "",
    without: Collection[str] = (),
) -> Behaviour:
    """A suite with its questions.

    Args:
        name: One of `names`, or ``"NAME:PATH"`` for a published set: a file or folder in its
            authors' layout, or a JSONL file.
        n: How many questions to draw, by whole groups; None for all.
        seed: Seed of the draw.
        second: A second grader of the replies: ``"likelihood"`` (how likely the model finds a reply
            that shows the behaviour against one that does not), ``"llm:MODEL"`` or
            ``"llm:MODEL@URL"`` (a language model at an endpoint); empty for none. Both grade on a
            scale of 0 to 1.
        without: Groups whose questions are left out before the draw: what the neurons were chosen
            on. A question made of a fact has the group that the fact has in its domain.

    Raises:
        HlensError: An unknown name or grader, a suite that ships no question, or a file that is
            missing, empty or lacks what the suite needs.
    """
    family, has_path, path = name.partition(":")
    if family not in names():
        raise lookup.unknown("behaviour", family, names())
    module = lookup.member("behaviours", family)
    layout = getattr(module, "PUBLISHED", None)
    questions = _published.read(Path(path), layout) if has_path else load_bank(family)
    keeps = getattr(module, "keeps", lambda question: True)
    left_out = {*without}
    questions = [q for q in questions if keeps(q) and q.group not in left_out]
    if not questions:
        raise HlensError(
            f"behaviour {name!r} holds no question that it may ask; expected one JSON object a line"
        )
    if check := getattr(module, "check", None):
        for question in questions:
            check(question)
    drawn = questions if n is None else draw_groups(questions, n, seed=seed)
    return Behaviour(module.SUITE, tuple(drawn), second)


def load_bank(name: str) -> list[Question]:
    """The questions of a suite or bank that ships with hlens: by hand first, then those made.

    Raises:
        HlensError: The suite ships none.
    """
    module = lookup.member("behaviours", name) if name in names() else None
    file = BANKS / f"{getattr(module, 'BANK', name)}.jsonl"
    if not file.is_file():
        raise HlensError(f"{name} ships no question; give a file of your own: {name}:PATH")
    generate = getattr(module, "generate", tuple)
    return [*read(file).questions, *generate()]


explain_public(globals())
