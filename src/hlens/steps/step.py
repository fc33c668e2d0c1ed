"""A step of a study as a value, declared beside the function that makes its artefact.

Problem: a study is some forty artefacts, each made from others and from some options of the
recipe. Whoever writes down by hand what an artefact depends on forgets an option sooner or later,
and an old table is then shown as the new one.

Idea: a step's function receives the artefacts and options that its declaration names, and nothing
else, so it cannot read an option that it does not declare. `hlens.steps.runner.Runner` derives the
rest from the declaration: the arguments, the key under which the artefact is kept, whether what
lies on disk is current, the label of the progress bar, and what the command line lists. ::

    @step(needs=(split, probe, detector), options=("evaluation.n_boot", "seed"), storage=TABLE)
    def scores(split, probe, detector, *, n_boot, seed):
        '''The detector on held-out groups, beside its controls.'''

`scores` is now a `Step`. ``study[scores]`` reads its table where that is current and makes it (and
what it needs) where it is not. The file is ``scores.parquet``, the stamp ``scores``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import getdoc, signature
from pathlib import Path
from typing import Any, Generic, TypeVar

import pandas as pd

from hlens.store.tables import load_table, save_table

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Source(Generic[T]):
    """What a study is given from outside: a model, questions, the rivals that are installed.

    Attributes:
        name: What it is.
        load: Gives it, for the `hlens.steps.runner.Runner` that first needs it.
        options: Dotted names of the recipe's options that decide what it is.
        later: Further ones, which are newer than some studies: they count where they are not what
            they were before.
        content: Plain values that identify it, where its options do not.
        is_model: Whether using it runs a model.
    """

    name: str
    load: Callable[[Any], T]  # Any, because the runner's module imports this one
    options: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    content: Callable[[Any], Any] | None = None
    is_model: bool = False


@dataclass(frozen=True, eq=False)
class Each(Generic[T]):
    """A family of steps, one per name, such as a detector for each domain.

    Attributes:
        name: Name of the family.
        over: The step that lists the names.
        of: Gives the step for one name; always the same object for the same name.
    """

    name: str
    over: "Step[list[str]]"
    of: "Callable[[str], Step[T]]"


@dataclass(frozen=True)
class Storage(Generic[T]):
    """How an artefact is kept on disk.

    Attributes:
        suffix: Of its file; empty for a folder.
        save: Writes it to its file.
        load: Reads it from there, given the artefacts of `beside`.
        beside: Steps whose artefacts reading needs.
        also: Further files of the artefact: a suffix such as ".json", or the name of a file in the
            same folder.
    """

    suffix: str
    save: Callable[[T, Path], object]
    load: Callable[..., T]
    beside: "tuple[Step[Any], ...]" = ()
    also: tuple[str, ...] = ()

    def files(self, stem: Path) -> list[Path]:
        """The files of an artefact: those that it has, and those that are in its folder."""
        if not self.suffix:
            return sorted(path for path in stem.rglob("*") if path.is_file())
        further = (
            file_of(stem, name) if name.startswith(".") else stem.with_name(name)
            for name in self.also
        )
        return [file_of(stem, self.suffix), *further]


def file_of(stem: Path, suffix: str) -> Path:
    """A path with a suffix behind its whole name, dots included."""
    return stem.with_name(stem.name + suffix)


TABLE: Storage[pd.DataFrame] = Storage(".parquet", save_table, load_table)


@dataclass(frozen=True, eq=False)
class Step(Generic[T]):
    """How one artefact is made, and from what.

    Attributes:
        name: Of the artefact, its file and its stamp.
        make: The function. It takes the artefacts of `needs` by position, those of `optional` and
            the options by keyword. Further keywords are passed where it names them: ``progress``
            (a callback of done and total), ``report`` (the same of name, done and total, for work
            in several stages), ``parts`` (a folder for unfinished work) and ``earlier`` (the file
            of an artefact made under the same options from other inputs, or None).
        needs: Steps and sources that it is made from.
        options: Dotted names of the recipe's options that it reads, or of whole sections. The last
            part of the name is the keyword; ``"draws=evaluation.random_sets"`` gives another one.
        later: Further ones, which are newer than some studies: they count where they are not what
            they were before.
        optional: Steps whose artefacts are passed where they are current, and None where not; the
            keyword is the step's name.
        storage: How it is stored; None: recomputed in memory on every use.
        verb: The verb of the command line that makes it, where there is one.
        content: Plain values that say what the artefact is. What needs it then depends on these,
            and not on how it was made: if a list of domains comes out the same, nothing reruns.
        keeps_parts: Whether unfinished work stays when the artefact is made, for later runs.
        figure: Draws the artefact for ``--figure``.
        facts: A few facts on the artefact, for the command line.
    """

    name: str
    make: Callable[..., T]
    needs: "tuple[Node, ...]" = ()
    options: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    optional: "tuple[Step[Any], ...]" = ()
    storage: Storage[T] | None = None
    verb: str = ""
    content: Callable[[T], Any] | None = None
    keeps_parts: bool = False
    figure: Callable[[T], Any] | None = None
    facts: Callable[[T], dict[str, Any]] | None = None

    @property
    def label(self) -> str:
        """The step in words, as a progress bar shows it."""
        plain = self.name.replace("_", " ").replace("/", ": ")
        named = not self.verb or plain.split(":")[0] in (self.verb, self.verb.replace("-", " "))
        return plain if named else f"{self.verb}: {plain}"

    @property
    def help(self) -> str:
        """What the step makes: the first paragraph of its docstring."""
        return (getdoc(self.make) or "").split("\n\n")[0].replace("\n", " ")

    def takes(self, keyword: str) -> bool:
        """Whether the function names this keyword."""
        return keyword in signature(self.make).parameters


def keyword_of(option: str) -> str:
    """The keyword under which an option is passed.

    >>> keyword_of("seed"), keyword_of("evaluation.folds"), keyword_of("draws=evaluation.folds")
    ('seed', 'folds', 'draws')
    """
    keyword, renamed, _ = option.partition("=")
    return keyword if renamed else option.rpartition(".")[2]


Node = Step[Any] | Source[Any] | Each[Any]


def step(*, name: str = "", **declared: Any) -> Callable[[Callable[..., T]], Step[T]]:
    """Declare a function as a step; see `Step` for the options. Its name is the function's."""
    return lambda make: Step(name or make.__name__, make, **declared)


def substitute(
    one: Step[T], swaps: "dict[Step[Any], Step[Any]]", rename: Callable[[str], str]
) -> Step[T]:
    """A copy of a step in which some of its direct or indirect inputs are replaced.

    Args:
        one: The step.
        swaps: Replacement for each step; the copies made on the way are added to it.
        rename: Name of a copy, given the name of the original.
    """
    if one in swaps:
        return swaps[one]
    needs = tuple(
        substitute(need, swaps, rename) if isinstance(need, Step) else need for need in one.needs
    )
    # Optional inputs keep pointing at the original steps: they are not part of this graph.
    if needs == one.needs:
        return one
    swaps[one] = replace(one, name=rename(one.name), needs=needs)
    return swaps[one]
