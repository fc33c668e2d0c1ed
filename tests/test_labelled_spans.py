"""Several labelled spans of one response: measured in one pass, as if each were measured alone."""

from pathlib import Path
from unittest.mock import patch

import pytest
import torch

import architectures
import hlens
from hlens.contributions import passes
from hlens.errors import HlensError
from hlens.store.jsonl import load_examples, save_examples
from hlens.types import Example

BEFORE = 9  # tokens that all prompts begin with, as those of a chat template


def responses(n: int = 6, spans: int = 5, length: int = 40, seed: int = 0) -> list[Example]:
    """Examples of some responses, two to a prompt, each with spans that may overlap."""
    draw = torch.Generator().manual_seed(seed)
    begin = torch.randint(3, architectures.VOCAB, (BEFORE,), generator=draw)
    found = []
    for number in range(n):
        if number % 2 == 0:
            own = torch.randint(3, architectures.VOCAB, (4 + number,), generator=draw)
            prompt = torch.cat([begin, own])
        reply = torch.randint(3, architectures.VOCAB, (length + number,), generator=draw)
        ids = torch.cat([prompt, reply])
        starts = torch.randint(len(prompt), len(ids) - 6, (spans,), generator=draw).tolist()
        starts[0] = len(prompt)  # what precedes it is the prompt's last token
        found += [
            Example(
                token_ids=ids,
                n_prompt=len(prompt),
                start=start,
                stop=start + 1 + at,
                hallucinated=at % 2 == 0,
                question_id=str(number // 2),
                group=f"g{number // 2}",
                domain="d",
                sample=number % 2,
                span=at,
            )
            for at, start in enumerate(starts)
        ]
    return found


@pytest.fixture(scope="module")
def model() -> hlens.Model:
    return hlens.load((architectures.llama(), None), name="tiny")


@pytest.mark.parametrize("reduce", ["mean", "max", "last", "first"])
@pytest.mark.parametrize("position", ["read", "predicted"])
def test_spans_measured_together_are_as_measured_alone(model, reduce, position):
    examples = responses()
    options = {"regions": ["answer", "response", "other", "last_prompt", "prompt"]}
    options |= {"metrics": [hlens.metrics.cett], "reduce": reduce, "position": position}
    together = hlens.contributions.measure_many(model, examples, **options)
    for at, example in enumerate(examples):
        for key, alone in hlens.contributions.measure_many(model, [example], **options).items():
            torch.testing.assert_close(
                together[key].values[at], alone.values[0], rtol=1e-4, atol=1e-6
            )


def test_each_response_is_run_once_for_all_its_spans(model):
    # Told by the tokens that are run: without sharing, five spans cost five times one.
    def tokens_run(examples: list[Example]) -> int:
        run, total = passes.run_with_prefixes, []

        def counting(model, ids, lengths, *args, **options):
            total.append(int(lengths.sum()))
            return run(model, ids, lengths, *args, **options)

        with patch.object(passes, "run_with_prefixes", counting):
            hlens.measure(model, examples)
        return sum(total)

    examples = responses()
    longest = {}
    for example in examples:
        key = example.question_id, example.sample
        longest[key] = max(example, longest.get(key, example), key=lambda e: e.stop)
    assert tokens_run(examples) == tokens_run(list(longest.values()))


def test_more_spans_than_one_pass_holds(model):
    [first, *_] = responses(1, 1, length=120)
    tokens = [
        Example(
            token_ids=first.token_ids,
            n_prompt=first.n_prompt,
            start=at,
            stop=at + 1,
            hallucinated=at % 2 == 0,
            question_id="q",
            group="g",
            domain="d",
            span=at - first.n_prompt,
        )
        for at in range(first.n_prompt, len(first.token_ids))
    ]
    assert len(tokens) > 64
    values = hlens.measure(model, tokens).values
    few = hlens.measure(model, tokens, batch_size=3).values
    torch.testing.assert_close(values, few, rtol=1e-4, atol=1e-6)
    alone = hlens.measure(model, [tokens[-1]]).values[0]
    torch.testing.assert_close(values[-1], alone, rtol=1e-4, atol=1e-6)


def test_metrics_with_a_loss_of_their_own_are_measured_one_by_one(model):
    examples = responses(2)
    together = hlens.measure(model, examples, metric=hlens.metrics.gradient_x_activation)
    for at, example in enumerate(examples):
        alone = hlens.measure(model, [example], metric=hlens.metrics.gradient_x_activation)
        torch.testing.assert_close(together.values[at], alone.values[0], rtol=1e-3, atol=1e-6)


def test_spans_measured_into_a_folder_and_read_back(model, tmp_path: Path):
    examples = responses()
    stored = hlens.measure(model, examples, store=tmp_path)
    torch.testing.assert_close(
        stored.values[:], hlens.measure(model, examples).values, rtol=1e-4, atol=1e-6
    )


def test_the_index_of_a_span_is_kept(tmp_path: Path):
    examples = responses(2)
    save_examples(examples, tmp_path / "examples.jsonl")
    read = load_examples(tmp_path / "examples.jsonl")
    assert [e.span for e in read] == [e.span for e in examples] == [0, 1, 2, 3, 4] * 2


def test_a_span_before_the_first_is_refused():
    with pytest.raises(HlensError, match="span is -1; expected 0 or more"):
        Example(torch.arange(3), 1, 1, 2, True, "q", "g", "d", span=-1)


def test_one_response_of_a_label_keeps_all_its_spans():
    examples = responses(4)  # two responses to each of two questions
    kept = hlens.spans.first_of_each_label(examples)
    assert {(e.question_id, e.sample) for e in kept} == {("0", 0), ("1", 0)}
    assert len(kept) == 10


def test_digests_tell_spans_apart():
    from hlens.steps.detection import digest_of

    examples = responses()
    assert len({digest_of(example) for example in examples}) == len(examples)
