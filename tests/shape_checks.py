"""Types are checked in every call of hlens, shapes where a signature names some.

``--jaxtyping-packages`` wraps every function for its shapes, also those that name none, at tens
of microseconds a call: most of the time of tests in which small functions call one another. What
names no shape is left to beartype, which checks the same types.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype

_checking = beartype(conf=BeartypeConf(violation_type=jaxtyping.TypeCheckError))


def names_shapes(function: Callable[..., Any]) -> bool:
    """Whether a signature names shapes, or may: what a quoted type names is not known yet."""
    types = getattr(function, "__annotations__", {}).values()
    return any(isinstance(one, str) or "jaxtyping" in repr(one) for one in types)


def check_types(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its types checked, unless a test switches all checks off."""
    checked = _checking(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return (function if jaxtyping.config.jaxtyping_disable else checked)(*args, **kwargs)

    return call


def spare_what_names_no_shapes() -> None:
    """Check only the types of functions without shapes that are defined from now on."""
    whole = jaxtyping.jaxtyped

    @functools.wraps(whole)
    def jaxtyped(*given: Any, **options: Any) -> Any:
        decorate = whole(*given, **options)
        if given or options.get("typechecker") is None:
            return decorate
        return lambda one: (
            check_types(one) if inspect.isfunction(one) and not names_shapes(one) else decorate(one)
        )

    jaxtyping.jaxtyped = jaxtyped
