"""Recipes: TOML files, read back as they are written."""

import dataclasses
import random
import tomllib
from pathlib import Path
from typing import Any

from campaign.mutations import Mutated, hostile_value, mutate_either
from campaign.originals import recipe
from campaign.trials import RIGHT, Plan, WrongError
from hlens.recipe import Recipe
from hlens.recipe.tables import toml

SHARE = 1.5
KEEPS_INPUT = True


def prepare(home: Path) -> None:
    """Nothing: recipes are written when needed."""


def make(draw: random.Random, home: Path, folder: Path) -> Plan:
    """A recipe with a hostile setting, a line changed, or bytes changed."""
    text = recipe().to_toml()
    kind = draw.random()
    refuse = False
    if kind < 0.6:
        mutated, refuse = _with_setting(draw, text)
    elif kind < 0.8:
        mutated = _with_line(draw, text)
    else:
        mutated = mutate_either(draw, text.encode())
    (folder / "recipe.toml").write_bytes(mutated.data)
    return {"said": mutated.said, "same": mutated.harmless, "refuse": refuse}


def _with_setting(draw: random.Random, text: str) -> tuple[Mutated, bool]:
    """A setting of the recipe with a hostile value, and whether no recipe may take it."""
    table = recipe().to_dict()
    sections = [key for key, value in table.items() if value and isinstance(value, dict)]
    section = draw.choice([None, *sections])
    options = table[section] if section else table
    names = [key for key, value in options.items() if not isinstance(value, dict)]
    key = draw.choice(names)
    value = hostile_value(draw, options[key])
    lines = text.split("\n")
    begin = lines.index(f"[{section}]") if section else 0
    at = next(i for i in range(begin, len(lines)) if lines[i].startswith(f"{key} = "))
    lines[at] = f"{key} = {_toml(value)}"
    data = "\n".join(lines).encode(errors="surrogatepass")
    return Mutated(data, f"{section or ''}.{key} = {value!r:.60}"), _is_absurd(options[key], value)


def _toml(value: Any) -> str:
    """A value as TOML; what TOML lacks (null) stands as it is, and is no TOML."""
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return str(value)
    return toml(value)


def _is_absurd(instead_of: Any, value: Any) -> bool:
    """Whether a number, or what stands for one, is beyond what any recipe may hold."""
    if isinstance(instead_of, bool) or not isinstance(instead_of, int | float):
        return False
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return not is_number or not 0 <= value < 2**53


def _with_line(draw: random.Random, text: str) -> Mutated:
    lines = text.rstrip("\n").split("\n")
    at = draw.randrange(len(lines))
    more = (
        "extra = 1",
        "[extra]",
        "[[probe]]",
        "seed.x = 1",
        "'' = 1",
        "[probe",
        "x = {a = 1",
        "\x00",
    )
    ways: dict[str, tuple[list[str], bool]] = {
        "a line twice": ([*lines[: at + 1], *lines[at:]], False),
        "a line dropped": (lines[:at] + lines[at + 1 :], False),
        "a line more": ([*lines[:at], draw.choice(more), *lines[at:]], False),
        "a remark": ([*lines[:at], "# \u2028 a remark", *lines[at:]], True),
        "a blank line": ([*lines[:at], "", *lines[at:]], True),
        "deep": ([*lines, "", "[sampling.template]", "a = " + "[" * 5000 + "]" * 5000], False),
        "blanks": ([line + " \t" for line in lines], True),
        "only remarks": (["# nothing"], False),
    }
    said = draw.choice(sorted(ways))
    kept, harmless = ways[said]
    return Mutated(("\n".join(kept) + "\n").encode(), f"line {at + 1}: {said}", harmless)


def check(plan: Plan, home: Path, folder: Path) -> str:
    """What is read can be written and read again, and what no recipe may hold is refused."""
    read = Recipe.read(folder / "recipe.toml")
    if plan["refuse"]:
        raise WrongError(f"taken: {plan['said']}")
    if plan["same"] and read != recipe():
        raise WrongError("another recipe: what must not matter changed it")
    again = Recipe.from_dict(tomllib.loads(read.to_toml()))
    if again != read or again.hash != read.hash:
        raise WrongError("it is not read as it is written")
    for section in dataclasses.fields(read):
        repr(getattr(read, section.name))
    return RIGHT
