"""The audit: does this detector know falsehood, or length, format and confidence?

Four tables (`leaderboard`, `added_value`, `confounds`, `refits`) and a card of six claims, each
decided by a rule that is written out beside it. ``hlens.audit(study)`` runs them on a study.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from hlens.audit.added import added_value, gain
from hlens.audit.confounds import confounds
from hlens.audit.covariates import Scored, covariates
from hlens.audit.factorial import truth_by_length
from hlens.audit.findings import Findings, collect_findings
from hlens.audit.halves import set_agreement
from hlens.audit.judgements import second_labels
from hlens.audit.leaderboard import leaderboard, score_all
from hlens.audit.markdown import markdown
from hlens.audit.refits import refits
from hlens.audit.rules import decide
from hlens.audit.views import match_alike
from hlens.errors import HlensError

__all__ = [
    "Findings",
    "Scored",
    "added_value",
    "audit",
    "collect_findings",
    "confounds",
    "covariates",
    "decide",
    "gain",
    "leaderboard",
    "markdown",
    "match_alike",
    "refits",
    "score_all",
    "second_labels",
    "set_agreement",
    "truth_by_length",
]

Result = TypeVar("Result", covariant=True)


@runtime_checkable
class Auditable(Protocol[Result]):
    """What can be audited: a study."""

    def audit(self, quick: bool = False) -> Result: ...


def audit(study: Auditable[Result], quick: bool = False) -> Result:
    """The report card of a study, made once and kept in its folder; ``study.audit()``.

    Args:
        study: A `hlens.Study`.
        quick: Run the model no further, and leave out what would need it.
    """
    return study.audit(quick)


class _CallablePackage(ModuleType):
    """Makes the package callable: ``hlens.audit(study)`` beside ``hlens.audit.confounds(...)``."""

    def __call__(self, study: Any, quick: bool = False) -> Any:
        if isinstance(study, Auditable):
            return audit(study, quick)
        raise HlensError(
            f"hlens.audit takes a Study, got {type(study).__name__}; open one with "
            "hlens.Study(folder)"
        )


if not TYPE_CHECKING:
    sys.modules[__name__].__class__ = _CallablePackage
