"""Estimates with intervals, controls and nulls: how far a finding can be trusted."""

from hlens.evaluation.auroc import auroc as auroc
from hlens.evaluation.auroc import delong as delong
from hlens.evaluation.confident import agreed_samples as agreed_samples
from hlens.evaluation.confident import confidently_wrong as confidently_wrong
from hlens.evaluation.controls import controls as controls
from hlens.evaluation.designs import class_balance as class_balance
from hlens.evaluation.designs import one_vs_one as one_vs_one
from hlens.evaluation.designs import three_vs_one as three_vs_one
from hlens.evaluation.detections import estimate_average_precision as estimate_average_precision
from hlens.evaluation.detections import estimate_recall as estimate_recall
from hlens.evaluation.drop import drops as drops
from hlens.evaluation.exclusive import exclusive_overlap as exclusive_overlap
from hlens.evaluation.fitting import fit_detector as fit_detector
from hlens.evaluation.formats import transfer_by_format as transfer_by_format
from hlens.evaluation.intervals import delong_test as delong_test
from hlens.evaluation.intervals import estimate_auroc as estimate_auroc
from hlens.evaluation.levels import evaluate_levels as evaluate_levels
from hlens.evaluation.overlap import overlap as overlap
from hlens.evaluation.overlap import shared_neurons as shared_neurons
from hlens.evaluation.published import published_row as published_row
from hlens.evaluation.published import published_rows as published_rows
from hlens.evaluation.reliability import Halves as Halves
from hlens.evaluation.reliability import frequency_correlation as frequency_correlation
from hlens.evaluation.reliability import reliability as reliability
from hlens.evaluation.reliability import split_halves as split_halves
from hlens.evaluation.scores import accuracy as accuracy
from hlens.evaluation.scores import evaluate as evaluate
from hlens.evaluation.shifts import Shifts as Shifts
from hlens.evaluation.shifts import find_shifts as find_shifts
from hlens.evaluation.sparsity import ceiling_of as ceiling_of
from hlens.evaluation.sparsity import k_sweep as k_sweep
from hlens.evaluation.sparsity import sparsity_summary as sparsity_summary
from hlens.evaluation.split import domains_with_both as domains_with_both
from hlens.evaluation.split import folds_by_group as folds_by_group
from hlens.evaluation.split import split_by_group as split_by_group
from hlens.evaluation.thresholds import RATES as RATES
from hlens.evaluation.thresholds import answers_needed as answers_needed
from hlens.evaluation.thresholds import estimate_share as estimate_share
from hlens.evaluation.thresholds import find_thresholds as find_thresholds
from hlens.evaluation.transfer import score_across as score_across
from hlens.evaluation.transfer import tabulate_transfer as tabulate_transfer
from hlens.evaluation.transfer import transfer as transfer
from hlens.evaluation.univariate import alone_by_domain as alone_by_domain
from hlens.evaluation.univariate import univariate as univariate
from hlens.evaluation.usage import expert_usage as expert_usage
from hlens.kinds import explain_public

explain_public(globals())
