# ruff: noqa: E501  (a call a line)
"""Objects of another kind: taken where the meaning is plain, else one line that names the argument."""

import contextlib
import inspect
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import hlens
from hlens import HlensError, figures, store
from hlens.kinds import explains_kinds, wrong_kind
from hlens.types import Contributions, Detector, Example, NeuronSet
from synthetic import made
from tiny_study import tiny_model

WEIGHTS = torch.tensor([[0.5, 0.0, 0.0], [0.0, -1.0, 0.0]])
FOUND = Detector(WEIGHTS, 0.0)
EXAMPLE = Example(torch.arange(4), 2, 2, 4, True, "1", "g", "general")


def data() -> Contributions:
    return made(n=20)


CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "texts for questions": (lambda: hlens.sample(None, ["text"]), r"expected (Model|Question)"),  # type: ignore
    "a dict for sets": (lambda: figures.upset({"a": FOUND.neurons}), "sets of upset: got a dict of 1"),
    "detectors for sets": (lambda: figures.upset([FOUND]), "expected a sequence of NeuronSet"),
    "a detector for tokens": (lambda: figures.tokens(FOUND, EXAMPLE), "tokens of tokens: got a Detector"),
    "a dict for a table": (lambda: figures.scores({"auroc": 1}), "expected DataFrame"),
    "records for a table": (lambda: figures.scores([{"auroc": 1}]), "got a list of 1; expected DataFrame"),
    "None for a table": (lambda: figures.transfer(None), "got None; expected DataFrame"),
    "an array for contributions": (lambda: hlens.find(np.eye(3)), r"got an? ndarray of shape \(3, 3\)"),  # type: ignore
    "None for contributions": (lambda: hlens.find(None), "data of find: got None"),  # type: ignore
    "a set for a detector": (lambda: hlens.evaluate(FOUND.neurons, data()), "expected Detector"),  # type: ignore
    "a detector in a set's place": (lambda: FOUND.neurons & FOUND, "got a Detector; expected NeuronSet"),  # type: ignore
    "a detector of a tensor": (lambda: FOUND(WEIGHTS), "got a Tensor of shape"),  # type: ignore
    "texts for responses": (lambda: hlens.judge(["a"], hlens.judges.named("abstain")), "sequence of Response"),  # type: ignore
    "None for a path": (lambda: hlens.load_detector(None), "expected str or Path"),  # type: ignore
    "a number for a path": (lambda: store.export_neurons(FOUND, 5), "path of export_neurons: got 5"),  # type: ignore
    "a list for a neuron set": (lambda: store.export_neurons([(0, 1)], "x.csv"), "NeuronSet or Detector"),  # type: ignore
    "a list for a detector": (lambda: store.save_detector([1.0], "x"), "expected Detector"),  # type: ignore
    "a frame for contributions": (lambda: store.save_contributions(pd.DataFrame(), "x"), "got a DataFrame"),  # type: ignore
    "an array for weights": (lambda: Detector(np.eye(2), 0.0), "weights|Type-check"),  # type: ignore
    "no pairs for members": (lambda: NeuronSet({3, 4}, 2, 4), "are no neurons|Type-check"),  # type: ignore
    "texts for metrics": (lambda: hlens.measure_many(tiny_model(), [EXAMPLE], metrics=["cett"]), "metrics of measure_many: got a list of 1 with the text 'cett'|such as hlens.metrics.cett"),  # type: ignore
    "a text for a list of metrics": (lambda: hlens.measure_many(tiny_model(), [EXAMPLE], metrics="cett"), "metrics of measure_many: got|expected a list, such as"),  # type: ignore
    "a function for a list of metrics": (lambda: hlens.measure_many(tiny_model(), [EXAMPLE], metrics=hlens.metrics.cett), "metrics of measure_many: got|expected a list, such as"),  # type: ignore
    "a text for a metric": (lambda: hlens.measure(tiny_model(), [EXAMPLE], metric="cett"), "metric of measure: got the text .cett.|such as hlens.metrics.cett"),  # type: ignore
    "an example for examples": (lambda: hlens.measure(tiny_model(), EXAMPLE), "examples of measure: got an Example; .*; put it in a list|Type-check"),  # type: ignore
    "the outer call is named": (lambda: hlens.evaluate(FOUND, [EXAMPLE]), "data of evaluate: .*; hlens.measure gives one"),  # type: ignore
    "a figure says what draws it": (lambda: figures.scores(0.8), "as hlens.evaluation.controls returns them"),
    "a text for a recipe": (lambda: hlens.Study("x", "demo"), "recipe of Study: got the text 'demo'; expected Recipe"),  # type: ignore
    "a number for a folder": (lambda: hlens.Study(3), "folder of Study: got 3"),  # type: ignore
    "a text for a model": (lambda: hlens.monitor.monitor("a", FOUND, ["b"]), "expected Model"),  # type: ignore
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_an_object_of_another_kind_is_one_line(name: str) -> None:
    call, said = CALLS[name]
    with pytest.raises((HlensError, TypeError), match=said) as raised:
        call()
    if "Type-check" not in said:
        assert isinstance(raised.value, HlensError)
        assert "\n" not in str(raised.value)


def test_what_is_plain_is_taken(tmp_path: Path) -> None:
    written = store.export_neurons(FOUND, tmp_path / "n.csv").read_text()
    assert written == store.export_neurons(FOUND.selected, tmp_path / "m.csv").read_text()


class Stranger:
    """Of no kind that any function knows."""


def public_functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    for family in hlens.__all__:
        value = getattr(hlens, family)
        members = vars(value) if inspect.ismodule(value) else {family: value}
        for name, function in members.items():
            if hasattr(function, "explains_kinds"):
                yield f"{family}.{name}", function


def test_every_public_function_names_an_argument_of_no_kind() -> None:
    missing, tried = [], 0
    for name, function in public_functions():
        parameters = inspect.signature(function).parameters.values()
        needed = [p for p in parameters if p.default is p.empty and p.kind < p.VAR_POSITIONAL]
        keywords = {
            p.name: Stranger()
            for p in parameters
            if p.default is p.empty and p.kind == p.KEYWORD_ONLY
        }
        strangers = [Stranger() for _ in needed]
        if not needed or wrong_kind(function, strangers, keywords) is None:
            continue  # any object is of the kind that its signature says
        tried += 1
        with contextlib.suppress(HlensError):
            try:
                function(*strangers, **keywords)
            except (AttributeError, KeyError, TypeError) as error:
                missing.append(f"{name}: {type(error).__name__} {error}")
    assert missing == []
    assert tried > 120


def test_what_explains_itself_can_be_pickled_and_keeps_its_name() -> None:
    for _, function in public_functions():
        assert pickle.loads(pickle.dumps(function)) is function


def test_a_fault_of_its_own_stays_what_it_is() -> None:
    def broken(texts: list[str]) -> float:
        return len(texts) / 0

    with pytest.raises(ZeroDivisionError):
        explains_kinds(broken)(["a"])
    with pytest.raises(HlensError, match="texts of broken: got None; expected a sequence of str"):
        explains_kinds(broken)(None)  # type: ignore
