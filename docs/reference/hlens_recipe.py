"""Every option of a recipe as one TOML file, from the classes that check recipes.

``reference/recipe.md`` shows it: each key at its default, under what it means and what it may be.
"""

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from hlens.checks import MOST, check_whole
from hlens.recipe import Recipe
from hlens.recipe.tables import toml

WIDTH = 92  # of a comment, so that it fits the column of a page
FILE = "recipe_defaults.toml"


def annotated() -> str:
    """The TOML: every option at its default, each below a comment."""
    options, sections = [], []
    for field in dataclasses.fields(Recipe):
        default = _default(field)
        if dataclasses.is_dataclass(default):
            sections.append(_section(field.name, type(default)))
        elif isinstance(default, Mapping):  # one that readers fill with keys of their own
            sections.append(f"{_comment(_meanings(Recipe)[field.name])}[{field.name}]\n")
        else:
            options.append(_option(Recipe, field))
    return "\n".join(["\n".join(options), *sections])


def _section(name: str, kind: type) -> str:
    title = _without_markup((inspect.getdoc(kind) or "").split("\n\n")[0])
    options = "\n".join(_option(kind, field) for field in dataclasses.fields(kind))
    rule = "# " + "-" * (WIDTH - 2) + "\n"
    return f"{rule}{_comment(title)}[{name}]\n\n{options}"


def _option(kind: type, field: Any) -> str:
    hint = get_type_hints(kind, include_extras=True)[field.name]
    comments = _comment(_meanings(kind)[field.name]) + _comment(allowed(hint))
    return f"{comments}{field.name} = {toml(_default(field))}\n"


def _default(field: Any) -> Any:
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


def _meanings(kind: type) -> dict[str, str]:
    """What the docstring of a class says of each of its attributes."""
    _, _, listed = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    entries = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", listed, re.MULTILINE)
    return {name: _without_markup(text) for name, text in entries}


def _without_markup(text: str) -> str:
    """Text as a comment shows it: on one line, and code without the marks of a docstring."""
    return re.sub(r"``(.+?)``", r"\1", " ".join(text.split()))


def allowed(hint: Any) -> str:
    """What a value may be, where its default does not show that.

    >>> allowed(Literal["mean", "max"]), allowed(bool)
    ('One of "mean", "max".', '')
    """
    kind = get_origin(hint) or hint
    if kind is Annotated:
        return "".join(_limits(*get_args(hint)))
    if kind is Literal:
        return f"One of {', '.join(map(toml, get_args(hint)))}."
    if kind is tuple:
        item = get_args(hint)[0]
        return "A list of texts." if item is str else f"Each of them: {allowed(item).lower()}"
    return ""


def _limits(kind: type, check: Any) -> Iterator[str]:
    """The limits of a number, from the check in its type."""
    named = getattr(check, "keywords", {})
    is_whole = getattr(check, "func", check) is check_whole
    least, above = named.get("least", 0), named.get("above")
    most, below = named.get("most", MOST), named.get("below")
    yield "A whole number" if is_whole else "A number"
    yield f" from {least:,}" if above is None else f" above {above:,}"
    if below is not None:
        yield f", below {below:,}"
    elif most < MOST:  # which only refuses slips of the hand
        yield f" to {most:,}" if above is None else f", at most {most:,}"
    else:
        yield "" if above is not None else " up"
    if named.get("or_zero"):
        yield f", or 0 ({named['or_zero']})"
    yield "."


def _comment(text: str) -> str:
    lines = textwrap.wrap(text, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines)


def _write(app: Any) -> None:
    page = Path(app.srcdir) / "reference" / FILE
    said = annotated()
    if not page.exists() or page.read_text(encoding="utf-8") != said:
        page.write_text(said, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """As a Sphinx extension: write the file before the pages that show it are read."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
