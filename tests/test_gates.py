"""Gates: an edit acts where the gate is open, on no other token, and the receipt says so."""

import pytest
import torch
from torch import Tensor

import architectures
from hlens import interventions as iv
from hlens.engines.vllm.doses import check_ungated
from hlens.errors import HlensError
from hlens.model import (
    GatedAnswer,
    Generation,
    Model,
    Settings,
    load,
    stepwise_logprobs,
)
from hlens.monitor import monitor, prompt_risk_above, risk_above, risks, score_prompts
from hlens.monitor.before_edits import BeforeEdits
from hlens.types import Detector, NeuronSet
from tiny_detector import MEMBERS, detector_of

PROMPTS = [[3, 14, 15, 9, 26], [5, 35, 8], [9, 79, 32, 38, 46, 26, 43], [3, 14, 15, 9]]
HOW = Settings(max_new_tokens=9, temperature=0.0)
NEVER = float("inf")


@pytest.fixture(scope="module")
def model() -> Model:
    return load((architectures.llama(), None), name="tiny")


@pytest.fixture(scope="module")
def detector(model: Model) -> Detector:
    return detector_of(model)


def chosen(model: Model) -> NeuronSet:
    """The neurons that the detector reads, and one that it does not."""
    return NeuronSet(frozenset({*MEMBERS, (1, 4)}), model.n_layers, model.d_mlp)


def write(
    model: Model, when: iv.Gate | None, edit: iv.Edit, prompts: list[list[int]] | None = None
) -> tuple[list[Generation], iv.Receipt]:
    with model.editing(chosen(model), edit, when=when) as receipt:
        made = model.generate_many(prompts or PROMPTS, HOW)
    return made, receipt


def middle(model: Model, detector: Detector) -> float:
    """A threshold that the risk of some answers passes on the way."""
    found = monitor(model, detector, PROMPTS, settings=HOW)
    return float(torch.tensor([risk.score for one in found for risk in one.risks]).median())


@pytest.mark.parametrize("name", sorted(architectures.DENSE | architectures.MIXTURES))
def test_always_open_is_the_plain_edit_and_never_open_is_none(name: str) -> None:
    hf = (architectures.DENSE | architectures.MIXTURES)[name]()
    model = load((hf, None), name=name)
    detector = detector_of(model)
    edit = iv.scale(3.0)
    plain = model.generate_many(PROMPTS, HOW)
    edited, counted = write(model, None, edit.on(iv.GENERATED))
    for gate in (iv.ALWAYS, risk_above(detector, -NEVER)):
        made, receipt = write(model, gate, edit)
        assert made == edited != plain
        assert (receipt.tokens, receipt.touched) == (counted.tokens, counted.touched)
        assert sum(one.n_edited for one in receipt.answers) == receipt.tokens
    made, receipt = write(model, risk_above(detector, NEVER), edit)
    assert made == plain
    assert receipt.touched == 0
    assert sum(len(one.edited) for one in receipt.answers) > 0
    assert model.generate_many(PROMPTS, HOW) == plain  # all is as before


# --- the risk ---------------------------------------------------------------------------------

SAFE, RISKY = 5, 7  # tokens


def planted() -> tuple[Model, Detector]:
    """A model one of whose neurons fires at one token, and the detector that reads it."""
    hf = architectures.llama()
    layer, direction = hf.model.layers[0], torch.zeros(hf.config.hidden_size)
    direction[0] = 1.0
    with torch.no_grad():
        hf.model.embed_tokens.weight[:, 0] = 0.0
        hf.model.embed_tokens.weight[RISKY] = 20.0 * direction
        layer.self_attn.o_proj.weight[0] = 0.0  # attention writes nothing along it
        layer.mlp.gate_proj.weight[3] = layer.mlp.up_proj.weight[3] = 4.0 * direction
    model = load((hf, None), name="planted")
    weights = torch.zeros(model.n_layers, model.d_mlp)
    weights[0, 3] = 10.0
    return model, Detector(weights, -2.0, provenance=model.provenance)


def test_a_planted_risk_edits_exactly_the_tokens_behind_it() -> None:
    model, detector = planted()
    prompt, reply = [3, 14, 15], [SAFE, SAFE, RISKY, SAFE, SAFE, SAFE, SAFE, SAFE, SAFE, SAFE]
    scores = [risk.token_score for risk in risks(model, detector, [*prompt, *reply], len(prompt))]
    assert all(score < -1.9 for token, score in zip(reply, scores, strict=True) if token == SAFE)
    assert scores[2] > 5.0
    # Tokens before: none, -2, -4, then about +4, +2, 0 and so on, two less with every safe one.
    high = scores[2] - 4.0
    expected = [False, False, False, *(high - 2.0 * n >= 0.0 for n in range(7))]
    assert any(expected)
    assert not all(expected[3:])
    with model.editing(chosen(model), iv.scale(0.0), when=risk_above(detector, 0.0)) as receipt:
        read_on(model, prompt, reply)
    assert receipt.answers == [GatedAnswer(expected)]
    assert receipt.tokens == sum(expected)
    assert receipt.touched == sum(expected) * len(chosen(model))


def read_on(model: Model, prompt: list[int], reply: list[int]) -> Tensor:
    """Logits after each token of a reply that is read as if it had been written."""
    past, logits = None, []
    try:
        for clock, ids in [(-1, prompt), *enumerate([token] for token in reply)]:
            model.clock.generated = clock
            with torch.inference_mode():
                out = model.hf(torch.tensor([ids]), past_key_values=past, use_cache=True)
            past = out.past_key_values
            logits.append(out.logits[0, -1])
    finally:
        model.clock.stop()
    return torch.stack(logits)


@pytest.mark.parametrize("name", ["llama", "gemma3", "falcon", "mixtral", "qwen3_moe"])
def test_the_detector_does_not_read_its_own_edit(name: str) -> None:
    """In the lowest edited layer the risk of a token is that without the edit of this token."""
    model = load(((architectures.DENSE | architectures.MIXTURES)[name](), None), name=name)
    weights = torch.zeros(model.n_layers, model.d_mlp)
    weights[0, 3], weights[0, 7] = 2.0, -1.5
    detector = Detector(weights, -0.3, provenance=model.provenance)
    neurons = NeuronSet(frozenset({(0, 3), (0, 4), (0, 7)}), model.n_layers, model.d_mlp)
    prompt, reply = PROMPTS[0], [8, 9, 10, 11]
    plain = [risk.score for risk in risks(model, detector, [*prompt, *reply], len(prompt))]
    # Layer 0 reads no other layer's edit, and keys and values of layer 0 come before its MLP.
    for limit in plain[:-1]:
        gate = risk_above(detector, limit - 1e-5)
        expected = [False, *(score >= limit - 1e-5 for score in plain[:-1])]
        with model.editing(neurons, iv.scale(0.0), when=gate) as receipt:
            read_on(model, prompt, reply)
        assert receipt.answers == [GatedAnswer(expected)]


def test_what_an_edit_took_is_given_back(model: Model) -> None:
    """Activations and output of a layer that is edited, restored, are those without the edit."""
    neurons = chosen(model)
    seen: list[tuple[Tensor, Tensor]] = []
    read = torch.tensor([7, 8, 9])
    before = BeforeEdits(model.mlps[2], torch.tensor(neurons.in_layer(2)), read)
    with torch.inference_mode():
        with model.mlps[2].reading(
            lambda acts, out: seen.append((acts.weighted_columns(read), out))
        ):
            model.hf(torch.tensor([PROMPTS[2]]))
        own = NeuronSet(frozenset(n for n in neurons.members if n[0] == 2), 3, model.d_mlp)
        with (
            before.holding(model.mlps[2]),
            model.editing(own, iv.scale(5.0)),
            model.mlps[2].reading(
                lambda acts, out: seen.append(before.restore(acts, out.reshape(-1, out.shape[-1])))
            ),
            model.mlps[2].reading(
                lambda acts, out: seen.append((acts.weighted_columns(read), out))
            ),
        ):
            model.hf(torch.tensor([PROMPTS[2]]))
    (act, out), (given_act, given_out), (edited_act, edited_out) = seen
    assert torch.equal(given_act, act)
    assert torch.allclose(given_out, out[0], atol=1e-5)
    assert not torch.allclose(edited_act, act)
    assert not torch.allclose(edited_out, out, atol=1e-3)


def test_an_edit_that_changes_nothing_is_open_where_the_monitor_says(
    model: Model, detector: Detector
) -> None:
    limit = middle(model, detector)
    made, receipt = write(model, risk_above(detector, limit), iv.scale(1.0))
    found = monitor(model, detector, PROMPTS, settings=HOW)
    assert made == [one.generation for one in found]
    for answer, one in zip(receipt.answers, found, strict=True):
        passed = [False, *(risk.score >= limit for risk in one.risks)]
        assert answer.edited == passed[: len(answer.edited)]
    assert {True, False} <= {edited for one in receipt.answers for edited in one.edited}


def test_a_batch_equals_one_at_a_time(model: Model, detector: Detector) -> None:
    """Rows of unlike length, some of which end early; the gate follows each of them alone."""
    gates = [risk_above(detector, middle(model, detector))]
    prompts = detector_of_prompts(model)
    ends = score_prompts(model, prompts, PROMPTS)
    gates.append(prompt_risk_above(prompts, float(sum(sorted(ends)[1:3]) / 2)))
    ending = model.generate_many(PROMPTS, HOW)[0].token_ids[2]
    model.__dict__["stop_ids"] = frozenset({ending})
    try:
        for gate in gates:
            made, receipt = write(model, gate, iv.scale(4.0))
            gates_alone: list[GatedAnswer] = []
            tokens = 0
            for prompt, together in zip(PROMPTS, made, strict=True):
                (alone,), own = write(model, gate, iv.scale(4.0), [prompt])
                assert alone.token_ids == together.token_ids
                gates_alone += own.answers
                tokens += own.tokens
            assert receipt.answers == gates_alone
            assert receipt.tokens == tokens > 0
            batches, halves = write_in_twos(model, gate)
            assert ([one.token_ids for one in batches], halves.answers) == (
                [one.token_ids for one in made],
                receipt.answers,
            )
    finally:
        del model.__dict__["stop_ids"]


def write_in_twos(model: Model, gate: iv.Gate) -> tuple[list[Generation], iv.Receipt]:
    with model.editing(chosen(model), iv.scale(4.0), when=gate) as receipt:
        made = model.generate_many(PROMPTS, HOW, batch_size=2, share_beginning=True)
    return made, receipt


def detector_of_prompts(model: Model) -> Detector:
    return detector_of(model, region="last_prompt")


def test_the_prompt_decides_once(model: Model) -> None:
    detector = detector_of_prompts(model)
    ends = score_prompts(model, detector, PROMPTS)
    limit = float(sum(sorted(ends)[1:3]) / 2)
    _, receipt = write(model, prompt_risk_above(detector, limit), iv.scale(4.0))
    assert [{*one.edited} for one in receipt.answers] == [{bool(end >= limit)} for end in ends]
    assert sum(bool(end >= limit) for end in ends) == 2


# --- the random gate --------------------------------------------------------------------------


def test_a_random_gate_edits_as_many_tokens_of_each_answer(
    model: Model, detector: Detector
) -> None:
    model.__dict__["stop_ids"] = frozenset()  # so that no answer ends before its last edit
    try:
        _, receipt = write(model, risk_above(detector, middle(model, detector)), iv.scale(4.0))
        counts = [one.n_edited for one in receipt.answers]
        drawn = []
        for seed in range(3):
            _, random = write(model, iv.random_gate(receipt.answers, seed=seed), iv.scale(4.0))
            assert [one.n_edited for one in random.answers] == counts
            assert random.tokens == receipt.tokens == sum(counts)
            drawn.append([tuple(one.edited) for one in random.answers])
        assert len({*map(tuple, drawn)}) == 3
        _, again = write(model, iv.random_gate(receipt.answers, seed=2), iv.scale(4.0))
        assert [tuple(one.edited) for one in again.answers] == drawn[2]
    finally:
        del model.__dict__["stop_ids"]


def test_answers_that_end_with_their_first_token_keep_their_number(model: Model) -> None:
    """No token of such an answer is read; the next batch must not take its place."""
    first = model.generate_many(PROMPTS[:1], HOW)[0].token_ids[0]
    model.__dict__["stop_ids"] = frozenset({first})
    try:
        with model.editing(chosen(model), iv.scale(2.0), when=iv.ALWAYS) as receipt:
            made = model.generate_many(PROMPTS, HOW, batch_size=1)
    finally:
        del model.__dict__["stop_ids"]
    assert not made[0].token_ids
    assert [len(one.edited) for one in receipt.answers] == [
        # The last token of an answer that was cut at the limit is not read.
        len(one.token_ids) - (one.finish_reason == "length")
        for one in made
    ]


# --- reading as the model writes ----------------------------------------------------------------


def test_reading_stepwise_is_reading_at_once(model: Model) -> None:
    rows = [[*PROMPTS[2], 4, 8], PROMPTS[1]]
    for row, own in zip(rows, stepwise_logprobs(model, rows), strict=True):
        with torch.inference_mode():
            logits = model.hf(torch.tensor([row])).logits[0, :-1]
        assert torch.allclose(own, logits.log_softmax(-1), atol=1e-5)
    with model.editing(chosen(model), iv.scale(2.0), when=iv.ALWAYS) as receipt:
        stepwise_logprobs(model, rows)
    assert [len(one.edited) for one in receipt.answers] == [len(row) - 2 for row in rows]


# --- bad input ----------------------------------------------------------------------------------


def test_wrong_gates_are_refused(model: Model, detector: Detector) -> None:
    plain = model.generate_many(PROMPTS, HOW)
    with pytest.raises(HlensError, match="threshold is NaN"):
        risk_above(detector, float("nan"))
    with pytest.raises(HlensError, match="before an answer only 'last_prompt'"):
        prompt_risk_above(detector, 0.0)
    with pytest.raises(HlensError, match="only a mean over"):
        write(model, risk_above(detector_of_prompts(model), 0.0), iv.scale(0.0))
    with pytest.raises(HlensError, match="drawn for 1 answers"):
        write(model, iv.random_gate([GatedAnswer([True])], seed=0), iv.scale(0.0))
    edited = model.editing(chosen(model), iv.scale(0.0), when=iv.ALWAYS, n_prompt=2)
    with pytest.raises(HlensError, match="decides token by token"), edited:
        model.hf(torch.tensor([PROMPTS[0]]))
    edited = model.editing(chosen(model), iv.scale(0.0), when=iv.ALWAYS)
    with pytest.raises(HlensError, match="not one token touched"), edited:
        pass
    with pytest.raises(HlensError, match="vLLM's workers cannot do"):
        check_ungated(iv.ALWAYS)
    check_ungated(None)
    assert model.generate_many(PROMPTS, HOW) == plain  # no block that failed has left a trace
