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
# # 3. Finding H-neurons
#
# A thousand neurons, a few hundred answers, one question: whose contribution tells a made-up answer
# from a true one? A sparse probe picks a handful. Those of positive weight are called
# **H-neurons**.
#
# **You will be able to**
#
# - go from questions to a neuron map in seven lines;
# - say what an L1 penalty does, and read a detector as a weighted sum;
# - split so that nothing leaks, and score by AUROC on what the probe never saw.
#
# Time: 40 minutes.

# %%
import plotly.io as pio
import torch

import hlens

pio.renderers.default = "plotly_mimetype+notebook"  # figures also show in an exported notebook

# %% [markdown]
# ## The line
#
# Question -> response -> judgement -> example -> contributions. Each verb is one function. The
# contribution is CETT, of lesson 2, as in the paper; hlens's own default keeps the sign, too.

# %%
model = hlens.load("toy")
questions = [q for name in hlens.toy.domain_names() for q in hlens.domains.load(name)]
responses = hlens.sample(model, questions, n=2, seed=0)
examples = hlens.locate(hlens.judge(responses), model)
examples = hlens.spans.first_of_each_label(examples)  # one of each label a question
data = hlens.measure(model, examples, metric=hlens.metrics.cett)
tuple(data.values.shape)  # example, layer, neuron

# %% [markdown]
# ### Exercise 1: a split that does not leak
# *Difficulty: 1 of 5 · 4 minutes*
#
# Two questions about one town share what the model knows of it. If one lies in the training part
# and the other in the test part, the test is half an open book. Write the check.
#
# **You should see** hundreds of groups torn apart by shuffling rows, and none by `split_by_group`.
#
# <details><summary>Hint 1</summary>
#
# `train.groups` holds one name an example, with repetitions. Which names occur in both?
# </details>
#
# <details><summary>Hint 2</summary>
#
# A `set` holds each name once, and knows what it shares with another set.
# </details>


# %% tags=["exercise"]
def leaks(train, test):
    """How many groups are on both sides (`contributions.groups` holds one name an example)."""
    # solution
    return len(set(train.groups) & set(test.groups))
    # end solution


# %% tags=["check"]
order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
careless = data.select(order[: len(data) // 2]), data.select(order[len(data) // 2 :])
train, test = hlens.evaluation.split_by_group(data, test=0.3)
assert leaks(*careless) > 0, "shuffled rows tear groups apart, and none was counted"
assert leaks(train, test) == 0, "split_by_group tears no group, and some were counted"
assert leaks(data, data) == len(set(data.groups)), (
    f"{leaks(data, data)} where every group is on both sides: count groups, each once"
)
print(f"Exercise 1: right. Shuffled rows: {leaks(*careless)} torn groups; by group: 0.")

# %% [markdown]
# **Predict.** The model has 1,024 neurons, of which 22 were planted. How many will the probe keep?

# %%
probe = hlens.SparseProbe(C="cv", class_weight="balanced", scale="feature")
detector = hlens.find(train, probe)
detector.fit["n_selected"], detector.fit["n_positive"], round(detector.fit["cv_auroc"], 3)

# %%
hlens.figures.neuron_map(detector, contribution=train)

# %% [markdown]
# The probe minimises the log loss plus $\lambda \sum_j |\beta_j|$. The penalty has a corner at
# zero, so most weights are *exactly* zero. `C` is $1/\lambda$ and was chosen by cross-validation,
# inside the training part. The regularisation path shows what enters when the penalty is loosened.

# %%
path = hlens.selection.path(train, probe)
hlens.figures.path(path.table(), chosen=detector.fit["C"])

# %% [markdown]
# ### Exercise 2: a detector is a weighted sum
# *Difficulty: 2 of 5 · 6 minutes*
#
# Score the test examples yourself from `detector.weights` (`[layer, neuron]`), `detector.bias` and
# `test.values` (`[example, layer, neuron]`).
#
# **You should see** one line: your scores are the detector's.
#
# <details><summary>Hint 1</summary>
#
# One weight belongs to one neuron of one layer. `weights` is broadcast over the examples.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Sum over the two last axes. One number is then still missing, the same for all examples.
# </details>


# %% tags=["exercise"]
def scores_of(detector, data):
    """Log-odds of hallucination of each example."""
    # solution
    return (data.values * detector.weights).sum(dim=(1, 2)) + detector.bias
    # end solution


# %% tags=["check"]
mine = scores_of(detector, test)
mine = torch.as_tensor(mine).double()
assert mine.shape == (len(test),), f"{tuple(mine.shape)}: one number an example"
off = mine - detector(test).double()
assert off.std() < 1e-3, "multiply each value by its own weight, and sum over layers and neurons"
assert off.abs().max() < 1e-3, f"all off by {off.mean():.3f}: the bias belongs to the sum"
print("Exercise 2: right. Nothing is hidden in a linear probe.")

# %% [markdown]
# ### Exercise 3: AUROC by counting
# *Difficulty: 3 of 5 · 8 minutes*
#
# AUROC is the chance that a made-up answer scores higher than a true one (ties count half). Compute
# it from all pairs.
#
# **You should see** an AUROC of about 0.93 on the test part, with its interval.
#
# <details><summary>Hint 1</summary>
#
# Split the scores in two by the label. Every score of the first list meets every one of the
# second.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `a[:, None] - b[None]` is the table of all differences. In how many cells is it positive, in how
# many zero?
# </details>


# %% tags=["exercise"]
def auroc_by_pairs(scores, labels):
    """Share of (hallucinated, true) pairs in the right order."""
    # solution
    made_up, true = scores[labels], scores[~labels]
    gap = made_up[:, None] - true[None]
    return float((gap > 0).float().mean() + 0.5 * (gap == 0).float().mean())
    # end solution


# %% tags=["check"]
tied = float(auroc_by_pairs(torch.tensor([1.0, 1.0]), torch.tensor([True, False])))
sure = float(auroc_by_pairs(torch.tensor([2.0, 1.0]), torch.tensor([True, False])))
assert sure == 1.0, f"{sure}: a made-up answer that scores higher is in the right order"
assert tied == 0.5, f"{tied}: a tie counts half"
counted = float(auroc_by_pairs(detector(test), test.labels))
theirs = hlens.evaluation.auroc(detector(test).numpy(), test.labels.numpy())
assert abs(counted - theirs) < 1e-6, (
    f"{counted:.4f}, and hlens counts {theirs:.4f}: every made-up answer meets every true one"
)
print(f"Exercise 3: right. {hlens.evaluate(detector, test)}")

# %% [markdown]
# ### Exercise 4: did it find what was planted?
# *Difficulty: 2 of 5 · 5 minutes*
#
# In the toy world the answer is known. `hlens.toy.planted()` is the set of planted neurons. Give
# the share of the found H-neurons that are planted (precision), and the share of planted neurons
# that are found (recall). Sets know `&`, `len` and `in`.
#
# **You should see** every neuron that was found had been planted, and only about a quarter of the
# planted ones were found.
#
# <details><summary>Hint 1</summary>
#
# `len(found & planted)` is how many are in both.
# </details>
#
# <details><summary>Hint 2</summary>
#
# One of the two shares is of what was found, the other of what was planted.
# </details>


# %% tags=["exercise"]
def precision_and_recall(found, planted):
    """Two shares."""
    # solution
    both = len(found & planted)
    return both / len(found), both / len(planted)
    # end solution


# %% tags=["check"]
precision, recall = precision_and_recall(detector.neurons, hlens.toy.planted())
everything = hlens.NeuronSet.from_mask(torch.ones(model.n_layers, model.d_mlp, dtype=torch.bool))
share = hlens.toy.planted().fraction
of_all = precision_and_recall(everything, hlens.toy.planted())
assert len(of_all) == 2, "two shares: precision, then recall"
assert of_all[1] == 1.0, f"{of_all}: all neurons together hold every planted one; recall is second"
assert abs(of_all[0] - share) < 1e-9, f"{of_all}: of all neurons {share:.3f} are planted"
print(f"Exercise 4: right. Precision {precision:.2f} (chance {share:.2f}), recall {recall:.2f}.")

# %% [markdown]
# Precision far above chance, and recall far below one. Both are typical of L1: of several neurons
# that say the same, it keeps one or two and drops the others. **"Not selected" does not mean "says
# nothing".**
#
# ## A common mistake
#
# *Reading the number of H-neurons as a property of the model.* It depends on `C`, on how many
# examples there were and on the scale of the features. The path above shows every number at once.
#
# ## What would falsify this?
#
# The claim is: *these neurons' contributions tell made-up answers from true ones on entities the
# probe never saw*. An AUROC on the test part whose interval holds 0.5 would end it. So would an
# equally high AUROC of random neurons or shuffled labels; that is lesson 4.
#
# ## Recap
#
# 1. Where was `C` chosen, and why does it matter?
#    <details><summary>Answer</summary>By cross-validation inside the training part. Chosen on the
#    test part, the score would flatter itself.</details>
# 2. What does AUROC 0.5 mean?
#    <details><summary>Answer</summary>A made-up answer scores above a true one as often as
#    below.</details>
# 3. Two neurons carry the same signal. What will L1 do?
#    <details><summary>Answer</summary>Keep mostly one of them; which one depends on the
#    sample.</details>
#
# Next: [can we trust it?](04_can_we_trust_it.ipynb)
