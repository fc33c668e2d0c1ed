"""The local engine: transformers in this process, on one device or several."""

from collections.abc import Mapping
from typing import Any

from hlens import model
from hlens.errors import HlensError
from hlens.metrics import Metric


def rounding_of(options: Mapping[str, Any]) -> str:
    """Whose rounding its numbers bear: its own, which has no name."""
    _check(options)
    return ""


def check_measuring(options: Mapping[str, Any], metric: Metric) -> None:
    """It measures whatever there is."""


def open_model(source: Any, options: Mapping[str, Any], **loading: Any) -> model.Model:
    """The model, as `hlens.model.load` loads it.

    Raises:
        HlensError: As there; or any option of the engine, since it has none.
    """
    _check(options)
    return model.load(source, **loading)


def _check(options: Mapping[str, Any]) -> None:
    if options:
        raise HlensError(
            f"the local engine has no option {next(iter(options))!r}; leave [engine] options out, "
            'or name another engine, such as name = "vllm"'
        )
