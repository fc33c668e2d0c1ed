"""What the operator allows: detectors, doses, policies and limits. A request chooses within it."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch

from hlens.checks import check_whole
from hlens.errors import HlensError
from hlens.model import Model
from hlens.monitor import warn_of_another_region
from hlens.monitor.before import REGION, token_by_token
from hlens.monitor.flagging import Flagging
from hlens.monitor.requests import Dose
from hlens.monitor.watching import readable_metric
from hlens.types import Detector

# What is done about an answer from the threshold on.
POLICIES: Mapping[str, str] = MappingProxyType(
    {
        "watch": "nothing: risks are told",
        "flag": "its status says so",
        "stop": "it ends at the token that reaches the threshold",
        "abstain": "the operator's words are given in its place",
        "route": "its status asks for a fallback; not begun where the prompt's own risk says so",
    }
)
ABSTENTION = "I am not sure enough to answer that."


@dataclass(frozen=True)
class Limits:
    """How much a client may ask for.

    Attributes:
        body: Bytes of a request.
        new_tokens: Tokens of an answer.
        choices: Answers to one request.
        conversations: Conversations of one request to ``/v1/risk``.
        rows: Answers that the local engine writes at once.
        waiting: Answers and readings that are held at once, those that are written included.
    """

    body: int = 2_000_000
    new_tokens: int = 1024
    choices: int = 8
    conversations: int = 2000
    rows: int = 32
    waiting: int = 512

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            check_whole(name, getattr(self, name), least=1)


@dataclass(frozen=True, eq=False)
class Offer:
    """What a server serves.

    Attributes:
        model: The model.
        name: What clients call it.
        detectors: By name. One of the region ``"last_prompt"`` is read before a word is written;
            any other watches the answer. The first of each kind is taken where a request names
            neither a detector nor a domain.
        doses: By name, which clients name as the model.
        policies: Those that a request may choose; the first is the default. None for all, or,
            without a detector, for ``"watch"``.
        threshold: From where an answer is flagged; None takes a rate of 5 % false alarms where the
            detector was recalibrated, else a risk of one half.
        abstention: What is said in the place of an answer that is withheld.
        limits: How much a client may ask for.
        api_key: What clients must know; None for nothing.
        log_text: Write prompts and answers into the log, too.

    Raises:
        HlensError: A detector that cannot be read here, an unknown policy, a threshold that a
            detector does not have, or names that occur twice.
    """

    model: Model
    name: str
    detectors: Mapping[str, Detector] = field(default_factory=dict)
    doses: Mapping[str, Dose] = field(default_factory=dict)
    policies: Sequence[str] | None = None
    threshold: Flagging | None = None
    abstention: str = ABSTENTION
    limits: Limits = Limits()
    api_key: str | None = None
    log_text: bool = False

    def __post_init__(self) -> None:
        if unknown := [one for one in self.allowed if one not in POLICIES]:
            raise HlensError(f"unknown policy {unknown[0]!r}; expected {', '.join(POLICIES)}")
        if not self.allowed:
            raise HlensError("no policy is allowed; allow one or more, such as watch")
        if not self.detectors and set(self.allowed) - {"watch"}:
            raise HlensError("a policy without a detector; name one, or leave policies out")
        if self.name in self.doses:
            raise HlensError(f"a dose is called {self.name!r}, as the model is; give it another")
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise HlensError("a key of other characters than ASCII's, which no header carries")
        if self.threshold is not None and not self.detectors:
            raise HlensError("a threshold without a detector; name one, or leave the threshold out")
        for name, detector in self.readable.items():
            readable_metric(self.model, detector, None)
            self.rule(name, self.threshold)
            if detector.region == self.detectors[name].region:
                warn_of_another_region(detector)

    @property
    def allowed(self) -> Sequence[str]:
        """The policies that a request may choose."""
        if self.policies is not None:
            return self.policies
        return tuple(POLICIES) if self.detectors else ("watch",)

    @cached_property
    def readable(self) -> Mapping[str, Detector]:
        """All detectors as they are read token by token."""
        return {name: token_by_token(one) for name, one in self.detectors.items()}

    @cached_property
    def decoding(self) -> Any:
        """A tokenizer for one thread: while one encodes, another one cannot decode with it."""
        return copy.deepcopy(self.model.tokenizer)

    @cached_property
    def encoding(self) -> Any:
        """A tokenizer for another thread."""
        return copy.deepcopy(self.model.tokenizer)

    @property
    def positions(self) -> int | None:
        """How many tokens prompt and answer may take; None for any number."""
        # An engine that was booted for a length has to read the last token, too.
        booted = getattr(self.model, "longest", None)
        return self.model.n_trained_positions if booted is None else booted - 1

    def read_as(self, detector: str, domain: str) -> str:
        """The domain whose probabilities a score gets; empty where they are of all together."""
        calibration = self.detectors[detector].calibration_of(domain)
        return calibration.domain if calibration is not None else ""

    def probability(self, detector: str, score: float, domain: str = "") -> float:
        """A detector's score as a probability of hallucination, of a domain or of all together."""
        return float(self.detectors[detector].probability_of(torch.tensor(score), domain))

    def watcher(self, name: str | None, domain: str) -> str | None:
        """The detector that watches an answer: the one that is named, or of the domain, or first.

        Raises:
            HlensError: There is no detector of that name.
        """
        watchers = [one for one, d in self.detectors.items() if d.region != REGION]
        return self._choose(watchers, name, domain)

    def gate(self, domain: str) -> str | None:
        """The detector that is read before a word is written: of the domain, or the first."""
        gates = [one for one, d in self.detectors.items() if d.region == REGION]
        return self._choose(gates, None, domain)

    def _choose(self, names: Sequence[str], name: str | None, domain: str) -> str | None:
        if name:
            if name not in names:
                raise HlensError(
                    f"unknown detector {name!r:.60}; expected {', '.join(names) or 'none'}"
                )
            return name
        of_domain = [one for one in names if domain and domain in self.detectors[one].domains]
        return next(iter([*of_domain, *names]), None)

    def rule(
        self, detector: str, asked: Flagging | None, domain: str = ""
    ) -> Callable[[float], bool]:
        """Whether a score of a detector is flagged, by the rule that is asked for or the default.

        Raises:
            HlensError: The detector has no threshold for such a rate.
        """
        one = self.detectors[detector]
        return (asked or self.threshold or _default(one)).rule(one, domain)

    def rule_name(self, detector: str, asked: Flagging | None) -> str:
        """The rule in words."""
        return str(asked or self.threshold or _default(self.detectors[detector]))


def _default(detector: Detector) -> Flagging:
    has = any(one.false_alarms == 0.05 for one in detector.thresholds)
    return Flagging("false-alarms", 0.05) if has else Flagging("risk", 0.5)
