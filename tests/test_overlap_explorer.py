"""The overlap explorer's page holds what the tables say, in order, and nothing that is not text."""

import base64
import html
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import hlens.figures as figures
from hlens import lookup
from hlens.errors import HlensError
from hlens.evaluation import exclusive_overlap
from hlens.evaluation.exclusive import groups_of
from hlens.figures.explorer import NeuronPage, Strip
from hlens.figures.overlap_explorer import _data, inline, members_in_order
from hlens.report import ReportData, page
from hlens.report.sections import overlap_explorer as section
from hlens.types import NeuronSet
from report_pages import unpacked

MEMBERS = {
    "a": {(0, 5): 0.2, (1, 7): -0.9, (2, 0): 0.5},
    "b": {(1, 7): 0.4, (2, 0): 0.1, (2, 9): 0.3},
    "c": {(1, 7): 0.7, (2, 9): -0.2},
}
SETS = [NeuronSet(frozenset(own), 3, 10, weights=own, name=name) for name, own in MEMBERS.items()]
ORDER = [(1, 7), (2, 0), (2, 9), (0, 5)]  # of three sets, of two, of two, of one
ALONE = pd.DataFrame(
    [("a", 1, 7, 0.71, 0.6, 0.8, 0.0123), ("c", 0, 5, 0.5, 0.4, 0.6, 1.0)],
    columns=list(_data.ALONE),
)
PAGE = NeuronPage((Strip(("</script>", "x"), (None, 0.5), "c"),), (), ((" up", 1.0),), ())


def example() -> dict[str, Any]:
    return lookup.member("figures", "overlap_explorer").example()


def data_of(sets: list[NeuronSet] = SETS, **more: Any) -> dict[str, Any]:
    """What the page holds, as a browser unpacks it."""
    frame = str(figures.overlap_explorer(sets, **more))
    return json.loads(unpacked(html.unescape(frame), "overlap-json"))


def numbers(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype=kind)


def test_the_neurons_are_in_order_with_the_sets_that_hold_them() -> None:
    data = data_of()
    marks = data["marks"]
    layer, neuron = numbers(marks["layer"], "<u2"), numbers(marks["neuron"], "<u4")
    assert list(zip(layer.tolist(), neuron.tolist(), strict=True)) == ORDER
    assert numbers(marks["held"], "<u2").tolist() == [7, 3, 6, 1]
    # The axis runs from half a neuron before the first to half a neuron behind the last.
    place = (np.array([7, 0, 9, 5]) + 0.5) / 10 * 65_535
    assert numbers(marks["x"], "<u2") == pytest.approx(place, abs=1)
    weights = numbers(data["weights"], "<f4").reshape(4, 3)
    for row, one in zip(weights, ORDER, strict=True):
        expected = [MEMBERS[name].get(one, np.nan) for name in MEMBERS]
        np.testing.assert_allclose(row, expected, rtol=1e-6)
    assert (data["names"], data["sizes"], data["left_out"]) == (["a", "b", "c"], [3, 3, 2], 0)
    assert members_in_order(SETS)[0].tolist() == [17, 20, 29, 5]


def test_every_choice_among_the_sets_has_its_groups_and_pairs_are_corrected_as_pairs() -> None:
    groups = data_of()["groups"]
    table = exclusive_overlap(SETS, choices=True)
    assert list(zip(groups["among"], groups["members"], strict=True)) == groups_of(3, choices=True)
    assert groups["neurons"] == table.neurons.tolist()
    assert groups["expected"] == pytest.approx(table.expected.tolist(), rel=1e-3)
    assert groups["p"] == pytest.approx(table.p_corrected.tolist(), rel=1e-2)
    pairs = {
        sets: corrected
        for sets, corrected in zip(table.sets, groups["p_pairs"], strict=True)
        if corrected is not None
    }
    from hlens.evaluation import overlap

    expected = {f"{row.a} + {row.b}": row.p_corrected for row in overlap(SETS).itertuples()}
    assert pairs == pytest.approx(expected, rel=1e-2)


def test_numbers_alone_and_pages_are_those_of_their_neuron_and_domain() -> None:
    data = data_of(alone=ALONE, pages={"b": {(2, 9): PAGE, (0, 0): PAGE}, "c": {(2, 9): PAGE}})
    auroc = numbers(data["alone"]["auroc"], "<u2").reshape(4, 3)
    p = numbers(data["alone"]["p_corrected"], "<u2").reshape(4, 3)
    assert (auroc[0, 0], p[0, 0], auroc[3, 2], p[3, 2]) == (7_100, 123, 5_000, 10_000)
    assert (auroc == _data.MISSING).sum() == 10
    (row,) = data["pages"]
    assert ORDER[int(row)] == (2, 9)
    shown = data["pages"][row]
    assert set(shown["answers"]) == {"1", "2"}
    assert shown["promotes"] == [[" up", "logit +1"]]
    assert shown["answers"]["1"][0]["tokens"] == ["</script>", "x"]


def test_of_very_many_the_least_shared_are_counted_and_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_data, "MOST_MARKS", 3)
    data = data_of(alone=ALONE)
    assert numbers(data["marks"]["held"], "<u2").tolist() == [7, 3, 6]
    assert data["left_out"] == 1
    assert sum(data["groups"]["neurons"][:7]) == 4


def test_neurons_of_a_mixture_go_by_their_expert() -> None:
    experts = ((0, 0, 10), (2, 4, 2), (2, 4, 2))
    data = data_of([replace(one, experts=experts) for one in SETS])
    assert data["addresses"] == ["L1E1N3", "L2E0N0", "L2SN1", "L0N5"]
    assert "expert" in data["axis"]["title"]


def title_of(sets: list[NeuronSet]) -> str:
    return figures.overlap_explorer(sets).alt.partition(". ")[0]


def test_the_title_says_what_is_beyond_chance() -> None:
    def sets(*members: set[tuple[int, int]]) -> list[NeuronSet]:
        return [NeuronSet(frozenset(own), 2, 1_000) for own in members]

    one, two = {(0, i) for i in range(9)}, {(1, i) for i in range(9)}
    assert title_of(sets(set(), set())) == "No set holds a neuron"
    assert title_of(sets(one, two)) == "No neuron is shared: each of 18 is in one of 2 sets only"
    assert title_of(sets(one, one | two)) == "The sets share more than chance: 9 neurons of 18"
    few = title_of(sets({(0, i) for i in range(500)}, {(0, 1), (0, 600)}))
    assert few == "1 neuron of 501 shared, nowhere more than chance"
    assert title_of(sets(one, one, two)) == (
        "1 of 4 combinations share more than chance: 9 neurons of 18"
    )


def test_sets_in_hand_take_one_line_and_equal_sets_give_equal_pages() -> None:
    unnamed = [replace(one, name="") for one in SETS]
    assert data_of(unnamed)["names"] == ["set 1", "set 2", "set 3"]
    assert str(figures.overlap_explorer(SETS)) == str(figures.overlap_explorer(SETS))


@pytest.mark.parametrize(
    ("sets", "more", "message"),
    [
        (SETS[:1], {}, "two sets or more, got 1"),
        ([SETS[0], replace(SETS[1], d_mlp=11)], {}, "different models"),
        (SETS, {"alone": ALONE.drop(columns="low")}, "low"),
        (SETS, {"alone": pd.concat([ALONE, ALONE])}, "stands twice"),
        (SETS, {"alone": ALONE.replace("a", "law")}, "alone is of 'law', and the sets are"),
        (SETS, {"pages": {"law": {(1, 7): PAGE}}}, "pages are of 'law', and the sets are"),
        (SETS, {"theme": "sepia"}, "theme 'sepia'"),
    ],
)
def test_wrong_arguments_are_refused_in_a_line(
    sets: list[NeuronSet], more: dict[str, Any], message: str
) -> None:
    with pytest.raises(HlensError, match=message) as raised:
        figures.overlap_explorer(sets, **more)
    assert "\n" not in str(raised.value)


def test_a_report_runs_the_explorer_s_script_once_and_allows_it() -> None:
    drawn = section.draw(**example())
    assert drawn is not None
    text = page(ReportData("x", sections=[drawn]))
    assert text.count("hlens.overlap = async function") == 1
    assert "hlens.overlap = async function" not in page(ReportData("x"))
    assert "srcdoc" not in text
    assert json.loads(unpacked(text, "overlap-json"))["names"][0] == "general knowledge"
    assert inline(SETS).script


def test_a_section_leaves_out_what_cannot_be_compared_and_says_so() -> None:
    many = [replace(SETS[0], name=f"set {i}") for i in range(10)]
    drawn = section.draw(many)
    assert drawn is not None
    assert drawn.content[-1] == "Not among the sets: set 8, set 9."
    half = {(0, i) for i in range(1_500)}
    large = [NeuronSet(frozenset(half), 1, 3_000, name=name) for name in "ab"]
    assert section.draw(large) is None


def test_words_that_would_be_markup_stay_words() -> None:
    hostile = '</script><script>alert(1)</script>"\u202e'
    sets = [replace(SETS[0], name=hostile), SETS[1]]
    frame = str(figures.overlap_explorer(sets, pages={hostile: {(1, 7): PAGE}}))
    inner = html.unescape(re.findall(r'srcdoc="([^"]*)"', frame)[0])
    assert "alert" not in inner
    assert data_of(sets)["names"][0] == hostile.replace("\u202e", "\\u202e")
