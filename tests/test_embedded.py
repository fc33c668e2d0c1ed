"""The embedded models: fetched once with pip, verified, and models that answer."""

from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

import hlens
from hlens.errors import HlensError
from hlens.model import Model

pytestmark = pytest.mark.model

WORKED = """Question: What is the capital of Italy?
Answer: Rome

Question: Who wrote Hamlet?
Answer: William Shakespeare

Question: What is the chemical symbol of gold?
Answer: Au

"""
ANSWERS = {
    "What is the capital of France?": "Paris",
    "What is the capital of Japan?": "Tokyo",
    "What is the chemical symbol of oxygen?": "O",
}


def embedded(alias: str, **options: str) -> Model:
    try:
        return hlens.load(alias, device="cpu", **options)
    except HlensError as error:
        pytest.skip(f"the embedded model {alias} cannot be had here: {error}")


@pytest.fixture(scope="module")
def smollm() -> Model:
    return embedded("smollm2-135m")


@pytest.fixture(scope="module")
def gemma() -> Model:
    return embedded("gemma3-270m")


# The first 32 characters are what versions before stored.
SMOLLM = "0fdb1979147c8a97f04402076d91d6d3535abb510c293c5643875e2aaad2651d188551b3"
GEMMA = "ec417f79b96dd6fa2abcb9ba3d52b521eb2eda61b6b519bb32f74961a113790a1a4178e6"


def complete(model: Model, question: str) -> str:
    prompt = f"{WORKED}Question: {question}\nAnswer:"
    return model.generate(prompt, max_new_tokens=6).text.partition("\n")[0].strip()


def test_smollm_is_the_published_model(smollm: Model) -> None:
    assert (smollm.n_layers, smollm.d_mlp, smollm.d_model) == (30, 1536, 576)
    assert smollm.fingerprint == SMOLLM
    assert "Paris" in smollm.generate("What is the capital of France?").text


def test_smollm_in_half_precision_runs_from_disk() -> None:
    """Thirty layers in bfloat16 round far apart in the bridge and in the model itself."""
    held = embedded("smollm2-135m", dtype="bfloat16")
    on_disk = hlens.load("smollm2-135m", dtype="bfloat16", device_map={"": "disk"})
    ids = torch.arange(3, 23)[None]
    with torch.inference_mode():
        assert torch.equal(held.hf(ids).logits, on_disk.hf(ids).logits)


def test_gemma_is_the_published_model(gemma: Model) -> None:
    assert (gemma.name, gemma.n_layers, gemma.d_mlp, gemma.d_model) == (
        "Gemma-3-270M",
        18,
        2048,
        640,
    )
    assert gemma.fingerprint == GEMMA


def test_gemma_is_a_base_model_with_its_own_tokens(gemma: Model) -> None:
    """No chat template; <bos> before every prompt; <eos> ends a reply."""
    assert gemma.tokenizer.chat_template is None
    prompt = "Question: What is?\nAnswer:"
    assert gemma.encode(prompt) == [2, 14977, 236787, 2900, 563, 236881, 107, 7925, 236787]
    assert gemma.decode(gemma.encode(prompt)) == prompt
    assert gemma.stop_ids == {1}
    assert gemma.tokenizer.convert_ids_to_tokens([1, 2]) == ["<eos>", "<bos>"]


def test_gemma_answers_worked_examples_in_both_precisions(gemma: Model) -> None:
    rounded = embedded("gemma3-270m", dtype="bfloat16")
    for model in (gemma, rounded):
        assert {question: complete(model, question) for question in ANSWERS} == ANSWERS


@pytest.mark.parametrize("alias", ["smollm", "gemma"])
def test_the_kept_tokenizer_is_the_one_that_transformers_reads(
    alias: str, request: pytest.FixtureRequest
) -> None:
    ours = request.getfixturevalue(alias).tokenizer
    theirs = AutoTokenizer.from_pretrained(ours.name_or_path)
    assert type(ours) is type(theirs)
    for told in ("all_special_ids", "added_tokens_decoder", "chat_template", "padding_side"):
        assert getattr(ours, told) == getattr(theirs, told), told
    special = " ".join(ours.all_special_tokens)
    for text in ("", WORKED, f"a{special}b", "  é e\u0301\u200d 日本語 🎉\n\n\t1,000"):
        for with_special in (True, False):
            asked = {"add_special_tokens": with_special}
            assert ours(text, **asked) == theirs(text, **asked)
            ids = ours(text, **asked)["input_ids"]
            shown = {"skip_special_tokens": with_special}
            assert ours.decode(ids, **shown) == theirs.decode(ids, **shown)


@pytest.mark.parametrize(
    ("alias", "asked"),
    [("smollm", {"shots": 0}), ("gemma", {"style": "completion", "shots": 4})],
)
def test_both_ways_of_measuring_agree(
    alias: str, asked: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    """The fast engine against the formula on a TransformerLens cache, by hand."""
    model: Model = request.getfixturevalue(alias)
    question = hlens.Question("1", "general", "What is the capital of France?", ("Paris",))
    responses = hlens.sample(model, [question], n=1, settings=hlens.Settings(12, 0.0), **asked)
    (example,) = hlens.locate(hlens.judge(responses), model)
    assert not example.hallucinated
    said = model.tokenizer.decode(example.token_ids[example.start : example.stop])
    assert "Paris" in said
    fast = hlens.measure(model, [example], metric=hlens.metrics.cett).values[0]
    _, cache = model.bridge.run_with_cache(example.token_ids[None])
    for layer in (0, model.n_layers // 2, model.n_layers - 1):
        trace = hlens.MlpTrace.from_cache(cache, model.bridge, layer)
        by_hand = hlens.metrics.cett(trace)[0, example.start : example.stop].mean(0)
        torch.testing.assert_close(fast[layer], by_hand, atol=1e-5, rtol=1e-4)
