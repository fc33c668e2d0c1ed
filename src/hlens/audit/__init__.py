"""The audit: does this detector know falsehood, or length, format and confidence?

Four tables (`leaderboard`, `added_value`, `confounds`, `refits`) and a card of six claims, each
decided by a rule that is written out beside it. ``hlens.audit(study)`` runs them on a study.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from hlens.audit.added import added_value as added_value
from hlens.audit.added import gain as gain
from hlens.audit.confounds import confounds as confounds
from hlens.audit.covariates import Scored as Scored
from hlens.audit.covariates import covariates as covariates
from hlens.audit.factorial import truth_by_length as truth_by_length
from hlens.audit.halves import set_agreement as set_agreement
from hlens.audit.judgements import second_labels as second_labels
from hlens.audit.leaderboard import leaderboard as leaderboard
from hlens.audit.leaderboard import score_all as score_all
from hlens.audit.markdown import markdown as markdown
from hlens.audit.positions import position_curve as position_curve
from hlens.audit.refits import refits as refits
from hlens.audit.refits import under_second_judge as under_second_judge
from hlens.audit.selecting import compare_selectors as compare_selectors
from hlens.audit.selecting_across import selectors_across as selectors_across
from hlens.audit.views import match_alike as match_alike
from hlens.claims import Findings as Findings
from hlens.claims import collect_findings as collect_findings
from hlens.claims import decide as decide
from hlens.errors import HlensError
from hlens.kinds import explain_public

Result = TypeVar("Result", covariant=True)


@runtime_checkable
class Auditable(Protocol[Result]):
    """What can be audited: a study."""

    def audit(self, quick: bool = False) -> Result: ...


def audit(study: Auditable[Result], quick: bool = False) -> Result:
    """The report card of a study, made once and kept in its folder; ``study.audit()``.

    `quick` runs the model no further, and leaves out what would need it.
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

explain_public(globals())
