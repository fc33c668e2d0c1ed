"""Where in time it is readable: what is planted at one token is found there and nowhere else."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from hlens.audit import collect_findings, position_curve
from hlens.audit.positions import RIVALS, has_token, positions_of
from hlens.claims.findings import read_tokens
from hlens.claims.rules import adds, decide
from hlens.errors import HlensError
from hlens.evaluation import split_by_group
from hlens.figures import positions as figure
from hlens.probe.ways import probe_of
from hlens.types import Contributions, Evidence
from hlens.types.labels import COMBINED, H_NEURONS, OUTPUT, ClaimName, Control, Place
from hlens.types.output_numbers import numbers_so_far, output_numbers
from planted import evidence
from synthetic import made

N = 360
SCORES = pd.DataFrame(
    {"control": [*Control], "auroc": 0.5, "low": 0.4, "high": 0.6, "n": 120, "p": 0.5, "repeats": 1}
)


def answers(seed: int = 0) -> tuple[Evidence, np.ndarray]:
    """Answers of one token to four, whose log-probability tells a little from the first on."""
    given = evidence(N, seed=seed)
    draw, label = np.random.default_rng(seed + 99), given.labels.numpy()
    sizes = draw.integers(1, 5, N)
    rows = [
        tuple(-draw.gamma(2.0, 1 + 0.5 * y, size)) for y, size in zip(label, sizes, strict=True)
    ]
    flat = [tuple(draw.gamma(2.0, 1.0, size)) for size in sizes]
    data = replace(given.contributions, n_tokens=torch.from_numpy(sizes))
    given = replace(given, contributions=data, logprobs=tuple(rows), entropies=tuple(flat))
    _, test = split_by_group(data, 0.4, seed=0)
    return given, np.isin(data.groups, list(set(test.groups)))


def measured(given: Evidence, in_test: np.ndarray, where: set[str], seed: int = 0):
    """Contributions at each region, random but for one neuron where it is planted."""
    regions = {}
    for number, place in enumerate(positions_of(given, in_test)):
        if place.region in regions:
            continue
        rows = np.arange(N)
        if place.place != Place.PROMPT and place.n_written > 1:
            rows = np.flatnonzero(has_token(given, place.n_written - 1))
        noise = made(len(rows), n_layers=2, d_mlp=20, seed=1000 * seed + number).values.clone()
        own: Contributions = given.contributions.select(rows.tolist())
        if place.region in where:
            noise[:, 1, 3] += 3 * own.labels
        regions[place.region] = replace(own, values=noise, region=place.region)
    return regions


def read(where: set[str], seed: int = 0, rivals: tuple[str, ...] = ()) -> pd.DataFrame:
    given, in_test = answers(seed)
    probe = probe_of("hlens", n_points=6)
    values = measured(given, in_test, where, seed)
    return position_curve(given, in_test, values, probe=probe, rivals=rivals)


def title(table: pd.DataFrame) -> str:
    return str(figure.draw(table).layout.title.text).replace("<br>", " ")


def past_the_first(table: pd.DataFrame) -> bool | None:
    found = collect_findings(scores=SCORES, n_selected=1, n_neurons=40, positions=table)
    cost = next(one for one in decide(found) if one.name == ClaimName.COST)
    return next(one for one in cost.checks if one.name == "past the first token").holds


def test_what_is_known_before_a_word_is_written_is_found_there_alone() -> None:
    table = read({"prompt-1", "answer-1"})
    found = {(at.place, at.token): adds(at) for at in read_tokens(table)}
    assert [place for place, adding in found.items() if adding] == [
        ("prompt", -1),
        ("predicted", 0),
    ]
    assert past_the_first(table) is False
    assert "Before a word is written the neurons read 0." in title(table)


def test_what_is_known_when_a_token_is_read_is_predicted_from_there_on() -> None:
    table = read({"answer+1"})
    found = [(at.place, at.token) for at in read_tokens(table) if adds(at)]
    # Where the second token is read the third is predicted, of the answers that have one.
    assert found == [("read", 1), ("predicted", 2)]
    assert past_the_first(table)
    own = table.loc[table["detector"] == H_NEURONS].set_index(["place", "token"])
    assert own["auroc"]["read", 1] > 0.8
    assert own["n"]["read", 1] > own["n"]["predicted", 2]
    assert own["n"]["read", 1] == own["n"]["predicted", 1]


def test_nothing_is_seldom_found_anywhere() -> None:
    """Corrected over all places: at most one world in twenty, give or take."""
    wrong = [any(adds(at) for at in read_tokens(read(set(), seed))) for seed in range(3)]
    assert sum(wrong) <= 1


def test_the_output_so_far_knows_nothing_of_what_comes() -> None:
    given, _ = answers()
    cut = replace(
        given,
        logprobs=tuple((*row[:1], *(-9.0 for _ in row[1:])) for row in given.logprobs or ()),
        entropies=tuple((*row[:2], *(9.0 for _ in row[2:])) for row in given.entropies or ()),
    )
    for n_written in (0, 1):
        one, other = numbers_so_far(given, n_written), numbers_so_far(cut, n_written)
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name]) for name in one)
    assert "log length" not in numbers_so_far(given, 9)
    whole = output_numbers(given)
    assert all(np.array_equal(v, whole[name]) for name, v in numbers_so_far(given, 9).items())
    assert not numbers_so_far(replace(given, entropies=None), 0)


def test_rivals_and_numbers_stand_at_each_place() -> None:
    table = read(set(), rivals=RIVALS)
    rows = {(r["place"], r["token"], r["detector"]) for r in table.to_dict("records")}
    assert {
        ("prompt", -1, name) for name in (H_NEURONS, OUTPUT, COMBINED, "question", "length")
    } <= rows
    assert ("prompt", -2, OUTPUT) not in rows  # a word of the prompt is predicted there
    assert ("read", 2, COMBINED) in rows


def test_values_of_other_answers_are_refused() -> None:
    given, in_test = answers()
    values = measured(given, in_test, set())
    values["answer+1"] = values["answer+0"]
    with pytest.raises(HlensError, match=r"answer\+0: \d+ answers were measured, and \d+ have"):
        position_curve(given, in_test, values, probe=probe_of("hlens", n_points=6))


def test_a_title_says_no_more_than_is_shown() -> None:
    table = read(set())
    quiet = table.assign(low=0.4, p_corrected=1.0)
    drawn = title(quiet)
    assert "nothing is shown to be read" in drawn
    assert "at no token" in drawn
