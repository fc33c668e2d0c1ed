"""A study's domains side by side: only what changed is redone, and the report is its tables."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import architectures
import hlens
from hlens.cli import show, tables
from hlens.cli.forms import Form
from hlens.errors import HlensError
from hlens.report.study_report import report_data
from hlens.steps import Step, answers, detection, domains
from hlens.steps import origin as origin_steps
from hlens.store.stamps import Stamps
from hlens.study import Study
from tiny_study import tiny_model, tiny_recipe
from tiny_tokenizer import VOCAB, byte_tokenizer


def question_file(path: Path, domain: str, how: str, answers: str = "abcdefghijkl") -> str:
    rows = [
        {
            "id": f"{path.stem}-{i}",
            "question": f"Number {i}?",
            "domain": domain,
            "answers": list(answers),
            "meta": {"format": how, "group": f"{path.stem}{i // 2}"},
        }
        for i in range(36)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"jsonl:{path}"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    home = tmp_path_factory.mktemp("files")
    return [
        question_file(home / "a1.jsonl", "a", "short_answer"),
        question_file(home / "a2.jsonl", "a", "completion"),
        question_file(home / "b.jsonl", "b", "short_answer"),
        question_file(home / "never.jsonl", "never", "label", answers="€"),
    ]


@pytest.fixture(scope="module")
def study(files: list[str], tmp_path_factory: pytest.TempPathFactory) -> Study:
    recipe = tiny_recipe(Path(), domains=files)
    return Study(tmp_path_factory.mktemp("compared"), recipe, tiny_model())


def test_files_of_one_domain_form_it_and_formats_are_told_apart(study: Study) -> None:
    formats = study.formats().set_index(["domain", "format"])
    assert list(formats.index) == [
        ("a", "short_answer"), ("a", "completion"), ("b", "short_answer"), ("never", "label"),
    ]  # fmt: skip
    assert (formats.questions == 36).all()
    assert formats.compared.tolist() == [True, True, True, False]
    assert (formats.examples == formats.hallucinated + formats.true).all()
    assert study.domains() == ["a", "b"]  # what was never right cannot be compared
    assert set(study.transfer()["test"]) == {"a", "b"}
    changed = study.transfer_by_format().set_index(["train", "test"]).changed
    assert changed["a, completion", "a, short answer"] == "format"
    assert changed["b, short answer", "a, short answer"] == "domain"
    assert changed["b, short answer", "a, completion"] == "domain and format"
    assert study.format_effect().n_pairs.tolist() == [3, 2, 2, 2]


def test_ids_that_occur_twice_in_a_domain_are_refused(files: list[str], tmp_path: Path) -> None:
    study = Study(tmp_path, tiny_recipe(Path(), domains=[files[0], files[0]]), tiny_model())
    with pytest.raises(HlensError, match=r"36 ids of questions occur twice, such as 'a1-0'"):
        study.questions()


def test_what_cannot_be_judged_is_said_before_the_model_is_asked(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "question": "Which?", "answers": ["a"], "choices": ["a", "b"]},
        {"id": "2", "question": "Which?", "answers": ["c"], "choices": ["a", "b"]},
        {"id": "3", "question": "What?", "answers": ["a"], "meta": {"judge": "alas"}},
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = tiny_recipe(Path(), domains=[f"jsonl:{path}"], labels={"judge": "auto"})
    study = Study(tmp_path / "study", recipe, tiny_model())
    with pytest.raises(
        HlensError, match=r"2 of 3 questions .* mine: question '2': no right option"
    ):
        study.responses()
    assert not (tmp_path / "study" / "responses.parts").exists()


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        ({"metric": "cet"}, "did you mean 'cett'"),
        ({"region": "anwser"}, "did you mean 'answer'"),
        ({"metric": "direct_logit_attribution"}, "position='predicted'"),
    ],
)
def test_what_cannot_be_measured_is_said_before_the_model_is_asked(
    measure: dict[str, str], said: str, files: list[str], tmp_path: Path
) -> None:
    recipe = tiny_recipe(Path(), domains=files, measure=measure)
    with pytest.raises(HlensError, match=said):
        Study(tmp_path, recipe, tiny_model()).questions()


def printed(study: Study, step: Step, capsys: pytest.CaptureFixture[str]) -> dict:
    shown, changed = tables.make(study, step, again=True)
    assert changed == []
    show.tables(shown, changed, study, Form.JSON)
    return json.loads(capsys.readouterr().out)


def numbers(value: object) -> set[float]:
    """All numbers of a JSON value, as tables write them."""
    if isinstance(value, dict):
        return set().union(*map(numbers, value.values()))
    if isinstance(value, list):
        return set().union(*map(numbers, value))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {round(float(value), 9)} if is_number else set()


def test_every_number_of_the_report_is_recomputed_from_what_is_stored(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    page = study.report().read_text()
    steps = (detection.scores, domains.transfer, domains.overlap)
    verbs = {step.verb: printed(study, step, capsys) for step in steps}
    known = set().union(*map(numbers, verbs.values()))
    known |= numbers(study.published().to_dict("records"))  # what `hlens table` prints
    # The neuron table is the detector's own: weights, single AUROCs, frequencies, means.
    compared = re.sub(r"<h2[^>]*>All neurons</h2>.*?</section>", "", page, flags=re.S)
    shown = {round(float(value), 9) for value in re.findall(r'data-v="([^"]+)"', compared)}
    assert len(shown) > 100
    assert shown <= known, sorted(shown - known)[:5]
    cards = {card.label: card.value for card in report_data(study.runner).cards}
    probe = verbs["evaluate"]["scores"][0]
    assert cards["Held-out AUROC"].value == pytest.approx(probe["auroc"])
    for name in ("a", "b"):
        assert verbs["overlap"]["overlap"][0][f"n_{name}"] == len(study.detectors()[name].neurons)


def test_a_recomputation_names_what_has_changed(study: Study) -> None:
    study.transfer()
    path = study.folder / "transfer.parquet"
    altered = pd.read_parquet(path)
    altered["auroc"] += 0.01
    altered.to_parquet(path)
    with pytest.raises(HlensError, match="not the file that hlens wrote"):
        tables.make(Study(study.folder, None, study.model), domains.transfer, again=True)
    # As if an earlier version had written it so.
    stamps = Stamps(study.folder)
    stamp = stamps.get("transfer")
    assert stamp is not None
    stamps.set("transfer", replace(stamp, files=stamps.seal([path])))
    opened = Study(study.folder, None, study.model)
    _, changed = tables.make(opened, domains.transfer, again=True)
    assert changed == ["transfer"]


def test_another_judge_is_put_beside_the_studys(study: Study) -> None:
    found = tables.agreement(study, "alias")
    counts = found["confusion"].set_index("substring")
    assert int(counts.to_numpy().sum()) == len(study.responses())
    assert list(counts.index) == list(counts.columns)
    equal = np.trace(counts.to_numpy()) / counts.to_numpy().sum()
    assert found["agreement"].set_index("measure").value["agreement"] == pytest.approx(equal)
    with pytest.raises(HlensError, match="substring is the study's own judge"):
        tables.agreement(study, "substring")
    with pytest.raises(HlensError, match="unknown judge 'alas'; did you mean 'alias'"):
        tables.agreement(study, "alas")


def test_a_further_run_redoes_only_what_changed(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    plain = answers.sample

    def counted(model, questions, *given, **named):  # type: ignore[no-untyped-def]
        asked.append(sorted({q.domain for q in questions}))
        return plain(model, questions, *given, **named)

    monkeypatch.setattr(answers, "sample", counted)
    read: list[list[str]] = []
    plainly = detection.measure

    def watched(model, examples, **named):  # type: ignore[no-untyped-def]
        read.append(sorted({e.domain for e in examples}))
        return plainly(model, examples, **named)

    monkeypatch.setattr(detection, "measure", watched)
    recipe = tiny_recipe(Path(), domains=[files[0], files[2]])

    def run(recipe: hlens.Recipe) -> Study:
        study = Study(tmp_path, recipe, tiny_model())
        study.scores()
        study.transfer()
        study.overlap()
        study.halves()
        return study

    run(recipe)
    assert asked == [["a", "b"]]
    made = times(tmp_path)
    assert {"detectors/a.safetensors", "halves/a.parquet"} <= set(made)
    run(recipe)
    assert times(tmp_path) == made
    run(replace(recipe, evaluation=replace(recipe.evaluation, folds=3)))
    after = times(tmp_path)
    assert changed(made, after) == {"transfer.parquet", "transfer_scores.parquet"}
    more = question_file(tmp_path / "c.jsonl", "c", "short_answer")
    grown_study = run(replace(recipe, domains=(*recipe.domains, more)))
    assert asked == read == [["a", "b"], ["c"]]
    whole = detection.measure(grown_study.model, grown_study.examples())
    torch.testing.assert_close(grown_study.contributions().values, whole.values)
    for field in ("labels", "n_tokens"):
        assert torch.equal(getattr(grown_study.contributions(), field), getattr(whole, field))
    for field in ("groups", "domains", "question_ids"):
        assert getattr(grown_study.contributions(), field) == getattr(whole, field)
    grown = changed(after, times(tmp_path))
    assert {"responses.jsonl", "contributions.safetensors", "overlap.parquet"} <= grown
    for name in ("a", "b"):  # results of one domain stay current
        assert f"detectors/{name}.safetensors" not in grown
        assert f"halves/{name}.parquet" not in grown


def times(folder: Path) -> dict[str, int]:
    made = [p for p in folder.rglob("*.*") if p.suffix in (".parquet", ".safetensors", ".jsonl")]
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in made}


def changed(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {name for name in after if before.get(name) != after[name]} - {"c.jsonl"}


def test_a_study_with_a_base_model_tells_where_its_neurons_come_from(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = architectures.llama(vocab_size=VOCAB, intermediate_size=96, max_position_embeddings=512)
    study.trace_to("wide", hlens.load((wide, byte_tokenizer()), name="wide"))
    with pytest.raises(HlensError, match="origin needs a base model of the same shape"):
        study.origin()
    assert not (study.folder / "origin" / "responses.jsonl").exists()  # refused before asking
    assert Study(study.folder).recipe.base == ""  # nor is the mistake written down
    before = architectures.llama(vocab_size=VOCAB, max_position_embeddings=512)
    for name, weight in before.named_parameters():
        if "mlp" in name:
            weight.data = weight.data + 0.2 * weight.data.std() * weight.data.roll(1, 0)
    study.trace_to("before", hlens.load((before, byte_tokenizer()), name="before"))
    found = study.origin().set_index("control")
    assert {"detector on base model", "random neurons", "probe found on base"} <= set(found.index)
    held_out = set(study.split()[1].question_ids)
    assert {e.question_id for e in study.base_line().examples()} <= held_out
    base = study.base_line()
    said = base.responses()
    assert not any("\n" in response.text for response in said)
    prompt = base.model.decode(said[0].token_ids[: said[0].n_prompt])
    assert prompt == f"{said[0].question.text}\nAnswer:"
    assert {"gate", "up", "out"} <= set(study.drift().columns)
    assert study.drift_of_neurons().measure.tolist() == ["z", "rank"]
    assert "Did the base model know?" in study.report().read_text()
    assert Study(study.folder).recipe.base == "before"

    def of_one_label(*_: object) -> None:
        raise HlensError("all 18 examples are of one label (hallucinated); a probe needs both")

    monkeypatch.setattr(origin_steps, "base_runner", of_one_label)
    study.remake(origin_steps.origin)
    with pytest.raises(HlensError, match="all 18 examples are of one label"):
        study.origin()
    # The report asks no base model: the section is left out, and the command that makes it named.
    page = study.report().read_text()
    assert "Did the base model know?</h2>" not in page
    assert f"<code>hlens trace-origin {study.folder}</code>: Did the base model know?" in page
