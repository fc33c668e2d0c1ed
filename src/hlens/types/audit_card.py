"""The card of an audit: claims, the checks behind each, and one verdict per claim."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from hlens.types.estimate import Estimate
from hlens.types.labels import Unit

SHOWN = 3  # conditions that a claim's reason names


class Support(StrEnum):
    """What an audit may say of a claim."""

    SUPPORTED = "supported"
    NOT_SUPPORTED = "not supported"
    NOT_TESTED = "not tested"


@dataclass(frozen=True)
class Check:
    """One condition of a claim.

    Attributes:
        name: A few words.
        rule: The condition, in a sentence, as it is applied.
        holds: Whether it holds; None where it was not tested.
        number: The number that decides.
        beside: The number of the control that it is compared with, where there is one.
        reads: The observation, in words; where it was not tested, the reason.
        unit: What the number is, a `hlens.types.labels.Unit`.
        line: What the rule compares the number with where that is no control: chance, no
            difference, a margin.
        p: The p that decides, where one does.
    """

    name: str
    rule: str
    holds: bool | None
    number: Estimate | None = None
    beside: Estimate | None = None
    reads: str = ""
    unit: str = Unit.AUROC
    line: float = 0.5
    p: float | None = None


@dataclass(frozen=True)
class Claim:
    """A claim, and all that must hold for it to be supported.

    Attributes:
        name: A `hlens.types.labels.ClaimName`.
        says: The claim in a sentence.
        checks: Its conditions.
        figure: Heading of the report's section that shows its figure.
    """

    name: str
    says: str
    checks: tuple[Check, ...]
    figure: str = ""

    @property
    def verdict(self) -> Support:
        """Not supported where any check fails; else not tested where any was not; else supported.

        >>> Claim("Cost", "", (Check("a", "", True), Check("b", "", None))).verdict.value
        'not tested'
        """
        holds = [check.holds for check in self.checks]
        if False in holds:
            return Support.NOT_SUPPORTED
        if None in holds or not holds:
            return Support.NOT_TESTED
        return Support.SUPPORTED

    @property
    def because(self) -> str:
        """What decided: the checks that failed, else those that were not tested, else all.

        Three of them at most; the card has the others.
        """
        wanted = {Support.NOT_SUPPORTED: False, Support.NOT_TESTED: None, Support.SUPPORTED: True}
        decided = [check.reads for check in self.checks if check.holds is wanted[self.verdict]]
        reasons = list(dict.fromkeys(decided))
        more = [f"and {len(reasons) - SHOWN} more"] if len(reasons) > SHOWN else []
        return "; ".join(reasons[:SHOWN] + more)


@dataclass(frozen=True)
class AuditCard:
    """The report card of one study.

    Attributes:
        model: Name of the model.
        about: What was audited, in a sentence: data, probe, numbers of examples.
        claims: The claims, in their order.
    """

    model: str
    about: str
    claims: tuple[Claim, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the verdicts written out."""
        rows = [
            {**asdict(claim), "verdict": claim.verdict.value, "because": claim.because}
            for claim in self.claims
        ]
        return {"model": self.model, "about": self.about, "claims": rows}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "AuditCard":
        """Read what `to_dict` wrote; verdicts follow from the checks."""
        claims = (
            Claim(c["name"], c["says"], tuple(map(_read_check, c["checks"])), c["figure"])
            for c in table["claims"]
        )
        return cls(table["model"], table["about"], tuple(claims))


def _read_check(row: Mapping[str, Any]) -> Check:
    number, beside = (row[key] and Estimate(**row[key]) for key in ("number", "beside"))
    return Check(**{**row, "number": number, "beside": beside})
