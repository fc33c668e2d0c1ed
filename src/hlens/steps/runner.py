"""The one place where steps run: what is current is read, what is not is made.

A step's key is a hash of its name, the keys of what it needs and the options that it reads. It
follows from recipe and declarations, so whether an artefact is current can be asked without making
anything.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, is_dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any, TypeVar, overload

from hlens.errors import HlensError
from hlens.model import Model
from hlens.recipe import Recipe, key_of
from hlens.steps.step import Each, Node, Source, Step, file_of, keyword_of
from hlens.store import remove_folder
from hlens.store.stamps import Stamp, Stamps
from hlens.types import Question

T = TypeVar("T")
Progress = Callable[[str, int, int], None]


class NotMadeError(HlensError):
    """An artefact is not current, and the model may not be run to make it.

    Attributes:
        step: The step that would run the model.
    """

    def __init__(self, step: Step[Any], reason: str) -> None:
        super().__init__(f"{step.label} {reason}")
        self.step = step


@dataclass
class Given:
    """What a study was handed in place of what its recipe names.

    Attributes:
        model: The model, open; None loads the recipe's.
        base_model: The base model, open; None loads the recipe's.
        questions: What is asked; None loads the recipe's domains.
        opened: Whether the recipe was read from the folder: the study then keeps to the questions
            that it asked, also when a domain has changed since.
        completion: Whether the model is asked as base models are (`hlens.sample`).
        instead: Steps that run in the place of others, such as one that gives answers of one's own.
    """

    model: Model | None = None
    base_model: Model | None = None
    questions: list[Question] | None = None
    opened: bool = False
    completion: bool = False
    instead: Mapping[Step[Any], Step[Any]] = field(default_factory=dict)


class Runner:
    """Makes and reads the artefacts of one folder.

    Args:
        folder: Where they are kept.
        recipe: The options.
        given: What takes the place of what the recipe names.
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
        """Go on with another recipe; an artefact made under the same options stays current."""
        self.recipe = recipe
        self._sources.clear()
        self.forget_keys()

    @overload
    def value(self, node: Each[T]) -> Mapping[str, T]: ...
    @overload
    def value(self, node: Step[T] | Source[T]) -> T: ...
    def value(self, node: Node) -> Any:
        """The artefact of a step, read where it is current and else made; or a source."""
        if isinstance(node, Source):
            if node not in self._sources:
                self._sources[node] = node.load(self)
            return self._sources[node]
        if isinstance(node, Each):
            return {name: self.value(node.of(name)) for name in self.value(node.over)}
        self.ensure(node)
        step: Step[Any] = self._actual(node)
        if step.storage is None:
            # Not held: a probe is fitted in place, and a selection of examples is a copy.
            return step.make(*self._arguments(step), **self._keywords(step))
        key, value = self._held.get(step, ("", None))
        if key != self.key(step):
            beside = [self.value(other) for other in step.storage.beside]
            value = step.storage.load(self.path(step), *beside)
            self._held[step] = (self.key(step), value)
        return value

    def value_without_model(self, node: Step[T]) -> T:
        """The artefact of a step, where no model has to be run for it.

        Raises:
            NotMadeError: It is not current, and making it would run the model.
        """
        missing = self.first_to_run_model(node)
        if missing is not None:
            made = self.stamps.get(missing.name) is not None
            reason = "was made under other options" if made else "has not been made"
            raise NotMadeError(missing, reason)
        return self.value(node)

    def ensure(self, node: Node) -> None:
        """Make an artefact, and what it needs, unless it is current."""
        node = self._actual(node)
        if self.is_current(node):
            return
        for need in self._below(node):
            self.ensure(need)
        if isinstance(node, Each):
            for name in self.value(node.over):
                self.ensure(node.of(name))
        # What has just been made may have content on which this key depends.
        self.forget_keys()
        if isinstance(node, Step) and node.storage is not None and not self.is_current(node):
            self._make(node)

    def is_current(self, node: Node) -> bool:
        """Whether an artefact on disk was made from today's inputs and options.

        What is not kept on disk is current where all that it needs is.
        """
        node = self._actual(node)
        if isinstance(node, Step) and node.storage is not None:
            stamp = self.stamps.get(node.name)
            exists = file_of(self.path(node), node.storage.suffix).exists()
            return stamp is not None and exists and stamp.key == self.key(node)
        if not all(self.is_current(need) for need in self._below(node)):
            return False
        return not isinstance(node, Each) or all(map(self.is_current, self._members(node)))

    def first_to_run_model(self, node: Node) -> Step[Any] | None:
        """The first step that would run the model before this artefact could be had, or None."""
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
            return node.content(self.value(node))
        optional = [self.key(one) if self.is_current(one) else None for one in node.optional]
        return [[self.key(need) for need in node.needs], self._plain_options(node), optional]

    def forget_keys(self) -> None:
        """Derive all keys again: something that they depend on has changed."""
        self._keys.clear()

    def options_key(self, step: Step[Any]) -> str:
        """Hash of what is the step's own: its options and sources, and not its other inputs."""
        sources = [self.key(need) for need in step.needs if isinstance(need, Source)]
        return key_of([step.name, sources, self._plain_options(step)])

    def _plain_options(self, node: Step[Any] | Source[Any]) -> dict[str, Any]:
        values = {name: self._option(name) for name in node.options}
        return {name: vars(v) if is_dataclass(v) else v for name, v in values.items()}

    def _option(self, name: str) -> Any:
        return reduce(getattr, name.rpartition("=")[2].split("."), self.recipe)

    def path(self, step: Step[Any]) -> Path:
        """Where an artefact is kept, without its suffix."""
        return self.folder / step.name

    def _make(self, step: Step[Any]) -> None:
        assert step.storage is not None  # what is not kept is never missing
        arguments, keywords = self._arguments(step), self._keywords(step)
        report = self.reporter(step)
        report(0, 1)
        wall, cpu = time.monotonic(), time.process_time()
        value = step.make(*arguments, **keywords)
        # Other work on the machine lengthens the first of these and not the second.
        spent = {"seconds": time.monotonic() - wall, "cpu": time.process_time() - cpu}
        # A kill between these lines leaves an artefact without a stamp, which is made again.
        self.stamps.remove(step.name)
        step.storage.save(value, self.path(step))
        note = {name: round(seconds, 2) for name, seconds in spent.items()}
        key = self.key(step)
        self.stamps.set(step.name, Stamp(key, self.options_key(step), note))
        if "parts" in keywords and not step.keeps_parts:
            remove_folder(keywords["parts"])
        self._held[step] = (key, value)
        self.forget_keys()  # of steps to which this one is optional
        report(1, 1)

    def _arguments(self, step: Step[Any]) -> list[Any]:
        return [self.value(need) for need in step.needs]

    def _keywords(self, step: Step[Any]) -> dict[str, Any]:
        keywords = {keyword_of(name): self._option(name) for name in step.options}
        for one in step.optional:
            keywords[one.name] = self.value(one) if self.is_current(one) else None
        further: dict[str, Callable[[], Any]] = {
            "progress": lambda: self.reporter(step),
            "report": lambda: partial(self._report_stage, step),
            "parts": lambda: file_of(self.path(step), ".parts"),
            "earlier": lambda: self._earlier(step),
        }
        return keywords | {name: give() for name, give in further.items() if step.takes(name)}

    def _earlier(self, step: Step[Any]) -> Path | None:
        """Path of an artefact that differs from the wanted one in its inputs alone."""
        stamp, path = self.stamps.get(step.name), self.path(step)
        assert step.storage is not None  # only what is kept has an earlier state
        same = stamp is not None and stamp.options == self.options_key(step)
        return path if same and file_of(path, step.storage.suffix).exists() else None

    def remake(self, steps: Iterable[Step[Any]]) -> None:
        """Make these artefacts again when they are next asked for; what they need is kept."""
        for step in steps:
            self.stamps.remove(step.name)
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
