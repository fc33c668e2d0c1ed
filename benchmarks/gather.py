"""What gathering the rivals' evidence costs, against the study that it audits.

    python benchmarks/gather.py [--questions 60] [--samples 4] [--drawn 0 4]

A small study is made (asked, judged, located, measured) and its evidence gathered: once with the
study's own samples serving all rivals, and once with further ones to be drawn. CPU seconds of one
process on one thread, so that waiting for others does not count; the ratio is to what the study
took to sample and measure. With --rivals the rivals are fitted and scored, too.
"""

import argparse
import time
import warnings
from collections.abc import Sequence

import torch

import hlens
from hlens import baselines, domains, spans
from hlens.baselines import NotAvailableError
from hlens.evaluation import auroc, split_by_group
from hlens.model import Model, Settings
from hlens.types import Contributions, Evidence, Example, Response


class Clock:
    """CPU seconds of named steps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.since = time.process_time()

    def lap(self, step: str) -> None:
        now = time.process_time()
        self.seconds[step] = self.seconds.get(step, 0.0) + now - self.since
        self.since = now


def study(
    model: Model, n: int, samples: int, how: Settings, clock: Clock
) -> tuple[list[Example], list[Response], Contributions]:
    """The line of a study up to its contributions, one example a question and label."""
    questions = domains.load("general", n)
    clock.lap("load the questions")
    responses = hlens.sample(model, questions, n=samples, settings=how)
    clock.lap("sample")
    located = spans.locate(hlens.judge(responses), model)
    examples = spans.first_of_each_label(located, 1)
    clock.lap("judge and locate")
    data = hlens.measure(model, examples)
    clock.lap("measure")
    return examples, responses, data


def gathered(
    model: Model,
    made: tuple[list[Example], list[Response], Contributions],
    others: int,
    how: Settings,
) -> tuple[Evidence, Clock]:
    """Gather, with the CPU seconds of each of its steps."""
    clock = Clock()

    def tell(step: str, done: int, total: int) -> None:
        clock.lap(step)

    found = baselines.gather(model, *made, samples=others, settings=how, progress=tell)
    clock.lap("the rest")
    return found, clock


def fit_all(found: Evidence) -> list[str]:
    """Each rival's CPU seconds and AUROC on held-out groups; a small study, so read the seconds."""
    inside = set(split_by_group(found.contributions, 0.4)[0].groups)  # groups are never split
    rows = torch.tensor([group in inside for group in found.groups])
    lines = ["", "| rival | CPU s | AUROC | forward passes | samples |", "|---|---|---|---|---|"]
    for rival in baselines.rivals():
        began = time.process_time()
        try:
            scores = rival(found.select(rows), found.select(~rows))
            area = f"{auroc(scores, found.labels[~rows]):.3f}"
        except NotAvailableError as error:
            area = f"not available: {error}"
        cost = rival.cost(found)
        took = time.process_time() - began
        lines.append(f"| {rival.name} | {took:.2f} | {area} | {cost.passes} | {cost.samples} |")
    return lines


def table(study_clock: Clock, clocks: dict[str, Clock]) -> list[str]:
    whole = study_clock.seconds["sample"] + study_clock.seconds["measure"]
    lines = ["| step | CPU s | of sampling + measuring |", "|---|---|---|"]
    for step in ("sample", "measure"):
        seconds = study_clock.seconds[step]
        lines.append(f"| the study: {step} | {seconds:.1f} | {seconds / whole:.2f} |")
    for name, clock in clocks.items():
        for step, seconds in clock.seconds.items():
            lines.append(f"| {name}: {step} | {seconds:.1f} | {seconds / whole:.2f} |")
        total = sum(clock.seconds.values())
        lines.append(f"| **{name}: all** | **{total:.1f}** | **{total / whole:.2f}** |")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--samples", type=int, default=4, help="samples a question in the study")
    parser.add_argument("--drawn", type=int, nargs="+", default=[0, 3], help="samples to draw more")
    parser.add_argument("--rivals", action="store_true", help="fit and score the rivals, too")
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    model = hlens.load("smollm2-135m")
    assert model.provenance  # computed once a model
    how = Settings(max_new_tokens=20)
    clock = Clock()
    made = study(model, given.questions, given.samples, how, clock)
    n = len(made[0])
    print(f"{model.name}, CPU, one thread: {given.questions} questions, {given.samples} samples of")
    print(f"each, {n} examples ({int(made[2].labels.sum())} hallucinated)\n")
    clocks: dict[str, Clock] = {}
    for drawn in given.drawn:
        others = given.samples - 1 + drawn
        found, clocks[f"gather, {others} other samples"] = gathered(model, made, others, how)
    print("\n".join(table(clock, clocks)))
    if given.rivals:
        print("\n".join(fit_all(found)))


if __name__ == "__main__":
    main()
