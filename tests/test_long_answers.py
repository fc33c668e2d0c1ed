"""Long answers in a study: scored once, evaluated at three levels, and shown in its report."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import hlens
from hlens.labelled import Labelled
from hlens.report import page
from hlens.report.sections import long_answers
from hlens.report.study_report import report_data
from hlens.steps import Given, Runner, Step, answers, detection, levels, step
from hlens.types import Detector, MarkedSpan, Provenance, ScoredAnswer
from hlens.types.labels import Level, LevelScore
from test_report import HOSTILE
from tiny_study import tiny_model, tiny_recipe

FACTS = ("alder", "birch", "cedar", "dogwood", "elm")


def rows(n: int = 40) -> list[dict]:
    """Answers of three clauses; the spans are true but for one of every second answer."""
    draw = np.random.default_rng(0)
    made = []
    for i in range(n):
        words = [str(draw.choice(FACTS)) for _ in range(3)]
        text = f"It is {words[0]}, or {words[1]}, not {words[2]}."
        spans, at = [], 0
        for j, word in enumerate(words):
            at = text.index(word, at)
            label = "hallucinated" if i % 2 and j == i % 3 else "correct"
            spans.append([at, at + len(word), label])
            at += len(word)
        made.append({"question": f"Tree {i}?", "response": text, "spans": spans})
    return made


@pytest.fixture(scope="module")
def model() -> hlens.Model:
    return tiny_model()


def given(labelled: Labelled, model: hlens.Model) -> Given:
    taken = {
        answers.questions: labelled.questions,
        answers.responses: labelled.responses,
        answers.judgements: labelled.judgements,
        answers.located: answers.Located(labelled.examples, labelled.losses),
    }
    instead: dict[Step, Step] = {
        one: step(name=f"given {one.name}")(lambda value=value: value)
        for one, value in taken.items()
    }
    return Given(model=model, instead=instead)


@pytest.fixture(scope="module")
def run(model: hlens.Model, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    folder = tmp_path_factory.mktemp("study")
    labelled = hlens.labelled(rows(), model)
    recipe = tiny_recipe(folder / "none.jsonl", probe={"C": 1.0, "calibration": "none"})
    return Runner(folder / "study", recipe, given(labelled, model))


def test_held_out_answers_are_scored_once_and_kept(run: Runner, model: hlens.Model) -> None:
    found = run.value(levels.scored_answers)
    train = set(run.value(detection.split).train.groups)
    assert found
    assert not train & {answer.group for answer in found}
    assert len(train) + len(found) == 40
    assert {len(answer.spans) for answer in found} == {3}
    assert all(answer.hallucinated == answer.marked(True).any() for answer in found)
    # Read back as they were made.
    again = Runner(run.folder, run.recipe, run.given).value(levels.scored_answers)
    for one, two in zip(found, again, strict=True):
        assert one.tokens == two.tokens
        assert one.spans == two.spans
        assert one.scores == pytest.approx(two.scores)
    # Their spans score as the detector on their contributions.
    data, detector = run.value(detection.split).test, run.value(detection.detector)
    of_spans = {
        (answer.question_id, i): value
        for answer in found
        for i, value in enumerate(answer.span_scores)
    }
    seen: dict[str, int] = {}
    for name, value in zip(data.question_ids, detector(data).tolist(), strict=True):
        place = seen[name] = seen.get(name, -1) + 1
        assert of_spans[name, place] == pytest.approx(value, abs=1e-4)


def test_the_table_holds_three_levels(run: Runner) -> None:
    table = run.value(levels.levels)
    assert list(dict.fromkeys(table.level)) == [Level.RESPONSE, Level.SPAN, Level.TOKEN]
    n = table.loc[table.score == LevelScore.LENGTH].set_index("level").n
    assert n[Level.SPAN] == 3 * n[Level.RESPONSE] < n[Level.TOKEN]


def test_the_report_shows_them_and_other_studies_say_why_not(
    run: Runner, model: hlens.Model, tmp_path: Path
) -> None:
    run.value(detection.scores)
    run.value(levels.levels)
    data = report_data(run)
    assert long_answers.HEADING in [section.heading for section in data.sections]
    assert not [line for line in data.cautions if "several labelled spans" in line]
    assert "hl-wrong" in page(data)
    whole = hlens.labelled(rows(), model, unit="response")
    other = Runner(tmp_path / "study", run.recipe, given(whole, model))
    other.value(detection.scores)
    data = report_data(other)
    assert long_answers.HEADING not in [section.heading for section in data.sections]
    assert [line for line in data.cautions if "several labelled spans" in line]


def made(hostile: str = "a b") -> list[ScoredAnswer]:
    draw = np.random.default_rng(0)
    found = []
    for i in range(12):
        spans = (MarkedSpan(0, 2, bool(i % 2)), MarkedSpan(3, 5, False))
        tokens = (hostile, " c", " d", " e", " f", " g")
        found.append(
            ScoredAnswer(
                str(i), "d", f"g{i}", tokens, draw.normal(size=6) + i % 2, spans, bool(i % 2),
                question=f"{hostile} {'long ' * 200}",
            )
        )  # fmt: skip
    return found


def detector() -> Detector:
    return Detector(torch.eye(2, 3), 0.0, provenance=Provenance(model="tiny"))


def test_what_a_model_or_a_reader_wrote_is_text() -> None:
    for hostile in HOSTILE:
        scored = made(hostile)
        table = hlens.evaluation.evaluate_levels(scored, n_boot=20)
        section = long_answers.draw(table, scored, detector=detector())
        assert section is not None
        text = "".join(str(piece) for piece in section.content)
        assert "<script>alert" not in text
        assert "<bos>" not in text


def test_long_questions_and_answers_are_cut_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_answers, "MOST_TOKENS", 4)
    scored = made()
    table = hlens.evaluation.evaluate_levels(scored, n_boot=20)
    section = long_answers.draw(table, scored, detector=detector())
    assert section is not None
    strip = str(section.content[-2])
    assert "the first 4 of 6 tokens" in strip
    assert "…↵" in strip.replace('<span class="hl-sign">', "")
    assert "marked as right" not in strip  # the span that is cut is left out


def test_the_words_give_both_sides() -> None:
    table = hlens.evaluation.evaluate_levels(made(), n_boot=20)
    response, span, token = long_answers.describe(table)
    assert response.startswith("6 of 12 responses are hallucinated. AUROC: ")
    assert "(mean), " in response
    assert "(any span); best control length, 0.500." in response
    assert span.startswith("6 of 24 spans are hallucinated")
    assert "best control position, " in span
    assert token.startswith("12 of 48 labelled tokens")
    one = hlens.evaluation.evaluate_levels(made()[1:2], n_boot=20)
    assert next(long_answers.describe(one)).endswith("not enough of both labels for an AUROC.")


def test_shown_answers_are_wrong_ones_and_one_that_is_not() -> None:
    chosen = long_answers.choose(made())
    assert [answer.question_id for answer in chosen] == ["1", "3", "5", "0"]
    assert [a.question_id for a in long_answers.choose(made()[:2])] == ["1", "0"]
    assert long_answers.draw(pd.DataFrame(), [], detector=detector()) is None
