"""What several examples begin with is run once, and nothing changes but the cost."""

import random
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

import architectures
import hlens.model
from hlens import metrics
from hlens.contributions import measure, measure_many
from hlens.contributions.plan import padded_tokens, plan
from hlens.contributions.regions import Ask
from hlens.contributions.rows import row_of
from hlens.model import Model
from test_measure import begun, by_hand, close, example, model, sharing, tiny

__all__ = ["model"]  # the fixture of all architectures


# Within the tiny models' sliding window and beyond, with a beginning that all share and without.
@pytest.mark.parametrize(("n_prompt", "common"), [(2, 0), (20, 0), (5, 12)])
def test_sharing_what_comes_first_changes_nothing(
    model: Model, n_prompt: int, common: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    items, regions = sharing(2, n_prompt, common), ["answer", "other", "prompt", "last_prompt"]
    ways = [{"position": "predicted"}, {"reduce": "max"}]
    shared = [
        measure_many(model, items, metrics=[metrics.cett], regions=regions, **way) for way in ways
    ]
    monkeypatch.setattr("hlens.contributions.schedule.can_share_prefixes", lambda *_: False)
    alone = [
        measure_many(model, items, metrics=[metrics.cett], regions=regions, **way) for way in ways
    ]
    for a, b in zip(shared, alone, strict=True):
        for key in a:
            close(a[key].values, b[key].values)


class Tokens:
    """Counts the tokens that a model is run over."""

    def __init__(self, model: Model) -> None:
        self.seen = 0
        self.model = model

    def __enter__(self) -> "Tokens":
        embedding = self.model.hf.get_input_embeddings()
        self.hook = embedding.register_forward_hook(self.count)
        return self

    def count(self, module: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
        self.seen += args[0].numel()

    def __exit__(self, *error: object) -> None:
        self.hook.remove()


def test_a_shared_prompt_is_run_once() -> None:
    items = sharing(n=1, n_prompt=40)[1:]
    measure(tiny("llama"), items)  # and now it is known that this model's rows may share
    with Tokens(tiny("llama")) as tokens:
        measure(tiny("llama"), items)
    assert tokens.seen <= 40 + 4 * 5  # the prompt, four answers
    with Tokens(tiny("llama")) as tokens:
        measure(tiny("llama"), items, region="last_prompt")
    assert tokens.seen <= 40 + 4


def test_what_all_begin_with_is_run_once() -> None:
    items = [begun(example(number, 6, 7), common=30) for number in range(4)]
    for region, rest in [("answer", 4 * (6 + 5)), ("other", 4 * (6 + 7))]:
        measure(tiny("llama"), items, region=region)
        with Tokens(tiny("llama")) as tokens:
            data = measure(tiny("llama"), items, metric=metrics.cett, region=region)
        assert tokens.seen == 30 + rest
        close(data.values, by_hand(tiny("llama"), items, region))


@pytest.mark.parametrize("reduce", ["mean", "max"])
def test_what_many_begin_with_is_run_once_for_each_of_them(reduce: str) -> None:
    """Questions of two domains, behind worked examples of each: no token more than must be."""
    model, n_worked = tiny("llama"), 150
    worked = [
        torch.randint(3, 96, (n_worked,), generator=torch.Generator().manual_seed(s))
        for s in (1, 2)
    ]
    items = []
    for number in range(40):
        item = example(number, n_prompt=5 + number % 3, n_response=4)
        tokens = torch.cat([torch.tensor([1]), worked[number % 2], item.token_ids])
        moved = {name: getattr(item, name) + n_worked + 1 for name in ("n_prompt", "start", "stop")}
        items.append(replace(item, token_ids=tokens, **moved))
    seen: list[int] = []
    hook = model.body.embed_tokens.register_forward_hook(lambda m, a, o: seen.append(a[0].numel()))
    data = measure_many(
        model, items, metrics=[metrics.cett], regions=["answer", "prompt"], reduce=reduce
    )
    hook.remove()
    assert sum(seen) < 40 * 20 + 3 * (n_worked + 30)  # run anew for each it were 6,000
    alone = [
        measure_many(
            model, [item], metrics=[metrics.cett], regions=["answer", "prompt"], reduce=reduce
        )
        for item in items
    ]
    for key, found in data.items():
        close(found.values, torch.cat([one[key].values for one in alone]))


def test_the_beginning_of_the_prompt_is_taken_where_it_is_asked() -> None:
    """Examples that ask different things of tokens that are run once for all of them."""
    model = tiny("llama")
    items = [begun(example(number, 6, 4), common=30) for number in range(4)]
    early = [replace(item, start=3 + row, stop=8 + 2 * row) for row, item in enumerate(items)]
    for region in ("answer", "first_answer", "other"):
        close(
            measure(model, early, metric=metrics.cett, region=region).values,
            by_hand(model, early, region),
        )


def test_a_window_of_an_unknown_name_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """GPT-Neo's local layers count places in the cache, and its config calls that otherwise."""
    shape = {"vocab_size": architectures.VOCAB, "hidden_size": 32, "intermediate_size": 56}
    local = {"num_layers": 2, "attention_types": [[["global", "local"], 1]], "window_size": 16}
    config = transformers.GPTNeoConfig(**shape, **local, num_heads=4, eos_token_id=2)
    torch.manual_seed(0)
    hf = transformers.GPTNeoForCausalLM(config).eval()
    with torch.no_grad():
        for weight in hf.parameters():
            weight.mul_(10 if weight.dim() > 1 else 1)  # so that attention is not flat
    model, items = hlens.model.load((hf, None)), sharing(2, 20, 30)
    shared = measure(model, items)
    assert list(model.prefix_trials.known.values()) == [False]
    short = sharing(2, 3, 4)
    monkeypatch.setattr("hlens.contributions.schedule.can_share_prefixes", lambda *_: False)
    close(shared.values, measure(model, items).values)
    monkeypatch.setattr("hlens.contributions.schedule.can_share_prefixes", lambda *_: True)
    assert not torch.allclose(shared.values, measure(model, items).values, rtol=1e-3)
    close(measure(model, short, metric=metrics.cett).values, by_hand(model, short))


def test_batches_are_cut_where_they_cost_least() -> None:
    draw = random.Random(0)
    items = [example(number, draw.randint(5, 60), 4) for number in range(8)]
    rows = [row_of(item, [Ask(metrics.cett, "answer")]) for item in items]
    found = plan(rows, tokens=200, overhead=30)
    assert sorted(index for batch in found for index in batch.members) == list(range(8))
    lengths = sorted((len(row) for row in rows), reverse=True)

    def cost(cuts: tuple[int, ...]) -> float:
        parts = [lengths[a:b] for a, b in pairwise((0, *cuts, 8))]
        padded = [len(part) * part[0] for part in parts]
        return sum(padded) + 30 * len(parts) if max(padded) <= 200 else float("inf")

    every = [cuts for n in range(8) for cuts in combinations(range(1, 8), n)]
    assert sum(padded_tokens(batch, rows) + 30 for batch in found) == min(map(cost, every))


def test_batches_are_cut_by_length() -> None:
    items = [example(i, 10, 5) for i in range(4)] + [example(i, 90, 5) for i in range(4)]
    with Tokens(tiny("llama")) as tokens:
        measure(tiny("llama"), items)
    # Tokens after the answer cannot change the result, and are not run.
    assert tokens.seen == sum(item.stop for item in items)
