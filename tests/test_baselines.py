"""Laws of every rival: it reads training labels alone, row by row, and finds its own signal."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hlens import baselines, lookup
from hlens.baselines import NotAvailableError, Rival
from hlens.evaluation import auroc
from hlens.types import READINGS, Contributions, Evidence
from planted import evidence

SMALL = 80  # examples, where no signal has to be found
# A narrower signal than all that a rival of this name needs.
PLANTED = {
    "length": "n_tokens",
    "position": "starts",
    "text": "answers",
    "question": "questions",
    "drift": "drift",
}


@pytest.fixture(params=baselines.names())
def rival(request: pytest.FixtureRequest) -> Rival:
    return baselines.named(request.param)


def parts(found: Evidence) -> tuple[Evidence, Evidence]:
    rows = torch.arange(len(found))
    return found.select(rows < len(found) // 2), found.select(rows >= len(found) // 2)


def test_the_folder_is_the_list() -> None:
    assert baselines.names() == lookup.names("baselines")
    assert [rival.name for rival in baselines.rivals()] == baselines.names()


@pytest.mark.parametrize("name", baselines.names())
def test_a_rival_is_named_as_its_file_and_says_how_it_misleads(name: str) -> None:
    assert baselines.named(name).name == name, f"the Rival of baselines/{name}.py needs that name"
    text = lookup.member("baselines", name).__doc__ or ""
    assert " misleads " in " ".join(text.split()), (
        f"the docstring of baselines/{name}.py needs 'It misleads where ...'"
    )


def test_finds_its_own_signal(rival: Rival) -> None:
    signal = PLANTED.get(rival.name) or min(rival.needs)
    train, test = parts(evidence(160, signal=signal))
    assert auroc(rival(train, test), test.labels) > 0.9
    train, test = parts(evidence(160, signal="", seed=5))
    assert 0.25 < auroc(rival(train, test), test.labels) < 0.75


def test_rows_in_another_order_have_the_same_scores(rival: Rival) -> None:
    train, test = parts(evidence(SMALL, signal=min(rival.needs)))
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))
    moved = rival(train, test.select(order), seed=3)
    assert torch.equal(moved, rival(train, test, seed=3)[order])


def test_labels_of_the_test_part_are_never_read(rival: Rival) -> None:
    train, test = parts(evidence(SMALL, signal=min(rival.needs)))
    turned = replace(test, contributions=flipped(test.contributions))
    if test.activations is not None:
        turned = replace(turned, activations=flipped(test.activations))
    scores = rival(train, test)
    assert torch.equal(rival(train, turned), scores)
    assert torch.equal(rival.score(train, turned, 0), scores)  # nor were it given them


def test_training_labels_are_read_only_by_those_that_learn(rival: Rival) -> None:
    train, test = parts(evidence(SMALL, signal=PLANTED.get(rival.name) or min(rival.needs)))
    turned = replace(train, contributions=flipped(train.contributions))
    same = torch.equal(rival(turned, test), rival(train, test))
    assert same != rival.learns


def test_says_why_it_is_not_available(rival: Rival) -> None:
    train, test = parts(evidence(SMALL))
    one = replace(train, contributions=replace(train.contributions, labels=train.labels | True))
    if rival.learns:
        with pytest.raises(NotAvailableError, match="both labels"):
            rival(one, test)
    for need in rival.needs & {*READINGS}:
        bare = replace(test, **{need: None}, why_not={need: "it was a Sunday"})
        with pytest.raises(NotAvailableError, match="it was a Sunday"):
            rival(train, bare)


def flipped(data: Contributions) -> Contributions:
    return replace(data, labels=~data.labels)


@pytest.mark.parametrize("name", ["saplma", "residual_probe", "drift", "logit_lens"])
def test_what_learns_much_reads_nothing_where_labels_are_shuffled(name: str) -> None:
    """Over many draws: one alone misses chance by luck, as a strong signal shuffled may."""
    areas = []
    for seed in range(12):
        given = evidence(240, signal="residual", shift=2.0, seed=seed)
        groups = np.asarray(given.groups).reshape(-1, 2)  # two answers each, which stay together
        order = np.random.default_rng(seed).permutation(len(groups))
        labels = given.labels.reshape(-1, 2)[torch.from_numpy(order)].flatten()
        data = replace(given.contributions, labels=labels)
        train, test = parts(replace(given, contributions=data))
        scores = baselines.named(name)(train, test).double().numpy()
        areas.append(auroc(scores, test.labels.numpy()))
    assert abs(np.mean(areas) - 0.5) < 0.06
