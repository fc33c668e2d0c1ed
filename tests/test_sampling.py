"""Sampling repeats, whatever the batch; it goes on where it was interrupted."""

from itertools import chain, pairwise

import pytest
import torch

import architectures
import hlens
from hlens import sampling
from hlens.errors import HlensError
from hlens.model import Model, Settings, generate_batch
from hlens.types import Question
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
    with pytest.raises(HlensError, match="at least 1"):
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


def test_equal_prompts_share_all_but_their_last_token(model: Model) -> None:
    prompts, seeds = [model.encode("Why?")] * 2, [[1, 2], [3, 4]]
    shared = generate_batch(model, prompts, seeds, settings=SHORT, share_beginning=True)
    apart = generate_batch(model, prompts, seeds, settings=SHORT)
    assert [[one.token_ids for one in row] for row in shared] == [
        [one.token_ids for one in row] for row in apart
    ]
