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
# # 5. Where do they live?
#
# "H-neurons sit in the middle layers" is a sentence about a map. Maps of neurons are easy to draw
# and easy to over-read. This lesson asks which parts of the map would be drawn again tomorrow.
#
# **You will be able to**
#
# - read a neuron map, and say what its horizontal axis does *not* mean;
# - use stability selection to tell neurons that return from neurons that happen;
# - test a claim about layers against its null, and show redundancy by removing what was found.
#
# Time: 40 minutes.

# %%
import numpy as np
import plotly.io as pio
import torch

import hlens

pio.renderers.default = "plotly_mimetype+notebook"  # figures also show in an exported notebook
model = hlens.load("toy")
questions = [q for name in hlens.toy.domain_names() for q in hlens.domains.load(name)]
responses = hlens.sample(model, questions, n=2, seed=0)
examples = hlens.spans.first_of_each_label(hlens.locate(hlens.judge(responses), model))
data = hlens.measure(model, examples, metric=hlens.metrics.cett)
train, test = hlens.evaluation.split_by_group(data, test=0.3)
probe = hlens.SparseProbe(C="cv", class_weight="balanced", scale="feature")
detector = hlens.find(train, probe)
planted = hlens.toy.planted()
hlens.figures.neuron_map(detector, contribution=train)

# %% [markdown]
# Across the page runs the neuron's index. It carries no meaning: permute the neurons of a layer and
# the model computes the same. Up the page run the layers, and they do mean something.
#
# ### Exercise 1: more in one layer than chance gives?
# *Difficulty: 2 of 5 · 8 minutes*
#
# Take the largest share of the selected neurons that any one layer holds. Compare it with the same
# share in random sets of that size (`selected.random_like(seed, match="none")`).
#
# **You should see** a share in the fullest layer that random sets reach just as well: p is not
# small.
#
# <details><summary>Hint 1</summary>
#
# `neurons.per_layer()` counts the neurons of each layer. Which share of them is in the fullest?
# </details>
#
# <details><summary>Hint 2</summary>
#
# The null is the same number for `neurons.random_like(seed, match="none")`, for as many seeds as
# `draws` says.
# </details>


# %% tags=["exercise"]
def concentration(neurons, draws=200):
    """Largest share in one layer: (observed, list of the same in random sets)."""

    # solution
    def largest(one):
        return max(one.per_layer()) / len(one)

    null = [largest(neurons.random_like(seed, match="none")) for seed in range(draws)]
    return largest(neurons), null
    # end solution


# %% tags=["check"]
share, null = concentration(detector.selected)
counts = detector.selected.mask.sum(1)
assert abs(share * len(detector.selected) - counts.max()) < 1e-9, (
    f"{share:.3f}: {int(counts.max())} of {len(detector.selected)} are in one layer"
)
assert len(null) == 200, f"{len(null)} random sets: draw as many as `draws` says"
assert min(null) >= 1 / model.n_layers, "no set has a smaller share than an even one"
assert len(set(null)) > 1, (
    'all random sets are alike: match="none" draws from the whole model, anything else repeats the '
    "layers of the set itself"
)
p = (1 + sum(value >= share for value in null)) / (1 + len(null))
print(f"Exercise 1: right. {share:.2f} in one layer; random {np.mean(null):.2f}; p = {p:.3f}.")

# %% [markdown]
# **Predict.** Draw half of the entities anew and fit again. How many of the selected neurons
# return?
#
# ## Stability selection
#
# Fit on many halves, and count how often each neuron is selected. A neuron that returns in three
# quarters of the halves is called stable. With features scaled alike, the expected number of false
# ones is bounded (Shah and Samworth 2013).

# %%
stability = hlens.selection.stability(train, n_pairs=25, expected_false=1.0, seed=0)
path = hlens.selection.path(train, probe)
hlens.figures.path(
    path.table(),
    stability.table(),
    chosen=detector.fit["C"],
    threshold=stability.threshold,
    resamples=stability.n_resamples,
    expected_false=stability.expected_false,
)

# %% [markdown]
# ### Exercise 2: does stability find the truth?
# *Difficulty: 1 of 5 · 5 minutes*
#
# L1 under a looser penalty selects more neurons, and tells as well. Compare three sets with the
# planted neurons: the probe's, those under a penalty ten times as loose, and the stable ones. Give
# the share of each that is planted.
#
# **You should see** three sets: all of the probe's neurons and of the stable ones were planted,
# and only about a fifth of those under the loose penalty.
#
# <details><summary>Hint 1</summary>
#
# How many are in both, over how many the set holds?
# </details>
#
# <details><summary>Hint 2</summary>
#
# The share of nothing is not zero: `float("nan")`.
# </details>


# %% tags=["exercise"]
def share_planted(neurons):
    """Share of a set that was planted; nan of an empty set."""
    # solution
    return len(neurons & planted) / len(neurons) if len(neurons) else float("nan")
    # end solution


# %% tags=["check"]
some = hlens.NeuronSet(frozenset(sorted(planted)[:5]), model.n_layers, model.d_mlp)
others = planted.random_like(0) - planted
assert share_planted(some) == 1.0, (
    f"{share_planted(some):.2f} of five planted neurons: divide by the size of the set itself"
)
assert share_planted(others) == 0.0, "none of these is planted"
assert abs(share_planted(some | others) - 5 / (5 + len(others))) < 1e-9, (
    "five planted neurons and others: the share is of the whole set"
)
assert np.isnan(share_planted(planted - planted)), "the share of an empty set is nan"
loose = hlens.SparseProbe(C=10 * detector.fit["C"], class_weight="balanced", scale="feature")
many = hlens.find(train, loose, calibration=None).selected
print("Exercise 2: right.")
sets = {"the probe's": detector.selected, "ten times as loose": many, "stable": stability.stable}
for name, neurons in sets.items():
    print(f"{name:>20}: {len(neurons):3} neurons, {share_planted(neurons):.2f} planted")
print(f"{'all':>20}: {planted.n_layers * planted.d_mlp} neurons, {planted.fraction:.3f} planted")

# %% [markdown]
# ### Exercise 3: take them away and look again
# *Difficulty: 3 of 5 · 10 minutes*
#
# Remove the selected neurons from the data (set their contributions to zero) and fit anew. If the
# AUROC hardly falls, others carry the same signal: the map showed *some* of those that speak.
#
# **You should see** an AUROC without the first set that is as high as with it.
#
# <details><summary>Hint 1</summary>
#
# `data.values` is `[example, layer, neuron]` and `neurons.mask` is `[layer, neuron]`: it may stand
# as an index behind a colon.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Change a copy (`.clone()`), and put it in the place of the values with `dataclasses.replace`.
# Otherwise the data you were given are spoilt.
# </details>


# %% tags=["exercise"]
def without(data, neurons):
    """The contributions with those of some neurons set to zero."""
    # solution
    from dataclasses import replace

    values = data.values.clone()
    values[:, neurons.mask] = 0.0
    return replace(data, values=values)
    # end solution


# %% tags=["check"]
before = train.values.clone()
bare_train = without(train, detector.selected)
spoilt = not torch.equal(train.values, before)
train.values.copy_(before)
assert not spoilt, "the data that was given has changed, too: set zeros in a clone of the values"
bare_test = without(test, detector.selected)
gone = detector.selected.mask
assert float(bare_train.values[:, gone].abs().sum()) == 0.0, "some of their contributions are left"
assert torch.equal(bare_train.values[:, ~gone], train.values[:, ~gone]), (
    "the contributions of other neurons have changed"
)
again = hlens.find(bare_train, probe)
print("Exercise 3: right.")
print("all neurons:          ", hlens.evaluate(detector, test))
print("without the first set:", hlens.evaluate(again, bare_test))

# %% [markdown]
# **"These neurons are needed to see it" is false** when a second set sees it nearly as well. What
# remains true is weaker and more useful: the signal is there, in several places, and these are
# some.
#
# ## A common mistake
#
# *Comparing positions across models or seeds.* L12N345 of one model and L12N345 of another have
# nothing in common but their address.
#
# ## What would falsify this?
#
# "They live in layer 2" needs a concentration beyond that of random sets **and** the same layer on
# other halves of the data. Which of the two did your map pass?
#
# ## Recap
#
# 1. What does the horizontal axis of the map mean?
#    <details><summary>Answer</summary>Nothing; neurons of a layer may be permuted.</details>
# 2. Why are selected and stable neurons different sets?
#    <details><summary>Answer</summary>L1 picks one of several that say the same, and picks another
#    on another sample.</details>
# 3. What does exercise 3 show that the map cannot?
#    <details><summary>Answer</summary>Redundancy: how much the rest still knows.</details>
#
# Next: [do domains share them?](06_do_domains_share_them.ipynb)
