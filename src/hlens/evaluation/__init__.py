"""Estimates with intervals, controls and nulls: how far a finding can be trusted."""

from hlens.evaluation.auroc import auroc, delong, delong_test
from hlens.evaluation.bootstrap import estimate_auroc
from hlens.evaluation.controls import controls
from hlens.evaluation.designs import class_balance, one_vs_one, three_vs_one
from hlens.evaluation.fitting import fit_detector
from hlens.evaluation.formats import transfer_by_format
from hlens.evaluation.overlap import overlap, shared_neurons
from hlens.evaluation.reliability import Halves, frequency_correlation, reliability, split_halves
from hlens.evaluation.scores import accuracy, evaluate
from hlens.evaluation.sparsity import ceiling_of, k_sweep, sparsity_summary
from hlens.evaluation.split import domains_with_both, folds_by_group, split_by_group
from hlens.evaluation.transfer import transfer
from hlens.evaluation.univariate import univariate

__all__ = [
    "Halves",
    "accuracy",
    "auroc",
    "ceiling_of",
    "class_balance",
    "controls",
    "delong",
    "delong_test",
    "domains_with_both",
    "estimate_auroc",
    "evaluate",
    "fit_detector",
    "folds_by_group",
    "frequency_correlation",
    "k_sweep",
    "one_vs_one",
    "overlap",
    "reliability",
    "shared_neurons",
    "sparsity_summary",
    "split_by_group",
    "split_halves",
    "three_vs_one",
    "transfer",
    "transfer_by_format",
    "univariate",
]
