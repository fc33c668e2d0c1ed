"""Which neurons, and how sure: path, cross-validation, stability, correlated groups."""

from hlens.kinds import explain_public
from hlens.probe.crossval import CrossValidation as CrossValidation
from hlens.probe.nested import NestedScores as NestedScores
from hlens.probe.nested import nested_scores as nested_scores
from hlens.selection.correlated import correlated_groups as correlated_groups
from hlens.selection.path import Path as Path
from hlens.selection.path import path as path
from hlens.selection.stability import Stability as Stability
from hlens.selection.stability import stability as stability

explain_public(globals())
