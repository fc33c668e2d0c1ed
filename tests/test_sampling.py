"""Sampling repeats, whatever the batch; it goes on where it was interrupted."""

import contextlib
import copy
from itertools import chain, pairwise
from types import SimpleNamespace
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

import architectures
import hlens
from hlens import sampling
from hlens.errors import HlensError
from hlens.model import Model, Settings, generate_batch, hook_input, quick_copy, widening
from hlens.model.generation import EndOfReply
from hlens.types import Question
from tiny_detector import detector_of
from tiny_tokenizer import VOCAB, byte_tokenizer

SHORT = Settings(max_new_tokens=6)
QUESTIONS = [
    Question(str(i), "general", "Who " + "or what " * (i % 4) + f"is {i}?", ("a",))
    for i in range(7)
]


@pytest.fixture(scope="module")
def model() -> Model:
    return hlens.load((architectures.llama(vocab_size=VOCAB), byte_tokenizer()))


def test_a_sample_does_not_depend_on_its_batch(model: Model) -> None:
    together = hlens.sample(model, QUESTIONS, n=3, settings=SHORT)
    alone = hlens.sample(model, QUESTIONS, n=3, settings=SHORT, rows=1)
    assert [r.token_ids for r in together] == [r.token_ids for r in alone]
    assert [r.question.id for r in together] == [q.id for q in QUESTIONS for _ in range(3)]
    first = hlens.sample(model, QUESTIONS[2:3], n=3, settings=SHORT)
    assert [r.token_ids for r in first] == [r.token_ids for r in together[6:9]]


def test_seeds_differ_between_samples_and_runs(model: Model) -> None:
    one = hlens.sample(model, QUESTIONS, n=2, settings=SHORT, seed=0)
    two = hlens.sample(model, QUESTIONS, n=2, settings=SHORT, seed=1)
    assert len({r.seed for r in one + two}) == len(one + two)
    assert [r.token_ids for r in one] != [r.token_ids for r in two]
    assert any(a.token_ids != b.token_ids for a, b in pairwise(one[:2]))


def test_greedy_is_what_plain_generate_says(model: Model) -> None:
    prompt = model.encode("Hello")
    ours = model.generate_many([prompt, model.encode("A longer prompt")], Settings(8, 0.0))[0]
    ids = torch.tensor([prompt])
    theirs = model.hf.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False, pad_token_id=0
    )[0, len(prompt) :].tolist()
    assert list(ours.token_ids) == [t for t in theirs if t not in model.stop_ids]


def test_logprobs_are_the_models_own(model: Model) -> None:
    (made,) = generate_batch(model, [model.encode("Why?")], [[11, 12]], settings=SHORT)
    for row in made:
        ids = torch.tensor([[*model.encode("Why?"), *row.token_ids]])
        logits = model.hf(ids).logits.log_softmax(-1)[0]
        n = len(row.token_ids)
        expected = logits[-n - 1 : -1].gather(1, ids[0, -n:, None]).squeeze(1)
        torch.testing.assert_close(torch.tensor(row.logprobs), expected, atol=1e-4, rtol=1e-4)


def test_draws_follow_the_warped_distribution(model: Model) -> None:
    """Frequencies of the first token over many seeds against top-k and top-p by hand."""
    prompt = model.encode("Q")
    how = Settings(max_new_tokens=1, temperature=1.5, top_k=4, top_p=0.8)
    (rows,) = generate_batch(model, [prompt], [list(range(2000))], settings=how)
    logits = model.hf(torch.tensor([prompt])).logits[0, -1] / how.temperature
    top = logits.topk(how.top_k)
    mass = top.values.softmax(0)
    kept = torch.cat([torch.zeros(1), mass.cumsum(0)[:-1]]) < how.top_p
    expected = torch.where(kept, mass, 0) / mass[kept].sum()
    # A row whose first token ends the turn is empty: count it as that token.
    firsts = [row.token_ids[0] if row.token_ids else min(model.stop_ids) for row in rows]
    counts = torch.tensor([firsts.count(int(token)) for token in top.indices]) / len(rows)
    assert abs(float(counts.sum()) - 1) < 1e-6
    torch.testing.assert_close(counts, expected, atol=0.05, rtol=0)


def test_an_interrupted_run_goes_on_and_ends_the_same(model: Model, tmp_path) -> None:
    whole = hlens.sample(model, QUESTIONS, n=2, settings=SHORT, rows=4)

    class KilledError(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done >= total // 2:
            raise KilledError

    with pytest.raises(KilledError):
        hlens.sample(model, QUESTIONS, n=2, settings=SHORT, rows=4, folder=tmp_path, progress=kill)
    stood = {path: path.stat().st_mtime_ns for path in tmp_path.glob("part-*")}
    assert 0 < len(stood) < 4
    again = hlens.sample(model, QUESTIONS, n=2, settings=SHORT, rows=4, folder=tmp_path)
    assert all(path.stat().st_mtime_ns == at for path, at in stood.items())
    assert [r.token_ids for r in again] == [r.token_ids for r in whole]


def test_parts_of_other_work_are_not_taken(model: Model, tmp_path) -> None:
    hlens.sample(model, QUESTIONS[:2], n=1, settings=SHORT, folder=tmp_path)
    other = hlens.sample(model, QUESTIONS[:2], n=1, settings=SHORT, folder=tmp_path, seed=9)
    assert [r.seed for r in other] == [
        r.seed for r in hlens.sample(model, QUESTIONS[:2], n=1, settings=SHORT, seed=9)
    ]


def test_out_of_memory_halves_the_batch_and_says_so(model: Model, monkeypatch, caplog) -> None:
    plain = hlens.sample(model, QUESTIONS, n=1, settings=SHORT)

    def tight(of_model, prompts, seeds, **options):  # type: ignore[no-untyped-def]
        if len(prompts) > 2:
            raise torch.OutOfMemoryError("no room")
        return generate_batch(of_model, prompts, seeds, **options)

    monkeypatch.setattr(sampling, "generate_batch", tight)
    halved = hlens.sample(model, QUESTIONS, n=1, settings=SHORT)
    assert [r.token_ids for r in halved] == [r.token_ids for r in plain]
    assert "continuing with 3 questions at a time" in caplog.text


def test_nothing_to_ask_is_an_error(model: Model) -> None:
    with pytest.raises(HlensError, match="no questions"):
        hlens.sample(model, [])
    with pytest.raises(HlensError, match="n=0; expected a whole number from 1"):
        hlens.sample(model, QUESTIONS, n=0)


@pytest.mark.parametrize("name", sorted(architectures.DENSE))
def test_reading_the_common_beginning_once_changes_nothing(name: str) -> None:
    model = hlens.load((architectures.DENSE[name](), None))
    begin = [3, 14, 15, 9, 26]
    prompts = [[*begin, *rest] for rest in ([5], [35, 8, 9], [79, 32, 38, 46, 26, 43])]
    how = Settings(max_new_tokens=6, temperature=0.0)
    plain = model.generate_many(prompts, how)
    shared = model.generate_many(prompts, how, share_beginning=True)
    several = generate_batch(model, prompts, [[1, 2]] * 3, settings=SHORT, share_beginning=True)
    apart = generate_batch(model, prompts, [[1, 2]] * 3, settings=SHORT)
    pairs = zip([shared, *several], [plain, *apart], strict=True)
    for ours, theirs in chain.from_iterable(zip(a, b, strict=True) for a, b in pairs):
        assert ours.token_ids == theirs.token_ids
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-4)


@pytest.mark.parametrize("name", sorted(architectures.DENSE))
def test_replies_that_have_ended_leave_the_batch_and_change_no_other(
    name: str, monkeypatch
) -> None:
    model = hlens.load((architectures.DENSE[name](), None))
    ends = {*range(0, model.n_tokens, 6), *model.stop_ids}
    monkeypatch.setattr(EndOfReply, "__getitem__", lambda self, token: token in ends)
    prompts = [[7, 8, 9, *range(10, 11 + i % 5)] for i in range(10)]
    seeds = [[2 * i, 2 * i + 1] for i in range(10)]
    how = {"settings": Settings(20), "share_beginning": True}
    sizes = []

    def count(module, args, given) -> None:
        sizes.append(len(args[0] if args else given["input_ids"]))

    with hook_input(model.hf, count, with_kwargs=True):
        left = generate_batch(model, prompts, seeds, **how)
    assert sizes[-1] < 8 <= max(sizes) == 20
    with model.clock.holding_rows():
        stayed = generate_batch(model, prompts, seeds, **how)
    assert model.clock.holds == 0
    for one, other in zip(chain(*left), chain(*stayed), strict=True):
        assert (one.token_ids, one.finish_reason) == (other.token_ids, other.finish_reason)
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_no_row_leaves_under_what_knows_rows_by_their_place(model: Model) -> None:
    some = hlens.NeuronSet(frozenset({(0, 1)}), model.n_layers, model.d_mlp)
    for spans, holds in (({}, 0), ({"n_prompt": [3, 4]}, 1)):
        nothing_run = contextlib.suppress(HlensError)
        with nothing_run, model.editing(some, hlens.interventions.scale(0.5), **spans):
            assert model.clock.holds == holds
    with hlens.monitor.watching(model, detector_of(model), on_scores=print, may_be_empty=True):
        assert model.clock.holds == 1
    assert model.clock.holds == 0


def test_equal_prompts_share_all_but_their_last_token(model: Model) -> None:
    prompts, seeds = [model.encode("Why?")] * 2, [[1, 2], [3, 4]]
    shared = generate_batch(model, prompts, seeds, settings=SHORT, share_beginning=True)
    apart = generate_batch(model, prompts, seeds, settings=SHORT)
    assert [[one.token_ids for one in row] for row in shared] == [
        [one.token_ids for one in row] for row in apart
    ]


HOSTILE = {
    "repetition_penalty": 1.7,
    "no_repeat_ngram_size": 1,
    "min_p": 0.9,
    "typical_p": 0.1,
    "suppress_tokens": list(range(3, 60)),
    "begin_suppress_tokens": [5, 6, 7],
    "forced_bos_token_id": 4,
    "forced_eos_token_id": 5,
    "bad_words_ids": [[8]],
    "sequence_bias": [[[9], 5.0]],
    "num_beams": 3,
    "num_return_sequences": 2,
    "num_beam_groups": 3,
    "penalty_alpha": 0.6,
    "guidance_scale": 1.5,
    "min_new_tokens": 5,
    "min_length": 40,
    "max_length": 4,
    "max_time": 0.0,
    "stop_strings": ["e"],
    "do_sample": True,
    "temperature": 3.0,
    "top_k": 2,
    "exponential_decay_length_penalty": [0, 3.0],
    "remove_invalid_values": True,
    "renormalize_logits": True,
    "return_dict_in_generate": True,
    "output_scores": True,
    "output_attentions": True,
    "output_hidden_states": True,
    "cache_implementation": "static",
    "use_cache": False,
    "prompt_lookup_num_tokens": 3,
    "watermarking_config": {"greenlist_ratio": 0.1},
    "a_field_of_tomorrow": 3,
}


@pytest.mark.parametrize("field", [*HOSTILE, "all"])
def test_no_generation_default_of_a_model_but_its_stop_tokens_takes_part(field: str) -> None:
    """A shipped ``generation_config.json`` would change answers and their log-probabilities."""
    plain, hostile = (hlens.load((architectures.llama(), None)) for _ in range(2))
    fields = HOSTILE if field == "all" else {field: HOSTILE[field]}
    for name, value in fields.items():
        setattr(hostile.hf.generation_config, name, value)
    before = hostile.hf.generation_config.to_dict()
    prompts = [[3, 4, 5, 6, 7], [3, 4, 9]]
    for settings in (Settings(8, temperature=0.0), hlens.Settings(8)):
        expected = plain.generate_many(prompts, settings)
        assert hostile.generate_many(prompts, settings) == expected
        seeds = [[1, 2], [3, 4]]
        share = {"settings": settings, "share_beginning": True}
        several = generate_batch(hostile, prompts, seeds, **share)
        assert several == generate_batch(plain, prompts, seeds, **share)
    assert hostile.hf.generation_config.to_dict() == before  # the user's own stays as it was


def test_generation_defaults_in_a_models_config_take_no_part() -> None:
    plain, hostile = (hlens.load((architectures.llama(), None)) for _ in range(2))
    for name, value in {"use_cache": False, "repetition_penalty": 2.0, "num_beams": 2}.items():
        setattr(hostile.hf.config, name, value)
    settings = Settings(8, temperature=0.0)
    assert hostile.generate_many([[3, 4, 5]], settings) == plain.generate_many(
        [[3, 4, 5]], settings
    )


def test_stop_tokens_are_inherited_and_those_that_the_model_has_not_are_none() -> None:
    model = hlens.load((architectures.llama(), None))
    settings = Settings(8, temperature=0.0)
    tokens = model.generate_many([[3, 4, 5]], settings)[0].token_ids
    model = hlens.load((architectures.llama(), None))
    model.hf.generation_config.eos_token_id = [-1, 10**6, tokens[3]]
    assert model.stop_ids == {tokens[3]}
    stopped = model.generate_many([[3, 4, 5]], settings)[0]
    assert stopped.token_ids == tokens[: tokens.index(tokens[3])]
    assert stopped.finish_reason == "stop"


@pytest.mark.parametrize(
    "fields",
    [
        {"top_p": 0},
        {"top_p": 1.5},
        {"top_p": float("nan")},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"temperature": 1e-30},
        {"top_k": -1},
        {"top_k": 2.5},
        {"max_new_tokens": 0},
        {"max_new_tokens": 10**30},
        {"max_new_tokens": "8"},
    ],
)
def test_a_setting_out_of_its_limits_is_one_line(fields: dict, monkeypatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as outside of tests
    (name,) = fields
    with pytest.raises(HlensError, match=rf"^{name}=.*; expected ") as error:
        Settings(**fields)
    assert "\n" not in str(error.value)


def test_scalars_of_numpy_are_settings(model: Model, monkeypatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    own = Settings(np.int64(4), np.float32(0.5), np.int32(5), np.float64(0.5))
    plain = Settings(4, 0.5, 5, 0.5)
    assert own == plain
    assert repr(own) == repr(plain)  # a part of finished work is known by it
    how = {"seed": np.int64(3), "n": np.int64(2), "settings": own}
    said = hlens.sample(model, QUESTIONS[:1], **how)
    assert said == hlens.sample(model, QUESTIONS[:1], n=2, seed=3, settings=plain)


@pytest.mark.parametrize("fields", [{"n": 0}, {"n": 10**30}, {"seed": -1}, {"rows": 0}])
def test_numbers_of_a_run_are_checked(model: Model, fields: dict) -> None:
    (name,) = fields
    with pytest.raises(HlensError, match=rf"^{name}=.*; expected a whole number"):
        hlens.sample(model, QUESTIONS[:1], **fields)


def test_prompts_beyond_the_models_positions_are_named_before_anything_runs() -> None:
    model = hlens.load((architectures.gpt2(), None))
    assert model.n_positions == 256
    prompts = [[3] * 230, [4] * 20]
    said = r"^1 of 2 prompts are too long for the 256 positions of .*: up to 230 tokens, and 50 new"
    with pytest.raises(HlensError, match=said):
        model.generate_many(prompts, Settings(50))
    assert len(model.generate_many([[3] * 206], Settings(50, 0.0))[0].token_ids) <= 50


def test_rotary_positions_do_not_end_but_where_training_did_is_said_once(caplog) -> None:
    model = hlens.load((architectures.llama(), None))
    assert (model.n_positions, model.n_trained_positions) == (None, 256)
    for _ in range(2):
        assert model.generate_many([[3] * 254], Settings(4, 0.0))[0].token_ids
    said = "1 of 1 prompts are too long for the 256 positions of LlamaForCausalLM"
    assert caplog.text.count(said) == 1


@pytest.mark.parametrize("prompt", [[], "text", [3, 96], [-1], ["a"]])
def test_what_is_no_prompt_of_this_model_is_one_line(prompt, monkeypatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    model = hlens.load((architectures.llama(), None))
    with pytest.raises(HlensError, match=r"^prompt 1 "):
        model.generate_many([[3], prompt], Settings(2))


@pytest.mark.parametrize("pad", [96, 10**6])
def test_a_pad_token_that_the_model_has_not_is_no_error(pad: int) -> None:
    hf = architectures.llama()

    class Padding:
        pad_token_id, eos_token_id, chat_template = pad, None, None

        def decode(self, ids, **_):
            return " ".join(map(str, ids))

    plain = hlens.load((hf, None)).generate_many([[3, 4, 5], [3]], Settings(4, 0.0))
    model = hlens.load((hf, None))
    model.tokenizer = Padding()
    assert 0 <= model.pad_id < 96
    padded = model.generate_many([[3, 4, 5], [3]], Settings(4, 0.0))
    assert [one.token_ids for one in padded] == [one.token_ids for one in plain]


@pytest.mark.parametrize("pad", [0, 7, None, -1, 96])
def test_a_pad_token_of_id_0_is_one(pad: int | None) -> None:
    model = hlens.load((architectures.llama(), None))
    model.tokenizer = SimpleNamespace(pad_token_id=pad, eos_token_id=5)
    assert min(model.stop_ids) > 0
    assert model.pad_id == (pad if pad in (0, 7) else min(model.stop_ids))


def test_logits_that_are_nan_are_said_at_the_token_where_they_are() -> None:
    model = hlens.load((architectures.llama(), None))
    with torch.no_grad():
        model.hf.lm_head.weight[7] = float("nan")
    with pytest.raises(HlensError, match="logits that are NaN at token 0 of a reply"):
        model.generate_many([[3, 4, 5]], Settings(4))


def test_draws_are_the_same_where_the_device_has_no_float64(model: Model, monkeypatch) -> None:
    plain = model.generate_many([model.encode("Who?")], Settings(6), seed=5)
    monkeypatch.setattr(widening, "WITHOUT_FLOAT64", {"cpu"})
    assert model.generate_many([model.encode("Who?")], Settings(6), seed=5) == plain


# --- Replies in bfloat16 ------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor that multiplies bfloat16, and with models that are worth a copy."""
    monkeypatch.setattr(quick_copy, "multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(quick_copy, "LEAST_PARAMETERS", 0)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("make", [architectures.llama, architectures.gpt2])
def test_a_copy_writes_what_the_model_loaded_in_bfloat16_does(make: Any) -> None:
    hf = make(vocab_size=VOCAB)
    before = {name: weight.clone() for name, weight in hf.named_parameters()}
    model = hlens.load((hf, byte_tokenizer()))
    rounded = hlens.load((copy.deepcopy(hf), byte_tokenizer()), dtype="bfloat16")
    quickly = hlens.sample(model, QUESTIONS, n=2, settings=SHORT, precision="auto")
    expected = hlens.sample(rounded, QUESTIONS, n=2, settings=SHORT)
    assert [r.token_ids for r in quickly] == [r.token_ids for r in expected]
    assert [r.logprobs for r in quickly] == [r.logprobs for r in expected]
    assert {r.written_in for r in quickly} == {"bfloat16"}
    assert {r.written_in for r in expected} == {""}
    # What is measured is the model itself, which nothing has touched.
    assert all(torch.equal(weight, before[name]) for name, weight in hf.named_parameters())
    exact = hlens.sample(model, QUESTIONS, n=2, settings=SHORT)
    assert [r.logprobs for r in exact] != [r.logprobs for r in quickly]
    assert {r.written_in for r in exact} == {""}


@pytest.mark.usefixtures("quick")
def test_further_samples_are_written_as_the_first_were(model: Model) -> None:
    options = {"settings": SHORT, "precision": "auto"}
    many = hlens.sample(model, QUESTIONS, n=4, **options)
    few = hlens.sample(model, QUESTIONS, n=2, **options)
    more = sampling.sample_more(model, few, n=4, settings=SHORT)
    assert {r.written_in for r in more} == {"bfloat16"}
    drawn = {(r.question.id, r.sample): r.token_ids for r in many}
    assert [drawn[r.question.id, r.sample] for r in more] == [r.token_ids for r in more]
    exact = sampling.sample_more(
        model, hlens.sample(model, QUESTIONS, n=2, settings=SHORT), n=4, settings=SHORT
    )
    assert {r.written_in for r in exact} == {""}


@pytest.mark.usefixtures("quick")
def test_batches_of_one_precision_are_not_taken_for_the_other(model: Model, tmp_path: Any) -> None:
    once = {"n": 2, "settings": SHORT, "folder": tmp_path}
    for precision, written_in in (("auto", "bfloat16"), ("model", ""), ("auto", "bfloat16")):
        responses = hlens.sample(model, QUESTIONS, precision=precision, **once)
        assert {r.written_in for r in responses} == {written_in}


def test_what_a_copy_could_not_write_alike_is_written_by_the_model(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick_copy, "multiplies_bfloat16", lambda: True)
    assert quick_copy.to_write_with(model, "auto") is model  # too small to gain by it
    monkeypatch.setattr(quick_copy, "LEAST_PARAMETERS", 0)
    assert quick_copy.to_write_with(model, "auto") is not model
    assert quick_copy.to_write_with(model, "model") is model
    neurons = hlens.NeuronSet(frozenset({(0, 1)}), model.n_layers, model.d_mlp)
    with model.editing(neurons, hlens.interventions.scale(0.0)) as receipt:
        assert quick_copy.to_write_with(model, "auto") is model
        hlens.sample(model, QUESTIONS[:1], n=1, settings=SHORT, precision="auto")
    assert receipt.touched
    half = hlens.load((architectures.llama(vocab_size=VOCAB), byte_tokenizer()), dtype="bfloat16")
    assert quick_copy.to_write_with(half, "auto") is half
    monkeypatch.setattr(quick_copy, "multiplies_bfloat16", lambda: False)
    assert quick_copy.to_write_with(model, "auto") is model


@pytest.mark.usefixtures("quick")
def test_another_copy_of_the_model_writes_the_same_block_alike(model: Model) -> None:
    asked = [(question, model.encode(question.text)) for question in QUESTIONS]
    work = sampling.Sampling(model, asked, [[0, 2], [1]], 2, 0, SHORT, "auto")
    first = work.run(0)
    again = work.maker()(model).run(0)
    assert [r.token_ids for row in first for r in row] == [
        r.token_ids for row in again for r in row
    ]
    assert {r.written_in for row in again for r in row} == {"bfloat16"}


def test_a_precision_that_there_is_not_is_refused(model: Model) -> None:
    with pytest.raises(HlensError, match=r"precision.*fast.*expected .*auto.*model"):
        hlens.sample(model, QUESTIONS, n=1, settings=SHORT, precision="fast")  # type: ignore[arg-type]
