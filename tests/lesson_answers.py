# ruff: noqa: E501
"""Answers that students give: which of them each exercise's check must take, and which refuse.

The code of an answer takes the place of the exercise's cell; `test_lesson_checks` runs the check on
it. Some were once let through, or refused although right.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """An answer to one exercise.

    Attributes:
        lesson: Its number.
        exercise: Its number in the lesson.
        name: What is special about it, in a few words.
        code: The exercise's cell.
        right: Whether the check must take it.
    """

    lesson: int
    exercise: int
    name: str
    code: str
    right: bool = False


ANSWERS = (
    Answer(
        1, 1, "by numpy", right=True, code="""
import numpy as np
def hallucination_rate(judgements):
    values = np.array([j.verdict.value for j in judgements])
    scored = values[np.isin(values, ["hallucinated", "correct"])]
    return np.mean(scored == "hallucinated")
""",
    ),
    Answer(
        1, 1, "over all judgements", code="""
def hallucination_rate(judgements):
    return sum(j.verdict is Verdict.HALLUCINATED for j in judgements) / len(judgements)
""",
    ),
    Answer(
        1, 1, "nothing returned", code="""
def hallucination_rate(judgements):
    wrong = sum(j.verdict is Verdict.HALLUCINATED for j in judgements)
""",
    ),
    Answer(
        1, 2, "by the standard library, as a list", right=True, code="""
import random
def grouped_interval(judgements, draws=200, seed=0):
    groups = {}
    for j in judgements:
        groups.setdefault(j.response.question.group, []).append(j)
    draw, names = random.Random(seed), list(groups)
    rates = sorted(
        hallucination_rate([j for name in draw.choices(names, k=len(names)) for j in groups[name]])
        for _ in range(draws)
    )
    return [rates[int(0.025 * draws)], rates[int(0.975 * draws) - 1]]
""",
    ),
    Answer(
        1, 2, "single answers resampled", code="""
import numpy as np
def grouped_interval(judgements, draws=200, seed=0):
    draw, size = np.random.default_rng(seed), len(judgements)
    rates = [
        hallucination_rate([judgements[at] for at in draw.integers(0, size, size)])
        for _ in range(draws)
    ]
    return tuple(np.quantile(rates, [0.025, 0.975]))
""",
    ),
    Answer(
        1, 2, "the high end first", code="""
def grouped_interval(judgements, draws=200, seed=0):
    rate = hallucination_rate(judgements)
    return rate + 0.05, rate - 0.05
""",
    ),
    Answer(
        1, 2, "the least and the most of all draws, and more", code="""
def grouped_interval(judgements, draws=200, seed=0):
    return 0.0, 1.0
""",
    ),
    Answer(
        1, 3, "a plain dict", right=True, code="""
def table_of_truth(judgements):
    table = {}
    for j in judgements:
        key = (bool(j.response.question.meta["taught"]), j.verdict.value)
        table[key] = table.get(key, 0) + 1
    return table
""",
    ),
    Answer(
        1, 3, "the verdict first", code="""
def table_of_truth(judgements):
    table = {}
    for j in judgements:
        key = (j.verdict.value, j.response.question.meta["taught"])
        table[key] = table.get(key, 0) + 1
    return table
""",
    ),
    Answer(
        1, 3, "taught turned round", code="""
from collections import Counter
def table_of_truth(judgements):
    return Counter((not j.response.question.meta["taught"], j.verdict.value) for j in judgements)
""",
    ),
    Answer(
        1, 4, "by pandas", right=True, code="""
import pandas as pd
def agreement(responses):
    rows = [(r.question.meta["taught"], r.question.domain, r.question.id, r.text) for r in responses]
    table = pd.DataFrame(rows, columns=["taught", "domain", "id", "text"])
    share = table.groupby(["taught", "domain", "id"]).text.agg(
        lambda said: said.value_counts().iloc[0] / len(said)
    )
    return share.groupby("taught").mean().to_dict()
""",
    ),
    Answer(
        1, 4, "taught and never taught swapped", code="""
from collections import Counter
from statistics import mean
def agreement(responses):
    texts = {}
    for r in responses:
        key = r.question.meta["taught"], r.question.domain, r.question.id
        texts.setdefault(key, []).append(r.text)
    share = {key: Counter(t).most_common(1)[0][1] / len(t) for key, t in texts.items()}
    return {not known: mean(v for k, v in share.items() if k[0] is known) for known in (True, False)}
""",
    ),
    Answer(
        1, 4, "over all questions at once", code="""
from collections import Counter
def agreement(responses):
    out = {}
    for known in (True, False):
        texts = [r.text for r in responses if r.question.meta["taught"] is known]
        out[known] = Counter(texts).most_common(1)[0][1] / len(texts)
    return out
""",
    ),
    Answer(
        2, 1, "by einsum", right=True, code="""
def rebuilt(trace):
    return torch.einsum("bpn,nd->bpd", trace.act, trace.w_out)
""",
    ),
    Answer(
        2, 1, "another shape", code="""
def rebuilt(trace):
    return trace.act[..., None] * trace.w_out
""",
    ),
    Answer(
        2, 1, "sizes of the activations", code="""
def rebuilt(trace):
    return trace.act.abs() @ trace.w_out
""",
    ),
    Answer(
        2, 2, "by the square root of sums", right=True, code="""
def contribution(trace):
    length = (trace.w_out**2).sum(1) ** 0.5
    return trace.act.abs() * length / ((trace.out**2).sum(-1) ** 0.5)[..., None]
""",
    ),
    Answer(
        2, 2, "norms over neurons", code="""
def contribution(trace):
    return trace.act.abs() * trace.w_out.norm() / trace.out.norm(dim=-1, keepdim=True)
""",
    ),
    Answer(
        2, 2, "with the activation's sign", code="""
def contribution(trace):
    return trace.act * trace.w_out.norm(dim=1) / trace.out.norm(dim=-1, keepdim=True)
""",
    ),
    Answer(
        2, 2, "summed over neurons", code="""
def contribution(trace):
    said = trace.act.abs() * trace.w_out.norm(dim=1)
    return (said / trace.out.norm(dim=-1, keepdim=True)).sum(-1)
""",
    ),
    Answer(
        2, 3, "by dataclasses.replace", right=True, code="""
import dataclasses
def rescaled(trace, c):
    return dataclasses.replace(trace, act=trace.act / c, w_out=c * trace.w_out)
""",
    ),
    Answer(
        2, 3, "both multiplied", code="""
def rescaled(trace, c):
    return hlens.MlpTrace(trace.act * c, trace.out, trace.w_out * c)
""",
    ),
    Answer(
        2, 3, "nothing rescaled", code="""
def rescaled(trace, c):
    return hlens.MlpTrace(trace.act, trace.out, trace.w_out)
""",
    ),
    Answer(
        2, 3, "in place", code="""
def rescaled(trace, c):
    trace.act.div_(c)
    trace.w_out.mul_(c)
    return trace
""",
    ),
    Answer(
        2, 4, "by numpy, as a numpy integer", right=True, code="""
import numpy as np
def loudest_unheard(trace, n_prompt):
    loud = trace.act[0, n_prompt:].abs().mean(0).numpy()
    heard = hlens.metrics.cett(trace)[0, n_prompt:].mean(0).numpy()
    places = [np.argsort(np.argsort(-one, kind="stable"), kind="stable") for one in (loud, heard)]
    return np.argmax(places[1] - places[0])
""",
    ),
    Answer(
        2, 4, "the smallest first", code="""
def loudest_unheard(trace, n_prompt):
    loud = trace.act[0, n_prompt:].abs().mean(0)
    heard = hlens.metrics.cett(trace)[0, n_prompt:].mean(0)
    return int((heard.argsort().argsort() - loud.argsort().argsort()).argmax())
""",
    ),
    Answer(
        2, 4, "values instead of places", code="""
def loudest_unheard(trace, n_prompt):
    loud = trace.act[0, n_prompt:].abs().mean(0)
    heard = hlens.metrics.cett(trace)[0, n_prompt:].mean(0)
    return int((loud - heard).argmax())
""",
    ),
    Answer(
        3, 1, "by a loop", right=True, code="""
def leaks(train, test):
    return sum(1 for group in set(train.groups) if group in set(test.groups))
""",
    ),
    Answer(
        3, 1, "examples instead of groups", code="""
def leaks(train, test):
    there = set(train.groups)
    return sum(group in there for group in test.groups)
""",
    ),
    Answer(
        3, 1, "whether instead of how many", code="""
def leaks(train, test):
    return bool(set(train.groups) & set(test.groups))
""",
    ),
    Answer(
        3, 2, "by einsum, in numpy", right=True, code="""
import numpy as np
def scores_of(detector, data):
    return np.einsum("eln,ln->e", data.values.numpy(), detector.weights.numpy()) + detector.bias
""",
    ),
    Answer(
        3, 2, "without the bias", code="""
def scores_of(detector, data):
    return (data.values * detector.weights).sum(dim=(1, 2)) + detector.bias + 1.0
""",
    ),
    Answer(
        3, 2, "summed over layers alone", code="""
def scores_of(detector, data):
    return (data.values * detector.weights).sum(dim=1) + detector.bias
""",
    ),
    Answer(
        3, 2, "signs of the weights", code="""
def scores_of(detector, data):
    return (data.values * detector.weights.sign()).sum(dim=(1, 2)) + detector.bias
""",
    ),
    Answer(
        3, 3, "by a loop", right=True, code="""
def auroc_by_pairs(scores, labels):
    made_up, true = scores[labels].tolist(), scores[~labels].tolist()
    order = sum((a > b) + 0.5 * (a == b) for a in made_up for b in true)
    return order / (len(made_up) * len(true))
""",
    ),
    Answer(
        3, 3, "ties count nothing", code="""
def auroc_by_pairs(scores, labels):
    return float((scores[labels][:, None] > scores[~labels][None]).float().mean())
""",
    ),
    Answer(
        3, 3, "turned round", code="""
def auroc_by_pairs(scores, labels):
    gap = scores[~labels][:, None] - scores[labels][None]
    return float((gap > 0).float().mean() + 0.5 * (gap == 0).float().mean())
""",
    ),
    Answer(
        3, 4, "member by member, as a list", right=True, code="""
def precision_and_recall(found, planted):
    both = sum(neuron in planted for neuron in found)
    return [both / len(found), both / len(planted)]
""",
    ),
    Answer(
        3, 4, "swapped", code="""
def precision_and_recall(found, planted):
    both = len(found & planted)
    return both / len(planted), both / len(found)
""",
    ),
    Answer(
        3, 4, "over both", code="""
def precision_and_recall(found, planted):
    share = len(found & planted) / len(found | planted)
    return share, share
""",
    ),
    Answer(
        4, 1, "by torch", right=True, code="""
import dataclasses
import torch
def shuffled_auroc(train, test, seed):
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    noise = dataclasses.replace(train, labels=train.labels[order])
    loose = 10 * detector.fit["C"]
    probe = hlens.SparseProbe(C=loose, class_weight="balanced", scale="feature")
    found = hlens.find(noise, probe, calibration=None)
    return float(auroc(found(test).numpy(), test.labels.numpy()))
""",
    ),
    Answer(
        4, 1, "the labels as they are", code="""
def shuffled_auroc(train, test, seed):
    probe = hlens.SparseProbe(C=detector.fit["C"], class_weight="balanced", scale="feature")
    return auroc(hlens.find(train, probe, calibration=None)(test).numpy(), test.labels.numpy())
""",
    ),
    Answer(
        4, 1, "the same shuffle each time", code="""
from dataclasses import replace
def shuffled_auroc(train, test, seed):
    order = np.random.default_rng(0).permutation(len(train))
    noise = replace(train, labels=train.labels[order])
    probe = hlens.SparseProbe(C=detector.fit["C"], class_weight="balanced", scale="feature")
    return auroc(hlens.find(noise, probe, calibration=None)(test).numpy(), test.labels.numpy())
""",
    ),
    Answer(
        4, 2, "by numpy", right=True, code="""
def permutation_p(real, null):
    return np.mean(np.r_[real, null] >= real)
""",
    ),
    Answer(
        4, 2, "without the real one", code="""
def permutation_p(real, null):
    return sum(value >= real for value in null) / len(null)
""",
    ),
    Answer(
        4, 2, "larger, not at least as large", code="""
def permutation_p(real, null):
    return (1 + sum(value > real for value in null)) / (1 + len(null))
""",
    ),
    Answer(
        4, 3, "numpy integers, as a list", right=True, code="""
def significant(p, level=0.05):
    return [np.count_nonzero(p < level), np.count_nonzero(p < level / len(p))]
""",
    ),
    Answer(
        4, 3, "swapped", code="""
def significant(p, level=0.05):
    return int((p * len(p) < level).sum()), int((p < level).sum())
""",
    ),
    Answer(
        4, 3, "corrected twice", code="""
def significant(p, level=0.05):
    return int((p < level).sum()), int((p * len(p) ** 2 < level).sum())
""",
    ),
    Answer(
        4, 4, "by counting pairs", right=True, code="""
def against_both(detector, data):
    score = detector(data)
    def order(truth):
        gap = score[truth][:, None] - score[~truth][None]
        return float(((gap > 0).double() + 0.5 * (gap == 0).double()).mean())
    return order(data.labels.bool()), order(hlens.toy.ignorance(data).bool())
""",
    ),
    Answer(
        4, 4, "swapped", code="""
def against_both(detector, data):
    score = detector(data).numpy()
    truth = hlens.toy.ignorance(data).numpy()
    return auroc(score, truth), auroc(score, data.labels.numpy())
""",
    ),
    Answer(
        4, 4, "the label twice", code="""
def against_both(detector, data):
    found = auroc(detector(data).numpy(), data.labels.numpy())
    return found, found
""",
    ),
    Answer(
        5, 1, "by the mask", right=True, code="""
def concentration(neurons, draws=200):
    def largest(one):
        return (one.mask.sum(1).max() / one.mask.sum()).item()
    sets = [neurons.random_like(seed, match="none") for seed in range(draws)]
    return round(largest(neurons), 12), np.array([largest(one) for one in sets])
""",
    ),
    Answer(
        5, 1, "a null that keeps the layers", code="""
def concentration(neurons, draws=200):
    def largest(one):
        return max(one.per_layer()) / len(one)
    null = [largest(neurons.random_like(seed, match="layer")) for seed in range(draws)]
    return largest(neurons), null
""",
    ),
    Answer(
        5, 1, "the share of the layer", code="""
def concentration(neurons, draws=200):
    def largest(one):
        return max(one.per_layer()) / one.d_mlp
    return largest(neurons), [largest(neurons.random_like(s, match="none")) for s in range(draws)]
""",
    ),
    Answer(
        5, 2, "member by member", right=True, code="""
def share_planted(neurons):
    return np.mean([one in planted for one in neurons]) if len(neurons) else np.nan
""",
    ),
    Answer(
        5, 2, "over the planted", code="""
def share_planted(neurons):
    return len(neurons & planted) / len(planted)
""",
    ),
    Answer(
        5, 2, "Jaccard", code="""
def share_planted(neurons):
    return len(neurons & planted) / len(neurons | planted)
""",
    ),
    Answer(
        5, 2, "zero of an empty set", code="""
def share_planted(neurons):
    return len(neurons & planted) / max(1, len(neurons))
""",
    ),
    Answer(
        5, 3, "by torch.where", right=True, code="""
import dataclasses
def without(data, neurons):
    kept = torch.where(neurons.mask, torch.zeros(()), data.values)
    return dataclasses.replace(data, values=kept)
""",
    ),
    Answer(
        5, 3, "not cloned", code="""
from dataclasses import replace
def without(data, neurons):
    data.values[:, neurons.mask] = 0.0
    return replace(data, values=data.values)
""",
    ),
    Answer(
        5, 3, "nothing set to zero", code="""
def without(data, neurons):
    return data
""",
    ),
    Answer(
        5, 3, "whole layers", code="""
from dataclasses import replace
def without(data, neurons):
    values = data.values.clone()
    values[:, neurons.mask.any(1)] = 0.0
    return replace(data, values=values)
""",
    ),
    Answer(
        6, 1, "member by member", right=True, code="""
def jaccard(a, b):
    both = [one for one in a if one in b]
    return len(both) / max(1, len(a) + len(b) - len(both))
""",
    ),
    Answer(
        6, 1, "over the smaller set", code="""
def jaccard(a, b):
    smaller = min(len(a), len(b))
    return len(a & b) / smaller if smaller else 0.0
""",
    ),
    Answer(
        6, 1, "over the sum of sizes", code="""
def jaccard(a, b):
    total = len(a) + len(b)
    return len(a & b) / total if total else 0.0
""",
    ),
    Answer(
        6, 2, "by numpy", right=True, code="""
import numpy as np
def expected_shared(a, b):
    return np.dot(np.array(a.per_layer()), np.array(b.per_layer())) / a.d_mlp
""",
    ),
    Answer(
        6, 2, "over the whole model", code="""
def expected_shared(a, b):
    return len(a) * len(b) / (a.d_mlp * a.n_layers)
""",
    ),
    Answer(
        6, 2, "the mean over layers", code="""
def expected_shared(a, b):
    pairs = list(zip(a.per_layer(), b.per_layer(), strict=True))
    return sum(x * y / a.d_mlp for x, y in pairs) / len(pairs)
""",
    ),
    Answer(
        6, 3, "by set algebra", right=True, code="""
from itertools import combinations
def share_truly_shared(sets):
    both = sets[0] - sets[0]
    for a, b in combinations(sets, 2):
        both = both | (a & b)
    return len(both & hlens.toy.planted("")) / len(both) if len(both) else float("nan")
""",
    ),
    Answer(
        6, 3, "over the planted", code="""
def share_truly_shared(sets):
    rows = hlens.evaluation.shared_neurons(sets)
    truly = hlens.toy.planted("")
    return sum((row.layer, row.neuron) in truly for row in rows.itertuples()) / len(truly)
""",
    ),
    Answer(
        6, 3, "among all planted", code="""
def share_truly_shared(sets):
    rows = hlens.evaluation.shared_neurons(sets)
    return len(rows) / max(1, len(rows))
""",
    ),
    Answer(
        6, 4, "row by row", right=True, code="""
import numpy as np
def cost_of_moving(table):
    own = [row for row in table.itertuples() if row.train in names]
    within = [row.auroc for row in own if row.train == row.test]
    return np.mean(within) - np.mean([row.auroc for row in own if row.train != row.test])
""",
    ),
    Answer(
        6, 4, "with the pooled probes", code="""
def cost_of_moving(table):
    within = table.train == table.test
    return float(table[within].auroc.mean() - table[~within].auroc.mean())
""",
    ),
    Answer(
        6, 4, "turned round", code="""
def cost_of_moving(table):
    own = table[table.train.isin(names)]
    within = own.train == own.test
    return float(own[~within].auroc.mean() - own[within].auroc.mean())
""",
    ),
    Answer(
        7, 1, "by generate", right=True, code="""
import numpy as np
def abstention(neurons, alpha):
    with model.editing(neurons, scale(alpha)):
        texts = [str(model.generate(prompt_text(q), max_new_tokens=8)) for q in never]
    replies = [dataclasses.replace(r, text=t) for r, t in zip(replies_as_they_are, texts)]
    return np.mean([abstain.judge(r).verdict is not Verdict.HALLUCINATED for r in replies])
import dataclasses
replies_as_they_are = replies
""",
    ),
    Answer(
        7, 1, "inventions counted", code="""
def abstention(neurons, alpha):
    with model.editing(neurons, scale(alpha)):
        said = hlens.sample(model, never, n=1, settings=greedy)
    verdicts = [abstain.judge(reply).verdict for reply in said]
    return sum(verdict is Verdict.HALLUCINATED for verdict in verdicts) / len(verdicts)
""",
    ),
    Answer(
        7, 1, "the edit forgotten", code="""
def abstention(neurons, alpha):
    said = hlens.sample(model, never, n=1, settings=greedy)
    verdicts = [abstain.judge(reply).verdict for reply in said]
    return sum(verdict is not Verdict.HALLUCINATED for verdict in verdicts) / len(verdicts)
""",
    ),
    Answer(
        7, 2, "as a numpy bool", right=True, code="""
import numpy as np
def leaves_no_trace(neurons, alpha):
    ids = torch.tensor([model.encode(prompt)])
    def logits():
        with torch.inference_mode():
            return model.hf(input_ids=ids).logits.numpy()
    before = logits()
    with model.editing(neurons, scale(alpha)):
        logits()
    return np.all(before == logits())
""",
    ),
    Answer(
        7, 2, "compared inside the block", code="""
def leaves_no_trace(neurons, alpha):
    ids = torch.tensor([model.encode(prompt)])
    with torch.inference_mode():
        before = model.hf(input_ids=ids).logits
        with model.editing(neurons, scale(alpha)):
            after = model.hf(input_ids=ids).logits
    return bool(torch.equal(before, after))
""",
    ),
    Answer(
        7, 3, "as a numpy bool", right=True, code="""
def moves_behaviour(outcomes):
    table = effects.slopes(outcomes, n_boot=500)
    row = table[(table.behaviour == "fabricated_entities") & (table.kind == "target")].iloc[0]
    return row["over_low"] * row["over_high"] > 0
""",
    ),
    Answer(
        7, 3, "always", code="""
def moves_behaviour(outcomes):
    return True
""",
    ),
    Answer(
        7, 3, "only falling slopes", code="""
def moves_behaviour(outcomes):
    table = effects.slopes(outcomes, n_boot=500)
    row = table[(table.behaviour == "fabricated_entities") & (table.kind == "target")].iloc[0]
    return bool(row.over_high < 0)
""",
    ),
    Answer(
        7, 3, "another behaviour", code="""
def moves_behaviour(outcomes):
    table = effects.slopes(outcomes, n_boot=500)
    row = table[(table.behaviour == "plain_qa") & (table.kind == "target")].iloc[0]
    return bool(row.over_low > 0 or row.over_high < 0)
""",
    ),
    Answer(
        7, 4, "by numpy", right=True, code="""
import numpy as np
def patched_change(neurons):
    return np.mean([abstaining_margin(p, neurons) - as_it_is(p) for p in pairs])
""",
    ),
    Answer(
        7, 4, "a sum", code="""
def patched_change(neurons):
    return sum(abstaining_margin(p, neurons) - as_it_is(p) for p in pairs)
""",
    ),
    Answer(
        7, 4, "turned round", code="""
def patched_change(neurons):
    return sum(as_it_is(p) - abstaining_margin(p, neurons) for p in pairs) / len(pairs)
""",
    ),
    Answer(
        8, 1, "tensors all the way", right=True, code="""
def two_aurocs(detector, data):
    score, labels = detector(data), data.labels.numpy()
    return [auroc(one.double().numpy(), labels) for one in (score, detector.calibration(score))]
""",
    ),
    Answer(
        8, 1, "against the other label", code="""
def two_aurocs(detector, data):
    score = detector(data)
    labels = ~data.labels.numpy()
    return auroc(score.numpy(), labels), auroc(detector.calibration(score).numpy(), labels)
""",
    ),
    Answer(
        8, 1, "turned round", code="""
def two_aurocs(detector, data):
    score = detector(data)
    labels = data.labels.numpy()
    return auroc(score.numpy(), labels), auroc(-detector.calibration(score).numpy(), labels)
""",
    ),
    Answer(
        8, 2, "by numpy", right=True, code="""
import numpy as np
def threshold_for(detector, data, false_alarms=0.05):
    return np.quantile(detector(data)[~data.labels].numpy(), 1 - false_alarms)
""",
    ),
    Answer(
        8, 2, "over all answers", code="""
def threshold_for(detector, data, false_alarms=0.05):
    return float(torch.quantile(detector(data).float(), 1 - false_alarms))
""",
    ),
    Answer(
        8, 2, "from below", code="""
def threshold_for(detector, data, false_alarms=0.05):
    return float(torch.quantile(detector(data)[~data.labels].float(), false_alarms))
""",
    ),
    Answer(
        8, 2, "a share that is always the same", code="""
def threshold_for(detector, data, false_alarms=0.05):
    return float(torch.quantile(detector(data)[~data.labels].float(), 0.95))
""",
    ),
    Answer(
        8, 3, "by numpy", right=True, code="""
import numpy as np
def stopped_share(questions, results):
    known = np.array([q.meta["taught"] for q in questions])
    acted = np.array([r.flagged_at is not None for r in results])
    return {one: acted[known == one].mean() for one in (True, False)}
""",
    ),
    Answer(
        8, 3, "a token 0 taken for none", code="""
def stopped_share(questions, results):
    share = {}
    for taught in (True, False):
        acts = [bool(r.flagged_at) for q, r in zip(questions, results) if q.meta["taught"] is taught]
        share[taught] = sum(acts) / len(acts)
    return share
""",
    ),
    Answer(
        8, 3, "over all questions", code="""
def stopped_share(questions, results):
    return {
        taught: sum(
            r.flagged_at is not None for q, r in zip(questions, results) if q.meta["taught"] is taught
        ) / len(questions)
        for taught in (True, False)
    }
""",
    ),
    Answer(
        8, 4, "by a table", right=True, code="""
import pandas as pd
def confidence_auroc(judgements):
    table = pd.DataFrame(
        [(-min(j.response.logprobs), not j.response.question.meta["taught"], j.verdict.value)
         for j in judgements], columns=["risk", "ignorant", "verdict"],
    )
    table = table[table.verdict.isin(["correct", "hallucinated"])]
    risk = table.risk.to_numpy()
    wrong = (table.verdict == "hallucinated").to_numpy()
    return auroc(risk, table.ignorant.to_numpy()), auroc(risk, wrong)
""",
    ),
    Answer(
        8, 4, "the wrong sign", code="""
import numpy as np
def confidence_auroc(judgements):
    scored = [j for j in judgements if j.verdict.value in ("correct", "hallucinated")]
    risk = np.array([min(j.response.logprobs) for j in scored])
    ignorant = np.array([not j.response.question.meta["taught"] for j in scored])
    wrong = np.array([j.verdict.value == "hallucinated" for j in scored])
    return auroc(risk, ignorant), auroc(risk, wrong)
""",
    ),
    Answer(
        9, 1, "a loop", right=True, code="""
def rows_of(facts):
    rows = []
    for number, fact in enumerate(facts):
        rows.append({"question": fact.question, "answers": [fact.answer]})
        rows[-1] |= {"group": f"{fact.entity}", "id": str(number)}
    return rows
""",
    ),
    Answer(
        9, 1, "every fact its own group", code="""
def rows_of(facts):
    return [
        {"id": f.question, "question": f.question, "answers": [f.answer], "group": f.question}
        for f in facts
    ]
""",
    ),
    Answer(
        9, 1, "the entity as id", code="""
def rows_of(facts):
    return [
        {"id": f.entity, "question": f.question, "answers": [f.answer], "group": f.entity}
        for f in facts
    ]
""",
    ),
    Answer(
        9, 1, "the answer not in a list", code="""
def rows_of(facts):
    return [
        {"id": f.question, "question": f.question, "answers": f.answer, "group": f.entity}
        for f in facts
    ]
""",
    ),
    Answer(
        9, 2, "as a numpy bool", right=True, code="""
def claim_holds(scores):
    probe = scores[scores.control == "probe"].iloc[0]
    random = scores[scores.control == "random neurons"].iloc[0]
    return (probe["low"] > random["auroc"]) & (probe["p"] < 0.05)
""",
    ),
    Answer(
        9, 2, "either of the two", code="""
def claim_holds(scores):
    by = scores.set_index("control")
    probe, random = by.loc["probe"], by.loc["random neurons"]
    return bool(probe.low > random.auroc or probe.p < 0.05)
""",
    ),
    Answer(
        9, 2, "never", code="""
def claim_holds(scores):
    return False
""",
    ),
    Answer(
        9, 3, "by the table's strings", right=True, code="""
def row_of_information(origin):
    names = origin.control
    return names[names.str.contains("refit") & names.str.startswith("selected")].iloc[0]
""",
    ),
    Answer(
        9, 3, "with the old weights", code="""
def row_of_information(origin):
    return next(name for name in origin.control if "refit" not in name)
""",
    ),
    Answer(
        9, 3, "a name of one's own", code="""
def row_of_information(origin):
    return "refit"
""",
    ),
    Answer(
        10, 1, "a pre-hook and a hook", right=True, code="""
def caught(tokens, real, layer):
    down, seen = layers[layer].mlp.down_proj, []
    one = down.register_forward_pre_hook(lambda m, i: seen.append(i[0].clone()))
    two = down.register_forward_hook(lambda m, i, o: seen.append(o.clone()))
    net(input_ids=tokens, attention_mask=real)
    one.remove(), two.remove()
    return seen
""",
    ),
    Answer(
        10, 1, "by TransformerLens's cache", right=True, code="""
def caught(tokens, real, layer):
    with torch.inference_mode():
        _, cache = model.run_with_cache(tokens, attention_mask=real)
    return tuple(cache[f"blocks.{layer}.mlp.out.hook_{end}"] for end in ("in", "out"))
""",
    ),
    Answer(
        10, 1, "as numpy, by the formula from the MLP's input", right=True, code="""
def caught(tokens, real, layer):
    mlp, entered = layers[layer].mlp, []
    handle = mlp.register_forward_pre_hook(lambda m, i: entered.append(i[0]))
    with torch.no_grad():
        net(input_ids=tokens, attention_mask=real)
        handle.remove()
        act = torch.nn.functional.silu(mlp.gate_proj(entered[0])) * mlp.up_proj(entered[0])
        return act.numpy(), mlp.down_proj(act).numpy()
""",
    ),
    Answer(
        10, 1, "pre instead of post", code="""
def caught(tokens, real, layer):
    mlp, seen = layers[layer].mlp, {}
    one = mlp.gate_proj.register_forward_hook(lambda m, i, o: seen.update(act=o))
    two = mlp.down_proj.register_forward_hook(lambda m, i, o: seen.update(out=o))
    with torch.inference_mode():
        net(input_ids=tokens, attention_mask=real)
    one.remove(), two.remove()
    return seen["act"], seen["out"]
""",
    ),
    Answer(
        10, 1, "behind the SiLU alone", code="""
def caught(tokens, real, layer):
    mlp, seen = layers[layer].mlp, {}
    one = mlp.act_fn.register_forward_hook(lambda m, i, o: seen.update(act=o))
    two = mlp.down_proj.register_forward_hook(lambda m, i, o: seen.update(out=o))
    with torch.inference_mode():
        net(input_ids=tokens, attention_mask=real)
    one.remove(), two.remove()
    return seen["act"], seen["out"]
""",
    ),
    Answer(
        10, 1, "the hook left on", code="""
def caught(tokens, real, layer):
    seen = {}
    layers[layer].mlp.down_proj.register_forward_hook(lambda m, i, o: seen.update(act=i[0], out=o))
    with torch.inference_mode():
        net(input_ids=tokens, attention_mask=real)
    return seen["act"], seen["out"]
""",
    ),
    Answer(
        10, 1, "the tuple of inputs, not the input", code="""
def caught(tokens, real, layer):
    seen = {}
    hook = layers[layer].mlp.down_proj.register_forward_hook(lambda m, i, o: seen.update(act=i, out=o))
    with torch.inference_mode():
        net(input_ids=tokens, attention_mask=real)
    hook.remove()
    return seen["act"], seen["out"]
""",
    ),
    Answer(
        10, 1, "always the first layer", code="""
def caught(tokens, real, layer):
    seen = {}
    hook = layers[0].mlp.down_proj.register_forward_hook(lambda m, i, o: seen.update(act=i[0], out=o))
    with torch.inference_mode():
        net(input_ids=tokens, attention_mask=real)
    hook.remove()
    return seen["act"], seen["out"]
""",
    ),
    Answer(
        10, 1, "the batch forgotten", code="""
def caught(tokens, real, layer):
    seen = {}
    hook = layers[layer].mlp.down_proj.register_forward_hook(lambda m, i, o: seen.update(act=i[0][0], out=o[0]))
    with torch.inference_mode():
        net(input_ids=tokens, attention_mask=real)
    hook.remove()
    return seen["act"], seen["out"]
""",
    ),
    Answer(
        10, 1, "the stream behind the block", code="""
def caught(tokens, real, layer):
    seen = {}
    one = layers[layer].mlp.down_proj.register_forward_pre_hook(lambda m, i: seen.update(act=i[0]))
    with torch.inference_mode():
        out = net(input_ids=tokens, attention_mask=real, output_hidden_states=True).hidden_states[layer + 1]
    one.remove()
    return seen["act"], out
""",
    ),
    Answer(
        10, 1, "nothing returned", code="""
def caught(tokens, real, layer):
    net(input_ids=tokens, attention_mask=real)
""",
    ),
    Answer(
        10, 2, "in numpy, by broadcasting", right=True, code="""
def contribution(act, out, weight):
    act, out, weight = act.numpy(), out.numpy(), weight.numpy()
    said = np.abs(act) * np.sqrt((weight ** 2).sum(0))
    return said / np.linalg.norm(out, axis=-1)[..., None]
""",
    ),
    Answer(
        10, 2, "neuron by neuron, from the definition", right=True, code="""
def contribution(act, out, weight):
    shares = []
    for j in range(weight.shape[1]):
        wrote = act[..., j, None] * weight[:, j]
        shares.append(wrote.norm(dim=-1) / out.norm(dim=-1))
    return torch.stack(shares, dim=-1)
""",
    ),
    Answer(
        10, 2, "hlens's own formula", right=True, code="""
def contribution(act, out, weight):
    return hlens.metrics.cett(hlens.MlpTrace(act, out, weight.T))
""",
    ),
    Answer(
        10, 2, "einops throughout", right=True, code="""
def contribution(act, out, weight):
    said = einops.reduce(weight**2, "d n -> n", "sum") ** 0.5
    heard = einops.reduce(out**2, "b p d -> b p", "sum") ** 0.5
    return einops.einsum(act.abs(), said, 1 / heard, "b p n, n, b p -> b p n")
""",
    ),
    Answer(
        10, 2, "norms over the wrong axis", code="""
def contribution(act, out, weight):
    return act.abs() * weight.norm(dim=1) / out.norm(dim=-1, keepdim=True)
""",
    ),
    Answer(
        10, 2, "the sign kept", code="""
def contribution(act, out, weight):
    return act * weight.norm(dim=0) / out.norm(dim=-1, keepdim=True)
""",
    ),
    Answer(
        10, 2, "one norm for the whole batch", code="""
def contribution(act, out, weight):
    return act.abs() * weight.norm(dim=0) / out.norm()
""",
    ),
    Answer(
        10, 2, "divided by neuron instead of by token", code="""
def contribution(act, out, weight):
    return act.abs() * weight.norm(dim=0) / out.norm(dim=-1)[:, None]
""",
    ),
    Answer(
        10, 2, "not divided", code="""
def contribution(act, out, weight):
    return act.abs() * weight.norm(dim=0)
""",
    ),
    Answer(
        10, 2, "sizes summed instead of a norm", code="""
def contribution(act, out, weight):
    return act.abs() * weight.abs().sum(0) / out.norm(dim=-1, keepdim=True)
""",
    ),
    Answer(
        10, 2, "the neurons summed", code="""
def contribution(act, out, weight):
    return (act.abs() * weight.norm(dim=0)).sum(-1) / out.norm(dim=-1)
""",
    ),
    Answer(
        10, 3, "by a mask and einops", right=True, code="""
def region_mean(values, starts, stops):
    pos = torch.arange(values.shape[1])
    mask = (pos >= torch.as_tensor(starts)[:, None]) & (pos < torch.as_tensor(stops)[:, None])
    mask = mask.to(values.dtype)
    return einops.einsum(values, mask, "b p n, b p -> b n") / einops.reduce(mask, "b p -> b 1", "sum")
""",
    ),
    Answer(
        10, 3, "in numpy, a list of rows", right=True, code="""
def region_mean(values, starts, stops):
    return [np.mean(row.numpy()[a:b], axis=0).tolist() for row, a, b in zip(values, starts, stops)]
""",
    ),
    Answer(
        10, 3, "by running sums", right=True, code="""
def region_mean(values, starts, stops):
    means = torch.zeros(len(values), values.shape[2], dtype=torch.float64)
    for row in range(len(values)):
        for pos in range(starts[row], stops[row]):
            means[row] += values[row, pos].double()
        means[row] /= stops[row] - starts[row]
    return means
""",
    ),
    Answer(
        10, 3, "one position early", code="""
def region_mean(values, starts, stops):
    return torch.stack([row[a - 1 : b - 1].mean(0) for row, a, b in zip(values, starts, stops)])
""",
    ),
    Answer(
        10, 3, "the last token left out", code="""
def region_mean(values, starts, stops):
    return torch.stack([row[a : max(b - 1, a + 1)].mean(0) for row, a, b in zip(values, starts, stops)])
""",
    ),
    Answer(
        10, 3, "padding measured", code="""
def region_mean(values, starts, stops):
    return torch.stack([row[a:].mean(0) for row, a in zip(values, starts)])
""",
    ),
    Answer(
        10, 3, "stop taken in", code="""
def region_mean(values, starts, stops):
    return torch.stack([row[a : b + 1].mean(0) for row, a, b in zip(values, starts, stops)])
""",
    ),
    Answer(
        10, 3, "divided by the length of the table", code="""
def region_mean(values, starts, stops):
    pos = torch.arange(values.shape[1])
    mask = (pos >= torch.tensor(starts)[:, None]) & (pos < torch.tensor(stops)[:, None])
    return (values * mask[..., None]).mean(1)
""",
    ),
    Answer(
        10, 3, "the first row's region for all", code="""
def region_mean(values, starts, stops):
    return values[:, starts[0] : stops[0]].mean(1)
""",
    ),
    Answer(
        10, 3, "over the neurons", code="""
def region_mean(values, starts, stops):
    return [row[a:b].mean(1) for row, a, b in zip(values, starts, stops)]
""",
    ),
    Answer(
        10, 4, "one example at a time, no padding", right=True, code="""
def by_hand(examples):
    done = []
    for example in examples:
        tokens, real = as_batch([example])
        each = [
            contribution(*caught(tokens, real, at), layer.mlp.down_proj.weight.detach())
            for at, layer in enumerate(layers)
        ]
        done.append(torch.stack([one[0, example.n_prompt :].mean(0) for one in each]))
    return torch.stack(done)
""",
    ),
    Answer(
        10, 4, "in batches of sixty-four, as numpy", right=True, code="""
def by_hand(examples):
    parts = []
    for first in range(0, len(examples), 64):
        some = examples[first : first + 64]
        tokens, real = as_batch(some)
        starts, stops = [e.n_prompt for e in some], real.sum(1).tolist()
        parts.append(np.stack([
            np.asarray(region_mean(contribution(*caught(tokens, real, at), layers[at].mlp.down_proj.weight.detach()), starts, stops))
            for at in range(len(layers))
        ], axis=1))
    return np.concatenate(parts)
""",
    ),
    Answer(
        10, 4, "one position early", code="""
def by_hand(examples):
    tokens, real = as_batch(examples)
    starts = [e.n_prompt - 1 for e in examples]
    stops = [len(e.token_ids) - 1 for e in examples]
    return torch.stack([
        region_mean(contribution(*caught(tokens, real, at), layers[at].mlp.down_proj.weight.detach()), starts, stops)
        for at in range(4)
    ], dim=1)
""",
    ),
    Answer(
        10, 4, "padding measured", code="""
def by_hand(examples):
    tokens, real = as_batch(examples)
    starts, stops = [e.n_prompt for e in examples], [tokens.shape[1]] * len(examples)
    return torch.stack([
        region_mean(contribution(*caught(tokens, real, at), layers[at].mlp.down_proj.weight.detach()), starts, stops)
        for at in range(4)
    ], dim=1)
""",
    ),
    Answer(
        10, 4, "layers first", code="""
def by_hand(examples):
    tokens, real = as_batch(examples)
    starts, stops = [e.n_prompt for e in examples], [len(e.token_ids) for e in examples]
    return torch.stack([
        region_mean(contribution(*caught(tokens, real, at), layers[at].mlp.down_proj.weight.detach()), starts, stops)
        for at in range(4)
    ])
""",
    ),
    Answer(
        10, 4, "the answer instead of the response", code="""
def by_hand(examples):
    tokens, real = as_batch(examples)
    starts, stops = [e.start for e in examples], [e.stop for e in examples]
    return torch.stack([
        region_mean(contribution(*caught(tokens, real, at), layers[at].mlp.down_proj.weight.detach()), starts, stops)
        for at in range(4)
    ], dim=1)
""",
    ),
    Answer(
        10, 4, "the first layer's weight for all", code="""
def by_hand(examples):
    tokens, real = as_batch(examples)
    starts, stops = [e.n_prompt for e in examples], [len(e.token_ids) for e in examples]
    return torch.stack([
        region_mean(contribution(*caught(tokens, real, at), layers[0].mlp.down_proj.weight.detach()), starts, stops)
        for at in range(4)
    ], dim=1)
""",
    ),
    Answer(
        10, 4, "the mean before the division", code="""
def by_hand(examples):
    tokens, real = as_batch(examples)
    starts, stops = [e.n_prompt for e in examples], [len(e.token_ids) for e in examples]
    means = []
    for at in range(4):
        act, out = caught(tokens, real, at)
        said = region_mean(act.abs() * layers[at].mlp.down_proj.weight.detach().norm(dim=0), starts, stops)
        means.append(said / region_mean(out, starts, stops).norm(dim=-1, keepdim=True))
    return torch.stack(means, dim=1)
""",
    ),
    Answer(
        11, 1, "two ReLUs", right=True, code="""
def soft(x, t):
    return np.maximum(x - t, 0) - np.maximum(-x - t, 0)
""",
    ),
    Answer(
        11, 1, "by torch", right=True, code="""
import torch
def soft(x, t):
    return torch.nn.functional.softshrink(torch.as_tensor(x, dtype=torch.float64), t).numpy()
""",
    ),
    Answer(
        11, 1, "by cases, in a loop", right=True, code="""
def soft(x, t):
    def one(value):
        if value > t:
            return value - t
        return value + t if value < -t else 0.0
    return one(x) if np.ndim(x) == 0 else np.array([one(value) for value in x])
""",
    ),
    Answer(
        11, 1, "what it clips off", right=True, code="""
def soft(x, t):
    return x - np.clip(x, -t, t)
""",
    ),
    Answer(
        11, 1, "hard thresholding", code="""
def soft(x, t):
    return np.where(np.abs(x) > t, x, 0.0)
""",
    ),
    Answer(
        11, 1, "only upwards", code="""
def soft(x, t):
    return np.maximum(x - t, 0)
""",
    ),
    Answer(
        11, 1, "the sign forgotten", code="""
def soft(x, t):
    return np.maximum(np.abs(x) - t, 0)
""",
    ),
    Answer(
        11, 1, "through zero", code="""
def soft(x, t):
    return x - t * np.sign(x)
""",
    ),
    Answer(
        11, 1, "half of t", code="""
def soft(x, t):
    return np.sign(x) * np.maximum(np.abs(x) - t / 2, 0)
""",
    ),
    Answer(
        11, 1, "ridge", code="""
def soft(x, t):
    return x / (1 + t)
""",
    ),
    Answer(
        11, 2, "by cases, without exercise 1", right=True, code="""
def updated(x, residual, weight, lam):
    n = len(x)
    g, h = sum(x * residual) / n, sum(x * x) / (4 * n)
    if h * weight - g > lam:
        return weight - (g + lam) / h
    if h * weight - g < -lam:
        return weight - (g - lam) / h
    return 0.0
""",
    ),
    Answer(
        11, 2, "by torch and einops", right=True, code="""
import einops, torch
def updated(x, residual, weight, lam):
    x, r = torch.as_tensor(x), torch.as_tensor(residual)
    g = einops.einsum(x, r, "example, example ->") / len(x)
    h = einops.reduce(x**2, "example ->", "mean") / 4
    u = weight - g / h
    return torch.sign(u) * torch.clamp(u.abs() - lam / h, min=0)
""",
    ),
    Answer(
        11, 2, "scaled the other way", right=True, code="""
def updated(x, residual, weight, lam):
    h = x @ x / len(x) / 4
    return soft(h * weight - x @ residual / len(x), lam) / h
""",
    ),
    Answer(
        11, 2, "uphill", code="""
def updated(x, residual, weight, lam):
    h = np.mean(x**2) / 4
    return soft(weight + np.mean(x * residual) / h, lam / h)
""",
    ),
    Answer(
        11, 2, "sums instead of means", code="""
def updated(x, residual, weight, lam):
    h = np.sum(x**2) / 4
    return soft(weight - np.sum(x * residual) / h, lam / h)
""",
    ),
    Answer(
        11, 2, "the quarter forgotten", code="""
def updated(x, residual, weight, lam):
    h = np.mean(x**2)
    return soft(weight - np.mean(x * residual) / h, lam / h)
""",
    ),
    Answer(
        11, 2, "the penalty not divided", code="""
def updated(x, residual, weight, lam):
    h = np.mean(x**2) / 4
    return soft(weight - np.mean(x * residual) / h, lam)
""",
    ),
    Answer(
        11, 2, "the weight forgotten", code="""
def updated(x, residual, weight, lam):
    h = np.mean(x**2) / 4
    return soft(-np.mean(x * residual) / h, lam / h)
""",
    ),
    Answer(
        11, 2, "not thresholded", code="""
def updated(x, residual, weight, lam):
    h = np.mean(x**2) / 4
    return weight - (np.mean(x * residual) + lam * np.sign(weight)) / h
""",
    ),
    Answer(
        11, 2, "the column taken for standardised", code="""
def updated(x, residual, weight, lam):
    return soft(weight - 4 * np.mean(x * residual), 4 * lam)
""",
    ),
    Answer(
        11, 2, "an array over examples", code="""
def updated(x, residual, weight, lam):
    h = np.mean(x**2) / 4
    return soft(weight - x * residual / h, lam / h)
""",
    ),
    Answer(
        11, 3, "the residuals anew each time, by list", right=True, code="""
def cycle(X, y, w, b, lam, coordinates):
    w = list(w)
    for j in coordinates:
        residual = expit(X @ np.array(w) + b) - y
        w[j] = float(updated(X[:, j], residual, w[j], lam))
    residual = expit(X @ np.array(w) + b) - y
    return np.array(w), float(updated(np.ones(len(y)), residual, b, 0.0))
""",
    ),
    Answer(
        11, 3, "written into w, z in place", right=True, code="""
def cycle(X, y, w, b, lam, coordinates):
    z = X @ w + b
    for j in coordinates:
        old, w[j] = w[j], updated(X[:, j], expit(z) - y, w[j], lam)
        z += X[:, j] * (w[j] - old)
    return [w, b + 4 * (y - expit(z)).mean()]
""",
    ),
    Answer(
        11, 3, "by torch", right=True, code="""
import torch
def cycle(X, y, w, b, lam, coordinates):
    X, y, w = (torch.as_tensor(part).clone() for part in (X, y, w))
    for j in coordinates:
        residual = torch.sigmoid(X @ w + b) - y
        w[j] = float(updated(X[:, j].numpy(), residual.numpy(), float(w[j]), lam))
    residual = torch.sigmoid(X @ w + b) - y
    return w.numpy(), b - 4 * residual.mean().item()
""",
    ),
    Answer(
        11, 3, "stale residuals", code="""
def cycle(X, y, w, b, lam, coordinates):
    residual, w = expit(X @ w + b) - y, w.copy()
    for j in coordinates:
        w[j] = updated(X[:, j], residual, w[j], lam)
    return w, b - 4 * np.mean(expit(X @ w + b) - y)
""",
    ),
    Answer(
        11, 3, "z follows the new weight, not its change", code="""
def cycle(X, y, w, b, lam, coordinates):
    w, z = w.copy(), X @ w + b
    for j in coordinates:
        w[j] = updated(X[:, j], expit(z) - y, w[j], lam)
        z = z + w[j] * X[:, j]
    return w, b - 4 * np.mean(expit(z) - y)
""",
    ),
    Answer(
        11, 3, "all coordinates, whichever are given", code="""
def cycle(X, y, w, b, lam, coordinates):
    w = w.copy()
    for j in range(len(w)):
        w[j] = updated(X[:, j], expit(X @ w + b) - y, w[j], lam)
    return w, b - 4 * np.mean(expit(X @ w + b) - y)
""",
    ),
    Answer(
        11, 3, "an order of its own", code="""
def cycle(X, y, w, b, lam, coordinates):
    w = w.copy()
    for j in sorted(coordinates):
        w[j] = updated(X[:, j], expit(X @ w + b) - y, w[j], lam)
    return w, b - 4 * np.mean(expit(X @ w + b) - y)
""",
    ),
    Answer(
        11, 3, "the intercept penalised", code="""
def cycle(X, y, w, b, lam, coordinates):
    w = w.copy()
    for j in coordinates:
        w[j] = updated(X[:, j], expit(X @ w + b) - y, w[j], lam)
    return w, updated(np.ones(len(y)), expit(X @ w + b) - y, b, lam)
""",
    ),
    Answer(
        11, 3, "the intercept left alone", code="""
def cycle(X, y, w, b, lam, coordinates):
    w = w.copy()
    for j in coordinates:
        w[j] = updated(X[:, j], expit(X @ w + b) - y, w[j], lam)
    return w, b
""",
    ),
    Answer(
        11, 3, "the weights alone", code="""
def cycle(X, y, w, b, lam, coordinates):
    w = w.copy()
    for j in coordinates:
        w[j] = updated(X[:, j], expit(X @ w + b) - y, w[j], lam)
    return w
""",
    ),
    Answer(
        11, 3, "only the updated weights", code="""
def cycle(X, y, w, b, lam, coordinates):
    w = w.copy()
    for j in coordinates:
        w[j] = updated(X[:, j], expit(X @ w + b) - y, w[j], lam)
    return w[coordinates[:2]], b - 4 * np.mean(expit(X @ w + b) - y)
""",
    ),
    Answer(
        11, 4, "in a loop, as a list", right=True, code="""
def violation(gradient, w, lam):
    misses = []
    for g, weight in zip(gradient, w):
        if weight > 0:
            misses.append(abs(g + lam))
        elif weight < 0:
            misses.append(abs(g - lam))
        else:
            misses.append(max(abs(g) - lam, 0.0))
    return misses
""",
    ),
    Answer(
        11, 4, "by torch", right=True, code="""
import torch
def violation(gradient, w, lam):
    g, w = torch.as_tensor(gradient), torch.as_tensor(w)
    return torch.where(w != 0, (g + lam * w.sign()).abs(), (g.abs() - lam).relu())
""",
    ),
    Answer(
        11, 4, "the least subgradient", right=True, code="""
def violation(gradient, w, lam):
    return np.abs(gradient + np.where(w == 0, -np.clip(gradient, -lam, lam), lam * np.sign(w)))
""",
    ),
    Answer(
        11, 4, "as if all were zero", code="""
def violation(gradient, w, lam):
    return np.maximum(np.abs(gradient) - lam, 0)
""",
    ),
    Answer(
        11, 4, "the sign turned", code="""
def violation(gradient, w, lam):
    return np.where(w == 0, np.maximum(np.abs(gradient) - lam, 0), np.abs(gradient - lam * np.sign(w)))
""",
    ),
    Answer(
        11, 4, "only upward slopes at zero", code="""
def violation(gradient, w, lam):
    return np.where(w == 0, np.maximum(gradient - lam, 0), np.abs(gradient + lam * np.sign(w)))
""",
    ),
    Answer(
        11, 4, "not cut off at zero", code="""
def violation(gradient, w, lam):
    return np.where(w == 0, np.abs(gradient) - lam, np.abs(gradient + lam * np.sign(w)))
""",
    ),
    Answer(
        11, 4, "the largest alone", code="""
def violation(gradient, w, lam):
    at_zero = np.maximum(np.abs(gradient) - lam, 0)
    return np.where(w == 0, at_zero, np.abs(gradient + lam * np.sign(w))).max()
""",
    ),
    Answer(
        11, 4, "whether it is missed, not by how much", code="""
def violation(gradient, w, lam):
    at_zero = np.maximum(np.abs(gradient) - lam, 0)
    return np.where(w == 0, at_zero, np.abs(gradient + lam * np.sign(w))) > 1e-9
""",
    ),
    Answer(
        11, 4, "the size of the slope only", code="""
def violation(gradient, w, lam):
    return np.where(w == 0, np.maximum(np.abs(gradient) - lam, 0), np.abs(np.abs(gradient) - lam))
""",
    ),
    Answer(
        12, 1, "by numpy, one example at a time", right=True, code="""
import numpy as np
def reconstruct(x, W, b):
    x, W, b = (np.asarray(a) for a in (x, W, b))
    made = []
    for one in x:
        h = np.maximum(W @ one, 0)
        made.append(np.maximum(W.T @ h + b, 0))
    return np.array(made)
""",
    ),
    Answer(
        12, 1, "by einops", right=True, code="""
from einops import einsum
def reconstruct(x, W, b):
    h = einsum(x, W, "example feature, neuron feature -> example neuron").clamp_min(0)
    return (einsum(h, W, "example neuron, neuron feature -> example feature") + b).clamp_min(0)
""",
    ),
    Answer(
        12, 1, "a list of lists", right=True, code="""
def reconstruct(x, W, b):
    x, W, b = x.tolist(), W.tolist(), b.tolist()
    made = []
    for one in x:
        h = [max(0, sum(w * v for w, v in zip(row, one))) for row in W]
        made.append(
            [max(0, sum(h[j] * W[j][k] for j in range(len(W))) + b[k]) for k in range(len(b))]
        )
    return made
""",
    ),
    Answer(
        12, 1, "no ReLU in the middle", code="""
def reconstruct(x, W, b):
    return torch.relu(x @ W.T @ W + b)
""",
    ),
    Answer(
        12, 1, "no ReLU at the end", code="""
def reconstruct(x, W, b):
    return torch.relu(x @ W.T) @ W + b
""",
    ),
    Answer(
        12, 1, "the bias forgotten", code="""
def reconstruct(x, W, b):
    return torch.relu(torch.relu(x @ W.T) @ W)
""",
    ),
    Answer(
        12, 1, "the bias outside of the ReLU", code="""
def reconstruct(x, W, b):
    return torch.relu(torch.relu(x @ W.T) @ W) + b.abs()
""",
    ),
    Answer(
        12, 1, "the activations returned", code="""
def reconstruct(x, W, b):
    return torch.relu(x @ W.T)
""",
    ),
    Answer(
        12, 1, "nothing returned", code="""
def reconstruct(x, W, b):
    h = torch.relu(x @ W.T)
""",
    ),
    Answer(
        12, 2, "by numpy", right=True, code="""
import numpy as np
def features_per_neuron(W):
    power = np.asarray(W) ** 2
    return power.sum(axis=1) ** 2 / (power**2).sum(axis=1)
""",
    ),
    Answer(
        12, 2, "shares, in a loop", right=True, code="""
def features_per_neuron(W):
    counts = []
    for row in W:
        share = row**2 / (row**2).sum()
        counts.append(1 / float((share**2).sum()))
    return counts
""",
    ),
    Answer(
        12, 2, "by einsum", right=True, code="""
def features_per_neuron(W):
    top = torch.einsum("nf,nf->n", W, W).square()
    return top / torch.einsum("nf,nf,nf,nf->n", W, W, W, W)
""",
    ),
    Answer(
        12, 2, "neurons per feature", code="""
def features_per_neuron(W):
    return (W**2).sum(0) ** 2 / (W**4).sum(0)
""",
    ),
    Answer(
        12, 2, "a count over a threshold", code="""
def features_per_neuron(W):
    return (W.abs() > 0.2).sum(1)
""",
    ),
    Answer(
        12, 2, "sizes in the place of squares", code="""
def features_per_neuron(W):
    return W.abs().sum(1) ** 2 / (W**2).sum(1)
""",
    ),
    Answer(
        12, 2, "signs not lost", code="""
def features_per_neuron(W):
    return W.sum(1) ** 2 / (W**2).sum(1)
""",
    ),
    Answer(
        12, 2, "the sum not squared", code="""
def features_per_neuron(W):
    return (W**2).sum(1) / (W**4).sum(1)
""",
    ),
    Answer(
        12, 2, "one mean for all", code="""
def features_per_neuron(W):
    return ((W**2).sum(1) ** 2 / (W**4).sum(1)).mean()
""",
    ),
    Answer(
        12, 2, "words", code="""
def features_per_neuron(W):
    return "one feature a neuron"
""",
    ),
    Answer(
        12, 3, "in a loop", right=True, code="""
def one_neuron(train_h, train_y, test_h, test_y):
    best, sign, most = 0, 1, 0.0
    for neuron in range(train_h.shape[1]):
        for way in (1, -1):
            told = auroc(way * train_h[:, neuron], train_y)
            if told > most:
                best, sign, most = neuron, way, told
    return auroc(sign * test_h[:, best], test_y)
""",
    ),
    Answer(
        12, 3, "one less the AUROC, by scikit-learn, as an array", right=True, code="""
import numpy as np
from sklearn.metrics import roc_auc_score
def one_neuron(train_h, train_y, test_h, test_y):
    told = [roc_auc_score(train_y, train_h[:, k]) for k in range(train_h.shape[1])]
    best = max(range(len(told)), key=lambda k: abs(told[k] - 0.5))
    own = roc_auc_score(test_y, test_h[:, best])
    return np.array(own if told[best] > 0.5 else 1 - own)
""",
    ),
    Answer(
        12, 3, "low neurons overlooked", code="""
def one_neuron(train_h, train_y, test_h, test_y):
    told = [auroc(column, train_y) for column in train_h.T]
    return auroc(test_h[:, int(np.argmax(told))], test_y)
""",
    ),
    Answer(
        12, 3, "chosen on the test part", code="""
def one_neuron(train_h, train_y, test_h, test_y):
    told = np.array([auroc(column, test_y) for column in test_h.T])
    return max(told.max(), 1 - told.min())
""",
    ),
    Answer(
        12, 3, "the sign chosen on the test part", code="""
def one_neuron(train_h, train_y, test_h, test_y):
    told = np.array([auroc(column, train_y) - 0.5 for column in train_h.T])
    own = auroc(test_h[:, np.abs(told).argmax()], test_y)
    return max(own, 1 - own)
""",
    ),
    Answer(
        12, 3, "the training score", code="""
def one_neuron(train_h, train_y, test_h, test_y):
    told = np.array([auroc(column, train_y) - 0.5 for column in train_h.T])
    return 0.5 + np.abs(told).max()
""",
    ),
    Answer(
        12, 3, "all neurons summed", code="""
def one_neuron(train_h, train_y, test_h, test_y):
    return auroc(-test_h.sum(1), test_y)
""",
    ),
    Answer(
        12, 3, "the neuron and its score", code="""
def one_neuron(train_h, train_y, test_h, test_y):
    told = np.array([auroc(column, train_y) - 0.5 for column in train_h.T])
    best = int(np.abs(told).argmax())
    return best, auroc(np.sign(told[best]) * test_h[:, best], test_y)
""",
    ),
    Answer(
        12, 4, "by einsum, as a list", right=True, code="""
def turned(h, w, Q):
    return [np.einsum("en,nm->em", h, Q), np.einsum("nm,n->m", Q, w)]
""",
    ),
    Answer(
        12, 4, "by torch", right=True, code="""
def turned(h, w, Q):
    h, w, Q = (torch.from_numpy(a) for a in (h, w, Q))
    return h @ Q, torch.linalg.solve(Q, w)
""",
    ),
    Answer(
        12, 4, "w as a row", right=True, code="""
def turned(h, w, Q):
    return np.array([row @ Q for row in h]), w @ Q
""",
    ),
    Answer(
        12, 4, "the weights as they were", code="""
def turned(h, w, Q):
    return h @ Q, w
""",
    ),
    Answer(
        12, 4, "Q not transposed", code="""
def turned(h, w, Q):
    return h @ Q, Q @ w
""",
    ),
    Answer(
        12, 4, "turned the other way", code="""
def turned(h, w, Q):
    return h @ Q.T, Q @ w
""",
    ),
    Answer(
        12, 4, "the scores returned", code="""
def turned(h, w, Q):
    return h @ Q @ Q.T @ w
""",
    ),
    Answer(
        12, 4, "nothing turned", code="""
def turned(h, w, Q):
    return h, w
""",
    ),
    Answer(
        12, 4, "w as a column", code="""
def turned(h, w, Q):
    return h @ Q, (Q.T @ w)[:, None]
""",
    ),
    Answer(
        12, 5, "by numpy", right=True, code="""
def rotated(data, Q):
    values = data.values.numpy()
    turned_rows = values.reshape(len(values), -1).astype(float) @ Q
    return replace(data, values=torch.tensor(turned_rows.reshape(values.shape)).float())
""",
    ),
    Answer(
        12, 5, "in float32", right=True, code="""
def rotated(data, Q):
    values = data.values.flatten(1) @ torch.from_numpy(Q).float()
    return replace(data, values=values.unflatten(1, data.values.shape[1:]))
""",
    ),
    Answer(
        12, 5, "in place", code="""
def rotated(data, Q):
    rows = data.values.flatten(1).double() @ torch.from_numpy(Q)
    data.values.copy_(rows.float().reshape(data.values.shape))
    return data
""",
    ),
    Answer(
        12, 5, "layer by layer, by a part of Q", code="""
def rotated(data, Q):
    part = torch.from_numpy(Q[:256, :256]).float()
    return replace(data, values=data.values @ part)
""",
    ),
    Answer(
        12, 5, "a rotation of one's own, another at each call", code="""
def rotated(data, Q):
    mine, _ = np.linalg.qr(np.random.default_rng().normal(size=Q.shape))
    rows = data.values.flatten(1).double() @ torch.from_numpy(mine)
    return replace(data, values=rows.float().reshape(data.values.shape))
""",
    ),
    Answer(
        12, 5, "neurons shuffled", code="""
def rotated(data, Q):
    order = torch.randperm(1024, generator=torch.Generator().manual_seed(0))
    return replace(data, values=data.values.flatten(1)[:, order].reshape(data.values.shape))
""",
    ),
    Answer(
        12, 5, "examples turned, not neurons", code="""
def rotated(data, Q):
    rows = data.values.flatten(1).double()
    some = torch.from_numpy(np.linalg.qr(np.ones((len(rows), len(rows))) + np.eye(len(rows)))[0])
    return replace(data, values=(some @ rows).float().reshape(data.values.shape))
""",
    ),
    Answer(
        12, 5, "a bare tensor", code="""
def rotated(data, Q):
    return (data.values.flatten(1).double() @ torch.from_numpy(Q)).float()
""",
    ),
    Answer(
        12, 5, "left in float64", code="""
def rotated(data, Q):
    rows = data.values.flatten(1).double() @ torch.from_numpy(Q)
    return replace(data, values=rows.reshape(data.values.shape))
""",
    ),
    Answer(
        13, 1, "by numpy", right=True, code="""
def logit_lens(row, unembed):
    logits = unembed.numpy() @ row.numpy()
    return logits - logits.mean()
""",
    ),
    Answer(
        13, 1, "token by token, a list", right=True, code="""
def logit_lens(row, unembed):
    logits = [float((u * row).sum()) for u in unembed]
    mean = sum(logits) / len(logits)
    return [logit - mean for logit in logits]
""",
    ),
    Answer(
        13, 1, "by einops, the unembedding centred", right=True, code="""
from einops import einsum
def logit_lens(row, unembed):
    centred_unembed = unembed - unembed.mean(0)
    return einsum(centred_unembed, row, "token d_model, d_model -> token")
""",
    ),
    Answer(
        13, 1, "not centred", code="""
def logit_lens(row, unembed):
    return unembed @ row
""",
    ),
    Answer(
        13, 1, "cosines", code="""
def logit_lens(row, unembed):
    logits = unembed @ row / (unembed.norm(dim=1) * row.norm())
    return logits - logits.mean()
""",
    ),
    Answer(
        13, 1, "sizes", code="""
def logit_lens(row, unembed):
    logits = (unembed @ row).abs()
    return logits - logits.mean()
""",
    ),
    Answer(
        13, 1, "probabilities", code="""
def logit_lens(row, unembed):
    chance = (unembed @ row).softmax(0)
    return chance - chance.mean()
""",
    ),
    Answer(
        13, 1, "the top words alone", code="""
def logit_lens(row, unembed):
    return (unembed @ row).topk(8).values
""",
    ),
    Answer(
        13, 1, "nothing returned", code="""
def logit_lens(row, unembed):
    logits = unembed @ row
""",
    ),
    Answer(
        13, 2, "the gain folded into the unembedding", right=True, code="""
def through_norm(row, gain, unembed):
    return logit_lens(row, unembed * gain)
""",
    ),
    Answer(
        13, 2, "by numpy", right=True, code="""
def through_norm(row, gain, unembed):
    row, gain, unembed = (np.asarray(a) for a in (row, gain, unembed))
    logits = unembed @ np.diag(gain) @ row
    return logits - logits.mean()
""",
    ),
    Answer(
        13, 2, "by einsum", right=True, code="""
def through_norm(row, gain, unembed):
    logits = torch.einsum("td,d,d->t", unembed, gain, row)
    return logits - logits.mean()
""",
    ),
    Answer(
        13, 2, "the gain left out", code="""
def through_norm(row, gain, unembed):
    return logit_lens(row, unembed)
""",
    ),
    Answer(
        13, 2, "the gain twice", code="""
def through_norm(row, gain, unembed):
    return logit_lens(row * gain, unembed * gain)
""",
    ),
    Answer(
        13, 2, "divided by the row's own size", code="""
def through_norm(row, gain, unembed):
    return logit_lens(row * gain / row.square().mean().sqrt(), unembed)
""",
    ),
    Answer(
        13, 2, "divided by the gain", code="""
def through_norm(row, gain, unembed):
    return logit_lens(row / gain, unembed)
""",
    ),
    Answer(
        13, 2, "not centred", code="""
def through_norm(row, gain, unembed):
    return unembed @ (row * gain)
""",
    ),
    Answer(
        13, 2, "the row returned", code="""
def through_norm(row, gain, unembed):
    return row * gain
""",
    ),
    Answer(
        13, 3, "by numpy", right=True, code="""
def sharpness(logits):
    logits = np.asarray(logits)
    return np.abs(logits).max(axis=1) / np.sqrt((logits**2).mean(axis=1))
""",
    ),
    Answer(
        13, 3, "in a loop", right=True, code="""
def sharpness(logits):
    made = []
    for row in logits:
        largest = max(float(row.max()), -float(row.min()))
        made.append(largest / float(row.pow(2).mean()) ** 0.5)
    return made
""",
    ),
    Answer(
        13, 3, "by norms", right=True, code="""
def sharpness(logits):
    n = logits.shape[1]
    return logits.norm(float("inf"), dim=1) / logits.norm(dim=1) * n**0.5
""",
    ),
    Answer(
        13, 3, "pushes up alone", code="""
def sharpness(logits):
    return logits.amax(1) / logits.square().mean(1).sqrt()
""",
    ),
    Answer(
        13, 3, "over the row's length", code="""
def sharpness(logits):
    return logits.abs().amax(1) / logits.norm(dim=1)
""",
    ),
    Answer(
        13, 3, "the root forgotten", code="""
def sharpness(logits):
    return logits.abs().amax(1) / logits.square().mean(1)
""",
    ),
    Answer(
        13, 3, "over the tokens of all vectors", code="""
def sharpness(logits):
    return logits.abs().amax(1) / logits.square().mean().sqrt()
""",
    ),
    Answer(
        13, 3, "one number a token", code="""
def sharpness(logits):
    return logits.abs().amax(0) / logits.square().mean(0).sqrt()
""",
    ),
    Answer(
        13, 3, "the largest logit alone", code="""
def sharpness(logits):
    return logits.abs().amax(1)
""",
    ),
    Answer(
        13, 4, "in a loop, the stream normed first", right=True, code="""
def direct_effect(act, row, stream):
    made = []
    for a, r in zip(act, stream):
        written = a * row * gain / r.pow(2).mean() ** 0.5
        logits = unembed @ written
        made.append(logits - logits.mean())
    return torch.stack(made)
""",
    ),
    Answer(
        13, 4, "by numpy", right=True, code="""
def direct_effect(act, row, stream):
    act, row, stream = (np.asarray(a) for a in (act, row, stream))
    logits = np.outer(act / np.sqrt((stream**2).mean(1)), unembed.numpy() @ (row * gain.numpy()))
    return logits - logits.mean(axis=1, keepdims=True)
""",
    ),
    Answer(
        13, 4, "by einops, with the norm's small number", right=True, code="""
from einops import einsum, reduce
def direct_effect(act, row, stream):
    size = (reduce(stream**2, "prompt d_model -> prompt", "mean") + 1e-6).sqrt()
    lens = torch.as_tensor(through_norm(row, gain, unembed))
    return einsum(act / size, lens, "prompt, token -> prompt token")
""",
    ),
    Answer(
        13, 4, "not divided by the size", code="""
def direct_effect(act, row, stream):
    return act[:, None] * through_norm(row, gain, unembed)
""",
    ),
    Answer(
        13, 4, "the size of the activation", code="""
def direct_effect(act, row, stream):
    size = stream.square().mean(1).sqrt()
    return (act.abs() / size)[:, None] * through_norm(row, gain, unembed)
""",
    ),
    Answer(
        13, 4, "over the stream's length", code="""
def direct_effect(act, row, stream):
    return (act / stream.norm(dim=1))[:, None] * through_norm(row, gain, unembed)
""",
    ),
    Answer(
        13, 4, "the gain left out", code="""
def direct_effect(act, row, stream):
    size = stream.square().mean(1).sqrt()
    return (act / size)[:, None] * logit_lens(row, unembed)
""",
    ),
    Answer(
        13, 4, "one size for all prompts", code="""
def direct_effect(act, row, stream):
    return (act / stream.square().mean().sqrt())[:, None] * through_norm(row, gain, unembed)
""",
    ),
    Answer(
        13, 4, "the activation left out", code="""
def direct_effect(act, row, stream):
    size = stream.square().mean(1).sqrt()
    return through_norm(row, gain, unembed) / size[:, None]
""",
    ),
    Answer(
        13, 4, "summed over prompts", code="""
def direct_effect(act, row, stream):
    size = stream.square().mean(1).sqrt()
    return (act / size).sum() * through_norm(row, gain, unembed)
""",
    ),
    Answer(
        13, 5, "by ablate, and numpy", right=True, code="""
from hlens.interventions import ablate
def measured_effect(ids, layer, neuron):
    tokens = torch.tensor([ids])
    with torch.no_grad(), model.editing(only(layer, neuron), ablate()):
        silenced = model.hf(input_ids=tokens).logits[0, -1].numpy()
    with torch.no_grad():
        whole = model.hf(input_ids=tokens).logits[0, -1].numpy()
    return whole - whole.mean() - (silenced - silenced.mean())
""",
    ),
    Answer(
        13, 5, "activations set to zero by clamp", right=True, code="""
from hlens.interventions import clamp
def measured_effect(ids, layer, neuron):
    tokens = torch.tensor([ids])
    with torch.inference_mode():
        change = model.hf(input_ids=tokens).logits[0, -1]
        with model.editing(only(layer, neuron), clamp(0.0, 0.0)):
            change = change - model.hf(input_ids=tokens).logits[0, -1]
    return change - change.mean()
""",
    ),
    Answer(
        13, 5, "clamped from below alone", code="""
from hlens.interventions import clamp
def measured_effect(ids, layer, neuron):
    tokens = torch.tensor([ids])
    with torch.inference_mode():
        change = model.hf(input_ids=tokens).logits[0, -1]
        with model.editing(only(layer, neuron), clamp(0.0)):
            change = change - model.hf(input_ids=tokens).logits[0, -1]
    return change - change.mean()
""",
    ),
    Answer(
        13, 5, "the sign turned", code="""
def measured_effect(ids, layer, neuron):
    tokens = torch.tensor([ids])
    with torch.inference_mode():
        whole = model.hf(input_ids=tokens).logits[0, -1]
        with model.editing(only(layer, neuron), scale(0.0)):
            silenced = model.hf(input_ids=tokens).logits[0, -1]
    return (silenced - whole) - (silenced - whole).mean()
""",
    ),
    Answer(
        13, 5, "the second pass behind the block", code="""
def measured_effect(ids, layer, neuron):
    tokens = torch.tensor([ids])
    with torch.inference_mode():
        whole = model.hf(input_ids=tokens).logits[0, -1]
        with model.editing(only(layer, neuron), scale(0.0)):
            model.hf(input_ids=tokens)
        silenced = model.hf(input_ids=tokens).logits[0, -1]
    return (whole - silenced) - (whole - silenced).mean()
""",
    ),
    Answer(
        13, 5, "not centred", code="""
def measured_effect(ids, layer, neuron):
    tokens = torch.tensor([ids])
    with torch.inference_mode():
        whole = model.hf(input_ids=tokens).logits[0, -1]
        with model.editing(only(layer, neuron), scale(0.0)):
            return whole - model.hf(input_ids=tokens).logits[0, -1]
""",
    ),
    Answer(
        13, 5, "at the first token", code="""
def measured_effect(ids, layer, neuron):
    tokens = torch.tensor([ids])
    with torch.inference_mode():
        whole = model.hf(input_ids=tokens).logits[0, 0]
        with model.editing(only(layer, neuron), scale(0.0)):
            silenced = model.hf(input_ids=tokens).logits[0, 0]
    return (whole - silenced) - (whole - silenced).mean()
""",
    ),
    Answer(
        13, 5, "at all tokens", code="""
def measured_effect(ids, layer, neuron):
    tokens = torch.tensor([ids])
    with torch.inference_mode():
        whole = model.hf(input_ids=tokens).logits[0]
        with model.editing(only(layer, neuron), scale(0.0)):
            silenced = model.hf(input_ids=tokens).logits[0]
    return (whole - silenced) - (whole - silenced).mean(1, keepdim=True)
""",
    ),
    Answer(
        13, 5, "the direct effect again", code="""
def measured_effect(ids, layer, neuron):
    _, own_stream, own_acts = read(ids)
    return direct_effect(own_acts[layer, neuron, None], rows[layer, neuron], own_stream[None])[0]
""",
    ),
    Answer(
        13, 5, "doubled, not silenced", code="""
def measured_effect(ids, layer, neuron):
    tokens = torch.tensor([ids])
    with torch.inference_mode():
        whole = model.hf(input_ids=tokens).logits[0, -1]
        with model.editing(only(layer, neuron), scale(2.0)):
            doubled = model.hf(input_ids=tokens).logits[0, -1]
    return (doubled - whole) - (doubled - whole).mean()
""",
    ),
    # Lessons 14 to 16.
    Answer(
        14, 1, "word by word", right=True, code="""
def exact(response):
    def plain(text):
        text = " ".join(text.lower().split())
        return text[:-1] if text.endswith(".") else text
    for answer in response.question.answers:
        if plain(answer) == plain(response.text):
            return Judgement(response, Verdict.CORRECT, "is the answer", (0, len(response.text)))
    return Judgement(response, Verdict.HALLUCINATED, "is no answer")
""",
    ),
    Answer(
        14, 1, "anywhere in the text", code="""
def exact(response):
    right = any(a.casefold() in response.text.casefold() for a in response.question.answers)
    return Judgement(response, Verdict.CORRECT if right else Verdict.HALLUCINATED)
""",
    ),
    Answer(
        14, 1, "the first answer alone", code="""
def exact(response):
    right = response.text.strip().rstrip(".").casefold() == response.question.answers[0].casefold()
    return Judgement(response, Verdict.CORRECT if right else Verdict.HALLUCINATED)
""",
    ),
    Answer(
        14, 1, "with its case", code="""
def exact(response):
    right = response.text.strip().rstrip(".") in response.question.answers
    return Judgement(response, Verdict.CORRECT if right else Verdict.HALLUCINATED)
""",
    ),
    Answer(
        14, 1, "a verdict, no judgement", code="""
def exact(response):
    right = response.text.strip().casefold() in response.question.answers
    return Verdict.CORRECT if right else Verdict.HALLUCINATED
""",
    ),
    Answer(
        14, 1, "refusals set aside", code="""
def exact(response):
    return hlens.judge([response], named("alias"))[0]
""",
    ),
    Answer(
        14, 2, "from a table of pairs", right=True, code="""
def kappa(a, b):
    kinds = sorted({*a, *b})
    table = np.zeros((len(kinds), len(kinds)))
    for one, other in zip(a, b):
        table[kinds.index(one), kinds.index(other)] += 1
    table /= table.sum()
    chance = table.sum(0) @ table.sum(1)
    return (np.trace(table) - chance) / (1 - chance)
""",
    ),
    Answer(
        14, 2, "by scikit-learn", right=True, code="""
def kappa(a, b):
    from sklearn.metrics import cohen_kappa_score
    return float(cohen_kappa_score(a, b))
""",
    ),
    Answer(
        14, 2, "agreement itself", code="""
def kappa(a, b):
    return sum(x == y for x, y in zip(a, b)) / len(a)
""",
    ),
    Answer(
        14, 2, "chance as if all verdicts were as common", code="""
def kappa(a, b):
    same = sum(x == y for x, y in zip(a, b)) / len(a)
    chance = 1 / len({*a, *b})
    return (same - chance) / (1 - chance)
""",
    ),
    Answer(
        14, 2, "the shares of both judges together", code="""
def kappa(a, b):
    n = len(a)
    same = sum(x == y for x, y in zip(a, b)) / n
    pooled = Counter([*a, *b])
    chance = sum((k / (2 * n)) ** 2 for k in pooled.values())
    return (same - chance) / (1 - chance)
""",
    ),
    Answer(
        14, 2, "two verdicts only", code="""
def kappa(a, b):
    pairs = [(x, y) for x, y in zip(a, b) if {x, y} <= {"hallucinated", "correct"}]
    n = len(pairs)
    same = sum(x == y for x, y in pairs) / n
    p, q = (sum(pair[i] == "correct" for pair in pairs) / n for i in (0, 1))
    chance = p * q + (1 - p) * (1 - q)
    return (same - chance) / (1 - chance)
""",
    ),
    Answer(
        14, 2, "not divided", code="""
def kappa(a, b):
    n = len(a)
    in_a, in_b = Counter(a), Counter(b)
    return sum(x == y for x, y in zip(a, b)) / n - sum(in_a[v] * in_b[v] for v in in_a) / n**2
""",
    ),
    Answer(14, 2, "nothing returned", code="def kappa(a, b):\n    Counter(a)\n"),
    Answer(
        14, 3, "by numpy", right=True, code="""
def checked_by_hand(judge, reader):
    called = np.array(judge) == "hallucinated"
    true = np.array(reader) == "hallucinated"
    return [true[called].mean(), called[true].mean()]
""",
    ),
    Answer(
        14, 3, "the two swapped", code="""
def checked_by_hand(judge, reader):
    both = sum(j == r == "hallucinated" for j, r in zip(judge, reader))
    return both / reader.count("hallucinated"), both / judge.count("hallucinated")
""",
    ),
    Answer(
        14, 3, "without what is unscored", code="""
def checked_by_hand(judge, reader):
    kept = [(j, r) for j, r in zip(judge, reader) if "unscored" not in (j, r)]
    both = sum(j == r == "hallucinated" for j, r in kept)
    return (
        both / sum(j == "hallucinated" for j, _ in kept),
        both / sum(r == "hallucinated" for _, r in kept),
    )
""",
    ),
    Answer(
        14, 3, "over all replies", code="""
def checked_by_hand(judge, reader):
    both = sum(j == r == "hallucinated" for j, r in zip(judge, reader))
    return both / len(judge), both / len(reader)
""",
    ),
    Answer(
        14, 3, "one number", code="""
def checked_by_hand(judge, reader):
    return sum(j == r for j, r in zip(judge, reader)) / len(judge)
""",
    ),
    Answer(
        14, 4, "pair by pair", right=True, code="""
def expected_auroc(auroc, flips, share=0.5):
    total = 0.0
    weight = 0.0
    for first in (True, False):
        for second in (True, False):
            chance = (share * (1 - flips) if first else (1 - share) * flips) * (
                share * flips if second else (1 - share) * (1 - flips)
            )
            value = 0.5 if first == second else auroc if first else 1 - auroc
            total, weight = total + chance * value, weight + chance
    return np.float64(total / weight)
""",
    ),
    Answer(
        14, 4, "as if half were hallucinated", code="""
def expected_auroc(auroc, flips, share=0.5):
    return 0.5 + (1 - 2 * flips) * (auroc - 0.5)
""",
    ),
    Answer(
        14, 4, "each of the pair flips by itself", code="""
def expected_auroc(auroc, flips, share=0.5):
    return 0.5 + (1 - 2 * flips) ** 2 * (auroc - 0.5)
""",
    ),
    Answer(
        14, 4, "the flips taken off", code="""
def expected_auroc(auroc, flips, share=0.5):
    return auroc - flips
""",
    ),
    Answer(
        14, 4, "the kept share of it", code="""
def expected_auroc(auroc, flips, share=0.5):
    return auroc * (1 - flips)
""",
    ),
    Answer(
        14, 4, "nothing returned", code="""
def expected_auroc(auroc, flips, share=0.5):
    0.5 + (1 - 2 * flips) * (auroc - 0.5)
""",
    ),
    Answer(
        14, 5, "from the two shares", right=True, code="""
def ceiling(truth, label):
    return 0.5 + (truth[label].mean() - truth[~label].mean()) / 2
""",
    ),
    Answer(
        14, 5, "label and truth swapped", code="""
def ceiling(truth, label):
    return hlens.evaluation.auroc(label.astype(float), truth)
""",
    ),
    Answer(
        14, 5, "the share of right labels", code="""
def ceiling(truth, label):
    return (truth == label).mean()
""",
    ),
    Answer(
        14, 5, "one", code="""
def ceiling(truth, label):
    return 1.0
""",
    ),
    Answer(
        14, 5, "the share of the called that are", code="""
def ceiling(truth, label):
    return truth[label].mean()
""",
    ),
    Answer(
        15, 1, "by a regular expression", right=True, code="""
import re
def split_thought(text, opened=False):
    match = re.match(r"\\s*<think>", text)
    if match:
        text = text[match.end():]
    elif not opened:
        return ["", text.strip()]
    parts = text.split("</think>", 1)
    return [parts[0].strip(), parts[1].strip() if len(parts) == 2 else None]
""",
    ),
    Answer(
        15, 1, "by the last closing tag", code="""
def split_thought(text, opened=False):
    if not text.lstrip().startswith("<think>") and not opened:
        return "", text.strip()
    if "</think>" not in text:
        return text.replace("<think>", "").strip(), None
    head, tail = text.rsplit("</think>", 1)
    return head.replace("<think>", "").strip(), tail.strip()
""",
    ),
    Answer(
        15, 1, "what the prompt opened forgotten", code="""
def split_thought(text, opened=False):
    if not text.lstrip().startswith("<think>"):
        return "", text.strip()
    head, tag, tail = text.lstrip()[7:].partition("</think>")
    return head.strip(), tail.strip() if tag else None
""",
    ),
    Answer(
        15, 1, "an empty answer where there is none", code="""
def split_thought(text, opened=False):
    if not text.lstrip().startswith("<think>") and not opened:
        return "", text.strip()
    head, _, tail = text.partition("</think>")
    return head.replace("<think>", "").strip(), tail.strip()
""",
    ),
    Answer(
        15, 1, "space left around", code="""
def split_thought(text, opened=False):
    if not text.lstrip().startswith("<think>") and not opened:
        return "", text
    head, tag, tail = text.partition("</think>")
    return head.replace("<think>", ""), tail if tag else None
""",
    ),
    Answer(
        15, 1, "a tag anywhere opens", code="""
def split_thought(text, opened=False):
    if "<think>" not in text and not opened:
        return "", text.strip()
    head, tag, tail = text.partition("</think>")
    return head.replace("<think>", "").strip(), tail.strip() if tag else None
""",
    ),
    Answer(
        15, 1, "the answer alone", code="""
def split_thought(text, opened=False):
    return text.split("</think>")[-1].strip()
""",
    ),
    Answer(
        15, 2, "with a response of its own", right=True, code="""
def verdict_behind(response, judge, opened=False):
    thought, answer = split_thought(response.text, opened)
    if answer is None:
        return Verdict("unscored")
    bare = Response(response.question, answer, response.token_ids, response.n_prompt)
    judged = judge(bare)
    return judged.verdict
""",
    ),
    Answer(
        15, 2, "the whole text", code="""
def verdict_behind(response, judge, opened=False):
    return judge(response).verdict
""",
    ),
    Answer(
        15, 2, "unfinished ones called hallucinated", code="""
from dataclasses import replace
def verdict_behind(response, judge, opened=False):
    _, answer = split_thought(response.text, opened)
    if answer is None:
        return Verdict.HALLUCINATED
    return judge(replace(response, text=answer)).verdict
""",
    ),
    Answer(
        15, 2, "opened not passed on", code="""
from dataclasses import replace
def verdict_behind(response, judge, opened=False):
    _, answer = split_thought(response.text)
    if answer is None:
        return Verdict.UNSCORED
    return judge(replace(response, text=answer)).verdict
""",
    ),
    Answer(
        15, 2, "the judgement itself", code="""
from dataclasses import replace
def verdict_behind(response, judge, opened=False):
    _, answer = split_thought(response.text, opened)
    return judge(replace(response, text=answer or ""))
""",
    ),
    Answer(
        15, 2, "the thought judged", code="""
from dataclasses import replace
def verdict_behind(response, judge, opened=False):
    thought, answer = split_thought(response.text, opened)
    if answer is None:
        return Verdict.UNSCORED
    return judge(replace(response, text=thought or answer)).verdict
""",
    ),
    Answer(
        15, 3, "by growing prefixes", right=True, code="""
def answer_start(tokenizer, ids):
    text = tokenizer.decode(ids)
    if "</think>" not in text:
        return None if text.lstrip().startswith("<think>") else 0
    for n in range(len(ids)):
        before, tag, behind = tokenizer.decode(ids[: n + 1]).partition("</think>")
        if tag and behind.strip():
            return np.int64(n)
    return None
""",
    ),
    Answer(
        15, 3, "characters counted", code="""
def answer_start(tokenizer, ids):
    text = tokenizer.decode(ids)
    if "</think>" not in text:
        return None if "<think>" in text else 0
    return text.index("</think>") + len("</think>")
""",
    ),
    Answer(
        15, 3, "the thought tokenised by itself", code="""
def answer_start(tokenizer, ids):
    text = tokenizer.decode(ids)
    if "</think>" not in text:
        return None if "<think>" in text else 0
    inside = text.partition("</think>")[0].replace("<think>", "")
    return len(tokenizer.encode(inside))
""",
    ),
    Answer(
        15, 3, "the space behind the tag", code="""
def answer_start(tokenizer, ids):
    opening, closing = tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
    if closing not in ids:
        return None if opening in ids else 0
    return ids.index(closing) + 1
""",
    ),
    Answer(
        15, 3, "an unfinished thought has an answer", code="""
def answer_start(tokenizer, ids):
    closing = tokenizer.convert_tokens_to_ids("</think>")
    start = ids.index(closing) + 1 if closing in ids else 0
    while start < len(ids) and tokenizer.decode([ids[start]]).isspace():
        start += 1
    return start
""",
    ),
    Answer(
        15, 3, "the tags decoded away", code="""
def answer_start(tokenizer, ids):
    text = tokenizer.decode(ids, skip_special_tokens=True)
    return 0 if "</think>" not in text else text.index("</think>")
""",
    ),
    Answer(
        15, 4, "by sums", right=True, code="""
def means(values, n_thought):
    total = np.cumsum(values)
    n = len(values)
    return [
        total[n_thought - 1] / n_thought,
        (total[-1] - total[n_thought - 1]) / (n - n_thought),
        total[-1] / n,
    ]
""",
    ),
    Answer(
        15, 4, "the mean of the two means", code="""
def means(values, n_thought):
    thought, answer = values[:n_thought].mean(), values[n_thought:].mean()
    return thought, answer, (thought + answer) / 2
""",
    ),
    Answer(
        15, 4, "the answer first", code="""
def means(values, n_thought):
    return values[n_thought:].mean(), values[:n_thought].mean(), values.mean()
""",
    ),
    Answer(
        15, 4, "sums", code="""
def means(values, n_thought):
    return values[:n_thought].sum(), values[n_thought:].sum(), values.sum()
""",
    ),
    Answer(
        15, 4, "one token too far", code="""
def means(values, n_thought):
    return values[: n_thought + 1].mean(), values[n_thought:].mean(), values.mean()
""",
    ),
    Answer(
        15, 4, "two numbers", code="""
def means(values, n_thought):
    return values[:n_thought].mean(), values[n_thought:].mean()
""",
    ),
    Answer(
        15, 5, "one reply at a time", right=True, code="""
def at_limit(needed, wrong, limit):
    finished = [bool(w) for n, w in zip(needed, wrong) if n <= limit]
    rate = sum(finished) / len(finished) if finished else np.nan
    return [(len(needed) - len(finished)) / len(needed), rate]
""",
    ),
    Answer(
        15, 5, "over all replies", code="""
def at_limit(needed, wrong, limit):
    ends = needed <= limit
    return 1 - ends.mean(), (wrong & ends).mean()
""",
    ),
    Answer(
        15, 5, "those cut off are wrong", code="""
def at_limit(needed, wrong, limit):
    ends = needed <= limit
    return 1 - ends.mean(), (wrong | ~ends).mean()
""",
    ),
    Answer(
        15, 5, "exactly the limit is cut off", code="""
def at_limit(needed, wrong, limit):
    ends = needed < limit
    return 1 - ends.mean(), wrong[ends].mean() if ends.any() else float("nan")
""",
    ),
    Answer(
        15, 5, "the share that finishes", code="""
def at_limit(needed, wrong, limit):
    ends = needed <= limit
    return ends.mean(), wrong[ends].mean() if ends.any() else float("nan")
""",
    ),
    Answer(
        15, 5, "none finishing is none wrong", code="""
def at_limit(needed, wrong, limit):
    ends = needed <= limit
    return 1 - ends.mean(), wrong[ends].mean() if ends.any() else 0.0
""",
    ),
    Answer(
        16, 1, "by a formula, as an array", right=True, code="""
def rate_of(table):
    kept = table[table.verdict.isin(["correct", "hallucinated"])]
    wrong = kept.verdict == "hallucinated"
    rate = wrong.mean()
    spread = ((wrong - rate).groupby(kept.group).sum() ** 2).sum() ** 0.5 / len(kept)
    return np.array([rate, rate - 1.96 * spread, rate + 1.96 * spread])
""",
    ),
    Answer(
        16, 1, "group by group, by the standard library", right=True, code="""
import random
def rate_of(table):
    facts = {}
    for verdict, group in zip(table.verdict, table.group):
        if verdict in ("correct", "hallucinated"):
            facts.setdefault(group, []).append(verdict == "hallucinated")
    draw, lists, rates = random.Random(1), list(facts.values()), []
    for _ in range(400):
        picked = draw.choices(lists, k=len(lists))
        rates.append(sum(map(sum, picked)) / sum(map(len, picked)))
    rates.sort()
    return [sum(map(sum, lists)) / sum(map(len, lists)), rates[10], rates[-11]]
""",
    ),
    Answer(
        16, 1, "replies resampled", code="""
def rate_of(table):
    wrong = (table.verdict[table.verdict.isin(["correct", "hallucinated"])] == "hallucinated").to_numpy()
    draw = np.random.default_rng(0)
    rates = wrong[draw.integers(0, len(wrong), (400, len(wrong)))].mean(axis=1)
    return wrong.mean(), *np.quantile(rates, [0.025, 0.975])
""",
    ),
    Answer(
        16, 1, "unscored counted below the line", code="""
def rate_of(table):
    rate = (table.verdict == "hallucinated").mean()
    return rate, rate - 0.03, rate + 0.03
""",
    ),
    Answer(
        16, 1, "the rate between its ends", code="""
def rate_of(table):
    kept = table[table.verdict.isin(["correct", "hallucinated"])]
    rate = (kept.verdict == "hallucinated").mean()
    return rate - 0.031, rate, rate + 0.031
""",
    ),
    Answer(
        16, 1, "the least and the most of all draws", code="""
def rate_of(table):
    kept = table[table.verdict.isin(["correct", "hallucinated"])]
    counts = (kept.verdict == "hallucinated").groupby(kept.group).agg(["sum", "count"]).to_numpy()
    draw = np.random.default_rng(0)
    sums = counts[draw.integers(0, len(counts), (400, len(counts)))].sum(axis=1)
    rates = sums[:, 0] / sums[:, 1]
    return (kept.verdict == "hallucinated").mean(), rates.min(), rates.max()
""",
    ),
    Answer(16, 1, "nothing returned", code="def rate_of(table):\n    table.verdict.value_counts()\n"),
    Answer(
        16, 2, "the direction by means", right=True, code="""
def rivals(train, test):
    longer = train.tokens[train.wrong].mean() > train.tokens[~train.wrong].mean()
    length = auroc(test.tokens, test.wrong)
    return dict(
        probability=1 - auroc(test.least_logprob, test.wrong),
        length=length if longer else 1 - length,
    )
""",
    ),
    Answer(
        16, 2, "the sign of the probability", code="""
def rivals(train, test):
    return {
        "probability": auroc(test.least_logprob, test.wrong),
        "length": auroc(test.tokens, test.wrong),
    }
""",
    ),
    Answer(
        16, 2, "the better direction on test", code="""
def rivals(train, test):
    length = auroc(test.tokens, test.wrong)
    return {
        "probability": auroc(-test.least_logprob, test.wrong),
        "length": max(length, 1 - length),
    }
""",
    ),
    Answer(
        16, 2, "longer is riskier, whatever training says", code="""
def rivals(train, test):
    return {
        "probability": auroc(-test.least_logprob, test.wrong),
        "length": auroc(test.tokens, test.wrong),
    }
""",
    ),
    Answer(
        16, 2, "on the training part", code="""
def rivals(train, test):
    return {
        "probability": auroc(-train.least_logprob, train.wrong),
        "length": auroc(train.tokens, train.wrong),
    }
""",
    ),
    Answer(
        16, 2, "two numbers without names", code="""
def rivals(train, test):
    return auroc(-test.least_logprob, test.wrong), auroc(test.tokens, test.wrong)
""",
    ),
    Answer(
        16, 3, "by DeLong, with groups", right=True, code="""
def lead(first, second, wrong, groups, draws=300, seed=0):
    both = hlens.evaluation.delong(np.stack([first, second]), wrong, groups=groups)
    gain = both.auroc[0] - both.auroc[1]
    c = both.covariance
    half = 1.96 * max(c[0, 0] + c[1, 1] - 2 * c[0, 1], 0) ** 0.5
    return [gain, gain - half, gain + half]
""",
    ),
    Answer(
        16, 3, "two draws, one for each", code="""
def lead(first, second, wrong, groups, draws=300, seed=0):
    names = np.unique(groups)
    places = [np.flatnonzero(groups == name) for name in names]
    draw, seen = np.random.default_rng(seed), []
    for _ in range(draws):
        a, b = (
            np.concatenate([places[i] for i in draw.integers(0, len(names), len(names))])
            for _ in range(2)
        )
        seen.append(auroc(first[a], wrong[a]) - auroc(second[b], wrong[b]))
    return auroc(first, wrong) - auroc(second, wrong), *np.quantile(seen, [0.025, 0.975])
""",
    ),
    Answer(
        16, 3, "the second less the first", code="""
def lead(first, second, wrong, groups, draws=300, seed=0):
    gain = auroc(second, wrong) - auroc(first, wrong)
    return gain, gain - 0.06, gain + 0.06
""",
    ),
    Answer(
        16, 3, "the ends of two intervals", code="""
def lead(first, second, wrong, groups, draws=300, seed=0):
    a, b = (hlens.evaluation.estimate_auroc(s, wrong, groups=groups) for s in (first, second))
    return a.value - b.value, a.low - b.high, a.high - b.low
""",
    ),
    Answer(
        16, 3, "a tenth of the groups left out, no replacement", code="""
def lead(first, second, wrong, groups, draws=300, seed=0):
    names, seen = np.unique(groups), []
    draw = np.random.default_rng(seed)
    for _ in range(draws):
        at = np.isin(groups, draw.choice(names, len(names) * 9 // 10, replace=False))
        seen.append(auroc(first[at], wrong[at]) - auroc(second[at], wrong[at]))
    return auroc(first, wrong) - auroc(second, wrong), *np.quantile(seen, [0.025, 0.975])
""",
    ),
    Answer(
        16, 3, "the difference alone", code="""
def lead(first, second, wrong, groups, draws=300, seed=0):
    return auroc(first, wrong) - auroc(second, wrong)
""",
    ),
    Answer(
        16, 4, "a coin for each fact", right=True, code="""
def held_out(groups, share, seed):
    draw = np.random.default_rng(seed)
    side = {}
    for name in groups:
        side.setdefault(name, draw.random() < share)
    return [side[name] for name in groups]
""",
    ),
    Answer(
        16, 4, "by scikit-learn", right=True, code="""
def held_out(groups, share, seed):
    from sklearn.model_selection import GroupShuffleSplit
    splitter = GroupShuffleSplit(1, test_size=share, random_state=seed)
    _, at = next(splitter.split(groups, groups=groups))
    mask = np.zeros(len(groups), dtype=bool)
    mask[at] = True
    return mask
""",
    ),
    Answer(
        16, 4, "replies drawn", code="""
def held_out(groups, share, seed):
    return np.random.default_rng(seed).random(len(groups)) < share
""",
    ),
    Answer(
        16, 4, "the first facts, whatever the seed", code="""
def held_out(groups, share, seed):
    names = np.unique(groups)
    return np.isin(groups, names[: round(share * len(names))])
""",
    ),
    Answer(
        16, 4, "the training part", code="""
def held_out(groups, share, seed):
    names = np.unique(groups)
    return ~np.isin(groups, np.random.default_rng(seed).permutation(names)[: round(share * len(names))])
""",
    ),
    Answer(
        16, 4, "always 30 percent", code="""
def held_out(groups, share, seed):
    names = np.unique(groups)
    return np.isin(groups, np.random.default_rng(seed).permutation(names)[: round(0.3 * len(names))])
""",
    ),
    Answer(
        16, 4, "the names of the facts", code="""
def held_out(groups, share, seed):
    names = np.unique(groups)
    return np.random.default_rng(seed).permutation(names)[: round(share * len(names))]
""",
    ),
    Answer(
        16, 4, "places instead of a mask", code="""
def held_out(groups, share, seed):
    return np.random.default_rng(seed).permutation(len(groups))
""",
    ),
    Answer(
        16, 5, "by a sorted list", right=True, code="""
def found_again(first, second, k):
    def best(values):
        return sorted(range(len(values)), key=lambda at: abs(values[at] - 0.5), reverse=True)[:k]
    return np.isin(best(first), best(second)).mean()
""",
    ),
    Answer(
        16, 5, "the highest alone", code="""
def found_again(first, second, k):
    return len(set(np.argsort(-first)[:k]) & set(np.argsort(-second)[:k])) / k
""",
    ),
    Answer(
        16, 5, "Jaccard", code="""
def found_again(first, second, k):
    a, b = (set(np.argsort(-np.abs(one - 0.5))[:k]) for one in (first, second))
    return len(a & b) / len(a | b)
""",
    ),
    Answer(
        16, 5, "a count", code="""
def found_again(first, second, k):
    a, b = (set(np.argsort(-np.abs(one - 0.5))[:k]) for one in (first, second))
    return len(a & b)
""",
    ),
    Answer(
        16, 5, "the nearest to a coin", code="""
def found_again(first, second, k):
    a, b = (set(np.argsort(np.abs(one - 0.5))[:k]) for one in (first, second))
    return len(a & b) / k
""",
    ),
    Answer(
        16, 5, "the set itself", code="""
def found_again(first, second, k):
    a, b = (set(np.argsort(-np.abs(one - 0.5))[:k]) for one in (first, second))
    return a & b
""",
    ),
)  # fmt: skip
