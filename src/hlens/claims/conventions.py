"""The conventions of the rules: thresholds, in one place, so that they can be disputed."""

LEVEL = 0.05
MARGIN = 0.05  # AUROC that a sparse set may lose against all neurons
FEW = 0.01  # share of the model's neurons that is still few
COMES_BACK = 0.5  # share of a set that must be found again
KEEPS = 0.5  # share of what is above chance that must carry over
ENOUGH = 20  # answers of either label in alike pairs, below which it may not be held fixed
FEWEST_DRAWS = 19  # draws of a null, below which no permutation p reaches 5 %

ABSENT = "not measured"
FEW_DRAWS = f"fewer than {FEWEST_DRAWS} draws of the null"
