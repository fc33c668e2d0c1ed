"""The nouns of hlens: frozen dataclasses, with shapes in their types.

Axis names are the same everywhere: ``example layer neuron pos d_model``.
"""

from hlens.types.audit_card import AuditCard, Check, Claim, Support
from hlens.types.detector import Calibration, Detector
from hlens.types.estimate import Estimate
from hlens.types.evidence import READINGS, Evidence
from hlens.types.examples import Example, Judgement, Question, Response, Verdict
from hlens.types.measured import Contributions, MlpTrace, Provenance
from hlens.types.neurons import NeuronSet, address
from hlens.types.set_kinds import PatchKind, SetKind

__all__ = [
    "READINGS",
    "AuditCard",
    "Calibration",
    "Check",
    "Claim",
    "Contributions",
    "Detector",
    "Estimate",
    "Evidence",
    "Example",
    "Judgement",
    "MlpTrace",
    "NeuronSet",
    "PatchKind",
    "Provenance",
    "Question",
    "Response",
    "SetKind",
    "Support",
    "Verdict",
    "address",
]
