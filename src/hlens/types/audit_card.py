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

    It is decided by `number` (and `p`, where a test does), beside that of a control or, without
    one, a `line` such as chance, no difference or a margin.
    """

    name: str
    rule: str  # the condition as it is applied, in a sentence
    holds: bool | None  # None where it was not tested
    number: Estimate | None = None
    beside: Estimate | None = None
    reads: str = ""  # the observation, in words; where it was not tested, the reason
    unit: str = Unit.AUROC
    line: float = 0.5
    p: float | None = None


@dataclass(frozen=True)
class Claim:
    """A claim, and all that must hold for it to be supported."""

    name: str  # a `hlens.types.labels.ClaimName`
    says: str
    checks: tuple[Check, ...]
    figure: str = ""  # heading of the report's section that shows its figure
    under: str = ""  # who judged the answers or graded the replies that it rests on, in words

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
        """What decided, three at most: the checks that failed, else those not tested, else all."""
        wanted = {Support.NOT_SUPPORTED: False, Support.NOT_TESTED: None, Support.SUPPORTED: True}
        decided = [check.reads for check in self.checks if check.holds is wanted[self.verdict]]
        reasons = list(dict.fromkeys(decided))
        more = [f"and {len(reasons) - SHOWN} more"] if len(reasons) > SHOWN else []
        return "; ".join(reasons[:SHOWN] + more)


@dataclass(frozen=True)
class AuditCard:
    """The report card of one study."""

    model: str
    about: str  # what was audited, in a sentence: data, probe, numbers of examples
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
            Claim(
                c["name"],
                c["says"],
                tuple(map(_read_check, c["checks"])),
                c["figure"],
                c.get("under", ""),
            )
            for c in table["claims"]
        )
        return cls(table["model"], table["about"], tuple(claims))


def _read_check(row: Mapping[str, Any]) -> Check:
    number, beside = (row[key] and Estimate(**row[key]) for key in ("number", "beside"))
    return Check(**{**row, "number": number, "beside": beside})
