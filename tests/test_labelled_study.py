"""Studies of labelled answers: from a file to a report, and what a planted neuron teaches."""

import json
import logging
import random
import string
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import architectures
import hlens
from command_line import call
from hlens.contributions import measure
from hlens.errors import HlensError
from hlens.evaluation import split_by_group
from hlens.prompts import encode_prompt
from hlens.recipe import Recipe
from hlens.steps import answers, detection
from hlens.steps.second_judge import named_judges
from hlens.types import Judgement, Question, Response, Verdict
from tiny_study import FEW, saved_model, tiny_model
from tiny_tokenizer import VOCAB, byte_tokenizer


@pytest.fixture(scope="module")
def model() -> hlens.Model:
    return tiny_model()


def labelled_rows(n: int = 100, seed: int = 0) -> list[dict]:
    """Answers about n / 2 facts: a truth value each, and spans for every fourth."""
    draw = random.Random(seed)
    rows = []
    for i in range(n):
        text = "It is " + " ".join(draw.choice(string.ascii_lowercase) for _ in range(10)) + "."
        row = {"id": f"r{i}", "question": f"Number {i}?", "group": f"g{i // 2}", "response": text}
        own = {"correct": i % 2 == 0}
        if i % 4 == 0:
            own = {"spans": [[6, 9, "hallucinated"], [14, 19, "correct"], [20, 25, "correct"]]}
        rows.append(row | own)
    return rows


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def recipe_of(path: Path, **options: object) -> Recipe:
    return Recipe.from_dict(
        {"model": "tiny", "labelled": {"file": str(path), **options}, "evaluation": FEW}
    )


@pytest.fixture
def hlens_import(tmp_path, monkeypatch) -> Callable[..., tuple[int, str, str]]:
    """Runs ``hlens import`` in process: exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        done = call("import", *words)
        return done.code, done.out, " ".join(done.err.split())

    return run


# --- From a file to a report ----------------------------------------------------------------------


def test_one_command_makes_a_report(hlens_import, tmp_path):
    rows = [{"q": row.pop("question"), **row} for row in labelled_rows()]
    write(tmp_path / "mine.jsonl", rows)
    saved_model(tmp_path / "model")
    options = "".join(f"{name} = {value}\n" for name, value in FEW.items())
    (tmp_path / "fast.toml").write_text(f"[evaluation]\n{options}")
    words = ("mine.jsonl", "--model", "model", "--recipe", "fast.toml", "--question", "q", "--json")
    code, out, err = hlens_import(*words)
    assert code == 0, err
    facts = json.loads(out)
    assert facts["scores"][0]["control"] == "probe"
    assert facts["report"] == "runs/mine/report.html"
    assert "those that the answers came with" in (tmp_path / facts["report"]).read_text()
    # What has not changed is not made again, what has changed is said.
    code, out, err = hlens_import(*words)
    assert json.loads(out) == facts
    assert "…" not in err
    write(tmp_path / "mine.jsonl", rows[:-4])
    code, out, err = hlens_import(*words)
    assert "mine.jsonl: not what this study was made of before" in err
    assert json.loads(out) != facts


def test_mistakes_on_the_command_line_are_one_line(hlens_import, tmp_path):
    write(tmp_path / "mine.jsonl", labelled_rows(4))
    saved_model(tmp_path / "model")
    for words, said in (
        ((), "which model gave these answers?"),
        (("--model", "model", "--unit", "word"), "labelled.unit = 'word'"),
        (("--model", "model", "--label", "wrong"), "expected WORD=VERDICT"),
        (("--model", "model", "--label", "wrong=bad"), "unknown meaning of label 'wrong'"),
        (("--model", "model", "--response", "output"), "has no column 'output'"),
        (("--model", "model", "--layout", "none"), "unknown layout 'none'"),
    ):
        code, _, err = hlens_import("mine.jsonl", *words)
        assert code == 2
        assert said in err
        assert err.count("hlens: ") == 1
    assert not (tmp_path / "runs").exists()


def test_the_auroc_is_that_of_answers_made_by_hand(model, tmp_path):
    rows = [row for row in labelled_rows(160) if "correct" in row]
    study = hlens.Study(tmp_path / "s", recipe_of(write(tmp_path / "a.jsonl", rows)), model)
    judged = []
    for row in rows:
        question = Question(row["id"], "a", row["question"], (), group=row["group"])
        prompt = encode_prompt(model, question, instruction="")
        ids = (*prompt, *model.encode_words(row["response"]))
        response = Response(question, row["response"], ids, len(prompt))
        verdict = Verdict.CORRECT if row["correct"] else Verdict.HALLUCINATED
        judged.append(Judgement(response, verdict))
    train, test = split_by_group(measure(model, hlens.locate(judged, model)), 0.3, seed=0)
    detector = hlens.find(train, study[detection.probe])
    by_hand = roc_auc_score(test.labels.numpy(), detector(test).numpy())
    found = study.scores().set_index("control").loc["probe", "auroc"]
    assert found == pytest.approx(by_hand, abs=1e-12)


def test_a_notebook_gives_what_the_command_gives(model, tmp_path):
    path = write(tmp_path / "a.jsonl", labelled_rows())
    by_file = hlens.Study(tmp_path / "file", recipe_of(path), model)
    labelled = hlens.labelled(path, model)
    by_hand = hlens.Study.from_labelled(labelled, tmp_path / "hand", model, recipe_of(path))
    assert by_hand.scores().equals(by_file.scores())
    assert by_hand.report().is_file()
    # Opened again, it stands without the answers; what is to be made anew of them asks for them.
    opened = hlens.Study(tmp_path / "hand", model=model)
    assert opened.scores().equals(by_file.scores())
    opened.remake(answers.responses)
    with pytest.raises(HlensError, match="were given in Python"):
        opened.responses()


def test_a_study_stands_without_its_file_and_refuses_another(model, tmp_path):
    path = write(tmp_path / "a.jsonl", labelled_rows())
    scores = hlens.Study(tmp_path / "s", recipe_of(path), model).scores()
    path.rename(tmp_path / "moved.jsonl")
    assert hlens.Study(tmp_path / "s", model=model).scores().equals(scores)
    moved = hlens.Study(tmp_path / "s", recipe_of(tmp_path / "moved.jsonl", domain="a"), model)
    assert moved.has(detection.scores)  # what it holds decides, not where it lies
    write(tmp_path / "moved.jsonl", labelled_rows(96))
    opened = hlens.Study(tmp_path / "s", model=model)
    opened.remake(answers.responses)
    with pytest.raises(HlensError, match="has changed since the study"):
        opened.responses()


def test_options_that_change_what_is_read_make_it_anew(model, tmp_path):
    path = write(tmp_path / "a.jsonl", labelled_rows())
    spans = hlens.Study(tmp_path / "s", recipe_of(path), model)
    n = len(spans.examples())
    whole = hlens.Study(tmp_path / "s", recipe_of(path, unit="response"), model)
    assert len(whole.examples()) == 100 < n
    assert whole.recipe.domains == ("a",)


def test_few_of_each_label_are_kept_where_the_recipe_says_so(model, tmp_path):
    path = write(tmp_path / "mine.jsonl", labelled_rows(60))
    recipe = recipe_of(path)
    few = replace(recipe, labels=replace(recipe.labels, per_class=7))
    examples = hlens.Study(tmp_path / "study", few, model).examples()
    assert sorted(example.hallucinated for example in examples) == [False] * 7 + [True] * 7


def test_who_labelled_is_named(model, tmp_path):
    rows = labelled_rows(20)
    rows[1] = {"question": "Q?", "response": "a", "answers": ["a"]}
    study = hlens.Study(tmp_path / "s", recipe_of(write(tmp_path / "a.jsonl", rows)), model)
    assert study[named_judges].first == "the file, alias"


def test_a_second_judge_reads_whole_responses(model, tmp_path):
    path = write(tmp_path / "a.jsonl", labelled_rows(20))
    recipe = replace(recipe_of(path), labels=hlens.recipe.LabelsRecipe(second="substring"))
    with pytest.raises(HlensError, match='unit = "response"'):
        hlens.Study(tmp_path / "s", recipe, model)
    assert not (tmp_path / "s").exists()


# --- Folders that hold other files ----------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


@pytest.mark.parametrize("name", ["responses.jsonl", "notes.txt", "losses.parquet"])
def test_a_folder_of_other_files_is_refused_and_untouched(model, tmp_path, name):
    path = write(tmp_path / "a.jsonl", labelled_rows(20))
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / name).write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(HlensError, match=name):
        hlens.Study(tmp_path / "s", recipe_of(path), model)
    assert contents(tmp_path) == before


def test_a_study_with_a_file_of_anothers_is_refused_and_untouched(model, tmp_path):
    path = write(tmp_path / "a.jsonl", labelled_rows(20))
    hlens.Study(tmp_path / "s", recipe_of(path), model).examples()
    (tmp_path / "s" / "scores.parquet").write_text("mine")
    write(path, labelled_rows(24))
    before = contents(tmp_path)
    with pytest.raises(HlensError, match="parquet was not written by hlens"):
        hlens.Study(tmp_path / "s", recipe_of(path), model)
    assert contents(tmp_path) == before


def test_a_study_that_asked_is_not_imported_over(model, tmp_path):
    path = write(tmp_path / "a.jsonl", labelled_rows(20))
    hlens.Study(tmp_path / "s", Recipe(domains=("general",), questions=4), model).questions()
    before = contents(tmp_path)
    with pytest.raises(HlensError, match="asked its own questions"):
        hlens.Study(tmp_path / "s", recipe_of(path), model)
    assert contents(tmp_path) == before


def test_a_study_of_another_file_is_not_imported_over(model, tmp_path):
    """Two files of one name have the same folder by default."""
    paths = [tmp_path / name / "mine.jsonl" for name in ("a", "b")]
    for seed, path in enumerate(paths):
        path.parent.mkdir()
        write(path, labelled_rows(20, seed))
    hlens.Study(tmp_path / "s", recipe_of(paths[0]), model).examples()
    before = contents(tmp_path)
    with pytest.raises(HlensError, match="is another file"):
        hlens.Study(tmp_path / "s", recipe_of(paths[1]), model)
    assert contents(tmp_path) == before
    paths[0].unlink()  # moved, it seems, and changed: said and made anew
    assert len(hlens.Study(tmp_path / "s", recipe_of(paths[1]), model).questions()) == 20


def test_a_changed_file_is_said_in_python_too(model, tmp_path, caplog):
    path = write(tmp_path / "a.jsonl", labelled_rows(20))
    hlens.Study(tmp_path / "s", recipe_of(path), model).questions()
    with caplog.at_level(logging.WARNING, "hlens"):
        hlens.Study(tmp_path / "s", recipe_of(path), model)
        assert "made of before" not in caplog.text
        hlens.Study(tmp_path / "s", recipe_of(write(path, labelled_rows(24))), model)
    assert "made of before" in caplog.text


# --- A planted neuron -----------------------------------------------------------------------------

PLANTED = (0, 7)  # layer and neuron
UNSEEN = 3  # the direction of the residual stream that no other neuron and no head reads


def planted_model() -> hlens.Model:
    """A model in which one neuron alone tells capital letters from small ones."""
    hf = architectures.llama(vocab_size=VOCAB, max_position_embeddings=512)
    tokenizer = byte_tokenizer()
    with torch.no_grad():
        embedding = hf.model.embed_tokens.weight
        embedding[:, UNSEEN] = 0
        for small in string.ascii_lowercase:
            low, high = tokenizer.convert_tokens_to_ids([small, small.upper()])
            embedding[high] = embedding[low]
            embedding[high, UNSEEN] = 0.3
        for layer in hf.model.layers:
            for reader in (layer.mlp.gate_proj, layer.mlp.up_proj, layer.self_attn.q_proj,
                           layer.self_attn.k_proj, layer.self_attn.v_proj):  # fmt: skip
                reader.weight[:, UNSEEN] = 0
        own = hf.model.layers[PLANTED[0]]
        own.self_attn.o_proj.weight[UNSEEN] = 0
        for reader in (own.mlp.gate_proj, own.mlp.up_proj):
            reader.weight[PLANTED[1]] = 0
            reader.weight[PLANTED[1], UNSEEN] = 2.0
    return hlens.load((hf, tokenizer), name="planted")


def long_answers(n: int, seed: int = 0) -> list[dict]:
    """Long answers with three spans; capitals are in the false spans, and anywhere outside spans.

    Half of the answers have a false span. How many capitals an answer has says little of that: the
    span is 6 of some 160 letters.
    """
    draw = random.Random(seed)
    rows = []
    for i in range(n):
        share = draw.uniform(0.1, 0.9)

        def letters(count: int, high: float) -> str:
            some = draw.choices(string.ascii_lowercase, k=count)
            return "".join(c.upper() if draw.random() < high else c for c in some)

        text, spans = "", []
        for at in range(3):
            text += letters(45 + draw.randrange(10), share)
            false = (i % 2 == 0 and at == draw.randrange(3)) or (i % 2 == 0 and at == 2 and not any(
                label == "hallucinated" for *_, label in spans))  # fmt: skip
            label = "hallucinated" if false else "correct"
            spans.append([len(text), len(text) + 6, label])
            text += letters(6, float(false))
        rows.append({"question": f"Tell me of {i}.", "response": text, "spans": spans})
    return rows


def test_a_neuron_that_follows_spans_is_found_by_spans_and_missed_by_responses():
    model, rows = planted_model(), long_answers(120)
    aurocs, found = {}, {}
    for unit in ("span", "response"):
        labelled = hlens.labelled(rows, model, unit=unit)
        data = measure(model, labelled.examples)
        train, test = split_by_group(data, 0.3, seed=0)
        # A response's spans are never on both sides, nor is it.
        sides = [{*part.question_ids} for part in (train, test)]
        assert not sides[0] & sides[1]
        detector = hlens.find(train, hlens.SparseProbe(cv=3, n_points=8, random_state=0))
        aurocs[unit] = roc_auc_score(test.labels.numpy(), detector(test).numpy())
        found[unit] = PLANTED in detector.neurons
        alone = np.asarray(data.values[:, PLANTED[0], PLANTED[1]])
        aurocs[unit, "planted"] = roc_auc_score(data.labels.numpy(), alone)
    assert aurocs["span"] > 0.95
    assert aurocs["span", "planted"] > 0.95
    assert found == {"span": True, "response": False}
    assert aurocs["response"] < 0.7
    assert 0.35 < aurocs["response", "planted"] < 0.65
