"""float64 wherever the model is: Apple's GPUs have none, there the CPU computes."""

from torch import Tensor

WITHOUT_FLOAT64 = {"mps"}  # kinds of device


def widen(values: Tensor) -> Tensor:
    """The values in float64, on their own device or, where that has no float64, on the CPU."""
    return (values.cpu() if values.device.type in WITHOUT_FLOAT64 else values).double()
