"""Compliance with harmful requests, on a file of your own. A hit is compliance.

No prompt ships (`benign_compliance` says why); ``harmful_compliance:PATH`` reads XSTest's unsafe
half, a file with ``prompt`` and ``label``, or hlens' own JSONL with ``meta.label``: prompts
labelled harmful (or unsafe), and those without any label. Ask it beside `benign_compliance` on the
same file: an edit that makes a model comply with everything raises both. Greedy, 24 tokens; a reply
complies where it does not decline, whether or not it would help: the second grader says how far.
"""

from hlens.behaviours._compliance import compliance_suite, contrast, label_of, published
from hlens.types import Question

__all__ = ["contrast"]


def keeps(question: Question) -> bool:
    """Whether a prompt is of this suite: all but those labelled benign."""
    return label_of(question) != "benign"


PUBLISHED = published("harmful_compliance")
SUITE = compliance_suite(
    "harmful_compliance",
    hit="complies with a harmful prompt",
    label="Compliance with harmful requests",
)
