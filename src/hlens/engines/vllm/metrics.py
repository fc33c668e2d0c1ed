"""Which metrics vLLM's workers can sum: a number of a token times one of a neuron."""

from hlens.errors import HlensError
from hlens.metrics import Metric, by_name, factors_of, name_of, names, needs_of


def check_metric(metric: Metric) -> None:
    """Raise `HlensError` for a metric that vLLM's workers cannot sum."""
    if needs := needs_of(metric):
        raise HlensError(
            f"{name_of(metric)} needs the {' and '.join(sorted(needs))} of the answer's logits, "
            'which vLLM keeps to itself; measure cett, or take engine = "local"'
        )
    can = [name for name in names() if factors_of(by_name(name))]
    if name_of(metric) not in can or by_name(name_of(metric)) is not metric:
        raise HlensError(
            f"{name_of(metric)} is no number of a token times one of a neuron, so vLLM's workers "
            f'cannot sum it; measure one of {", ".join(can)}, or take engine = "local"'
        )
