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
# # 6. Do domains share them?
#
# Is there one set of H-neurons, or one for each kind of question? The answer of a real model is
# contested. Here it is known: some planted neurons are shared by all domains, others belong to one.
# Can the tools tell?
#
# **You will be able to**
#
# - compare sets of neurons beside what chance gives, layer by layer;
# - read an overlap matrix, an UpSet plot and a transfer matrix, and say what each one hides;
# - tell what domains share from what is one domain's own, and explain why a small overlap and a
#   good transfer do not contradict each other.
#
# Time: 40 minutes.

# %%
import dataclasses

import plotly.io as pio

import hlens

pio.renderers.default = "plotly_mimetype+notebook"  # figures also show in an exported notebook
model = hlens.load("toy")
names = hlens.toy.domain_names()
questions = [q for name in names for q in hlens.domains.load(name)]
responses = hlens.sample(model, questions, n=3, seed=0)
examples = hlens.spans.first_of_each_label(hlens.locate(hlens.judge(responses), model))
data = hlens.measure(model, examples, metric=hlens.metrics.cett)
# One C for all, so that the sets are of like size.
probe = hlens.SparseProbe(C=0.05, class_weight="balanced", scale="feature")

# %% [markdown]
# ## One detector a domain
#
# **Predict.** Four detectors, each found on one domain. How many neurons will be in all four?

# %%
sets = []
for name in names:
    found = hlens.find(data.of_domain(name), probe, calibration=None)
    sets.append(dataclasses.replace(found.neurons, name=name))
{one.name: len(one) for one in sets}

# %%
hlens.figures.upset(sets)

# %% [markdown]
# ### Exercise 1: Jaccard
# *Difficulty: 1 of 5 · 4 minutes*
#
# The Jaccard index of two sets is what they share over what they hold together.
#
# **You should see** one line: your numbers are those of `hlens.evaluation.overlap`.
#
# <details><summary>Hint 1</summary>
#
# Sets know `&` (in both), `|` (in either) and `len`.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Two empty sets hold nothing together, and one must not divide by that.
# </details>


# %% tags=["exercise"]
def jaccard(a, b):
    """Shared over all; 0 for two empty sets."""
    # solution
    either = len(a | b)
    return len(a & b) / either if either else 0.0
    # end solution


# %% tags=["check"]
table = hlens.evaluation.overlap(sets)
for row in table.itertuples():
    a, b = (next(one for one in sets if one.name == name) for name in (row.a, row.b))
    assert abs(jaccard(a, b) - row.jaccard) < 1e-9, (
        f"{row.a} and {row.b}: {jaccard(a, b):.3f}, and hlens has {row.jaccard:.3f}; what they "
        "share (a & b) over what they hold together (a | b)"
    )
assert jaccard(sets[0], sets[0]) == 1.0, "a set shares all with itself"
empty = sets[0] - sets[0]
assert jaccard(empty, empty) == 0, "two empty sets have 0 by agreement: do not divide by 0"
print("Exercise 1: right.")

# %% [markdown]
# ### Exercise 2: what chance gives
# *Difficulty: 2 of 5 · 7 minutes*
#
# Two sets have $n_a$ and $n_b$ neurons in a layer of $d$ neurons. Drawn at random they share
# $n_a n_b / d$ there, on average. Sum over the layers (`one.per_layer()`).
#
# **You should see** the matrix of overlaps: Jaccard below the diagonal, times chance above it.
#
# <details><summary>Hint 1</summary>
#
# One layer first: which share of its `d_mlp` neurons does the second set hold? That share of the
# first set's neurons is met by chance.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `zip(a.per_layer(), b.per_layer())` goes through the layers.
# </details>


# %% tags=["exercise"]
def expected_shared(a, b):
    """Mean number of shared neurons of random sets with as many neurons in each layer."""
    # solution
    return sum(x * y / a.d_mlp for x, y in zip(a.per_layer(), b.per_layer(), strict=True))
    # end solution


# %% tags=["check"]
for row in table.itertuples():
    a, b = (next(one for one in sets if one.name == name) for name in (row.a, row.b))
    assert abs(expected_shared(a, b) - row.expected) < 1e-9, (
        f"{row.a} and {row.b}: {expected_shared(a, b):.4f}, and hlens has {row.expected:.4f}; for "
        "each layer the product of the two numbers over d_mlp, then the sum"
    )
print("Exercise 2: right.")
hlens.figures.overlap(table)

# %% [markdown]
# Below the diagonal: how much is shared. Above it: how many times chance that is. A tiny Jaccard
# may be far above chance, and a large one may be what two greedy probes share anyway.
#
# ### Exercise 3: were the shared ones planted as shared?
# *Difficulty: 3 of 5 · 8 minutes*
#
# Take the neurons that at least two of the sets hold (`hlens.evaluation.shared_neurons`). Which
# share of them is among the *shared* planted neurons, `hlens.toy.planted("")`?
#
# **You should see** most of the shared neurons were planted as shared, more than a hundred times
# what chance gives.
#
# <details><summary>Hint 1</summary>
#
# `hlens.evaluation.shared_neurons(sets)` is a table with a row for each neuron in two sets or
# more, with its `layer` and `neuron`.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `(layer, neuron) in hlens.toy.planted("")` asks whether one was planted as shared.
# </details>


# %% tags=["exercise"]
def share_truly_shared(sets):
    """Share of the neurons in two sets or more that were planted as shared; nan if none."""
    # solution
    rows = hlens.evaluation.shared_neurons(sets)
    truly = hlens.toy.planted("")
    found = [(row.layer, row.neuron) in truly for row in rows.itertuples()]
    return sum(found) / len(found) if found else float("nan")
    # end solution


# %% tags=["check"]
truth = [dataclasses.replace(hlens.toy.planted(name), name=name) for name in names]
assert share_truly_shared(truth) == 1.0, "the planted sets themselves share the shared ones alone"
planted, extra = hlens.toy.planted(""), hlens.toy.planted("").random_like(0) - hlens.toy.planted()
both = [dataclasses.replace(planted | extra, name=name) for name in ("one", "other")]
assert abs(share_truly_shared(both) - len(planted) / (len(planted) + len(extra))) < 1e-9, (
    f"{share_truly_shared(both):.3f}, where two sets share {len(planted)} planted as shared and "
    f"{len(extra)} others: divide by all that they share"
)
shared = share_truly_shared(sets)
print(f"Exercise 3: right. {shared:.2f} of them; chance {hlens.toy.planted('').fraction:.3f}.")

# %% [markdown]
# Most of what two sets name was planted as shared. Now the other side: what only
# one set names. Take the shared planted neurons out of every set, and compare what is left.

# %%
apart = [dataclasses.replace(one - hlens.toy.planted(""), name=one.name) for one in sets]
hlens.figures.overlap(hlens.evaluation.overlap(apart))

# %% [markdown]
# What is left is shared no more than chance gives: neurons planted for one domain are found in that
# domain's set. But look at the sizes: a set holds some of what was planted for its domain and not
# all. **A sparse probe names enough neurons, not all of them**, so the overlap of two sets is a
# lower bound of what their domains share.
#
# ## Transfer
#
# Overlap compares *names*; transfer compares *use*. A probe trained on one domain is tested on
# each.
#
# **Predict.** Which off-diagonal cells will be below the diagonal, and by how much?

# %%
moved = hlens.evaluation.transfer(data, probe, folds=3)
hlens.figures.transfer(moved)

# %% [markdown]
# ### Exercise 4: the cost of moving
# *Difficulty: 3 of 5 · 8 minutes*
#
# Mean AUROC on the diagonal (trained and tested on one domain) less the mean off it, over the four
# domains' own probes only (leave out the pooled ones).
#
# **You should see** a loss close to zero: probes carry over between these domains.
#
# <details><summary>Hint 1</summary>
#
# Keep only the rows whose `train` is one of `names`; the pooled probes go.
# </details>
#
# <details><summary>Hint 2</summary>
#
# In the rows within a domain `train == test`. Two means, and the first less the second.
# </details>


# %% tags=["exercise"]
def cost_of_moving(table):
    """Mean AUROC within domains less mean AUROC between them."""
    # solution
    own = table[table.train.isin(names)]
    within = own.train == own.test
    return float(own[within].auroc.mean() - own[~within].auroc.mean())
    # end solution


# %% tags=["check"]
import pandas as pd

small = pd.DataFrame(
    {
        "train": [names[0], names[0], names[1], names[1], "all domains"],
        "test": [names[0], names[1], names[0], names[1], names[0]],
        "auroc": [0.9, 0.7, 0.6, 0.8, 0.1],
    }
)
cost = cost_of_moving(small)
assert cost > 0, f"{cost:.3f}: within less between, so that a loss is positive"
assert abs(cost - 0.2) < 1e-9, (
    f"{cost:.3f} of a table whose mean is 0.85 within and 0.65 between: are the rows of "
    '"all domains" left out?'
)
print(f"Exercise 4: right. Moving costs {cost_of_moving(moved):.3f} AUROC here.")

# %% [markdown]
# Here overlap and transfer agree: the shared neurons that every probe named carry it from domain to
# domain. They need not. A probe may transfer well although the sets hardly overlap: of many neurons
# that carry a shared signal each probe kept others. Or it transfers *badly* although they do: an
# AUROC far **below** 0.5 is not chance but a sign turned round, what rises with hallucination in
# one domain and falls with it in another. **Overlap is about the probe's choice, transfer about the
# model's signal.** When they disagree, believe transfer.
#
# ## A common mistake
#
# *Calling a small overlap "domain-specific".* Two halves of **one** domain overlap little, too.
# Find that ceiling first (`hlens.evaluation.reliability`), and compare with it.
#
# ## What would falsify this?
#
# "The domains share H-neurons" needs both: an overlap beyond the layer-matched chance after
# correction, and transfer above 0.5. If only one holds, write which, and not the sentence.
#
# ## Recap
#
# 1. Why is the null drawn layer by layer?
#    <details><summary>Answer</summary>Probes prefer some layers in every domain; that alone makes
#    sets overlap more than drawing from the whole model.</details>
# 2. Transfer is good, overlap is at chance. What happened?
#    <details><summary>Answer</summary>Redundant neurons: each probe kept others of them.</details>
# 3. What is the ceiling of an overlap?
#    <details><summary>Answer</summary>What two samples of the same domain share.</details>
#
# Next: [do they cause it?](07_do_they_cause_it.ipynb)
