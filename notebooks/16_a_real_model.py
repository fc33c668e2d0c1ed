# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 16. A real model
#
# No planted neurons, no list of what it was taught. SmolLM2-135M-Instruct answered 500 questions of
# general knowledge and science, three times each; hlens judged the replies and measured all of its
# 46,080 neurons. That took minutes, and its results lie beside this lesson, so you can go on from
# there in seconds. All numbers below are of that run.
#
# **You will be able to**
#
# - work with a real study's tables: replies, verdicts, groups, contributions;
# - set a detector beside rivals that cost nothing, with an interval of the *difference*;
# - show what a split that tears facts apart pretends to find, in noise as well as in labels;
# - say which part of "H-neurons" held in this model and which did not.
#
# Time: 45 minutes.

# %%
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.io as pio
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

import hlens
from hlens.drawing.figure import Figure, finish
from hlens.drawing.theme import palette

pio.renderers.default = "plotly_mimetype+notebook"  # figures also show in an exported notebook
folder = next((one for one in (Path("data"), Path("../../data")) if one.is_dir()), None)
assert folder, "the results are in notebooks/data of the repository: open this lesson from there"
auroc = hlens.evaluation.auroc
colours = palette("light")

# %%
replies = pd.read_csv(folder / "smollm2_replies.csv", keep_default_na=False, na_values=[""])
replies["group"] = replies.domain + "/" + replies.group
asked = {(q.domain, q.id): q for name in ("general", "science") for q in hlens.domains.load(name)}
for reply in replies[replies["sample"] == 0].iloc[[0, 1, 2, 120, 300, 420]].itertuples():
    print(f"{reply.verdict:13}{asked[reply.domain, reply.question].text} -> {reply.reply}")
print(replies.verdict.value_counts().to_dict())

# %% [markdown]
# A `group` is a fact: questions that ask the same fact in other words are one group. The verdicts
# are those of the strict judge (lesson 14); read by hand, 98 % of what it calls hallucinated in
# replies that were asked for like these is a finished, attempted, wrong answer.
#
# **Predict.** A model of 135 million parameters: which share of its scored answers is wrong? How
# wide will the 95 % interval be, with 1,478 answers about 434 facts?
#
# ### Exercise 1: the rate, and how sure
# *Difficulty: 2 of 5 · 8 minutes*
#
# Return `(rate, low, high)`: the share of hallucinated among correct and hallucinated replies, and
# a 95 % interval that treats **facts**, not replies, as the independent things. Resampling will do
# (400 times is enough), and so will a formula.
#
# **You should see** that about seven answers in ten are wrong, the same in both domains within
# their intervals, and an interval a third or more wider than that of
# independent replies.
#
# <details><summary>Hint 1</summary>
#
# Leave out what is neither correct nor hallucinated, first.
#
# </details>
# <details><summary>Hint 2</summary>
#
# For each fact, count wrong and scored replies once (`groupby("group")`). Then draw facts with
# replacement, and divide the sums.
#
# </details>


# %% tags=["exercise"]
def rate_of(table):
    """(rate, low, high) of a table with the columns `verdict` and `group`."""
    # solution
    scored = table[table.verdict.isin(["correct", "hallucinated"])]
    wrong = (scored.verdict == "hallucinated").groupby(scored.group).agg(["sum", "count"])
    draw = np.random.default_rng(0)
    sums = wrong.to_numpy()[draw.integers(0, len(wrong), (400, len(wrong)))].sum(axis=1)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975])
    return wrong["sum"].sum() / wrong["count"].sum(), low, high
    # end solution


# %% tags=["check"]
got = rate_of(replies)
assert isinstance(got, tuple | list | np.ndarray) and len(got) == 3, (
    f"{got!r:.60}: three numbers are asked for, (rate, low, high)"
)
rate, low, high = map(float, got)
counts = replies.verdict.value_counts()
expected = counts.hallucinated / (counts.hallucinated + counts.correct)
assert abs(rate - expected) < 1e-9, (
    f"{rate:.4f}, and {expected:.4f} is right: hallucinated over hallucinated and correct; what is "
    "unscored or refused counts neither above nor below the line"
)
# By calculus: what each whole fact adds to the sum.
marks = replies[replies.verdict.isin(["correct", "hallucinated"])]
off = (marks.verdict == "hallucinated") - rate
half = 1.96 * (off.groupby(marks.group).sum() ** 2).sum() ** 0.5 / len(marks)
alone = 1.96 * (rate * (1 - rate) / len(marks)) ** 0.5
assert low < rate < high, f"({low:.3f}, {high:.3f}): give low, then high; the rate is between them"
assert (high - low) / 2 > 0.8 * half, (
    f"+-{(high - low) / 2:.3f} is too narrow, where +-{half:.3f} is expected: are facts drawn, all "
    "replies of a fact together?"
)
assert (high - low) / 2 < 1.3 * half, (
    f"+-{(high - low) / 2:.3f} is too wide, where +-{half:.3f} is expected: the central 95 % of "
    "draws of as many facts as there are"
)
print(f"Exercise 1: right. {rate:.3f} [{low:.3f}, {high:.3f}]; replies alone: +-{alone:.3f}.")
by_domain = {name: rate_of(table) for name, table in replies.groupby("domain")}
for name, own in by_domain.items():
    print(f"{name:>8}: {own[0]:.3f} [{own[1]:.3f}, {own[2]:.3f}]")

# %% [markdown]
# ## The detector
#
# On 70 % of the facts, the sparse probe chose 65 of 46,080 neurons. Their weights are in a table;
# with them are the 65 that tell best each by itself, and 130 drawn at random, all chosen without a
# look at the other facts. Of each question one correct and one hallucinated reply are kept.

# %%
neurons = pd.read_csv(folder / "smollm2_neurons.csv")
packed = np.load(folder / "smollm2_values.npz")
values = packed["steps"] * packed["step"]  # [row, neuron]: contributions
scored = replies.dropna(subset="row").astype({"row": int})
scored["wrong"] = scored.verdict == "hallucinated"
train, test = (scored[(scored.kept == 1) & (scored.part == part)] for part in ("train", "test"))
risk = values[test.row] @ neurons.weight.to_numpy()  # a detector is a weighted sum
detector = hlens.evaluation.estimate_auroc(risk, test.wrong, groups=test.group.to_numpy())
print(f"{np.count_nonzero(neurons.weight)} neurons, held-out AUROC {detector}")

# %% [markdown]
# **Predict.** What will these reach, on the same answers: the least probable token of the answer,
# by the model's own reckoning? The number of tokens? 65 random neurons, fitted alike?
#
# ### Exercise 2: rivals that cost nothing
# *Difficulty: 2 of 5 · 7 minutes*
#
# Two tables with the columns `least_logprob` (of the answer's tokens), `tokens` and `wrong`. Return
# a dict with the AUROC on **test** of `"probability"` (the less probable its least probable token,
# the riskier) and of `"length"`. Whether longer or shorter answers are riskier is not for the test
# part to say: learn it from `train`.
#
# **You should see** that the probability comes within a few hundredths of the detector, and the
# length is hardly more than a coin.
#
# <details><summary>Hint 1</summary>
#
# `auroc(scores, labels)` wants scores that are higher where it is riskier.
#
# </details>
# <details><summary>Hint 2</summary>
#
# If the AUROC of `tokens` on the training part is below 0.5, shorter is riskier: turn the sign
# before you score the test part.
#
# </details>


# %% tags=["exercise"]
def rivals(train, test):
    """AUROC on test of the keys "probability" and "length"."""
    # solution
    sign = 1 if auroc(train.tokens, train.wrong) >= 0.5 else -1
    return {
        "probability": auroc(-test.least_logprob, test.wrong),
        "length": auroc(sign * test.tokens, test.wrong),
    }
    # end solution


# %% tags=["check"]
found = rivals(train, test)
assert isinstance(found, dict) and set(found) == {"probability", "length"}, (
    f"{found!r:.80}: a dict with the keys 'probability' and 'length' is asked for"
)
place = test.least_logprob.rank()
m, k = int(test.wrong.sum()), int((~test.wrong).sum())
least = 1 - (place[test.wrong].sum() - m * (m + 1) / 2) / (m * k)
assert abs(found["probability"] - least) < 1e-6, (
    f"probability {found['probability']:.3f}, and {least:.3f} is right: on the test part, and the "
    "lower the least log-probability the higher the risk"
)
place = test.tokens.rank()
longer = (place[test.wrong].sum() - m * (m + 1) / 2) / (m * k)
assert abs(found["length"] - longer) < 1e-6, (
    f"length {found['length']:.3f}, and {longer:.3f} is right: in training longer ones are riskier"
)
mirror = train.assign(wrong=~train.wrong)
turned = rivals(mirror, test)
assert abs(turned["length"] - (1 - longer)) < 1e-6, (
    "with a training part in which shorter answers are wrong, the AUROC on test is one minus it: "
    "the direction is learnt in training, whatever the test part would like"
)
assert abs(turned["probability"] - least) < 1e-6, "the probability's direction is known beforehand"
print(
    f"Exercise 2: right. Detector {detector.value:.3f}, probability {found['probability']:.3f}, "
    f"length {found['length']:.3f}."
)


# %%
def refit(columns):
    """Risk of the test part by a dense probe on some neurons, fitted on the training part."""
    spread = values[train.row][:, columns].std(axis=0)
    probe = LogisticRegression(C=0.03, class_weight="balanced", max_iter=1000)
    probe.fit(values[train.row][:, columns] / spread, train.wrong)
    return probe.decision_function(values[test.row][:, columns] / spread)


def shown(name, scores):
    """A row of the figure: AUROC with its interval by fact."""
    own = hlens.evaluation.estimate_auroc(scores, test.wrong, groups=test.group.to_numpy())
    return {"control": name, **own.to_row()}


draw = np.random.default_rng(0)
pool = np.flatnonzero(neurons.random)
by_chance = [auroc(refit(draw.choice(pool, 65, replace=False)), test.wrong) for _ in range(20)]
low, high = np.quantile(by_chance, [0.025, 0.975])
random = {"auroc": np.mean(by_chance), "low": low, "high": high, "n": len(test), "repeats": 20}
table = pd.DataFrame(
    [
        shown("probe", risk),
        shown("best 65 alone, refit", refit(np.flatnonzero(neurons.best))),
        shown("least probability", -test.least_logprob),
        {"control": "random neurons", **random},
        shown("answer length", test.tokens),
    ]
)
hlens.figures.scores(table, claims=("probe", "best 65 alone, refit"))

# %% [markdown]
# It reads something: far above random neurons, far above length. But the model's own probability
# stands close, and the 65 best single neurons do as well as the probe's 65, of which they share 17.
# Two intervals that overlap say little about a **difference** on the same answers. So:
#
# ### Exercise 3: is it better, or is it not?
# *Difficulty: 3 of 5 · 9 minutes*
#
# Return `(difference, low, high)`: the AUROC of `first` less that of `second`, and a central 95 %
# interval over resamples of whole groups, in which **both are scored on the same draw**.
#
# **You should see** that the detector is ahead by three hundredths, and that the interval of that
# lead holds zero.
#
# <details><summary>Hint 1</summary>
#
# Draw groups with replacement, collect the places of their answers, and take both AUROCs there.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `places = {g: np.flatnonzero(groups == g) for g in np.unique(groups)}`, then `np.concatenate` of
# the drawn ones.
#
# </details>


# %% tags=["exercise"]
def lead(first, second, wrong, groups, draws=300, seed=0):
    """(difference of the AUROCs, low, high), arrays of one answer each."""
    # solution
    names = np.unique(groups)
    places = [np.flatnonzero(groups == name) for name in names]
    draw, seen = np.random.default_rng(seed), []
    for _ in range(draws):
        at = np.concatenate([places[i] for i in draw.integers(0, len(names), len(names))])
        seen.append(auroc(first[at], wrong[at]) - auroc(second[at], wrong[at]))
    low, high = np.quantile(seen, [0.025, 0.975])
    return auroc(first, wrong) - auroc(second, wrong), low, high
    # end solution


# %% tags=["check"]
sure, wrong, facts = -test.least_logprob.to_numpy(), test.wrong.to_numpy(), test.group.to_numpy()
got = lead(risk, sure, wrong, facts)
assert isinstance(got, tuple | list | np.ndarray) and len(got) == 3, (
    f"{got!r:.60}: three numbers are asked for, (difference, low, high)"
)
gain, low, high = map(float, got)
true_gain = auroc(risk, wrong) - auroc(sure, wrong)
assert abs(gain - true_gain) < 1e-6, (
    f"{gain:.3f}, and {true_gain:.3f} is right: the first AUROC less the second, on all answers"
)
both = hlens.evaluation.delong(np.stack([risk, sure]), wrong, groups=facts).covariance
width = 1.96 * (both[0, 0] + both[1, 1] - 2 * both[0, 1]) ** 0.5
assert low < gain < high, f"({low:.3f}, {high:.3f}): give low, then high, around {gain:.3f}"
assert (high - low) / 2 < 1.3 * width, (
    f"+-{(high - low) / 2:.3f} is too wide, where +-{width:.3f} is expected: both are scored on "
    "the same draw of groups, and the central 95 % are taken"
)
assert (high - low) / 2 > 0.7 * width, (
    f"+-{(high - low) / 2:.3f} is too narrow, where +-{width:.3f} is expected: are as many groups "
    "drawn as there are, with replacement?"
)
same = lead(sure, sure, wrong, facts)
assert max(abs(float(x)) for x in same) < 1e-9, "a score is ahead of itself by exactly 0"
print(f"Exercise 3: right. Ahead of the probability by {gain:+.3f} [{low:+.3f}, {high:+.3f}].")

# %% [markdown]
# So *"it beats the model's own probability"* is not shown here, with 206 answers. Another question
# is whether the neurons **add** to what the output says: the audit joined both, and there the
# answer was yes (0.79 without the neurons, 0.85 with them).
#
# ## A split that tears facts apart
#
# **Predict.** Give each *fact* a label by tossing a coin. A probe on 130 random neurons is trained
# on 70 % of the replies and tested on the rest. What is its AUROC?
#
# ### Exercise 4: whole facts
# *Difficulty: 2 of 5 · 6 minutes*
#
# Return a mask, one bool a reply, that is true in the test part: about `share` of the **groups**,
# and every reply of a group on one side.
#
# **You should see** that a split by reply makes a coin look like knowledge, at about 0.7, and that
# a split by fact puts it back to a coin.
#
# <details><summary>Hint 1</summary>
#
# Draw from the names of the groups, not from the replies.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `np.isin(groups, drawn)` makes the mask of the names that were drawn.
#
# </details>


# %% tags=["exercise"]
def held_out(groups, share, seed):
    """Mask of the test part: whole groups."""
    # solution
    names = np.unique(groups)
    drawn = np.random.default_rng(seed).permutation(names)[: round(share * len(names))]
    return np.isin(groups, drawn)
    # end solution


# %% tags=["check"]
facts = scored.group.to_numpy()
mask = held_out(facts, 0.3, 0)
assert hasattr(mask, "__len__") and len(mask) == len(facts), (
    f"a mask with one value for each of the {len(facts)} replies is asked for, and this is "
    f"{type(mask).__name__} of {len(mask) if hasattr(mask, '__len__') else 'no length'}"
)
mask = np.asarray(mask)
assert mask.dtype == bool, f"values of kind {mask.dtype}: a mask is made of True and False"
torn = len(set(facts[mask]) & set(facts[~mask]))
assert not torn, f"{torn} facts are on both sides: every reply of a fact goes to one side"
part = len(set(facts[mask])) / len(set(facts))
assert abs(part - 0.3) < 0.07, f"{part:.2f} of the facts are in the test part, where 0.3 was asked"
halved = np.asarray(held_out(facts, 0.5, 0))
part = len(set(facts[halved])) / len(set(facts))
assert abs(part - 0.5) < 0.08, f"{part:.2f} of the facts are in the test part, where 0.5 was asked"
assert not np.array_equal(mask, np.asarray(held_out(facts, 0.3, 1))), (
    "another seed holds out the same facts: draw them from the seed"
)


def read_by(labels, split, seed):
    """AUROC on the test part of the five nearest replies, by 130 random neurons."""
    nearest = KNeighborsClassifier(5)
    points = packed["steps"][scored.row][:, pool].astype(float)  # all of one standard deviation
    nearest.fit(points[~split], labels[~split])
    return auroc(nearest.predict_proba(points[split])[:, 1], labels[split])


def torn_apart(groups, share, seed):
    """A split by reply: what not to do."""
    return np.random.default_rng(seed).random(len(groups)) < share


names = np.unique(facts)
cells = {}
for kind in ("a coin for each fact", "true labels"):
    for way, split in (("replies", torn_apart), ("facts", held_out)):
        areas = []
        for seed in range(5):
            coin = np.random.default_rng(50 + seed).random(len(names)) < 0.5
            labels = coin[np.searchsorted(names, facts)] if "coin" in kind else scored.wrong
            areas.append(read_by(np.asarray(labels), np.asarray(split(facts, 0.3, seed)), seed))
        cells[kind, way] = areas
coin_leak, coin_kept = (np.mean(cells["a coin for each fact", way]) for way in ("replies", "facts"))
print(f"Exercise 4: right. A coin reads {coin_leak:.2f} by reply, and {coin_kept:.2f} by fact.")

# %%
figure = Figure()
for (way, colour, symbol), shift in zip(
    (("replies", colours.positive, "circle"), ("facts", colours.negative, "diamond")),
    (-0.12, 0.12),
    strict=True,
):
    for at, kind in enumerate(("true labels", "a coin for each fact")):
        areas = cells[kind, way]
        figure.add_scatter(
            x=areas,
            y=[at + shift] * len(areas),
            mode="markers",
            name=f"split by {way}",
            legendgroup=way,
            showlegend=not at,
            marker={"symbol": symbol, "size": 13, "color": colour, "opacity": 0.75},
        )
figure.add_vline(x=0.5, line={"color": colours.control, "width": 1.2, "dash": "dash"})
figure.update_layout(
    xaxis={"title": {"text": "AUROC on the test part"}, "range": [0.4, 0.9]},
    yaxis={
        "tickvals": [0, 1],
        "ticktext": ["true labels", "a coin for each fact"],
        "range": [-0.5, 1.5],
        "showgrid": False,
    },
)
finish(
    figure,
    colours,
    title=f"Split by reply, a coin reads {coin_leak:.2f}; split by fact, {coin_kept:.2f}",
    subtitle=f"five nearest of {len(scored):,} replies by 130 random neurons; five splits each",
    height=320,
    margin={"l": 130},
)

# %% [markdown]
# The nearest reply to a reply is another to the same fact, often the very same words. Whoever
# splits by reply measures memory. And note the last row: **random** neurons, split honestly, read
# true labels well above 0.5. That is why they are the control.
#
# ## The same neurons?
#
# The training part was halved by fact, and each of the 46,080 neurons asked on each half how well
# it tells alone.

# %%
halves = np.load(folder / "smollm2_halves.npz")
first, second = halves["auroc_first"] / 1000, halves["auroc_second"] / 1000

# %% [markdown]
# ### Exercise 5: found again
# *Difficulty: 3 of 5 · 7 minutes*
#
# Take the `k` neurons that tell best by either half: those whose AUROC is farthest from 0.5, on
# **either side**. Return the share of these `k` that both halves name.
#
# **You should see** that about a quarter of the best 65 are found again: nearly two hundred times
# what chance gives, and still far from "the same neurons".
#
# <details><summary>Hint 1</summary>
#
# A neuron with an AUROC of 0.2 tells as well as one with 0.8: sort by the distance from 0.5.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `np.argsort(distance)[-k:]` of each half, and the intersection of both as sets.
#
# </details>


# %% tags=["exercise"]
def found_again(first, second, k):
    """Share of the k best neurons of the first half that are among the k best of the second."""
    # solution
    best = [set(np.argsort(-np.abs(one - 0.5), kind="stable")[:k]) for one in (first, second)]
    return len(best[0] & best[1]) / k
    # end solution


# %% tags=["check"]
small = np.array([0.9, 0.5, 0.15, 0.52, 0.6]), np.array([0.3, 0.5, 0.88, 0.55, 0.9])
got = found_again(*small, 2)
assert isinstance(got, int | float | np.number), f"{got!r:.60}: one share is asked for"
assert abs(found_again(small[0], small[0], 2) - 1) < 1e-9, (
    "a half and itself name the same neurons, so the share is 1: is it divided by k?"
)
assert abs(got - 0.5) < 1e-9, (
    f"{got:.3f}: the best two of the first are those with 0.9 and 0.15, of the second those with "
    "0.88 and 0.9; one is in both, and 0.15 is as far from 0.5 as 0.85"
)
assert abs(found_again(*small, 3) - 1) < 1e-9, (
    f"{found_again(*small, 3):.3f}, and 1 is right: the best three are the same neurons in both, "
    "whichever side of 0.5 they tell on; divide by k"
)
again, luck = found_again(first, second, 65), 65 / len(first)
print(f"Exercise 5: right. {again:.2f} of the best 65 are found again; chance gives {luck:.4f}.")
by_probe = [set(halves[f"probe_{half}"].tolist()) for half in ("first", "second")]
shared = len(by_probe[0] & by_probe[1])
print(f"The sparse probe names {len(by_probe[0])} and {len(by_probe[1])}; {shared} are in both.")

# %%
edges = np.linspace(0.25, 0.75, 61)
counts, _, _ = np.histogram2d(second, first, bins=(edges, edges))
best = [np.argsort(-np.abs(one - 0.5), kind="stable")[:65] for one in (first, second)]
in_both = np.intersect1d(*best)
middle = (edges[:-1] + edges[1:]) / 2
outline = {"line": {"color": colours.page, "width": 1}}
figure = Figure()
figure.add_heatmap(
    x=middle,
    y=middle,
    z=np.where(counts > 0, np.log10(np.maximum(counts, 1)), np.nan),
    customdata=counts,
    colorscale=[[0, "#E3E8EF"], [1, "#3C4654"]],
    showscale=False,
    hovertemplate="%{customdata:,} neurons<extra></extra>",
)
for name, chosen, colour, symbol in (
    ("best by the first half", np.setdiff1d(best[0], in_both), colours.negative, "diamond"),
    ("best by the second", np.setdiff1d(best[1], in_both), colours.second, "square"),
    ("by both", in_both, colours.positive, "circle"),
):
    figure.add_scatter(
        x=first[chosen],
        y=second[chosen],
        mode="markers",
        name=f"{name}: {len(chosen)}",
        marker={
            "symbol": symbol,
            "size": 8,
            "color": colour,
            "line": {"color": "white", "width": 1},
        },
        text=[f"L{at // 1536}N{at % 1536}" for at in chosen],
        hovertemplate="%{text}<br>%{x:.2f}, %{y:.2f}<extra></extra>",
    )
figure.update_layout(
    xaxis={"title": {"text": "AUROC alone, first half"}, "range": [0.25, 0.75]},
    yaxis={"title": {"text": "AUROC alone, second half"}, "range": [0.25, 0.75]},
)
finish(
    figure,
    colours,
    title=f"Of the 65 best neurons by one half, {len(in_both)} are among the 65 best by the other",
    subtitle=f"all {len(first):,} neurons, by halves of the training facts; darker: more neurons "
    f"(r = {np.corrcoef(first, second)[0, 1]:.2f})",
    height=520,
)

# %% [markdown]
# The cloud leans: what a neuron tells on one half it tells on the other, on average. But the best
# of one half are mostly ordinary on the other: the farthest points of a cloud are partly lucky, and
# luck does not come back. Any list of "the H-neurons" of this model is a sample of many that tell.
#
# ## What held
#
# The whole audit of this run is in the docs ("An audit"). Its card, beside your numbers:
#
# | claim | verdict there | you saw |
# |---|---|---|
# | Readout: the neurons tell, beyond length and form | supported | exercise 2 |
# | Sparsity: few suffice, and random ones do not | supported | the figure of scores |
# | Identity: it is *these* neurons | **not supported** | exercise 5 |
# | Transfer: a probe of one domain reads the other | supported | not here |
# | Cost: nothing as cheap does as well | **not supported** | exercise 3 |
# | Control: turning them up makes it hallucinate | not tested in it | lesson 7 has the tool |
#
# ## The model itself
#
# This cell asks the real model forty questions, reads the neurons, and prints the five riskiest and
# the five safest answers. The detector was found on some of these questions, so this is a look and
# no test. It is off, so that the lesson runs anywhere: set `RUN_LIVE = True`. The model (93 MB) is
# fetched once, with pip, if it is not there yet; then it takes about a minute, without a network.

# %% tags=["live"]
RUN_LIVE = False
if RUN_LIVE:
    model = hlens.load("smollm2-135m")
    few = [q for name in ("general", "science") for q in hlens.domains.load(name, n=20)]
    said = hlens.sample(model, few, n=1, style="completion", shots=4)
    examples = hlens.locate(hlens.judge(said), model)
    live = hlens.measure(model, examples)
    own = live.values.numpy()[:, neurons.layer, neurons.neuron]
    scores = own @ neurons.weight.to_numpy()
    for at in np.argsort(-scores)[[*range(5), *range(-5, 0)]]:
        text = asked[examples[at].domain, examples[at].question_id].text
        answer = examples[at].token_ids[examples[at].start : examples[at].stop]
        mark = "hallucinated" if examples[at].hallucinated else "correct"
        print(f"{scores[at]:+.2f} {mark:13}{text} -> {model.tokenizer.decode(answer)}")
else:
    print("Skipped: the live run is off; set RUN_LIVE = True above to ask the model itself.")

# %% [markdown]
# ## A common mistake
#
# *Choosing neurons on all the data, then splitting.* The split is honest and the choice is not: a
# neuron that was taken for doing well on the test answers does well on them. Whatever is chosen is
# chosen inside the training part, as the table of neurons was.
#
# ## What would falsify this?
#
# "Something in these neurons tells" would fall with a held-out interval that reaches what random
# neurons reach, or with a coin for each fact that reads as well. "These neurons are the ones" has
# fallen: which number would have held it up?
#
# ## Recap
#
# 1. Two AUROCs have intervals that overlap. Are the detectors as good?
#    <details><summary>Answer</summary>That does not follow: on the same answers their errors go
#    together. Take the interval of the difference.</details>
# 2. Why did a coin read 0.7?
#    <details><summary>Answer</summary>Replies to one fact were on both sides of the split, and one
#    label went with each fact: the probe recognised facts.</details>
# 3. What may be said of H-neurons in this model?
# <details><summary>Answer</summary>That few neurons tell false answers beyond length and random
# neurons; not that it is these and no others, nor that they beat the model's own probability, nor
# that they cause anything.</details>
#
# Now ask your own model: [the capstone](09_capstone.ipynb) has the recipe.
