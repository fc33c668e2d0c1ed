"""The nouns of hlens: frozen dataclasses, with shapes in their types.

Axis names are the same everywhere: ``example layer neuron pos d_model``.
"""

from hlens.types.audited import AuditCard, Check, Claim, Support
from hlens.types.evidence import READINGS, Evidence
from hlens.types.found import Calibration, Detector, Estimate
from hlens.types.measured import Contributions, MlpTrace, Provenance
from hlens.types.neurons import NeuronSet, address
from hlens.types.set_kinds import PatchKind, SetKind
from hlens.types.text import Example, Judgement, Question, Response, Verdict

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
