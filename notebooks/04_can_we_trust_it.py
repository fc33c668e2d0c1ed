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
# # 4. Can we trust it?
#
# A high AUROC is where the work begins. An H-neuron is a hypothesis; a control is a way for it to
# fail. In this lesson you try to break the finding of lesson 3.
#
# **You will be able to**
#
# - set a probe beside shuffled labels, random neurons and the answer's length;
# - compute a permutation p, and correct for a thousand tests;
# - say which of the two truths a detector has found: *wrong* or *ignorant*.
#
# Time: 40 minutes.

# %%
import numpy as np
import plotly.io as pio

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
auroc = hlens.evaluation.auroc

# %% [markdown]
# **Predict.** Three AUROCs, on test: the probe; as many *random* neurons of the same layers,
# refitted; the same probe fitted on *shuffled labels*. Write down a number for each, then run.

# %%
table = hlens.evaluation.controls(train, test, probe=probe, detector=detector)
hlens.figures.scores(table)

# %% [markdown]
# Shuffled labels land near 0.5: the fit does not find structure in noise. A handful of random
# neurons does hardly better here; look in the sweep below what 64 of them reach. In real models
# they do *better* than beginners expect: knowing or not knowing changes much of a model, and any
# set of neurons sees a part of it. That is why the claim is never "0.9 against 0.5" but "0.9
# against what as many random neurons reach".
#
# ### Exercise 1: shuffle by hand
# *Difficulty: 3 of 5 · 10 minutes*
#
# Permute the training labels, fit a probe like the detector's with ten times its C, and score it on
# the test part. (`dataclasses.replace` gives contributions with other labels.) Why ten times? With
# the detector's own C a probe of permuted labels selects nothing at all: try it.
#
# **You should see** an AUROC near 0.5 for permuted labels, and above 0.9 for the real ones.
#
# <details><summary>Hint 1</summary>
#
# `dataclasses.replace(train, labels=...)` gives the same measurements with other labels; a
# permutation of `range(len(train))` reorders them.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Draw the permutation from `np.random.default_rng(seed)`, so that every seed is another one.
# </details>
#
# <details><summary>Hint 3</summary>
#
# The probe is `hlens.SparseProbe(C=10 * detector.fit["C"], ...)` with the other options of the
# lesson's; `hlens.find(noise, probe, calibration=None)` fits it. It is scored on the test part,
# whose labels are real.
# </details>


# %% tags=["exercise"]
def shuffled_auroc(train, test, seed):
    """AUROC of a probe that learnt permuted labels."""
    # solution
    from dataclasses import replace

    order = np.random.default_rng(seed).permutation(len(train))
    noise = replace(train, labels=train.labels[order])
    loose = hlens.SparseProbe(C=10 * detector.fit["C"], class_weight="balanced", scale="feature")
    return auroc(hlens.find(noise, loose, calibration=None)(test).numpy(), test.labels.numpy())
    # end solution


# %% tags=["check"]
null = [shuffled_auroc(train, test, seed) for seed in range(10)]
own = auroc(detector(test).numpy(), test.labels.numpy())
assert abs(np.mean(null) - 0.5) < 0.15, f"mean {np.mean(null):.2f}: are the labels permuted?"
assert len(set(null)) > 1, (
    "every seed gives the same: draw the permutation from the seed; and give the probe ten times "
    "the detector's C, and its other options, or it selects nothing"
)
assert max(null) < own, f"shuffled labels reach {max(null):.2f}, the probe {own:.2f}"
print(f"Exercise 1: right. Shuffled {np.mean(null):.2f}, real {own:.2f}.")

# %% [markdown]
# ### Exercise 2: the permutation p
# *Difficulty: 2 of 5 · 5 minutes*
#
# The p of a permutation test counts how many of the null values are at least as large as the real
# one, **the real one itself included** on both sides of the fraction. Why can it never be zero?
#
# **You should see** p = 1/11 after ten shuffles, which is as small as ten shuffles can make it.
#
# <details><summary>Hint 1</summary>
#
# Count the null values that are at least as large as the real one.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Then the real one joins them: one more above the line of the fraction, and one more below it.
# </details>


# %% tags=["exercise"]
def permutation_p(real, null):
    """Share of values at least as large as the real one, itself included."""
    # solution
    return (1 + sum(value >= real for value in null)) / (1 + len(null))
    # end solution


# %% tags=["check"]
beyond, level, below = (permutation_p(real, [0.5] * 19) for real in (0.9, 0.5, 0.4))
assert beyond > 0, "a p of 0: the real value counts itself, above and below the fraction's line"
assert abs(beyond - 0.05) < 1e-9, f"{beyond:.4f}: beyond 19 shuffles p is 1 in 20"
assert abs(level - 1.0) < 1e-9, f"{level:.4f}: a null value as large as the real one counts"
assert abs(below - 1.0) < 1e-9, f"{below:.4f}: where every null value is larger, p is 1"
print(
    f"Exercise 2: right. p = {permutation_p(own, null):.3f}; more shuffles could make it smaller."
)

# %% [markdown]
# ## A thousand tests
#
# Test every neuron alone, and one in twenty will be "significant" at 0.05 by luck. The volcano
# shows each neuron's AUROC against its p; the line is corrected (Benjamini-Hochberg).

# %%
alone = hlens.evaluation.univariate(train)
hlens.figures.volcano(alone, selected=detector.selected, n=len(train))

# %% [markdown]
# ### Exercise 3: how many are left?
# *Difficulty: 2 of 5 · 5 minutes*
#
# Bonferroni's correction is the simplest: multiply each p by the number of tests. Count the neurons
# below 0.05 before and after.
#
# **You should see** a few hundred of the 1,024 neurons below 0.05 as they are, and a few dozen
# after the correction.
#
# <details><summary>Hint 1</summary>
#
# A p that is multiplied by the number of tests is compared with the same level.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `(condition).sum()` counts.
# </details>


# %% tags=["exercise"]
def significant(p, level=0.05):
    """Number of tests below the level: (uncorrected, Bonferroni)."""
    # solution
    return int((p < level).sum()), int((p * len(p) < level).sum())
    # end solution


# %% tags=["check"]
before, after = significant(alone.p.to_numpy())
none = tuple(int(number) for number in significant(np.linspace(0.0005, 0.9995, 1000)))
assert none == (50, 0), f"{none}: 1,000 tests of noise give 50 uncorrected, 0 corrected"
mixed = np.r_[np.full(10, 1e-6), np.linspace(0.0005, 0.9995, 990)]
assert significant(mixed)[1] == 10, "10 of 1,000 at p = 1e-6 outlast the correction: is p * n it?"
assert after < before, "a correction leaves fewer"
print(f"Exercise 3: right. {before} of {len(alone)} uncorrected, {after} corrected.")

# %% [markdown]
# ## How sparse need it be?
#
# The sweep refits the best *k* neurons, *k* random ones, and all neurons without a penalty on their
# number. If the dense ceiling is much higher than a few neurons, sparsity was a choice, not a
# finding.

# %%
sweep = hlens.evaluation.k_sweep(train, test, probe=probe, ks=(1, 2, 4, 8, 16, 64), draws=10)
hlens.figures.k_sweep(sweep)

# %% [markdown]
# ## Which truth did it find?
#
# The probe was trained on *wrong against right*. `hlens.toy.ignorance(test)` is the other truth:
# was the entity never taught?
#
# **Predict.** Against which of the two will the AUROC be higher?
#
# ### Exercise 4: two truths, one detector
# *Difficulty: 2 of 5 · 6 minutes*
#
# Score the examples once, and compare the scores with both: with the label, and with ignorance
# (`hlens.toy.ignorance(data)`, True where the entity was never taught).
#
# **You should see** an AUROC above 0.9 against the label, and of 1 against true ignorance.
#
# <details><summary>Hint 1</summary>
#
# The scores are the same both times: `detector(data)`. Only what they are compared with differs.
# </details>
#
# <details><summary>Hint 2</summary>
#
# The first truth is `data.labels`, the second `hlens.toy.ignorance(data)`.
# </details>


# %% tags=["exercise"]
def against_both(detector, data):
    """AUROC against the label and against true ignorance."""
    # solution
    score = detector(data).numpy()
    truth = hlens.toy.ignorance(data).numpy()
    return auroc(score, data.labels.numpy()), auroc(score, truth)
    # end solution


# %% tags=["check"]
label, ignorant = against_both(detector, test)
assert abs(label - own) < 1e-9, f"{label:.3f}: the first is against the label, {own:.3f}"
truth = hlens.toy.ignorance(test).numpy()
ranks = hlens.evaluation.auroc(detector(test).numpy(), truth)
assert abs(ignorant - ranks) < 1e-9, f"{ignorant:.3f}: the second is against hlens.toy.ignorance"
print(f"Exercise 4: right. AUROC {label:.3f} against wrong, {ignorant:.3f} against ignorant.")

# %% [markdown]
# The detector was taught with noisy labels and found the cleaner thing behind them. A wrong answer
# about a taught entity, or a lucky guess, costs it AUROC without being its error. In a real model
# you see the first number only. Keep that in mind both ways: a detector may be better than its
# label shows, and it may be good at something other than what the label says.
#
# ## A common mistake
#
# *Controlling for nothing but chance.* Shuffled labels rule out noise. They do not rule out that
# wrong answers are longer, rarer words, or of another domain. Each doubt needs a control of its
# own.
#
# ## What would falsify this?
#
# Random neurons that reach the probe's interval; shuffled labels above 0.5; the answer's length
# alone as good as the probe. Name the row of the first figure in which each would show.
#
# ## Recap
#
# 1. What does a shuffled-label control rule out, and what not?
#    <details><summary>Answer</summary>Overfitting and a leak of the labels; not a
#    confound.</details>
# 2. Why may 64 random neurons reach 0.8?
#    <details><summary>Answer</summary>The state that is probed is spread over many
#    neurons.</details>
# 3. When is AUROC against the label a poor guide?
#    <details><summary>Answer</summary>When the label is a noisy proxy of what is
#    detected.</details>
#
# Next: [where do they live?](05_where_do_they_live.ipynb)
