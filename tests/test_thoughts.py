"""Thinking models: a thought is no part of the answer, wherever its tags are written."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import architectures
import hlens
from hlens import judges
from hlens.cli import app
from hlens.errors import HlensError
from hlens.judges import llm
from hlens.model import Model, SeededSampler, Settings
from hlens.monitor import monitor
from hlens.recipe import Recipe
from hlens.spans import locate_with_losses
from hlens.store.jsonl import load_responses, response_from_row, response_to_row, save_responses
from hlens.study import Study
from hlens.thoughts import Tags, find_thought, tags_of
from hlens.types import Detector, Question, Response, Thought, Verdict
from tiny_study import question_file, tiny_recipe
from tiny_tokenizer import byte_tokenizer

# As Qwen3: the model opens its thought; without thinking, an empty one is in the prompt; thoughts
# are stripped from the history.
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'].split('</think>')[-1] + '<end>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
OPENING = TEMPLATE.replace("{{ 'assistant: ' }}", "{{ 'assistant: <think>\n' }}")
VOCAB = 264
QUESTION = Question("q", "d", "Capital of France?", ("Paris",))


def thinking_tokenizer(template: str = TEMPLATE, *, hidden: bool = False) -> Any:
    """Tags as text of several tokens or, hidden, as special tokens that decoding leaves out."""
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    if hidden:
        tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    return tokenizer


def thinking_model(**options: Any) -> Model:
    hf = architectures.qwen3(vocab_size=VOCAB, max_position_embeddings=512)
    return hlens.load((hf, thinking_tokenizer(**options)), name="thinker")


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False).input_ids)


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let models say the reply to the question whose text is in the prompt."""

    def plan(tokenizer: Any, planned: dict[str, str]) -> None:
        said = {asked: ids_of(tokenizer, reply) for asked, reply in planned.items()}
        replies: list[list[int]] = []  # of the running batch

        def pick(self: SeededSampler, input_ids: torch.Tensor, logprobs: torch.Tensor) -> Any:
            step, end = len(self.logprobs), tokenizer.eos_token_id
            if step == 0:  # later the monitor gives the last tokens alone
                read = partial(tokenizer.decode, skip_special_tokens=True)  # not the padding
                texts = map(read, input_ids.tolist())
                found = [next(said[asked] for asked in said if asked in text) for text in texts]
                replies[:] = found
            said_now = (replies[row] for row in self.rows.tolist())
            return torch.tensor([[*ids, *[end] * (step + 1)][step] for ids in said_now])[:, None]

        monkeypatch.setattr(SeededSampler, "pick", pick)

    return plan


REPLIES = (
    ("<think>It is b.</think>\n\nzz", Verdict.HALLUCINATED, ""),
    ("<think>It is zz.</think>\n\nb", Verdict.CORRECT, ""),
    ("<think>It is b, since b is b and b again, and " + "b" * 60, Verdict.UNSCORED, "cut off"),
    ("<think>It is b", Verdict.UNSCORED, "cut off"),  # ended within its thought
)


@pytest.mark.parametrize("hidden", [False, True])
def test_hlens_run_judges_behind_the_thought(tmp_path: Path, says: Any, hidden: bool) -> None:
    tokenizer = thinking_tokenizer(hidden=hidden)
    home = tmp_path / "model"
    architectures.qwen3(vocab_size=VOCAB, max_position_embeddings=512).save_pretrained(home)
    tokenizer.save_pretrained(home)
    says(tokenizer, {f"Number {i}?": REPLIES[i % 4][0] for i in range(80)})
    recipe = tiny_recipe(
        question_file(tmp_path / "asked.jsonl", 80),
        model=str(home),
        sampling={"n": 2, "max_new_tokens": 60},
    )
    (tmp_path / "study.toml").write_text(recipe.to_toml())
    words = ["run", str(tmp_path / "study.toml"), "--out", str(tmp_path / "study")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output + repr(done.exception)
    study = Study(tmp_path / "study")
    for judged in study.judgements():
        said, verdict, reason = REPLIES[int(judged.response.question.id) % 4]
        assert judged.verdict is verdict
        assert not reason or judged.reason == reason
        # The tokens are those that were generated, thought and all.
        ids = list(judged.response.token_ids[judged.response.n_prompt :])
        assert ids == ids_of(tokenizer, said)[:60]
    examples = study.examples()
    assert len(examples) == 40
    for example in examples:
        wrong = example.hallucinated
        span = tokenizer.decode(example.token_ids[example.start : example.stop].tolist())
        assert span == ("zz" if wrong else "b")
        tags = 2 if hidden else len("<think></think>")
        words_in = len("It is b." if wrong else "It is zz.")
        assert example.n_thought == tags + words_in + 2  # and the two newlines behind
    cut = study.losses().set_index("reason").loc["cut off", "n"]
    assert cut == 80
    # Is it readable inside the thought?
    data = hlens.measure(study.model, examples, region="thought")
    whole = [e for e in examples if e.hallucinated][:1]
    start, stop = whole[0].n_prompt, whole[0].n_prompt + whole[0].n_thought
    moved = [
        hlens.Example(e.token_ids, e.n_prompt, start, stop, True, "q", "g", "d") for e in whole
    ]
    by_hand = hlens.measure(study.model, moved).values[0]
    row = examples.index(whole[0])
    assert torch.allclose(data.values[row].float(), by_hand, atol=1e-5)


def test_a_template_option_goes_from_the_command_line_to_the_prompt(tmp_path: Path) -> None:
    home = tmp_path / "model"
    architectures.qwen3(vocab_size=VOCAB, max_position_embeddings=512).save_pretrained(home)
    thinking_tokenizer().save_pretrained(home)
    from hlens.cli.studies import open_study

    recipe = tiny_recipe(question_file(tmp_path / "q.jsonl", 2), model=str(home))
    (tmp_path / "r.toml").write_text(recipe.to_toml())
    given = ["enable_thinking=false"]
    study = open_study(
        str(tmp_path / "r.toml"), tmp_path / "s", None, lambda *_: None, template=given
    )
    assert study.recipe.sampling.template == {"enable_thinking": False}
    again = Recipe.read(tmp_path / "s" / "recipe.toml")  # through TOML and back
    assert again == study.recipe
    assert again.hash == study.recipe.hash != recipe.hash
    prompt = study.model.decode(study.responses()[0].token_ids)
    assert "assistant: <think>\n\n</think>\n\n" in prompt
    with pytest.raises(HlensError, match="goes with a recipe"):
        open_study(str(tmp_path / "s"), None, None, lambda *_: None, template=given)
    for bad in ("enable_thinking", "=1"):
        with pytest.raises(HlensError, match="expected KEY=VALUE"):
            open_study(str(tmp_path / "r.toml"), None, None, lambda *_: None, template=[bad])


def test_an_option_that_the_template_does_not_read_is_refused() -> None:
    hf = architectures.qwen3(vocab_size=VOCAB)
    off = hlens.load((hf, thinking_tokenizer()), template_options={"enable_thinking": False})
    assert off.decode(off.encode("Who?")).endswith("assistant: <think>\n\n</think>\n\n")
    with pytest.raises(HlensError, match="does not read 'enable_thinkng'"):
        hlens.load((hf, thinking_tokenizer()), template_options={"enable_thinkng": False})
    with pytest.raises(HlensError, match="set by hlens itself"):
        off.with_template({"add_generation_prompt": False})
    with pytest.raises(HlensError, match="has no chat template"):
        hlens.load((hf, byte_tokenizer(chat=False)), template_options={"enable_thinking": False})


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize(
    ("template", "prompt", "reply", "thought", "behind"),
    [
        (TEMPLATE, "a: ", "<think>b</think>\n\nc", "b", "c"),
        (TEMPLATE, "a: ", "\n<think>\nb\n</think> c", "b", "c"),
        (OPENING, "a: <think>\n", "b</think>c", "b", "c"),  # the template opens it
        (TEMPLATE, "a: ", "b</think>c", "b", "c"),  # the opening tag is left out
        (TEMPLATE, "a: ", "<think>b", "b", ""),
        (OPENING, "a: <think>\n", "b", "b", ""),
        (TEMPLATE, "a: <think>\n\n</think>\n\n", "c", None, "c"),
        ("no tags", "a: ", "<think>é</think>ü", "é", "ü"),
        ("no tags", "a: ", "It closes with </think>.", None, "It closes with </think>."),
        (TEMPLATE, "a: ", "The tag <think> opens.", None, "The tag <think> opens."),
    ],
)
def test_where_a_thought_ends(
    hidden: bool, template: str, prompt: str, reply: str, thought: str | None, behind: str
) -> None:
    tokenizer = thinking_tokenizer(template, hidden=hidden)
    ids = ids_of(tokenizer, reply)
    found = find_thought(tokenizer, ids_of(tokenizer, prompt), ids)
    assert (found.text if found else None) == thought
    rest = tokenizer.decode(ids[found.n_tokens if found else 0 :]).strip()
    assert rest == behind
    assert found is None or found.finished == bool(behind)


def test_tags_are_read_off_the_template() -> None:
    def named(template: Any) -> list[Tags]:
        return tags_of(thinking_tokenizer(template))

    assert named(TEMPLATE) == [Tags("<think>", "</think>")]
    assert named("[THINK]x[/THINK]") == [Tags("[THINK]", "[/THINK]")]
    assert named({"default": "</seed:think>"}) == [Tags("<seed:think>", "</seed:think>")]
    assert named("{{ m.reasoning_content }} </tool_call>") == []
    harmony = "<|start|>assistant<|channel|>final<|message|>"
    reply = f"<|channel|>analysis<|message|>Paris?<|end|>{harmony}Lyon"
    tokenizer = thinking_tokenizer(harmony)
    found = find_thought(tokenizer, [], ids_of(tokenizer, reply))
    assert found
    assert tokenizer.decode(ids_of(tokenizer, reply)[found.n_tokens :]) == "Lyon"


def test_a_response_known_by_its_text_alone_is_judged_behind_the_thought() -> None:
    model = thinking_model()
    text = "<think>Paris? No.</think> Lyon."
    ids = (1, *ids_of(model.tokenizer, text))
    for right, said in ((False, text), (True, "<think>Lyon? No.</think> Paris")):
        tokens = (1, *ids_of(model.tokenizer, said))
        [judged] = judges.judge([Response(QUESTION, said, tokens, 1)])
        assert judged.verdict is (Verdict.CORRECT if right else Verdict.HALLUCINATED)
        start, stop = judged.answer or (0, 0)
        assert said[start:stop] == ("Paris" if right else "Lyon")
        for span in ("answer", "response"):
            (example,), _ = locate_with_losses([judged], model, span=span)
            own = model.decode(example.token_ids[example.start : example.stop].tolist())
            assert own.strip(" .") == said[start:stop]
            assert example.n_thought == len(said[: said.index("</think>")]) + len("</think> ")
    for cut in ("<think>Paris", "<think>Paris, so "):
        [judged] = judges.judge([Response(QUESTION, cut, ids, 1, finish_reason="length")])
        assert (judged.verdict, judged.reason) == (Verdict.UNSCORED, "cut off")
    endpoint = llm.Endpoint("none", url="http://127.0.0.1:9")
    known = {}
    costs = llm.estimate([Response(QUESTION, text, (), 0)], endpoint, cache=known)
    bare = llm.estimate([Response(QUESTION, " Lyon.", (), 0)], endpoint, cache=known)
    assert costs == bare


def test_a_response_keeps_its_thought_on_disk_and_old_rows_are_read(tmp_path: Path) -> None:
    own = Response(QUESTION, "Lyon", (1, 2, 3), 1, thought=Thought("Paris?", 1))
    save_responses([own], tmp_path / "r.jsonl")
    assert load_responses(tmp_path / "r.jsonl", [QUESTION]) == [own]
    row = response_to_row(own)
    del row["thought"]
    old = response_from_row(json.loads(json.dumps(row)), {("d", "q"): QUESTION})
    assert old.thought is None
    assert old.n_thought == 0


def test_the_monitor_tells_the_thought_from_the_answer(says: Any) -> None:
    model = thinking_model()
    says(model.tokenizer, {"Who?": "<think>A or B.</think>\nB"})
    generated = model.generate("Who?")
    assert str(generated) == "B"
    assert generated.thought
    assert generated.thought.text == "A or B."
    weights = torch.zeros(model.n_layers, model.d_mlp)
    weights[0, 3] = 1.0
    detector = Detector(weights, 0.0, "cett", "response", provenance=model.provenance)
    (one,) = monitor(model, detector, [model.encode("Who?")], settings=Settings(50, 0.0))
    assert one.generation.thought == generated.thought
    assert one.generation.text == "B"
    example = hlens.Example(
        torch.tensor([*model.encode("Who?"), *generated.token_ids]),
        len(model.encode("Who?")),
        len(model.encode("Who?")) + generated.thought.n_tokens,
        len(model.encode("Who?")) + len(generated.token_ids),
        True, "q", "g", "d", n_thought=generated.thought.n_tokens,
    )  # fmt: skip
    measured = detector(
        hlens.measure(model, [example], metric=hlens.metrics.cett, region="response")
    )
    assert one.score == pytest.approx(float(measured[0]), abs=1e-4)
    inside = [risk.in_thought for risk in one.risks]
    spelled = len("<think>") - 1  # of text, the tag is one only when it is whole
    assert inside == [False] * spelled + [True] * (len(inside) - spelled - 1) + [False]


def test_a_response_without_a_thought_has_none_to_measure() -> None:
    model = thinking_model()
    example = hlens.Example(torch.tensor([5, 6, 7]), 1, 1, 3, True, "q", "g", "d")
    with pytest.raises(HlensError, match=r"'thought' is empty in 1 of 1 .* hold no thought"):
        hlens.measure(model, [example], region="thought")
    with pytest.raises(HlensError, match="a thought of 3 tokens does not fit"):
        hlens.Example(torch.tensor([5, 6, 7]), 1, 1, 3, True, "q", "g", "d", n_thought=3)
