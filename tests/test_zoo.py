"""Every architecture of the zoo: loaded and right in all that hlens does with it, or refused.

The outcome is a table in the docs, held to it here; to write it anew::

    python tests/test_zoo.py
"""

import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

import mixtures
import zoo
from hlens import interventions as iv
from hlens import metrics
from hlens.contributions import measure
from hlens.errors import HlensError
from hlens.model import (
    Continuations,
    Model,
    Settings,
    capturing,
    continuation_logprobs,
    generate_batch,
    lens_logits,
    load,
)
from hlens.model.generation import EndOfReply, SeededSampler
from hlens.model.prefix import can_share_prefixes
from hlens.monitor import monitor
from hlens.sampling import sample
from hlens.types import Detector, Example, MlpTrace, NeuronSet, Question
from tiny_tokenizer import byte_tokenizer

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "architectures.md"

GREEDY = Settings(max_new_tokens=6, temperature=0.0)
DRAWN = Settings(max_new_tokens=6)
MEMBERS = {(0, 3): 2.0, (0, 50): -1.5, (2, 7): 3.0, (2, 8): -0.5}


@cache
def loaded(name: str) -> Model:
    return load((zoo.build(name), None), name=name)


def tokens(seed: int, n: int) -> list[int]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(6, zoo.VOCAB, (n,), generator=draw).tolist()


# Two prompts and what follows each; all begin with the same tokens, and some end within the windows
# of 16 while others reach over two of them.
HEAD = tokens(0, 11)
PROMPTS = [HEAD + tokens(1, 2), HEAD + tokens(2, 23), HEAD + tokens(3, 9)]


def examples(prompts: Sequence[list[int]] = PROMPTS) -> list[Example]:
    """Three answers of several lengths to each prompt."""
    items = []
    for number, prompt in enumerate(prompts):
        for answer in range(3):
            row = prompt + tokens(10 * number + answer + 20, 4 + 3 * answer)
            start = len(prompt) + answer % 2
            name = f"{number}{answer}"
            items.append(
                Example(
                    torch.tensor(row), len(prompt), start, start + 3, answer == 1, name, name, "d"
                )
            )
    return items


def edges() -> list[Example]:
    """An answer that begins at the first token, a row of one token, a prompt that is the answer."""
    spans = [(6, 0, 0, 3), (1, 0, 0, 1), (1, 1, 0, 1), (7, 7, 0, 7)]
    return [
        Example(torch.tensor(HEAD[:n]), prompt, start, stop, False, f"{n}{prompt}", "g", "d")
        for n, prompt, start, stop in spans
    ]


def by_hand(model: Model, items: Sequence[Example]) -> Tensor:
    """CETT of the answers, each example run alone and the norm of every neuron's vector taken."""
    found = []
    for item in items:
        seen = [
            (a[item.start : item.stop], o[item.start : item.stop])
            for a, o in run(model, item.token_ids)
        ]
        layers = []
        for layer, (act, out) in enumerate(seen):
            written = act[:, :, None] * rows_of(model, layer)  # [pos, neuron, d_model]
            mean = (written.norm(dim=-1) / out.norm(dim=-1, keepdim=True)).mean(0)
            layers.append(pad(mean, (0, model.d_mlp - len(mean))))
        found.append(torch.stack(layers))
    return torch.stack(found)


def rows_of(model: Model, layer: int) -> Tensor:
    """Rows of W_out, read from the parameters themselves."""
    if model.experts:
        return mixtures.rows_of_w_out(mixtures.layers_of(model.hf)[layer])
    return model.w_out(layer).float()


def run(model: Model, row: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Activations and outputs of every layer for one row, float32, by plain hooks."""
    if model.experts:
        return mixtures.plain_traces(model.hf, row)
    seen: list[tuple[Tensor, Tensor]] = []

    def keep(module: Any, args: Any, out: Tensor) -> None:
        # Copies: parallel blocks (Falcon) add to the output in place afterwards.
        seen.append(tuple(v.reshape(len(row), -1).float().clone() for v in (args[0], out)))  # pyright: ignore

    hooks = [module.register_forward_hook(keep) for module in model.down_projections]
    with torch.no_grad():
        model.hf(input_ids=row[None], use_cache=False)
    for hook in hooks:
        hook.remove()
    return seen


def logits(model: Model, row: Sequence[int]) -> Tensor:
    with torch.no_grad():
        return model.hf(input_ids=torch.tensor([list(row)]), use_cache=False).logits[0].float()


def written(model: Model, prompt: Sequence[int], n: int) -> tuple[list[int], list[float]]:
    """What the model writes greedily, the whole row run anew for every token."""
    row, logprobs = list(prompt), []
    for _ in range(n):
        last = logits(model, row)[-1].log_softmax(-1)
        token = int(last.argmax())
        if token in model.stop_ids:
            break
        logprobs.append(float(last[token]))
        row.append(token)
    return row[len(prompt) :], logprobs


def close(a: Tensor, b: Tensor, limit: float = 2e-4) -> None:
    torch.testing.assert_close(a.float(), b.float(), rtol=limit, atol=limit)


def cett_is_that_of_plain_hooks(model: Model) -> None:
    """Whatever is shared, batched and padded; and one at a time."""
    items = [*examples(), *edges()]
    expected = by_hand(model, items)
    close(measure(model, items, metric=metrics.cett).values, expected)
    close(measure(model, items, metric=metrics.cett, batch_size=1).values, expected)
    short = examples([row[:8] for row in PROMPTS])[:6]  # within every window
    close(measure(model, short, metric=metrics.cett).values, by_hand(model, short))


def a_norm_behind_the_mlp_is_seen(model: Model) -> None:
    """A metric is given the gain of a norm that the MLP's output runs through, in every layer."""
    seen: dict[int, Tensor] = {}
    norms: dict[int, nn.Module] = {}

    def keep(layer: int) -> Callable[..., None]:
        def hook(module: Any, args: Any, out: Any) -> None:
            seen[layer] = out[0] if isinstance(out, tuple) else out

        return hook

    def compare(module: Any, args: Any, kwargs: Any = None) -> None:
        if not args or not isinstance(args[0], Tensor):
            return
        for layer, out in seen.items():
            if (
                args[0].numel() == out.numel()
                and args[0].reshape(-1).data_ptr() == out.reshape(-1).data_ptr()
            ):
                norms[layer] = module

    downs = model.down_projections
    if model.experts:
        downs = [mixtures.mlps_of(block)[0] for block in mixtures.layers_of(model.hf)]
    hooks = [m.register_forward_hook(keep(i)) for i, m in enumerate(downs)]
    hooks += [
        m.register_forward_pre_hook(compare)
        for m in model.hf.modules()
        if "norm" in type(m).__name__.lower()
    ]
    with torch.no_grad():
        model.hf(input_ids=torch.tensor([HEAD]), use_cache=False)
    for hook in hooks:
        hook.remove()
    gained: list[bool] = []

    def has_gain(mlp: MlpTrace) -> Tensor:
        gained.append(mlp.post_gain is not None)
        return mlp.act

    measure(model, examples()[:1], metric=has_gain)
    assert gained == [layer in norms for layer in range(model.n_layers)], (gained, sorted(norms))


def writing_is_that_of_running_anew(model: Model) -> None:
    """Together, alone, with the beginning shared, and several samples of a prompt."""
    expected = [written(model, prompt, 6) for prompt in PROMPTS]
    ways = [
        model.generate_many(PROMPTS, GREEDY),
        model.generate_many(PROMPTS, GREEDY, share_beginning=True),
        model.generate_many(PROMPTS, GREEDY, batch_size=1),
        [
            row[1]
            for row in generate_batch(
                model, PROMPTS, [[0, 1]] * 3, settings=GREEDY, share_beginning=True
            )
        ],
        [generate_batch(model, [p], [[0, 1]], settings=GREEDY)[0][1] for p in PROMPTS],
    ]
    for way in ways:
        for one, (row, logprobs) in zip(way, expected, strict=True):
            assert list(one.token_ids) == row, (one, row)
            assert one.logprobs == pytest.approx(logprobs, abs=1e-3)


def replies_that_have_ended_leave_and_change_no_other(model: Model) -> None:
    """In a batch, and in a smaller one behind it."""
    ends = {*range(0, model.n_tokens, 3), *model.stop_ids}
    leaving = mock.patch.object(
        SeededSampler, "keep", autospec=True, side_effect=SeededSampler.keep
    )
    ending = mock.patch.object(EndOfReply, "__getitem__", lambda self, token: token in ends)
    with ending, leaving as left_early:
        for prompts in (PROMPTS, PROMPTS[:2]):
            seeds = [[4 * i + k for k in range(4)] for i in range(len(prompts))]
            write = partial(generate_batch, model, prompts, seeds, settings=DRAWN)
            left = write(share_beginning=True)
            with model.clock.holding_rows():
                stayed = write(share_beginning=True)
            for one, other in zip(chain(*left), chain(*stayed), strict=True):
                assert one.token_ids == other.token_ids
                assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)
    assert left_early.called


HOSTILE: dict[str, Any] = {
    "repetition_penalty": 1.7,
    "min_length": 60,
    "min_new_tokens": 50,
    "suppress_tokens": list(range(10, 60)),
    "begin_suppress_tokens": list(range(60, 90)),
    "bad_words_ids": [[7], [8]],
    "forced_bos_token_id": 5,
    "forced_eos_token_id": 9,
    "no_repeat_ngram_size": 1,
    "num_beams": 3,
    "num_return_sequences": 1,
    "do_sample": True,
    "temperature": 0.1,
    "max_length": 1,
    "cache_implementation": "static",
    "exponential_decay_length_penalty": [1, 3.0],
    "sequence_bias": [[[7], 9.0]],
    "guidance_scale": 3.0,
    "stop_strings": ["a"],
    "return_dict_in_generate": True,
    "output_scores": True,
    "max_time": 1e-9,
    "watermarking_config": None,
    "prompt_lookup_num_tokens": 3,
    "renormalize_logits": True,
    "remove_invalid_values": True,
}


def generation_defaults_take_no_part(model: Model) -> None:
    """All but the stop tokens is hlens's own, whatever the model's file says."""
    plain = [model.generate_many(PROMPTS, how, seed=4) for how in (GREEDY, DRAWN)]
    own = model.hf.generation_config
    try:
        kept = type(own)(eos_token_id=own.eos_token_id, pad_token_id=own.pad_token_id)
        for name, value in HOSTILE.items():
            setattr(kept, name, value)
        model.hf.generation_config = kept
        assert [model.generate_many(PROMPTS, how, seed=4) for how in (GREEDY, DRAWN)] == plain
        found = monitor(model, detector_of(model), PROMPTS, settings=GREEDY)
        assert [one.generation.token_ids for one in found] == [one.token_ids for one in plain[0]]
    finally:
        model.hf.generation_config = own


def what_is_beyond_the_positions_is_said(model: Model) -> None:
    """Before sampling, in one line; measured rows are right or refused."""
    long = tokens(1, 60)
    for found in unless_refused(lambda: model.generate_many([long], GREEDY)):
        row, logprobs = written(model, long, 6)
        assert list(found.token_ids) == row
        assert found.logprobs == pytest.approx(logprobs, abs=1e-3)
    items = examples([tokens(1, 70)])[:2]
    for values in unless_refused(lambda: [measure(model, items, metric=metrics.cett).values]):
        close(values, by_hand(model, items))


def unless_refused(run: Callable[[], Sequence[Any]]) -> Sequence[Any]:
    """What a call gives; nothing where it is refused in one line."""
    found, told = attempt(run)
    if told is not None:
        assert "\n" not in str(told)
    return found or ()


def attempt(run: Callable[[], Any]) -> tuple[Any, HlensError | None]:
    """What a call gives, or how it is refused."""
    try:
        return run(), None
    except HlensError as told:
        return None, told


def scale_columns(columns: list[int], factor: float, module: Any, args: Any) -> Any:
    act = args[0].clone()
    act[..., columns] *= factor
    return (act, *args[1:])


def logits_of_scaled_columns(model: Model, row: Sequence[int], factor: float) -> Tensor:
    hooks = []
    for layer in {layer for layer, _ in MEMBERS}:
        columns = [j for i, j in MEMBERS if i == layer]
        hook = partial(scale_columns, columns, factor)
        hooks.append(model.down_projections[layer].register_forward_pre_hook(hook))
    expected = logits(model, row)
    for hook in hooks:
        hook.remove()
    return expected


def logits_of_scaled_rows(model: Model, row: Sequence[int], factor: float) -> Tensor:
    blocks = mixtures.layers_of(model.hf)
    with ExitStack() as stack:
        for layer, neuron in MEMBERS:
            stack.enter_context(mixtures.scaled_row(blocks[layer], neuron, factor))
        return logits(model, row)


def an_edit_changes_what_it_must_and_no_more(model: Model) -> None:
    """Scaled and ablated neurons are what a plain hook makes of them; undone to the bit."""
    neurons = NeuronSet(frozenset(MEMBERS), model.n_layers, model.d_mlp, experts=model.experts)
    row = PROMPTS[1]
    before = logits(model, row)
    for factor in (0.0, 2.5):
        with model.editing(neurons, iv.scale(factor)) as receipt:
            edited = logits(model, row)
        assert receipt.tokens == len(row)
        if model.experts:
            # Touched only where a token is routed to the neuron's expert.
            assert 0 < receipt.touched <= len(row) * len(MEMBERS)
            close(edited, logits_of_scaled_rows(model, row, factor), 5e-5)
        else:
            assert receipt.touched == len(row) * len(MEMBERS)
            close(edited, logits_of_scaled_columns(model, row, factor), 1e-5)
        assert not torch.allclose(edited, before, atol=1e-4)
    assert torch.equal(logits(model, row), before)


def continuations_are_those_of_running_anew(model: Model) -> None:
    """Log-probabilities of continuations, the text read once."""
    texts = []
    for number, prompt in enumerate(PROMPTS):
        rows = [prompt + tokens(90 + 3 * number + i, 2 + i) for i in range(3)]
        texts.append(Continuations(rows, len(prompt), len(prompt)))
    for text, found in zip(texts, continuation_logprobs(model, texts), strict=True):
        for row, one in zip(text.rows, found.tolist(), strict=True):
            each = logits(model, row).log_softmax(-1)
            expected = sum(float(each[i - 1, row[i]]) for i in range(text.start, len(row)))
            assert one == pytest.approx(expected, abs=2e-3)


def detector_of(model: Model) -> Detector:
    weights = torch.zeros(model.n_layers, model.d_mlp)
    for (layer, neuron), weight in MEMBERS.items():
        weights[layer, neuron] = weight
    return Detector(weights, -0.3, "cett", "answer", provenance=model.provenance)


def watching_is_measuring_afterwards(model: Model) -> None:
    """The score of an answer, token by token, is that of measuring it."""
    detector = detector_of(model)
    found = monitor(model, detector, PROMPTS, settings=GREEDY)
    read = [(one, prompt) for one, prompt in zip(found, PROMPTS, strict=True) if one.risks]
    items = [
        Example(torch.tensor([*p, *one.generation.token_ids]), len(p), len(p),
                len(p) + len(one.generation.token_ids), False, str(i), str(i), "d")
        for i, (one, p) in enumerate(read)
    ]  # fmt: skip
    expected = (by_hand(model, items) * detector.weights).sum((1, 2)) + detector.bias
    close(torch.tensor([one.score for one, _ in read]), expected, 1e-3)


def the_last_layer_read_out_is_the_output(model: Model) -> None:
    """States behind the last layer, through whatever follows it, give the model's own logits."""
    states: list[Tensor] = []
    with capturing(model, residual=lambda layer, hidden: states.append(hidden[0].clone())):
        own = logits(model, PROMPTS[0])
    close(lens_logits(model, states[-1]), own)


CHECKS = (
    cett_is_that_of_plain_hooks,
    a_norm_behind_the_mlp_is_seen,
    # Before what generates single rows: what Qwen-VL keeps of one row fits any number.
    replies_that_have_ended_leave_and_change_no_other,
    writing_is_that_of_running_anew,
    generation_defaults_take_no_part,
    what_is_beyond_the_positions_is_said,
    an_edit_changes_what_it_must_and_no_more,
    watching_is_measuring_afterwards,
    continuations_are_those_of_running_anew,
    the_last_layer_read_out_is_the_output,
)


def outcome(name: str) -> tuple[str, str]:
    """What becomes of an architecture: its column and the reason; every check is run."""
    model, told = attempt(lambda: loaded(name))
    if told is not None:
        assert "\n" not in str(told)
        return "refused", reason(told)
    for check in CHECKS:
        check(model)
    shares = {n: can_share_prefixes(model, n) for n in (zoo.WINDOW - 4, 2 * zoo.WINDOW)}
    beginning = {(True, True): "read once", (True, False): "read once within its window"}
    return "works", f"a common beginning is {beginning.get(tuple(shares.values()), 'read anew')}"  # pyright: ignore


def reason(told: HlensError) -> str:
    """The head of a refusal: not where it was seen, its numbers, or how to mend it."""
    found = re.sub(r".*hook_in'\): |^layer [0-9]+: |^\w+( \(\w+\))?: ", "", str(told))
    found = re.sub(r" by [0-9.e+-]+ \(.*", "", found)
    return re.split("; |: ", found)[0]


def row_of(name: str) -> str:
    kind = zoo.VARIANTS.get(name, (name, {}))[0]
    family = zoo.family(kind)
    return f"| {family} | `{kind}`{name.removeprefix(kind)} | {' | '.join(outcome(name))} |"


def table_of(page: str) -> list[str]:
    """The rows of the page's table, in order."""
    return [line for line in page.splitlines() if line.startswith("| ") and "`" in line]


def test_the_table_has_a_row_for_each() -> None:
    classes = [line.split("|")[2].strip().replace("`", "") for line in table_of(PAGE.read_text())]
    assert classes == list(zoo.NAMES)
    assert sum("| works |" in line for line in table_of(PAGE.read_text())) >= 40


@pytest.mark.parametrize("name", zoo.NAMES)
def test_an_architecture_works_or_is_refused_as_the_docs_say(name: str) -> None:
    try:
        row = row_of(name)
    finally:
        loaded.cache_clear()
    assert row in table_of(PAGE.read_text()), "write it anew: python tests/test_zoo.py"


# One of each kind: windows, a wrapper, parallel blocks, ALiBi, states, a norm behind, biases,
# experts.
KINDS = (
    "LlamaForCausalLM",
    "Gemma3ForConditionalGeneration",
    "Gemma2ForCausalLM",
    "MistralForCausalLM",
    "FalconForCausalLM (ALiBi)",
    "GPTNeoForCausalLM",
    "GPT2LMHeadModel",
    "OPTForCausalLM",
    "Qwen3_5ForCausalLM",
    "FalconH1ForCausalLM",
    "GptOssForCausalLM",
    "Qwen2MoeForCausalLM",
)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("name", KINDS)
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    """Measured as by hand, to the rounding of its precision; windows are kept; edits undone."""
    model = load((zoo.build(name).to(dtype), None), name=name)
    items = [*examples(), *edges()]
    expected = by_hand(model, items)
    found = measure(model, items, metric=metrics.cett).values
    assert (found - expected).norm() / expected.norm() < (2e-2 if dtype == torch.bfloat16 else 3e-3)
    assert can_share_prefixes(model, 38) == can_share_prefixes(loaded(name), 38)
    before = logits(model, PROMPTS[1])
    neurons = NeuronSet(frozenset(MEMBERS), model.n_layers, model.d_mlp)
    with model.editing(neurons, iv.scale(0.0)):
        assert not torch.equal(logits(model, PROMPTS[1]), before)
    assert torch.equal(logits(model, PROMPTS[1]), before)


@pytest.mark.parametrize("name", KINDS)
def test_samples_do_not_depend_on_what_is_shared(name: str, monkeypatch: Any) -> None:
    """Questions that begin alike, whose prompts are longer than every window."""
    model = load((zoo.build(name, positions=512), byte_tokenizer()), name=name)
    asked = [
        Question(
            f"q{i}", "tiny", "Which of all the rivers is " + "very " * (3 * i) + "long?", ("a",)
        )
        for i in range(3)
    ]
    draw = partial(sample, model, asked, n=2, settings=Settings(max_new_tokens=5))
    shared = draw()
    assert min(one.n_prompt for one in shared) > 2 * zoo.WINDOW
    monkeypatch.setattr("hlens.model.generation.can_share_prefixes", lambda *_: False)
    alone = [draw(rows=1), draw()]
    for way in alone:
        assert [one.token_ids for one in way] == [one.token_ids for one in shared]
        for one, other in zip(way, shared, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)


def test_rows_that_fit_are_tried_within_the_positions() -> None:
    """The longest prompt and the longest answer are of different rows; together they do not fit."""
    model = load((zoo.build("GPT2LMHeadModel"), None))
    head, items = tokens(0, 40), []
    for number, (prompt, answer) in enumerate([(58, 4), (41, 20), (41, 22), (58, 5)]):
        row = torch.tensor(head + tokens(number, prompt + answer - 40))
        items.append(Example(row, prompt, prompt, prompt + 3, False, str(number), "g", "d"))
    close(measure(model, items, metric=metrics.cett).values, by_hand(model, items))


def test_logits_are_attributed_behind_the_last_norm() -> None:
    """NanoChat runs one norm, without a gain, behind its embedding and before its unembedding."""
    model, item = loaded("NanoChatForCausalLM"), examples()[0]
    inputs: list[Tensor] = []
    keep: Any = model.body.norm
    hook = keep.register_forward_pre_hook(lambda m, a: inputs.append(a[0][0]))
    act = run(model, item.token_ids)[-1][0]
    hook.remove()
    assert len(inputs) == 2
    at = torch.arange(item.start, item.stop) - 1
    rows = model.hf.get_output_embeddings().weight.detach()[item.token_ids[at + 1]]
    direction = rows / inputs[-1][at].pow(2).mean(-1, keepdim=True).sqrt()
    expected = (act[at] * (direction @ model.w_out(model.n_layers - 1).T)).mean(0)
    metric = metrics.direct_logit_attribution
    found = measure(model, [item], metric=metric, position="predicted").values[0, -1]
    close(found, expected, 1e-3)


def write_page() -> None:
    """Write the page's table anew."""
    text = PAGE.read_text()
    head = text[: text.index("\n| ", text.index("|---")) + 1]
    rows = []
    for name in zoo.NAMES:
        sys.stderr.write(f"{name}\n")
        rows.append(row_of(name))
        loaded.cache_clear()
    PAGE.write_text(head + "\n".join(rows) + "\n")


if __name__ == "__main__":
    write_page()
