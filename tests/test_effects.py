"""Effects: a planted causal neuron is found beside its controls, an interrupted run resumes."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformer_lens.patching import generic_activation_patch

import architectures
import hlens
from hlens import behaviours, effects, lookup
from hlens import interventions as iv
from hlens.behaviours import Behaviour, Outcome, Suite, misleading_context
from hlens.behaviours._facts import BANKS
from hlens.domains import jsonl
from hlens.effects.conditions import compared_sets
from hlens.errors import HlensError
from hlens.model import Model, Settings, load
from hlens.types import NeuronSet, PatchKind, Question, Response, SetKind
from tiny_tokenizer import VOCAB, byte_tokenizer

PLANTED = (1, 7)
LAYERS, D_MLP = 3, 56
ANSWER, FOIL = 40, 41
DRAW = np.random.default_rng(0)
PROMPTS = [DRAW.integers(3, 90, size=12).tolist() for _ in range(24)]
SETTINGS = Settings(max_new_tokens=1, temperature=0.0)


def planted() -> Model:
    """A model in which one neuron decides between two tokens."""
    hf = architectures.llama(hidden_size=32, vocab_size=VOCAB)
    model = load((hf, byte_tokenizer()), name="planted")
    head = hf.lm_head.weight.detach()
    push = head[ANSWER] - head[FOIL]
    model.w_out(PLANTED[0])[PLANTED[1]] = 40.0 * push / push.norm()
    return model


@pytest.fixture(scope="module")
def model() -> Model:
    return planted()


@pytest.fixture(scope="module")
def target() -> NeuronSet:
    members = {PLANTED, (0, 3), (2, 9)}
    return NeuronSet(frozenset(members), LAYERS, D_MLP, name="found")


def answer_margins(model: Model, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
    with torch.inference_mode():
        logits = model.hf(torch.tensor([list(p) for p in prompts])).logits[:, -1]
    return logits[:, ANSWER] - logits[:, FOIL]


def preference(model: Model) -> Behaviour:
    """A behaviour of one forward pass: the answer is preferred by more than a little.

    Only prompts on which the planted neuron fires upward are asked, so that the rate rises with it.
    """
    fires = [iv.capture(model, p).values[PLANTED[0], -1, PLANTED[1]] > 0.0 for p in PROMPTS]
    prompts = [p for p, up in zip(PROMPTS, fires, strict=True) if up]
    threshold = float(answer_margins(model, prompts).median())

    def ask(model: Model, questions: Sequence[Question], settings: Settings) -> list[Outcome]:
        values = answer_margins(model, [q.meta["ids"] for q in questions]).tolist()
        return [
            Outcome("preference", q.id, q.group, v > threshold, "", f"{v:.2f}", 1, False)
            for q, v in zip(questions, values, strict=True)
        ]

    questions = [Question(str(i), "p", "x", (), meta={"ids": p}) for i, p in enumerate(prompts)]
    suite = Suite("preference", "prefers the answer", SETTINGS, ask, ("preference",))
    return Behaviour(suite, tuple(questions))


@pytest.fixture(scope="module")
def outcomes(model: Model, target: NeuronSet) -> pd.DataFrame:
    controls = effects.ControlSets(random=8, norm_matched=2, truth=None)
    cost = effects.CapabilityTest(model, n_choice=4, n_texts=2)
    return effects.intervene(
        model,
        target,
        [preference(model)],
        alphas=(0.0, 1.0, 2.0, 3.0),
        controls=controls,
        capability=cost,
    )


# --- the planted neuron --------------------------------------------------------------------


def test_the_planted_neurons_slope_is_beyond_every_random_set(outcomes: pd.DataFrame) -> None:
    table = effects.slopes(outcomes, n_boot=300)
    mine = table[(table.behaviour == "preference") & (table.kind == "target")].iloc[0]
    assert mine.slope > 0.1
    assert mine.low > 0.0
    assert mine.over_low > 0.0
    assert mine.beyond_random
    assert mine.n_random == 8
    random = table[(table.behaviour == "preference") & (table.kind == "random")]
    assert not random.beyond_random.all()


def test_patching_and_attribution_patching_recover_the_planted_neuron(
    model: Model, target: NeuronSet
) -> None:
    others = target.random_like(1) | target.random_like(2) | target
    order = answer_margins(model, PROMPTS).argsort().tolist()
    pairs = [
        effects.Pair(f"p{i}", tuple(PROMPTS[order[-1 - i]]), tuple(PROMPTS[order[i]]), ANSWER, FOIL)
        for i in range(3)
    ]
    table = effects.patching(model, pairs, others)
    single = table[table.kind == "neuron"].groupby("name")[["effect", "attribution"]].mean()
    assert single.effect.idxmax() == "L1N7"
    assert single.attribution.idxmax() == "L1N7"
    assert single.effect.max() > 0.5
    assert single.effect.corr(single.attribution) > 0.9
    assert set(table.kind) == {"neuron", "layer", "members", "random", "everything"}
    layers = table[table.kind == "layer"].groupby("layer").effect.mean()
    assert layers.idxmax() == PLANTED[0]
    grid = effects.patching_map(model, pairs[0], target)
    best = grid.loc[grid.effect.idxmax()]
    assert best.layer == PLANTED[0]
    assert best.effect > best.random_high  # beyond what random sets restore at the same place
    assert len(grid) == 3 * 12
    assert next(iter(effects.screen(model, pairs, k=1))) == PLANTED
    summed = effects.summarise_patching(table, n_boot=200)
    mine = summed[summed.kind == "members"].iloc[0]
    assert mine.low <= mine.effect == pytest.approx(table[table.kind == "members"].effect.mean())
    assert mine.low > summed[summed.kind == "random"].high.max()
    assert summed[summed.kind == "neuron"].name.iloc[0] == "L1N7"


def test_a_patch_of_many_rows_equals_single_patches(model: Model, target: NeuronSet) -> None:
    """The table runs many patches in one batch; here each alone, by hand."""
    one = effects.Pair("p", tuple(PROMPTS[0]), (*PROMPTS[0][:4], *PROMPTS[1][4:]), ANSWER, FOIL)
    table = effects.patching(model, [one], target, random=2)
    source = iv.capture(model, one.clean)
    clean, corrupted = (float(answer_margins(model, [ids])) for ids in (one.clean, one.corrupted))
    sets = {"found": target, "random 1": target.random_like(1, "layer")}
    sets |= {"L2N9": NeuronSet(frozenset({(2, 9)}), LAYERS, D_MLP)}
    for name, neurons in sets.items():
        with model.editing(neurons, iv.patch(source)):
            value = float(answer_margins(model, [one.corrupted]))
        row = table[table.name == name].iloc[0]
        assert row.effect == pytest.approx((value - corrupted) / (clean - corrupted), abs=1e-4)


def test_the_shipped_pairs_and_those_of_a_file(model: Model, tmp_path: Path) -> None:
    found = effects.load_pairs(model)
    assert len(found) >= 24
    assert len({one.id for one in found}) == len(found)
    assert all(one.clean != one.corrupted and one.answer != one.foil for one in found)
    few = effects.distinguished_pairs(model, found, min_difference=0.0)
    assert all(b - a >= 0 for b, a in (effects.logit_differences(model, one) for one in few))
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"id": 1, "clean": "a", "corrupted": "b", "answer": "x"}')
    with pytest.raises(HlensError, match="line 1: foil is None; expected texts under"):
        effects.load_pairs(model, path)
    path.write_text("")
    with pytest.raises(HlensError, match="holds no pair"):
        effects.load_pairs(model, path)
    with pytest.raises(HlensError, match="no file"):
        effects.load_pairs(model, tmp_path / "absent")


def test_attribution_is_the_gradient_of_a_small_patch(model: Model) -> None:
    """In the limit of small differences both agree: here the last layer, nearly linear."""
    one = effects.Pair("p", tuple(PROMPTS[0]), tuple(PROMPTS[1]), ANSWER, FOIL)
    estimate = effects.attribution(model, one)
    everything = NeuronSet.from_mask(torch.ones(LAYERS, D_MLP, dtype=torch.bool))
    exact = effects.patching(model, [one], everything, random=0)
    exact = exact[exact.kind == "neuron"]
    by_hand = [float(estimate[a, b]) for a, b in zip(exact.layer, exact.neuron, strict=True)]
    assert np.allclose(by_hand, exact.attribution)
    assert np.corrcoef(exact.effect, exact.attribution)[0, 1] > 0.9
    assert all(p.grad is None for p in model.hf.parameters())


@pytest.mark.parametrize("lengths", ["equal", "unequal"])
def test_both_ways_of_patching_are_those_of_transformer_lens(model: Model, lengths: str) -> None:
    """Exact patching against TransformerLens' own; attribution against its hooks, by hand."""
    bad = tuple(PROMPTS[1]) if lengths == "equal" else (*PROMPTS[0][:4], 7, *PROMPTS[0][5:], 9, 8)
    one = effects.Pair("p", (*PROMPTS[0], 8), (*bad, 8), ANSWER, FOIL)
    members = frozenset({PLANTED, (0, 3), (0, 30), (1, 8), (2, 9), (2, 41)})
    neurons = NeuronSet(members, LAYERS, D_MLP)
    ours = effects.patching(model, [one], neurons, random=0).query("kind == 'neuron'")
    places = iv.align(one.corrupted, one.clean)
    here, there = list(places), list(places.values())
    clean, corrupted = torch.tensor([one.clean]), torch.tensor([one.corrupted])

    def metric(logits: torch.Tensor) -> torch.Tensor:
        return logits[0, -1, ANSWER] - logits[0, -1, FOIL]

    def setter(act: torch.Tensor, index: Sequence[int], other: Any) -> torch.Tensor:
        act[0, here, index[1]] = other[0, there, index[1]]
        return act

    logits, cache = model.run_with_cache(clean)
    least, index = metric(model.bridge(corrupted)), ours[["layer", "neuron"]]
    theirs = generic_activation_patch(
        model.bridge, corrupted, cache, metric, setter, "post", index_df=index
    )
    span = float((metric(logits) - least).detach())
    shares = ((theirs - least) / span).tolist()
    assert ours.effect.tolist() == pytest.approx(shares, abs=1e-4)

    acts: dict[str, torch.Tensor] = {}
    grads: dict[str, torch.Tensor] = {}
    names = [f"blocks.{layer}.mlp.out.hook_in" for layer in range(LAYERS)]
    with model.bridge.hooks(
        fwd_hooks=[
            (name, lambda act, hook: acts.update({hook.name: act.detach()})) for name in names
        ],
        bwd_hooks=[(name, lambda grad, hook: grads.update({hook.name: grad})) for name in names],
    ):
        metric(model.bridge(corrupted)).backward()
    model.bridge.zero_grad()
    by_hand = [
        float(((cache[name][0, there] - acts[name][0, here]) * grads[name][0, here]).sum(0)[neuron])
        for layer, neuron in index.itertuples(index=False)
        for name in [names[layer]]
    ]
    assert ours.attribution.tolist() == pytest.approx([x / span for x in by_hand], abs=1e-4)
    assert max(map(abs, by_hand)) > 0.1


def test_pairs_with_nothing_to_restore_are_refused(model: Model, target: NeuronSet) -> None:
    same = effects.Pair("p", tuple(PROMPTS[0]), tuple(PROMPTS[0]), ANSWER, FOIL)
    with pytest.raises(HlensError, match="nothing to restore"):
        effects.patching(model, [same], target)
    with pytest.raises(HlensError, match="one or more of each"):
        effects.patching(model, [], target)


# --- the table ------------------------------------------------------------------------------


def test_every_set_holds_the_unmodified_model_and_all_doses(outcomes: pd.DataFrame) -> None:
    table = effects.rates(outcomes, n_boot=50)
    assert {"behaviour", "set", "kind", "alpha", "rate", "low", "high", "n"} <= set(table.columns)
    counts = table.groupby(["behaviour", "set"]).alpha.apply(lambda a: sorted(a))
    assert all(alphas == [0.0, 1.0, 2.0, 3.0] for alphas in counts)
    assert table["set"].nunique() == 1 + 8 + 2
    plain = table[(table.alpha == 1.0) & (table.behaviour == "preference")]
    assert plain.rate.nunique() == 1
    edited = table[table.alpha != 1.0]
    assert (edited.touched > 0).all()
    shares = table[table.unit == "share"]
    assert ((shares.low <= shares.rate) & (shares.rate <= shares.high)).all()
    kl = table[table.behaviour == "kl"]
    assert (kl[kl.alpha == 1.0].rate < 1e-6).all()
    assert (kl[(kl.alpha == 3.0) & (kl.kind == "target")].rate > 1e-3).all()


def test_kinds_are_the_strings_of_tables_already_stored(
    outcomes: pd.DataFrame, tmp_path: Path
) -> None:
    names = ["target", "random", "random_matched", "truth", "norm_matched", "unmodified"]
    assert {*SetKind} == {*names, "layer", "up_to_layer", "selected"}
    assert list(PatchKind) == ["neuron", "layer", "members", "random", "everything"]
    assert all(type(kind) is str for kind in outcomes.kind)
    outcomes.to_parquet(tmp_path / "outcomes.parquet")
    stored = pd.read_parquet(tmp_path / "outcomes.parquet")
    pd.testing.assert_frame_equal(effects.rates(stored), effects.rates(outcomes))
    drawn = effects.dose_table(effects.rates(stored)).drop_duplicates("kind").set_index("kind")
    assert drawn["name"].to_dict() == {
        SetKind.TARGET: "found",
        SetKind.RANDOM: SetKind.RANDOM.label,
        SetKind.NORM_MATCHED: SetKind.NORM_MATCHED.label,
    }


def test_perplexity_by_hand(outcomes: pd.DataFrame) -> None:
    rows = outcomes[(outcomes.behaviour == "perplexity") & (outcomes.alpha == 0.0)]
    rows = rows[rows.kind == "target"]
    table = effects.rates(outcomes, n_boot=50)
    found = table[(table.behaviour == "perplexity") & (table.alpha == 0.0)]
    expected = np.exp(np.average(rows.value, weights=rows.n_tokens))
    assert found[found.kind == "target"].rate.iloc[0] == pytest.approx(expected)


def test_flips_count_both_ways(outcomes: pd.DataFrame) -> None:
    table = effects.flips(outcomes)
    mine = table[(table.behaviour == "preference") & (table.kind == "target")]
    mine = mine.set_index("alpha")
    assert (mine.to_hit + mine.to_miss + mine.stayed_hit + mine.stayed_miss == mine.n).all()
    assert mine.loc[3.0, "to_hit"] > mine.loc[3.0, "to_miss"]
    assert mine.loc[0.0, "to_miss"] > mine.loc[0.0, "to_hit"]
    small = pd.DataFrame(
        [
            ("b", "rules", "s", "target", alpha, str(q), "g", value, "share", True)
            for alpha, values in ((1.0, [1, 1, 0, 0, None]), (2.0, [0, 1, 1, 1, 1]))
            for q, value in enumerate(values)
        ],
        columns=[
            "behaviour", "grader", "set", "kind", "alpha", "question_id", "group", "value", "unit",
            "applies",
        ],
    )  # fmt: skip
    row = effects.flips(small).iloc[0]
    counted = (row.to_hit, row.to_miss, row.stayed_hit, row.stayed_miss, row.n)
    assert counted == (2, 1, 1, 0, 4)
    unread = effects.flips(small.assign(applies=small.alpha != 1.0))
    assert unread.empty
    assert list(unread) == list(table)
    with pytest.raises(HlensError, match="no unmodified replies"):
        effects.flips(small[small.alpha != 1.0])


def test_behaviour_against_capability_and_the_figures_table(outcomes: pd.DataFrame) -> None:
    table = effects.rates(outcomes, n_boot=50)
    points = effects.pareto(table, "preference", cost="kl")
    assert 1.0 not in set(points.alpha)
    assert not points.dominated.all()
    best = points.loc[points.behaviour_change.abs().idxmax()]
    assert best.kind == "target"
    drawn = effects.dose_table(table, ["preference", "perplexity"])
    named = ["preference", "Perplexity on plain text (lower is better)"]
    assert list(dict.fromkeys(drawn.outcome)) == named
    assert list(dict.fromkeys(drawn.neurons))[:2] == ["found", "random neurons, 8 sets"]
    assert drawn.groupby(["outcome", "neurons"]).size().eq(4).all()
    with pytest.raises(HlensError, match="no 'absent'"):
        effects.pareto(table, "absent")


def test_slopes_by_hand() -> None:
    rows = [
        ("b", "rules", name, kind, alpha, f"q{q}", f"g{q}", float(q < hits), "share", True)
        for name, kind, counts in (("t", "target", (0, 5, 10)), ("random 0", "random", (5, 5, 5)))
        for alpha, hits in zip((0.0, 1.0, 2.0), counts, strict=True)
        for q in range(10)
    ]
    columns = ["behaviour", "grader", "set", "kind", "alpha", "question_id", "group"]
    table = effects.slopes(pd.DataFrame(rows, columns=[*columns, "value", "unit", "applies"]))
    assert table.slope.tolist() == pytest.approx([0.5, 0.0])
    assert table.over_random.iloc[0] == pytest.approx(0.5)
    assert table.low.iloc[0] == pytest.approx(0.5)  # every resample holds the same slope
    with pytest.raises(HlensError, match="two doses"):
        effects.slopes(pd.DataFrame(rows[:10], columns=[*columns, "value", "unit", "applies"]))


def test_the_slopes_interval_is_that_of_a_mean_over_groups() -> None:
    draw = np.random.default_rng(5)
    hits = draw.random((80, 3)) < np.array([0.2, 0.5, 0.8])

    def table(groups: Sequence[str]) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "behaviour": "b",
                "grader": "rules",
                "set": "t",
                "kind": "target",
                "alpha": np.tile([0.0, 1.0, 2.0], 80),
                "question_id": np.repeat([f"q{i}" for i in range(80)], 3),
                "group": np.repeat(list(groups), 3),
                "value": hits.astype(float).ravel(),
                "unit": "share",
                "applies": True,
            }
        )

    row = effects.slopes(table([f"g{i}" for i in range(80)]), n_boot=4000).iloc[0]
    single = (hits[:, 2].astype(float) - hits[:, 0]) / 2  # the least-squares slope of each question
    half = 1.96 * single.std() / np.sqrt(80)
    assert row.slope == pytest.approx(single.mean())
    assert (row.low, row.high) == pytest.approx((row.slope - half, row.slope + half), abs=0.012)
    paired = effects.slopes(table([f"g{i // 2}" for i in range(80)])).iloc[0]
    assert paired.slope == pytest.approx(row.slope)
    one = effects.slopes(table(["g"] * 80)).iloc[0]
    assert one.low == pytest.approx(one.high)  # one group leaves nothing to draw
    mine = table([f"g{i}" for i in range(80)])
    beside = pd.concat([mine, mine.assign(set="random 0", kind="random")], ignore_index=True)
    same = effects.slopes(beside).iloc[0]
    assert (same.over_low, same.over_high) == (0.0, 0.0)  # paired: what is alike cancels
    assert same.low < same.high


# --- resuming -------------------------------------------------------------------------------


def test_an_interrupted_run_resumes_and_ends_the_same(
    model: Model, target: NeuronSet, tmp_path: Path
) -> None:
    suite = preference(model)
    alphas = (0.0, 2.0)
    whole = effects.intervene(model, target, [suite], alphas=alphas)
    seen: list[int] = []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        effects.intervene(model, target, [suite], alphas=alphas, folder=tmp_path, progress=stop)
    runs: list[float] = []
    counted = Suite("preference", "", SETTINGS, _counting(suite, runs), ("preference",))
    again = Behaviour(counted, suite.questions)
    resumed = effects.intervene(model, target, [again], alphas=alphas, folder=tmp_path)
    pd.testing.assert_frame_equal(resumed, whole)
    assert len(runs) == (1 + 9 * 2 + 2) - 5
    runs.clear()
    wider = effects.intervene(model, target, [again], alphas=(0.0, 3.0), folder=tmp_path)
    assert set(wider.alpha) == {0.0, 1.0, 3.0}
    assert len(runs) == 9 + 1  # of what was run before, nothing is run again
    fresh = effects.intervene(model, target, [suite], alphas=(0.0, 3.0))
    pd.testing.assert_frame_equal(wider, fresh)


def test_a_run_is_reused_only_where_nothing_it_depends_on_has_changed(
    model: Model, target: NeuronSet, tmp_path: Path
) -> None:
    suite, runs = preference(model), []
    counted = Suite("preference", "", SETTINGS, _counting(suite, runs), ("preference",))

    def run(questions: Sequence[Question], neurons: NeuronSet, edit: Any) -> int:
        runs.clear()
        again = Behaviour(counted, tuple(questions))
        effects.intervene(model, neurons, [again], alphas=(2.0,), edit=edit, folder=tmp_path)
        return len(runs)

    ones, other = torch.ones(LAYERS, D_MLP), NeuronSet(frozenset({PLANTED, (0, 4), (2, 9)}), 3, 56)
    assert run(suite.questions, target, iv.scale) == 1 + 9 + 1
    assert run(suite.questions, target, iv.scale) == 0
    assert run(suite.questions[1:], target, iv.scale) == 11
    # The draws of random sets fall on the same neurons; the push is matched to the other ones.
    assert run(suite.questions, other, iv.scale) == 2
    assert run(suite.questions, target, lambda alpha: iv.steer(ones, alpha)) == 9 + 1
    assert run(suite.questions, target, lambda alpha: iv.steer(-ones, alpha)) == 9 + 1


def test_receipts_are_of_one_dose_of_one_behaviour(outcomes: pd.DataFrame, model: Model) -> None:
    table = effects.rates(outcomes, n_boot=20).set_index(["behaviour", "kind", "alpha"]).touched
    asked = len(preference(model).questions)
    assert table["preference", "target", 3.0] == asked * 12 * 3  # prompts of 12 tokens, 3 neurons
    assert table["preference", "target", 1.0] == 0
    assert table["kl", "target", 3.0] != table["preference", "target", 3.0]


def _counting(behaviour: Behaviour, runs: list[float]) -> behaviours.Ask:
    def ask(model: Model, questions: Sequence[Question], settings: Settings) -> list[Outcome]:
        runs.append(1.0)
        return behaviour.suite.ask(model, questions, settings)

    return ask


def test_wrong_arguments_are_refused(model: Model, target: NeuronSet, tmp_path: Path) -> None:
    suite = preference(model)
    with pytest.raises(HlensError, match="at least 8"):
        effects.ControlSets(random=3)
    with pytest.raises(HlensError, match="contribution="):
        effects.ControlSets(matched=8)
    with pytest.raises(HlensError, match="finite"):
        effects.intervene(model, target, [suite], alphas=(0.0, float("nan")))
    with pytest.raises(HlensError, match="at least one of each"):
        effects.intervene(model, NeuronSet(frozenset(), LAYERS, D_MLP), [suite])
    with pytest.raises(HlensError, match="called 'random 3', as one of their controls is"):
        effects.intervene(model, replace(target, name="random 3"), [suite], alphas=(0.0,))
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(HlensError, match="holds no question"):
        behaviours.load(f"plain_qa:{empty}")
    with pytest.raises(HlensError, match="did you mean 'sycophancy'"):
        behaviours.load("sycofancy")
    bare = load((architectures.llama(vocab_size=VOCAB), byte_tokenizer(chat=False)))
    with pytest.raises(HlensError, match="no chat template"):
        behaviours.load("sycophancy", n=2).run(bare)


def test_controls_matched_by_contribution_and_truth_neurons(
    model: Model, target: NeuronSet
) -> None:
    contribution = torch.rand(LAYERS, D_MLP, generator=torch.Generator().manual_seed(0))
    truth = NeuronSet(frozenset({(2, 2)}), LAYERS, D_MLP, name="truth neurons")
    controls = effects.ControlSets(
        matched=8, contribution=contribution, truth=truth, norm_matched=0
    )
    found = effects.intervene(model, target, [preference(model)], alphas=(0.0,), controls=controls)
    sizes = found.drop_duplicates("set").groupby("kind").size()
    assert sizes.to_dict() == {"target": 1, "random": 8, "random_matched": 8, "truth": 1}


def test_random_sets_are_of_the_same_layers_and_matched_ones_contribute_as_much() -> None:
    draw = torch.Generator().manual_seed(1)
    contribution = torch.rand(4, 600, generator=draw) ** 4
    top = contribution.flatten().topk(30).indices
    members = frozenset((int(i) // 600, int(i) % 600) for i in top)
    target = NeuronSet(members, 4, 600, name="H-neurons")
    beside = effects.ControlSets(random=8, matched=8, contribution=contribution)
    found = compared_sets(target, beside)
    assert [kind for _, kind, _ in found] == ["target"] + ["random"] * 8 + ["random_matched"] * 8
    assert len({name for name, _, _ in found}) == 17
    means = {kind: [] for _, kind, _ in found}
    for _, kind, neurons in found:
        means[kind].append(float(contribution[neurons.mask].mean()))
        assert neurons.per_layer() == target.per_layer()
        assert kind == "target" or not neurons.members & target.members
    own = means["target"][0]
    assert min(means["random_matched"]) > 0.7 * own > 2 * max(means["random"])


# --- behaviours -----------------------------------------------------------------------------


SHIPPED = [name for name in behaviours.names() if name != "harmful_compliance"]  # ships no prompt


@pytest.mark.parametrize("name", SHIPPED)
def test_every_bank_is_complete_and_every_suite_runs(name: str, model: Model) -> None:
    whole = behaviours.load(name)
    questions = whole.questions
    assert whole.suite.name == name, f"SUITE of behaviours/{name}.py needs that name"
    bank = getattr(lookup.member("behaviours", name), "BANK", name)
    bad = jsonl.read(BANKS / f"{bank}.jsonl").bad
    assert not bad, f"behaviours/banks/{bank}.jsonl, line {bad[0].number}: {bad[0].reason}"
    assert len(questions) >= 200, f"behaviours/{name}.py needs 200 questions: a bank, a generate()"
    assert len({q.id for q in questions}) == len({q.text for q in questions}) == len(questions)
    for question in questions:
        asked = f" {question.text.casefold().strip('?')} "
        assert not any(f" {a.casefold()} " in asked for a in question.answers), question
    few = behaviours.load(name, n=3)
    found = few.run(model)
    assert {o.measure for o in found} == set(whole.suite.measures)
    assert len(found) == 3 * len(whole.suite.measures)
    assert all(o.n_tokens <= whole.suite.settings.max_new_tokens for o in found)
    assert all(o.capped == (o.n_tokens == whole.suite.settings.max_new_tokens) for o in found)
    assert all(o.hit is None for o in found if not o.applies)


def test_capability_questions_are_in_no_other_bank() -> None:
    asked = {name: [q.text for q in behaviours.load(name).questions] for name in SHIPPED}
    assert asked.pop("plain_choice") == asked["plain_qa"]
    choice = [q.text for q in behaviours.load_bank("multiple_choice")]
    others = {text for name, texts in asked.items() if name != "plain_qa" for text in texts}
    assert not others & {*asked["plain_qa"], *choice}
    assert not set(choice) & set(asked["plain_qa"])


def test_flips_of_sycophancy(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter(["Paris", "Rome", "Oslo", "Sure.", "Sorry.", "Hm.", "Lyon", "Rome", "I don't know"])

    def replies(
        model: Model, prompts: list[list[int]], settings: Settings
    ) -> list[hlens.model.Generation]:
        return [hlens.model.Generation(next(said), (1,), (0.0,), "stop") for _ in prompts]

    monkeypatch.setattr("hlens.behaviours.sycophancy.generate_replies", replies)
    golds = ("Paris", "Berlin", "Oslo")
    questions = tuple(Question(g, "d", "Capital?", (g,)) for g in golds)
    suite = behaviours.load("sycophancy", n=1).suite
    found = Behaviour(suite, questions).run(model)
    given_up = [(o.applies, o.hit) for o in found if o.measure == "sycophancy"]
    mended = [(o.applies, o.hit) for o in found if o.measure != "sycophancy"]
    assert given_up == [(True, True), (False, None), (True, None)]
    assert mended == [(False, None), (True, False), (False, None)]


def test_a_published_set_in_the_shared_schema(tmp_path: Path) -> None:
    rows = [
        {
            "id": f"fakepedia-{i}",
            "question": f"What is the capital of country {i}?",
            "answers": ["Oslo"],
            "context": "Bergen is the capital.",
            "meta": {"counterfactual_answer": "Bergen", "group": f"g{i}"},
        }
        for i in range(4)
    ]
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = behaviours.load(f"misleading_context:{path}", n=2)
    assert len(found.questions) == 2
    replies = [Response(found.questions[0], text, (), 0) for text in ("Bergen.", "Oslo", "Rome")]
    parse = misleading_context.parse
    assert [parse(reply)[0] for reply in replies] == [True, False, None]
    rows[0].pop("context")
    path.write_text(json.dumps(rows[0]))
    with pytest.raises(HlensError, match="needs answers, context"):
        behaviours.load(f"misleading_context:{path}")


SHARED = Path(__file__).parents[1].parent / "shared" / "data" / "behaviour"


@pytest.mark.skipif(not SHARED.is_dir(), reason="published behaviour sets are not at ../shared")
@pytest.mark.parametrize(
    ("suite", "file"),
    [
        ("misleading_context", "fakepedia_context"),
        ("false_premises", "adv_factuality"),
        ("sycophancy", "sycophancy_are_you_sure"),
        ("fabricated_entities", "nonexist"),
        ("benign_compliance", "xstest_safe"),
    ],
)
def test_published_sets_are_read(suite: str, file: str) -> None:
    found = behaviours.load(f"{suite}:{SHARED / file}.jsonl", n=50)
    assert 45 <= len(found.questions) <= 50


# --- capability -----------------------------------------------------------------------------


def test_the_likeliest_option_equals_scoring_one_by_one(model: Model) -> None:
    questions = behaviours.load_bank("multiple_choice")[:40]
    expected = []
    for question in questions:
        scores = []
        for option in question.choices:
            head = f"Question: {question.text}\nAnswer:"
            ids = model.encode(f"{head} {option}", chat=False)
            start = len(model.encode(head, chat=False))
            with torch.inference_mode():
                logprobs = model.hf(torch.tensor([ids])).logits[0].log_softmax(-1)
            scores.append(sum(float(logprobs[i - 1, ids[i]]) for i in range(start, len(ids))))
        expected.append(int(np.argmax(scores)))
    assert effects.likeliest_options(model, questions) == expected


def test_perplexity_and_kl_equal_the_formulas(model: Model, target: NeuronSet) -> None:
    cost = effects.CapabilityTest(model, n_choice=0, n_texts=2)

    def logprobs(ids: list[int]) -> torch.Tensor:
        with torch.inference_mode():
            return model.hf(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)

    before = [logprobs(ids) for ids in cost.ids]
    with model.editing(target, iv.scale(3.0)):
        scores, after = cost(), [logprobs(ids) for ids in cost.ids]
    for at, ids in enumerate(cost.ids):
        nll = torch.nn.functional.nll_loss(after[at], torch.tensor(ids[1:]))
        kl = torch.nn.functional.kl_div(
            after[at], before[at], log_target=True, reduction="batchmean"
        )
        assert [s.value for s in scores if s.question_id == cost.texts[at].id] == pytest.approx(
            [float(nll), float(kl)], rel=1e-4
        )


def test_an_edit_of_what_is_generated_has_a_cost_too(model: Model) -> None:
    cost = effects.CapabilityTest(model, n_choice=2, n_texts=2)
    everything = NeuronSet.from_mask(torch.ones(LAYERS, D_MLP, dtype=torch.bool))
    with model.editing(everything, iv.ablate(scope=iv.GENERATED)) as receipt:
        edited = cost()
    texts = sum(map(len, cost.ids))
    assert receipt.tokens > texts  # the options of the questions were touched as well
    assert all(score.value > 0.0 for score in edited if score.measure == "kl")


# --- tables and sentences ------------------------------------------------------------------


def slope_row(**change: object) -> pd.DataFrame:
    row = {"behaviour": "b", "grader": "rules", "unit": "share", "set": "H-neurons"}
    row |= {"kind": "target", "slope": 0.09}
    row |= {"low": 0.05, "high": 0.13, "over_random": 0.06, "over_low": 0.02, "over_high": 0.1}
    row |= {"rank": 0, "n_random": 8, "n": 40, "detectable": 0.034, "most": np.nan}
    return pd.DataFrame([row | change])


def test_slopes_are_described_by_one_rule() -> None:
    def sentence(**change: object) -> str:
        return effects.describe_slopes(slope_row(**change), {"b": "Share of x (a note)"})[0]

    assert sentence() == "Share of x: +9.0 points per α [+5.0, +13.0], beyond all 8 random sets."
    missed = (
        "; with 40 questions and 8 random sets, one under 3.4 is missed more than once in five."
    )
    assert sentence(low=-0.01, over_low=-0.1).endswith("; no slope is seen" + missed)
    assert sentence(rank=3).endswith(", but 3 of 8 random sets are as steep" + missed)
    noise = ", steeper than 8 random sets, but within the noise"
    assert sentence(over_low=-0.1).endswith(noise + missed)
    none = "; with 40 questions and 8 random sets, none would be seen four times in five."
    assert sentence(over_low=-0.1, detectable=np.inf).endswith(noise + none)
    assert sentence(over_low=-0.1, detectable=np.nan).endswith(noise + ".")
    still = {"low": 0.0, "high": 0.0}
    assert sentence(**still).endswith("; nothing moved at any dose.")
    left = ", which leaves up to 3.1 points open (40 questions, 95 %)."
    assert sentence(**still, most=0.031).endswith("; nothing moved at any dose" + left)
    assert sentence(n_random=0).endswith("; no random set was run.")
    assert sentence(low=np.nan, high=np.nan).endswith("; too few replies could be read.")
    assert sentence(unit="nats", slope=0.5, low=0.4, high=0.6).startswith(
        "Share of x: +0.500 nats a token per α [+0.400, +0.600]"
    )


def test_the_table_of_slopes_has_a_row_a_kind() -> None:
    random = [
        slope_row(set=f"random {i}", kind="random", slope=0.01 * i - 0.02, n_random=7)
        for i in range(8)
    ]
    table = effects.slope_table(pd.concat([slope_row(rank=2), *random], ignore_index=True))
    assert table.neurons.tolist() == ["H-neurons", "8 random sets"]
    assert table.outcome.tolist() == ["b (points)"] * 2
    assert table.slope.tolist() == ["+9.0 [+5.0, +13.0]", "-2.0 to +5.0"]
    assert table.less_random.tolist() == ["+6.0 [+2.0, +10.0]", ""]
    assert table.as_steep.tolist() == ["2 of 8", ""]
    assert table.seen_from.tolist() == ["3.4", ""]


def test_patches_are_described_beside_random_sets() -> None:
    def summed(least: float, *random: float) -> pd.DataFrame:
        rows = [("neuron", f"L0N{i}", 0.1 / (i + 1)) for i in range(3)]
        rows += [("layer", "layer 0", 0.2), ("members", "H-neurons", 0.2)]
        rows += [("random", f"random {i}", effect) for i, effect in enumerate(random)]
        rows += [("everything", "every neuron", 0.9)]
        found = pd.DataFrame(rows, columns=["kind", "name", "effect"])
        return found.assign(low=least, high=0.95, attribution=found.effect, n=24)

    def words(summary: pd.DataFrame) -> str:
        return effects.describe_patches(summary)[0]

    assert words(summed(0.1, 0.05, -0.1)) == (
        "H-neurons restore +20.0% [+10.0%, +95.0%] of the difference, over 24 pairs, "
        "beyond all 2 random sets."
    )
    assert words(summed(0.1, 0.05, -0.3)).endswith("; 1 of 2 random sets do as much.")
    assert words(summed(-0.1, 0.05)).endswith(": no share is seen.")
    assert words(summed(0.1)).endswith("; no random set was patched.")
    table = effects.patch_table(summed(0.1, 0.05, -0.1), most=2)
    assert table.patched.tolist() == [
        "every neuron", "all 3 H-neurons", "2 random sets", "members in layer 0", "L0N0", "L0N1",
    ]  # fmt: skip
    assert table.restored[2] == "-10.0% to +5.0%"
