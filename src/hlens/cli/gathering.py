"""Options that several commands take: declared once, handed over as one value."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

Command = Callable[..., None]


def gathers(
    into: str, options: Mapping[str, Any], make: Callable[..., Any] = dict
) -> Callable[[Command], Command]:
    """Give a command further options; it receives what `make` makes of those set, as `into`.

    `options` holds each option's annotation by its name; an option is None where it is not set.
    """

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command)
        own = [one for name, one in signature.parameters.items() if name != into]
        further = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for name, kind in options.items()
        ]

        @wraps(command)
        def run(**given: Any) -> None:
            values = {name: given.pop(name) for name in options}
            gathered = {name: value for name, value in values.items() if value is not None}
            command(**{into: make(**gathered)}, **given)

        run.__signature__ = signature.replace(parameters=[*own, *further])  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in [*own, *further]}
        return run

    return decorate
