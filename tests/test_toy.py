"""The toy world: what is true of it by construction is found true of the shipped model."""

from dataclasses import replace
from functools import cache

import pytest
import torch

import hlens
import synthetic
from hlens import HlensError, effects, toy
from hlens.evaluation import auroc, overlap, shared_neurons, split_by_group, univariate
from hlens.interventions import scale
from hlens.model import Model
from hlens.prompts import INSTRUCTION, prompt_text
from hlens.toy import batches
from hlens.toy.training import Schedule, train
from hlens.types import Contributions, Verdict

GREEDY = hlens.Settings(max_new_tokens=8, temperature=0.0)
DOMAINS = toy.domain_names()


@cache
def model() -> Model:
    return hlens.load("toy", device="cpu")


@cache
def judged() -> tuple[hlens.Judgement, ...]:
    questions = [q for name in DOMAINS for q in hlens.domains.load(name)]
    return tuple(hlens.judge(hlens.sample(model(), questions, n=2, seed=0)))


@cache
def measured() -> Contributions:
    examples = hlens.spans.first_of_each_label(hlens.locate(judged(), model()))
    return hlens.measure(model(), examples, metric=hlens.metrics.cett)


def rate(verdict: Verdict, exposure: str) -> float:
    of = [j for j in judged() if j.response.question.meta["exposure"] == exposure]
    return sum(j.verdict is verdict for j in of) / len(of)


def test_the_world_is_the_same_on_every_machine() -> None:
    first = toy.facts("toy_towns")[0]
    assert (first.question, first.answer, first.exposure) == (
        "Which river runs through Upper Ormere?",
        "Thesume",
        "never",
    )
    for name in DOMAINS:
        facts = toy.facts(name)
        assert len({fact.entity for fact in facts}) == len(facts) / 2
        taught = [fact.taught for fact in facts]
        assert sum(taught) == len(taught) / 2
    assert batches.INSTRUCTION == INSTRUCTION


def test_no_word_of_a_name_tells_whether_it_was_taught() -> None:
    for name in DOMAINS:
        for place in (0, 1):
            known: dict[str, list[bool]] = {}
            for fact in toy.facts(name):
                known.setdefault(fact.entity.split()[place], []).append(fact.taught)
            assert all(0 < sum(taught) < len(taught) for taught in known.values())


def test_every_name_is_heard_by_three_drivers_and_no_two_neurons_hear_the_same() -> None:
    for domain in DOMAINS:
        own = [one for one in toy.mechanisms() if one.domain in ("", domain)]
        heard = {
            (one, member): tuple(
                one.responds(member, domain=domain, name=name) for name in range(12)
            )
            for one in own
            for member in range(len(one.members))
        }
        assert len(set(heard.values())) == len(heard) == len(toy.planted(domain))
        drivers = [names for (one, _), names in heard.items() if one.drives]
        assert [sum(column) for column in zip(*drivers, strict=True)] == [3] * 12


def test_text_comes_back_from_its_tokens() -> None:
    for question in hlens.domains.load("toy_people", n=20):
        text = prompt_text(question, f"{INSTRUCTION}\nAnswer: {question.answers[0]}.")
        ids = model().encode(text, chat=False)
        assert model().tokenizer.unk_token_id not in ids
        assert model().decode(ids).strip() == text.replace(" \n", "\n")


def test_it_knows_what_it_was_taught_and_makes_up_the_rest() -> None:
    assert rate(Verdict.CORRECT, "common") > 0.95
    assert 0.3 < rate(Verdict.CORRECT, "rare") < 0.98
    assert rate(Verdict.CORRECT, "never") < 0.15
    assert rate(Verdict.HALLUCINATED, "never") > 0.5
    assert 0.02 < rate(Verdict.REFUSED, "never") < 0.4


def test_planted_neurons_signal_ignorance_in_their_domains() -> None:
    data, ignorant = measured(), toy.ignorance(measured())
    for one in toy.mechanisms():
        inside = torch.tensor([one.domain in ("", name) for name in data.domains])
        for layer, neuron in one.members:
            values = data.values[:, layer, neuron]
            on, off = values[inside & ignorant].mean(), values[inside & ~ignorant].mean()
            assert on > 3 * off, (one.name, layer, neuron)
            if one.domain:
                assert on > 3 * values[~inside].mean(), (one.name, layer, neuron)


def test_find_recovers_what_was_planted_and_detects_ignorance() -> None:
    train_part, test_part = split_by_group(measured(), test=0.3)
    probe = hlens.SparseProbe(C="cv", class_weight="balanced", scale="feature")
    detector = hlens.find(train_part, probe)
    ignorant = toy.ignorance(test_part).numpy()
    assert auroc(detector(test_part).numpy(), ignorant) > 0.97
    planted, found = toy.planted(), detector.neurons
    assert len(found & planted) / len(found) > 20 * planted.fraction
    alone = univariate(train_part)
    leading = alone.sort_values("auroc", ascending=False).head(30)
    shared = toy.planted("")
    in_lead = sum((row.layer, row.neuron) in shared for row in leading.itertuples())
    assert in_lead >= len(shared) / 2


def test_overlap_tells_shared_mechanisms_from_those_of_one_domain() -> None:
    data, shared, sets = measured(), toy.planted(""), []
    probe = hlens.SparseProbe(C=0.05, class_weight="balanced", scale="feature")
    for name in DOMAINS:
        found = hlens.find(data.of_domain(name), probe, calibration=None).neurons
        assert len(found & toy.planted(name)) / len(found) > 0.5, name
        sets.append(replace(found, name=name))
    table = overlap(sets, data.values[~data.labels].float().mean(dim=0))
    assert (table.p_corrected < 0.05).all()
    assert (table.p_corrected_contribution < 0.05).all()
    several = shared_neurons(sets)
    truly = [(row.layer, row.neuron) in shared for row in several.itertuples()]
    assert sum(truly) / len(truly) > 0.7
    # What was planted for single domains overlaps no more than chance.
    apart = overlap([replace(one - shared, name=one.name) for one in sets])
    assert (apart.p_corrected > 0.05).all()


def test_patching_tells_drivers_from_bystanders_and_whose_they_are() -> None:
    drivers, bystanders = toy.planted(drives=True), toy.planted(drives=False)
    home, abroad = pairs("toy_towns"), pairs("toy_people")
    both = [*home, *abroad]
    change, random = patched(both, drivers)
    assert change > 3 * max(random)
    assert abs(patched(both, bystanders)[0]) < change / 3
    own = toy.planted("toy_towns", drives=True) - toy.planted("")
    assert patched(home, own)[0] > 3 * abs(patched(abroad, own)[0])


def pairs(domain: str) -> list[effects.Pair]:
    """A name that was never taught, on which the model guesses, beside a taught one."""
    abstains, found = model().tokenizer.convert_tokens_to_ids(" I"), []
    own = hlens.domains.load(domain)
    known = {q.meta["relation"]: q for q in own if q.meta["exposure"] == "common"}
    for q in [q for q in own if not q.meta["taught"]][:12]:
        other = prompt_text(known[q.meta["relation"]])
        clean, corrupted = (tuple(model().encode(text)) for text in (other, prompt_text(q)))
        guess = model().generate(prompt_text(q)).token_ids[0]
        if guess != abstains:
            found.append(effects.Pair(f"{domain}/{q.id}", clean, corrupted, abstains, guess))
    return found


def patched(some: list[effects.Pair], neurons: hlens.NeuronSet) -> tuple[float, list[float]]:
    """Mean change of the margin of abstaining over the guess; the same of random sets."""
    table = effects.patching(model(), some, neurons)
    table["change"] = table.effect * (table.clean - table.corrupted)
    random = table[table.kind == "random"].groupby("name").change.mean()
    return float(table.change[table.kind == "members"].mean()), random.abs().to_list()


def abstention(neurons: hlens.NeuronSet, alpha: float) -> float:
    asked = [q for name in DOMAINS for q in hlens.domains.load(name) if not q.meta["taught"]][::8]
    with model().editing(neurons, scale(alpha)):
        said = hlens.judge(hlens.sample(model(), asked, n=1, settings=GREEDY))
    return sum(j.verdict is Verdict.REFUSED for j in said) / len(said)


def test_drivers_move_the_model_and_bystanders_do_not() -> None:
    drivers, bystanders = toy.planted(drives=True), toy.planted(drives=False)
    silenced, plain = abstention(drivers, 0.0), abstention(drivers, 1.0)
    assert silenced > plain + 0.4
    assert abstention(drivers, 3.0) < 0.05 < plain
    for alpha in (0.0, 3.0):
        assert abs(abstention(bystanders, alpha) - plain) < (silenced - plain) / 2


def test_training_repeats_to_the_bit_and_learns() -> None:
    short = Schedule(base_steps=3, instruct_steps=2, rows=16)
    first, again, other = (train(seed, schedule=short) for seed in (0, 0, 1))
    for part in ("base", "instruct"):
        one, two = (getattr(made, part)[0].state_dict() for made in (first, again))
        assert all(torch.equal(one[name], two[name]) for name in one)
    weights = [made.instruct[0].state_dict()["lm_head.weight"] for made in (first, other)]
    assert not torch.equal(*weights)


def test_the_shipped_tokenizer_knows_the_world() -> None:
    made = train(schedule=Schedule(base_steps=0, instruct_steps=0), plant=False).instruct[1]
    assert made.get_vocab() == model().tokenizer.get_vocab()


def test_what_is_not_of_the_world_is_refused() -> None:
    with pytest.raises(HlensError, match="toy_towns"):
        toy.facts("toy_fish")
    with pytest.raises(HlensError, match="not a question of the toy world"):
        toy.ignorance(synthetic.made(n=20))
