"""Runs steps: reads an artefact from disk if it is current, and makes it otherwise.

A step's key is a hash of its name, the keys of its inputs and the options that it reads. The key
follows from the recipe and the declarations alone, so checking whether an artefact is current makes
nothing. What is read is the file that was stamped, and what is replaced was written by hlens: see
`hlens.store.stamps`. One process at a time makes artefacts in a folder; any may read beside it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, is_dataclass, replace
from functools import cache, partial, reduce
from pathlib import Path
from typing import Any, TypeVar, overload

import pandas as pd

from hlens.errors import HlensError
from hlens.labelled import Labelled
from hlens.locks import holding
from hlens.model import Model
from hlens.recipe import BEFORE, Recipe, key_of, plain_section
from hlens.steps.step import Each, Node, Source, Step, file_of, keyword_of
from hlens.store import remove_folder, remove_partial_files, write_text
from hlens.store.stamps import Stamp, Stamps
from hlens.types import Question
from hlens.work import Workers

T = TypeVar("T")
PARTS = ".parts"  # suffix of the folder of a step's unfinished work
SAVED = "saved"  # in that folder: the artefact has been written, and only its stamp is missing
Progress = Callable[[str, int, int], None]


class NotMadeError(HlensError):
    """An artefact is not current, and making it would run the model, which is not allowed here.

    Attributes:
        step: The step that would run the model.
    """

    def __init__(self, step: Step[Any], reason: str) -> None:
        super().__init__(f"{step.label} {reason}")
        self.step = step


@dataclass
class Given:
    """Objects the caller passed in, which replace what the recipe names.

    Attributes:
        model: The model, open; None loads the recipe's.
        base_model: The base model, open; None loads the recipe's.
        siblings: Siblings of the model by name, open; others are loaded by their names.
        questions: What is asked; None loads the recipe's domains.
        labelled: Labelled answers that take the place of asking; None reads the recipe's file.
        opened: Whether the recipe was read from the folder: the study then keeps to the questions
            that it asked, also when a domain has changed since.
        instead: Replacement for a step, such as one that returns the caller's own answers.
        workers: Who samples and measures, in place of the model's own workers.
    """

    model: Model | None = None
    base_model: Model | None = None
    siblings: dict[str, Model] = field(default_factory=dict)
    questions: list[Question] | None = None
    labelled: Labelled | None = None
    opened: bool = False
    instead: Mapping[Step[Any], Step[Any]] = field(default_factory=dict)
    workers: Workers | None = None


class Runner:
    """Makes and reads the artefacts of one folder.

    Args:
        folder: Where they are kept.
        recipe: The options.
        given: Objects that replace what the recipe names.
        progress: Called with (label of the step, done, total).
    """

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        given: Given | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.folder = folder
        self.recipe = recipe
        self.given = given or Given()
        self.stamps = Stamps(folder)
        self.progress = progress
        self._sources: dict[Source[Any], Any] = {}
        self._held: dict[Step[Any], tuple[str, Any]] = {}
        self._keys: dict[Node, str] = {}

    def revise(self, recipe: Recipe) -> None:
        """Switch to another recipe; artefacts whose options did not change stay current."""
        before = {source: self._plain_options(source) for source in self._sources}
        self.recipe = recipe
        for source, options in before.items():
            if self._plain_options(source) != options:  # an open model stays open otherwise
                del self._sources[source]
        self.forget_keys()

    @overload
    def value(self, node: Each[T]) -> Mapping[str, T]: ...
    @overload
    def value(self, node: Step[T] | Source[T]) -> T: ...
    def value(self, node: Node) -> Any:
        """The artefact of a step, read if it is current and made otherwise; or a source."""
        if not isinstance(node, Step | Source | Each):
            raise HlensError(
                f"got {node!r}; expected a step, such as hlens.steps.detection.scores (`hlens list "
                "steps` names all)"
            )
        if isinstance(node, Source):
            if node not in self._sources:
                source = node.load(self)
                if isinstance(source, Model):
                    self._check_model(node, source)
                self._sources[node] = source
            return self._sources[node]
        if isinstance(node, Each):
            return {name: self.value(node.of(name)) for name in self.value(node.over)}
        self.ensure(node)
        step: Step[Any] = self._actual(node)
        if step.storage is None:
            # Not cached: callers fit a probe in place, and a selection of examples is a big copy.
            return step.make(*self._arguments(step), **self._keywords(step))
        key, value = self._held.get(step, ("", None))
        if key != self.key(step):
            beside = [self.value(other) for other in step.storage.beside]
            self.stamps.check(step.name)
            value = step.storage.load(self.file(step), *beside)
            self._seal(step)
            self._held[step] = (self.key(step), value)
        # Whoever alters a table shall not alter what others are given.
        return value.copy() if isinstance(value, pd.DataFrame) else value

    def _seal(self, step: Step[Any]) -> None:
        """Keep the content of an artefact that an earlier version stamped, now that it was read."""
        stamp = self.stamps.get(step.name)
        assert step.storage is not None  # only what is kept is read
        if stamp is None or stamp.files:
            return
        files = [file for file in step.storage.files(self.path(step)) if file.exists()]
        with suppress(OSError, HlensError), self.working():  # not while another process works here
            self.stamps.set(step.name, replace(stamp, files=self.stamps.seal(files)))

    def value_without_model(self, node: Step[T]) -> T:
        """The artefact of a step, provided that no model has to run to get it.

        Raises:
            NotMadeError: It is not current, and making it would run the model.
        """
        self.refuse_to_run_model(node)
        return self.value(node)

    def refuse_to_run_model(self, node: Step[Any]) -> None:
        """Raise `NotMadeError` if a model would have to run to get this artefact."""
        missing = self.first_to_run_model(node)
        if missing is not None:
            made = self.stamps.get(missing.name) is not None
            reason = "was made under other options" if made else "has not been made"
            raise NotMadeError(missing, reason)

    def ensure(self, node: Node) -> None:
        """Make an artefact, and what it needs, unless it is current."""
        node = self._actual(node)
        if self.is_current(node):
            return
        with self.working():
            for need in self._below(node):
                self.ensure(need)
            if isinstance(node, Each):
                for name in self.value(node.over):
                    self.ensure(node.of(name))
            # What has just been made may have content on which this key depends.
            self.forget_keys()
            if isinstance(node, Step) and node.storage is not None and not self.is_current(node):
                self._make(node)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold the folder while artefacts are made in it.

        Raises:
            HlensError: Another process is making some.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with holding(self.folder) as outermost:
            if outermost:  # what a killed run left
                remove_partial_files(self.folder)
                for mark in self.folder.rglob(f"*{PARTS}/{SAVED}"):
                    name = mark.parent.relative_to(self.folder).as_posix().removesuffix(PARTS)
                    if self.stamps.get(name):
                        remove_folder(mark.parent)
            yield

    @contextmanager
    def employing(self, workers: Workers) -> Iterator[None]:
        """Let these workers sample and measure for the length of a block."""
        before = self.given.workers, dict(self._sources)
        self.given.workers = workers
        for source, value in before[1].items():
            if isinstance(value, Model):
                self._sources[source] = value.with_workers(workers)
        try:
            yield
        finally:
            self.given.workers, self._sources = before

    def work_beside(self, step: Step[Any]) -> None:
        """Do the work of a step that is the employed workers', beside processes that do the rest.

        No artefact is made, and nothing but blocks of that work is written.

        Raises:
            HlensError: What the step needs has not been made, or another process makes artefacts.
        """
        step = self._actual(step)
        self.require_needs(step)
        with holding(self.folder, beside=True):
            if not self.is_current(step):
                step.make(*self._arguments(step), **self._keywords(step))

    def require_needs(self, step: Step[Any]) -> None:
        """Raise `HlensError` unless all that a step needs is current."""
        for need in self._below(self._actual(step)):
            need = self._actual(need)
            if self.is_current(need) or not isinstance(need, Step):
                continue
            if need.storage is None:
                self.require_needs(need)
            verb = f"`hlens {need.verb} {self.folder}`" if need.verb else "the step that makes them"
            raise HlensError(
                f"{self.folder}: {need.name} are not made, or are not current, and {step.label} "
                f"needs them; run {verb} in one process first"
            )

    def is_current(self, node: Node) -> bool:
        """Whether an artefact on disk was made from today's inputs and options.

        A step without storage is current when everything it needs is.
        """
        node = self._actual(node)
        if isinstance(node, Step) and node.storage is not None:
            stamp = self.stamps.get(node.name)
            return stamp is not None and self._is_whole(node) and stamp.key == self.key(node)
        if not all(self.is_current(need) for need in self._below(node)):
            return False
        return not isinstance(node, Each) or all(map(self.is_current, self._members(node)))

    def stands(self, step: Step[Any]) -> bool:
        """Whether an artefact is current that is read where there is one, and else left out.

        Raises:
            HlensError: It was made, and its files are gone: what reads it would say less without a
                word.
        """
        if self.is_current(step):
            return True
        stamp = self.stamps.get(step.name)
        if stamp is None or self._is_whole(step) or stamp.key != self.key(step):
            return False
        raise HlensError(
            f"{self.file(step)} is gone, or a part of it, though this study made it; put it back, "
            f"or make it again: hlens {step.verb} {self.folder}"
        )

    def _is_whole(self, step: Step[Any]) -> bool:
        """Whether all files of an artefact are there; their content is checked when it is read."""
        stamp = self.stamps.get(step.name)
        return self.file(step).exists() and stamp is not None and self.stamps.has_files(stamp)

    def first_to_run_model(self, node: Node) -> Step[Any] | None:
        """The first step that would run the model to get this artefact; None if none would."""
        node = self._actual(node)
        below = self._below(node)
        if isinstance(node, Step) and node.storage is not None and self.is_current(node):
            below = node.storage.beside
        for need in below:
            if (step := self.first_to_run_model(need)) is not None:
                return step
        if isinstance(node, Step) and any(isinstance(n, Source) and n.is_model for n in below):
            return node
        steps = map(self.first_to_run_model, self._members(node))
        return next((step for step in steps if step is not None), None)

    def _actual(self, node: Any) -> Any:
        """The step that runs when this one is asked for."""
        return self.given.instead.get(node, node) if isinstance(node, Step) else node

    def _below(self, node: Node) -> tuple[Node, ...]:
        if isinstance(node, Source):
            return ()
        return (node.over,) if isinstance(node, Each) else node.needs

    def _members(self, node: Node) -> list[Step[Any]]:
        """The steps of an `Each`, once the names are known; of anything else none."""
        return [node.of(name) for name in self.value(node.over)] if isinstance(node, Each) else []

    def key(self, node: Node) -> str:
        """Hash of all that an artefact depends on."""
        node = self._actual(node)
        if node not in self._keys:
            self._keys[node] = key_of([node.name, self._depends_on(node)])
        return self._keys[node]

    def _depends_on(self, node: Node) -> Any:
        if isinstance(node, Source):
            content = node.content(self) if node.content else None
            return [self._plain_options(node), content]
        if isinstance(node, Each):
            if not self.is_current(node.over):  # the names are not known yet
                return [self.key(node.over), self.key(node.of(""))]
            return [self.key(one) for one in self._members(node)]
        if node.content is not None and self.is_current(node):
            given = [self.key(need) for need in node.needs if isinstance(need, Source)]
            return [node.content(self.value(node)), given]
        optional = [self.key(one) if self.stands(one) else None for one in node.optional]
        return [[self.key(need) for need in node.needs], self._plain_options(node), optional]

    def forget_keys(self) -> None:
        """Derive all keys again: something that they depend on has changed."""
        self._keys.clear()

    def options_key(self, step: Step[Any]) -> str:
        """Hash of the step's options and sources, leaving out the artefacts that it needs."""
        sources = [self.key(need) for need in step.needs if isinstance(need, Source)]
        return key_of([step.name, sources, self._plain_options(step)])

    def options_of(self, step: Step[Any]) -> dict[str, Any]:
        """The options that a step and its sources read, with their values."""
        sources = [need for need in step.needs if isinstance(need, Source)]
        return {k: v for node in (step, *sources) for k, v in self._plain_options(node).items()}

    def _plain_options(self, node: Step[Any] | Source[Any]) -> dict[str, Any]:
        set_later = [name for name in node.later if self._option(name) != _before(name)]
        values = {name: self._option(name) for name in (*node.options, *set_later)}
        return {
            name: plain_section(name, v) if is_dataclass(v) else v  # type: ignore[arg-type]
            for name, v in values.items()
        }

    def _option(self, name: str) -> Any:
        return _option(self.recipe, name)

    def path(self, step: Step[Any]) -> Path:
        """Where an artefact is kept, without its suffix."""
        return self.folder / step.name

    def file(self, step: Step[Any]) -> Path:
        """The file, or the folder, of an artefact that is kept."""
        assert step.storage is not None  # only what is kept has files
        return file_of(self.path(step), step.storage.suffix)

    def _make(self, step: Step[Any]) -> None:
        assert step.storage is not None  # `ensure` makes only steps that are stored
        path = self.path(step)
        # Before the work, not after hours of it.
        self.stamps.check_may_write(step.name, step.storage.files(path))
        arguments, keywords = self._arguments(step), self._keywords(step)
        parts: Path | None = keywords.get("parts")
        if parts is not None:
            (parts / SAVED).unlink(missing_ok=True)
        report = self.reporter(step)
        report(0, 1)
        wall, cpu = time.monotonic(), time.process_time()
        value = step.make(*arguments, **keywords)
        # Wall time grows when the machine is busy with other work; CPU time does not.
        spent = {"seconds": time.monotonic() - wall, "cpu": time.process_time() - cpu}
        # A kill between these lines leaves an artefact that nothing vouches for: it is made again.
        self.stamps.remove(step.name)
        if not step.storage.suffix:
            remove_folder(path)
        step.storage.save(value, self.file(step))
        used = parts if parts and parts.exists() and not step.keeps_parts else None
        if used is not None:  # from here on the parts are litter, also after a kill
            write_text(used / SAVED, "")
        note: dict[str, Any] = {name: round(seconds, 2) for name, seconds in spent.items()}
        note["options"] = self.options_of(step)
        given = {need: self._sources.get(need) for need in step.needs if isinstance(need, Source)}
        note["models"] = {
            source.name: model.fingerprint
            for source, model in given.items()
            if isinstance(model, Model)
        }
        key, files = self.key(step), self.stamps.seal(step.storage.files(path))
        self.stamps.set(step.name, Stamp(key, self.options_key(step), note, files))
        if used is not None:
            remove_folder(used)
        self._held[step] = (key, value)
        self.forget_keys()  # steps that read this one optionally now have other keys
        report(1, 1)

    def _check_model(self, source: Source[Any], model: Model) -> None:
        """Refuse other weights than those that what is kept here was made with.

        The recipe names a model, and names stay when weights change.
        """
        unset = dict.fromkeys(source.later, "")
        options = unset | self._plain_options(source)
        now = model.fingerprint  # asked once: to see that no weight changed, every W_out is read
        for name, stamp in self.stamps.read().items():
            kept = stamp.note.get("models", {}).get(source.name, now)
            noted = unset | stamp.note.get("options", {})
            own = {option: noted.get(option) for option in options}
            if kept != now and key_of(own) == key_of(options):
                raise HlensError(
                    f"{self.folder}: {name} was made with other weights ({kept[:12]}) than those "
                    f"of {model.name} now ({now[:12]}); open the study with the "
                    "model that it was made with, or give this one another folder"
                )

    def _arguments(self, step: Step[Any]) -> list[Any]:
        return [self.value(need) for need in step.needs]

    def _keywords(self, step: Step[Any]) -> dict[str, Any]:
        options = (*step.options, *step.later)
        keywords = {keyword_of(name): self._option(name) for name in options}
        for one in step.optional:
            keywords[one.name] = self.value(one) if self.stands(one) else None
        further: dict[str, Callable[[], Any]] = {
            "progress": lambda: self.reporter(step),
            "report": lambda: partial(self._report_stage, step),
            "parts": lambda: file_of(self.path(step), PARTS),
            "earlier": lambda: self._earlier(step),
        }
        return keywords | {name: give() for name, give in further.items() if step.takes(name)}

    def _earlier(self, step: Step[Any]) -> Path | None:
        """The file of an artefact of which only the inputs have changed since, not the options."""
        stamp = self.stamps.get(step.name)
        if stamp is None or stamp.options != self.options_key(step) or not self._is_whole(step):
            return None
        self.stamps.check(step.name)
        return self.file(step)

    def remake(self, steps: Iterable[Step[Any]]) -> None:
        """Make these artefacts again when they are next asked for; what they need is kept."""
        with self.working():
            for step in steps:
                self.stamps.doubt(step.name)
                self._held.pop(step, None)
        self.forget_keys()

    def seconds(self, cpu: bool = False) -> dict[str, float]:
        """How long each artefact took to make, in wall-clock or with `cpu` in processor seconds."""
        what = "cpu" if cpu else "seconds"
        stamps = self.stamps.read().items()
        return {name: stamp.note[what] for name, stamp in stamps if what in stamp.note}

    def reporter(self, step: Step[Any]) -> Callable[[int, int], None]:
        """The progress callback (done, total) of one step."""
        return lambda done, total: self.progress and self.progress(step.label, done, total)

    def _report_stage(self, step: Step[Any], stage: str, done: int, total: int) -> None:
        if self.progress:
            self.progress(f"{step.label}: {stage}", done, total)


def _option(recipe: Recipe, name: str) -> Any:
    """An option of a recipe by its dotted name, renamed or not."""
    return reduce(getattr, name.rpartition("=")[2].split("."), recipe)


@cache
def _before(name: str) -> Any:
    """What an option was before a recipe could say it."""
    return BEFORE.get(name, _option(Recipe(), name))
