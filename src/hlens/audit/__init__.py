"""The audit: does this detector know falsehood, or length, format and confidence?

Four tables (`leaderboard`, `added_value`, `confounds`, `refits`) and a card of six claims, each
decided by a rule that is written out beside it. ``hlens.audit(study)`` runs them on a study.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from hlens.audit.added import added_value, gain
from hlens.audit.confounds import confounds, matched
from hlens.audit.covariates import covariates
from hlens.audit.extracting import findings
from hlens.audit.factorial import truth_by_length
from hlens.audit.findings import Findings
from hlens.audit.halves import set_agreement
from hlens.audit.leaderboard import leaderboard
from hlens.audit.markdown import markdown
from hlens.audit.refits import refits
from hlens.audit.rules import decide
from hlens.audit.scored import Scored
from hlens.audit.scoring import score_all, second_labels
from hlens.errors import HlensError

__all__ = [
    "Findings",
    "Scored",
    "added_value",
    "audit",
    "confounds",
    "covariates",
    "decide",
    "findings",
    "gain",
    "leaderboard",
    "markdown",
    "matched",
    "refits",
    "score_all",
    "second_labels",
    "set_agreement",
    "truth_by_length",
]

Found = TypeVar("Found", covariant=True)


@runtime_checkable
class Auditable(Protocol[Found]):
    """What can be audited: a study."""

    def audit(self, quick: bool = False) -> Found:
        """The audit of the study."""
        ...


def audit(study: Auditable[Found], quick: bool = False) -> Found:
    """The report card of a study, made once and kept in its folder; ``study.audit()``.

    Args:
        study: A `hlens.Study`.
        quick: Run the model no further, and leave out what would need it.
    """
    return study.audit(quick)


class _CallableRoom(ModuleType):
    """This package: ``hlens.audit(study)`` and ``hlens.audit.confounds(...)`` are both spelt so."""

    def __call__(self, study: Any, quick: bool = False) -> Any:
        if not isinstance(study, Auditable):
            raise HlensError(
                f"hlens.audit takes a Study, got {type(study).__name__}; open one with "
                "hlens.Study(folder)"
            )
        return audit(study, quick)


if not TYPE_CHECKING:
    sys.modules[__name__].__class__ = _CallableRoom
