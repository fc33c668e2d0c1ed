"""The nouns of hlens: frozen dataclasses, with shapes in their types.

Axis names are the same everywhere: ``example layer neuron pos d_model``.
"""

from hlens.kinds import explain_public
from hlens.types.audit_card import AuditCard as AuditCard
from hlens.types.audit_card import Check as Check
from hlens.types.audit_card import Claim as Claim
from hlens.types.audit_card import Support as Support
from hlens.types.combined import Combined as Combined
from hlens.types.detector import Calibration as Calibration
from hlens.types.detector import Detector as Detector
from hlens.types.estimate import Estimate as Estimate
from hlens.types.evidence import READINGS as READINGS
from hlens.types.evidence import Evidence as Evidence
from hlens.types.examples import Example as Example
from hlens.types.examples import Judgement as Judgement
from hlens.types.examples import Question as Question
from hlens.types.examples import Response as Response
from hlens.types.examples import Thought as Thought
from hlens.types.examples import Verdict as Verdict
from hlens.types.experts import Experts as Experts
from hlens.types.experts import address as address
from hlens.types.experts import as_experts as as_experts
from hlens.types.experts import describe as describe
from hlens.types.experts import experts_in as experts_in
from hlens.types.experts import layers_of as layers_of
from hlens.types.experts import where_neurons_are as where_neurons_are
from hlens.types.experts import widths_of as widths_of
from hlens.types.fingerprints import same_fingerprint as same_fingerprint
from hlens.types.fingerprints import warn_unbound as warn_unbound
from hlens.types.labels import PatchKind as PatchKind
from hlens.types.labels import SetKind as SetKind
from hlens.types.measured import Contributions as Contributions
from hlens.types.measured import MlpTrace as MlpTrace
from hlens.types.measured import Provenance as Provenance
from hlens.types.neurons import NeuronSet as NeuronSet
from hlens.types.read_answers import ReadAnswers as ReadAnswers
from hlens.types.routed import Block as Block
from hlens.types.routed import RoutedMatrix as RoutedMatrix
from hlens.types.routed import RoutedValues as RoutedValues
from hlens.types.routed import cut_by_expert as cut_by_expert
from hlens.types.scored import MarkedSpan as MarkedSpan
from hlens.types.scored import ScoredAnswer as ScoredAnswer
from hlens.types.thresholds import Threshold as Threshold

explain_public(globals())
