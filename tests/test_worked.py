"""Worked examples: which are shown, how they are written, and that a study keeps to them."""

import json
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import pytest

import hlens
from hlens import domains
from hlens.domains import choose_worked
from hlens.domains._worked import ANY_DOMAIN, WORKED, shipped_worked
from hlens.errors import HlensError
from hlens.judges import word_keys
from hlens.model import Model, Settings, generate_batch
from hlens.prompts import Style, completion_text, encode_prompt
from hlens.types import Question
from tiny_study import question_file, tiny_model, tiny_recipe

BANKS = ("general", "science", "legal", "financial", "moral", "code_vulnerability")
SHIPPED = sorted(path.name.removesuffix(".jsonl") for path in WORKED.iterdir())
# Answers that many questions share.
COMMON = {"right", "wrong", "yes", "no"}


def asked(text: str = "Who is it?", domain: str = "general", **meta: object) -> Question:
    return Question("q", domain, text, ("a",), meta=meta)


@pytest.mark.parametrize("bank", BANKS)
def test_no_worked_example_is_about_a_fact_of_the_banks(bank: str) -> None:
    questions = domains.load(bank)
    texts = {word_keys(question.text) for question in questions}
    golds = {word_keys(answer) for question in questions for answer in question.answers}
    for example in (*shipped_worked(bank), *shipped_worked(ANY_DOMAIN)):
        assert word_keys(example.text) not in texts
        # A number is an answer to many questions about other facts.
        if example.meta["format"] in ("short_answer", "free_text", "completion"):
            answer = word_keys(example.answers[0])
            assert answer not in golds or answer[0] in COMMON or answer[0].isdigit(), example


@pytest.mark.parametrize("domain", [name for name in SHIPPED if name != ANY_DOMAIN])
def test_a_domain_ships_at_least_four(domain: str) -> None:
    groups: dict[object, list[Question]] = {}
    for example in shipped_worked(domain):
        groups.setdefault((example.meta["format"], *example.choices), []).append(example)
    assert all(len(group) >= 4 for group in groups.values())


@pytest.mark.parametrize("format", ["short_answer", "completion", "mcq", "numeric", "free_text"])
def test_every_format_has_four(format: str) -> None:
    chosen = choose_worked(asked(domain="mine", format=format), 4)
    assert [example.meta["format"] for example in chosen] == [format] * 4


@pytest.mark.parametrize("labels", [("yes", "no"), ("True", "False"), ("no", "maybe", "yes")])
def test_labels_are_those_of_the_question(labels: tuple[str, ...]) -> None:
    question = Question("q", "mine", "Is it?", ("yes",), labels, meta={"format": "label"})
    chosen = choose_worked(question, 4)
    assert {example.answers[0] for example in chosen} == {label.casefold() for label in labels}


def test_labels_that_no_example_has_are_refused() -> None:
    question = Question("q", "mine", "Which?", ("up",), ("up", "down"), meta={"format": "label"})
    with pytest.raises(HlensError, match=r"^0 worked examples .* labels up, down, 4 asked for"):
        choose_worked(question, 4)
    assert choose_worked(question, 0) == ()


def test_own_examples_come_first_and_never_the_question_itself() -> None:
    own = [Question("w", "general", "Who was he?", ("b",))]
    chosen = choose_worked(asked(), 3, own=own)
    assert chosen == (own[0], *shipped_worked("general")[:2])
    itself = shipped_worked("general")[0]
    assert itself not in choose_worked(itself, 4)


def test_a_users_file_brings_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "mine.jsonl"
    rows = [
        {"question": "Who is A?", "answer": "a", "group": "A"},
        {"question": "Who is B?", "answer": "b", "worked": True},
        {"question": "Who was A?", "answer": "a", "group": "A", "worked": True},
        {"question": "Who is C?", "answer": "c", "worked": "yes"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    name = f"jsonl:{path}"
    assert [question.text for question in domains.load(name)] == ["Who is A?"]
    assert [example.text for example in domains.load_worked(name)] == ["Who is B?"]
    assert "line 3: a question and a worked example are about one fact" in caplog.text
    assert "line 4: worked is 'yes'; expected true or false" in caplog.text


def test_an_example_without_a_reply_is_refused() -> None:
    silent = Question("w", "general", "Who?", ())
    with pytest.raises(HlensError, match=r"worked example 'w' .* has no reply to show"):
        completion_text(asked(), [silent])
    told = replace(silent, meta={"reply": "I don't know."})
    assert completion_text(asked(), [told]).startswith("Question: Who?\nAnswer: I don't know.\n\n")


def test_a_chat_shows_them_as_turns_and_needs_a_template() -> None:
    model = tiny_model()
    worked = [Question("w", "general", "Who was he?", ("Bo",))]
    ids = encode_prompt(model, asked(), instruction="Briefly.", worked=worked)
    turns = [("user", "Who was he? Briefly."), ("assistant", "Bo"), ("user", "Who is it? Briefly.")]
    by_hand = model.encode_chat([{"role": role, "content": text} for role, text in turns])
    assert ids == by_hand
    model.tokenizer.chat_template = None
    with pytest.raises(HlensError, match="no chat template to put worked examples in"):
        encode_prompt(model, asked(), worked=worked)


def test_a_reply_ends_at_its_newline_and_no_token_is_drawn_behind_it() -> None:
    model = tiny_model()
    prompts = [model.encode(text, chat=False) for text in ("Why?", "Who was it?")]
    seeds = [[k + 10 * row for k in range(8)] for row in range(2)]
    settings = Settings(max_new_tokens=120, temperature=2.0, top_k=0, top_p=1.0)
    whole = generate_batch(model, prompts, seeds, settings=settings)
    ended = generate_batch(model, prompts, seeds, settings=replace(settings, until_newline=True))
    assert any("\n" in one.text for row in whole for one in row)
    for ours, theirs in (
        (a, b) for rows in zip(ended, whole, strict=True) for a, b in zip(*rows, strict=True)
    ):
        ids = list(theirs.token_ids)
        cut = next((k for k in range(len(ids)) if "\n" in model.decode([ids[k]])), len(ids))
        assert list(ours.token_ids) == ids[:cut]
        assert len(ours.logprobs) == cut
        if cut < len(ids):
            assert ours.finish_reason == "stop"


def test_a_study_samples_behind_its_examples_and_keeps_them(tmp_path: Path) -> None:
    path = question_file(tmp_path / "questions.jsonl")
    recipe = tiny_recipe(path)
    sampling = replace(recipe.sampling, style="completion", shots=2)
    recipe = replace(recipe, sampling=sampling)
    study = hlens.Study(tmp_path / "study", recipe, tiny_model())
    first = study.responses()
    prompt = study.model.decode(first[0].token_ids[: first[0].n_prompt])
    assert prompt.count("Question: ") == 3
    assert prompt.endswith("\nAnswer:")
    shown = hlens.domains.jsonl.read(path).worked
    assert not shown
    # Reopened, the study keeps to what it showed; with another example it asks again.
    again = hlens.Study(tmp_path / "study", model=tiny_model())
    assert again.has(hlens.steps.answers.responses)
    own = {"question": "Which is mine?", "answer": "this", "worked": True}
    path.write_text(path.read_text() + json.dumps(own) + "\n")
    other = hlens.Study(tmp_path / "study", recipe, tiny_model())
    assert not other.has(hlens.steps.answers.responses)
    prompts = {other.model.decode(r.token_ids[: r.n_prompt]) for r in other.responses()}
    assert all("Which is mine?\nAnswer: this" in prompt for prompt in prompts)


@pytest.mark.parametrize(("style", "shots"), list(product(("chat", "completion"), (0, 3))))
def test_sampling_in_one_batch_or_alone_is_the_same(style: Style, shots: int) -> None:
    model: Model = tiny_model()
    questions = [asked(f"Who is {'x' * i}?", "general" if i % 2 else "legal") for i in range(5)]
    questions = [replace(question, id=str(i)) for i, question in enumerate(questions)]
    ask = partial(
        hlens.sample, model, n=2, style=style, shots=shots, settings=Settings(max_new_tokens=8)
    )
    together = ask(questions)
    alone = [response for question in questions for response in ask([question], rows=1)]
    assert [r.token_ids for r in together] == [r.token_ids for r in alone]
