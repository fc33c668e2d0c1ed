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
# # 12. Superposition: is a neuron the right unit?
#
# Every lesson so far has counted neurons. A neuron is one axis of a space, and nothing obliges a
# model to write one idea on one axis. Where it has more ideas than neurons it writes them *across*
# neurons, several to each: **superposition**. This lesson makes a model that does so, and then asks
# what a count of neurons is worth.
#
# **You will be able to**
#
# - train a toy model of superposition, and say when its features come to share neurons;
# - compare what one neuron, a few neurons and a direction tell about a feature;
# - test whether "a few neurons are enough" is about neurons, by turning the axes.
#
# Time: 40 minutes.

# %%
from dataclasses import replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
import torch

import hlens
from hlens.drawing.curves import panels
from hlens.drawing.figure import Figure, finish
from hlens.drawing.theme import palette
from hlens.evaluation import auroc

pio.renderers.default = "plotly_mimetype+notebook"  # figures also show in an exported notebook
colours = palette("light")


def numbers(answer):
    """An answer as an array, whether it came as a tensor, an array or a list; else an empty one."""
    try:
        return np.asarray(answer, dtype=float)
    except (TypeError, ValueError, RuntimeError):
        return np.empty(0)


# %% [markdown]
# ## Twelve features, six neurons
#
# A *feature* is something that the input may have: a colour, a language, an unknown name. Our
# inputs $x$ are lists of 12 features. Each is present with a probability $p$, and then has a
# strength between 0.1 and 1. The model must pass them through 6 neurons and give them back, the
# first ones more exactly than the last (Elhage et al. 2022, arXiv 2209.10652, with a ReLU in the
# middle, so that the neurons are axes of their own kind):
#
# $$h = \mathrm{ReLU}(W x), \qquad \hat{x} = \mathrm{ReLU}(W^\top h + b)$$

# %% [markdown]
# ### Exercise 1: the forward pass
# *Difficulty: 1 of 5 · 5 minutes*
#
# Write it for many examples at once. `x` is `[example, feature]`, `W` is `[neuron, feature]`, `b`
# is `[feature]`. Return $\hat{x}$, `[example, feature]`.
#
# **You should see** two numbers: how far $\hat{x}$ is off with random weights, and how far an
# answer of nothing but zeros would be. Untrained, the model is the worse of the two.
#
# <details><summary>Hint 1</summary>
#
# One example is a row of `x`. What has to be multiplied by it to give a row of 6 numbers?
# </details>
#
# <details><summary>Hint 2</summary>
#
# There are two ReLUs, and the bias is inside the second.
# </details>


# %% tags=["exercise"]
def reconstruct(x, W, b):
    """What the model gives back: [example, feature]."""
    # solution
    h = torch.relu(x @ W.T)
    return torch.relu(h @ W + b)
    # end solution


# %% tags=["check"]
draw = torch.Generator().manual_seed(0)
x, W = torch.rand(50, 12, generator=draw), torch.randn(6, 12, generator=draw)
b = 0.3 * torch.randn(12, generator=draw)
got = numbers(reconstruct(x, W, b))
assert got.shape == (50, 12), f"{got.shape}: one row of 12 features for each of 50 examples"
assert (got >= 0).all(), "some are negative: the last step is a ReLU"
for row, one in zip(got, x, strict=True):  # by the formula, one example at a time
    hidden = np.maximum(W.numpy() @ one.numpy(), 0)
    expected = np.maximum(W.numpy().T @ hidden + b.numpy(), 0)
    assert np.allclose(row, expected, atol=1e-4), (
        "not what the formula gives: h is a ReLU, too, and b is added to W.T h, not to W x"
    )
off, zeros = ((got - x.numpy()) ** 2).mean(), (x.numpy() ** 2).mean()
print(f"Exercise 1: right. Mean square off: {off:.2f}; of zeros: {zeros:.2f}.")

# %% [markdown]
# ## Four worlds
#
# We train the same model in four worlds, which differ in one thing: how often a feature is
# present. The loss is the mean square of $\hat{x} - x$, each feature weighted by its importance,
# $0.9^k$. It takes a few seconds.

# %%
present = torch.tensor([0.8, 0.4, 0.2, 0.05])  # the probability p, one world each
importance = 0.9 ** torch.arange(12)


def draw_features(n, seed):
    """Features of n examples in each world: [world, example, feature]."""
    draw = torch.Generator().manual_seed(seed)
    there = torch.rand(4, n, 12, generator=draw) < present[:, None, None]
    return there * (0.1 + 0.9 * torch.rand(4, n, 12, generator=draw))


def train_worlds(steps=2500, seed=0):
    """Weights of the trained models: [world, neuron, feature]."""
    draw = torch.Generator().manual_seed(seed)
    W = (0.3 * torch.randn(4, 6, 12, generator=draw)).requires_grad_()
    b = torch.zeros(4, 1, 12, requires_grad=True)
    adam = torch.optim.Adam([W, b], lr=0.01)
    for step in range(steps):
        x = draw_features(512, seed=1000 + step)
        given_back = torch.relu(torch.relu(x @ W.mT) @ W + b)
        loss = (importance * (given_back - x) ** 2).mean((1, 2)) / present
        adam.zero_grad()
        loss.sum().backward()
        adam.step()
        if step == steps * 2 // 3:
            adam.param_groups[0]["lr"] = 0.002  # to settle
    return W.detach()


worlds = train_worlds()
tuple(worlds.shape)

# %% [markdown]
# ### Exercise 2: how many features has a neuron?
# *Difficulty: 2 of 5 · 8 minutes*
#
# A count needs a threshold for "has". The *participation ratio* needs none:
#
# $$\frac{\left(\sum_k w_k^2\right)^2}{\sum_k w_k^4}$$
#
# It is 1 where a neuron reads one feature, 3 where it reads three equally, and in between where it
# reads some more than others. Return it for every neuron of `W`, `[neuron, feature]`.
#
# **You should see** about one feature a neuron in the world where features are common, and more
# and more as they become rare.
#
# <details><summary>Hint 1</summary>
#
# The sums run over the features of one neuron: which axis of `W` is that?
# </details>
#
# <details><summary>Hint 2</summary>
#
# Above, first sum the squares, then square the sum. Try your function on `[[3.0, 1.0]]`, by hand,
# too: 100 over 82.
# </details>


# %% tags=["exercise"]
def features_per_neuron(W):
    """Participation ratio of each neuron's weights: [neuron]."""
    # solution
    return (W**2).sum(1) ** 2 / (W**4).sum(1)
    # end solution


# %% tags=["check"]
known = torch.tensor(
    [[0.0, -2.0, 0.0, 0.0], [1.0, -1.0, 1.0, 0.0], [3.0, 1.0, 0.0, 0.0], [0.3, 0.1, 0.0, 0.0],
     [0.5, 0.5, 0.5, -0.5]]
)  # fmt: skip
got = numbers(features_per_neuron(known))
assert got.shape == (5,), f"{got.shape}: one number for each neuron, which is a row of W"
assert abs(got[0] - 1) < 1e-4, f"{got[0]:.2f} where a neuron reads one feature: expected 1"
assert abs(got[1] - 3) < 1e-4, (
    f"{got[1]:.2f} where it reads three equally: expected 3, whatever the signs"
)
assert abs(got[2] - 100 / 82) < 1e-4, (
    f"{got[2]:.3f} for weights 3 and 1: squares on top, fourth powers below give {100 / 82:.3f}"
)
assert abs(got[3] - got[2]) < 1e-4, "weights a tenth as large are shared alike: the same number"
assert abs(got[4] - 4) < 1e-4, f"{got[4]:.2f} where it reads four equally: expected 4"
per_neuron = [numbers(features_per_neuron(W)) for W in worlds]
print("Exercise 2: right. Features a neuron, on average:")
for p, counts in zip(present, per_neuron, strict=True):
    print(f"  present {p:4.0%} of the time: {counts.mean():.1f}")

# %% [markdown]
# **Predict.** Below are the weights of the four models, a row for each neuron and a column for each
# feature. In the first world there are six neurons for twelve features that are nearly always
# there. What will happen to the other six features?

# %% tags=["hide-input"] jupyter={"source_hidden": true}
figure = Figure()
limit = float(worlds.abs().max())
names = [f"present {p:.0%}" for p in present]
for panel, W in zip(
    panels(figure, names, x_title="feature", gap=0.03, colour=colours.ink), worlds, strict=True
):
    order = W.abs().argmax(1).argsort()  # neurons in the order of the feature that they read most
    figure.add_trace(
        go.Heatmap(
            z=W[order].numpy(), zmin=-limit, zmax=limit, xgap=2, ygap=2, showscale=panel == "",
            x=list(range(1, 13)), xaxis=f"x{panel}", yaxis=f"y{panel}",
            colorscale=[(0, colours.negative), (0.5, colours.faint), (1, colours.positive)],
            colorbar={"title": {"text": "weight"}, "thickness": 10, "outlinewidth": 0},
            hovertemplate="feature %{x}, neuron %{y}<br>weight <b>%{z:.2f}</b><extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(
        {
            f"xaxis{panel}": {"dtick": 3, "tick0": 3, "showgrid": False},
            f"yaxis{panel}": {"autorange": "reversed", "showgrid": False, "showticklabels": False},
        }
    )
figure.update_layout(yaxis={"title": {"text": "neuron"}})
means = [counts.mean() for counts in per_neuron]
finish(
    figure, colours, height=290, margin={"t": 44, "r": 70},
    title=f"From {means[0]:.1f} feature a neuron to {max(means):.1f}, as features become rare",
    subtitle="12 features, the most important first, through 6 neurons; one model a panel",
)  # fmt: skip

# %% [markdown]
# They are given up. Where features are always there, two on one neuron would disturb each other
# all the time, so the model keeps the six most important, one a neuron. Where they are rare they
# seldom meet: sharing costs little, and the model keeps more of them, each smeared over several
# neurons.
#
# ## One neuron, a few, a direction
#
# Now be the interpreter. From the six activations you want to tell whether feature $k$ is present.

# %% [markdown]
# ### Exercise 3: the best single neuron
# *Difficulty: 3 of 5 · 10 minutes*
#
# On the training part, find the neuron whose activation alone tells best, high *or low*. Return
# its AUROC on the test part. The neuron and its direction, "more means present" or "less means
# present", are both chosen on the training part. `auroc(scores, labels)` takes two arrays.
#
# **You should see** two numbers for the first feature, one neuron near 1 in the world of common
# features and well below it where features are present 20 % of the time.
#
# <details><summary>Hint 1</summary>
#
# A neuron of AUROC 0.1 tells as much as one of 0.9: turn its sign.
# </details>
#
# <details><summary>Hint 2</summary>
#
# How far is each training AUROC from 0.5? The largest distance names the neuron, the sign of the
# difference the direction.
# </details>
#
# <details><summary>Hint 3</summary>
#
# If it was below 0.5 on the training part, the test score is 1 less the test AUROC, also where
# that turns out below 0.5.
# </details>


# %% tags=["exercise"]
def one_neuron(train_h, train_y, test_h, test_y):
    """Test AUROC of the neuron that tells best in training; h is [example, neuron], y is bool."""
    # solution
    told = np.array([auroc(column, train_y) - 0.5 for column in train_h.T])
    best = np.abs(told).argmax()
    return auroc(np.sign(told[best]) * test_h[:, best], test_y)
    # end solution


# %% tags=["check"]
labels = np.arange(40) % 2 == 0
draw_noise = np.random.default_rng(0)
noise = draw_noise.normal(size=(40, 3))
low = np.column_stack([noise[:, 0], -3.0 * labels + noise[:, 1]])  # less means present
got = numbers(one_neuron(low, labels, low, labels))
assert got.shape == () and 0 <= got <= 1, f"{got}: one AUROC, a number between 0 and 1"
assert got > 0.9, f"{got:.2f}: the second neuron is low where the feature is there; that tells, too"
high = np.column_stack([3.0 * labels + noise[:, 2], noise[:, 0]])
got, expected = numbers(one_neuron(low, labels, high, labels)), 1 - auroc(noise[:, 0], labels)
assert abs(got - expected) < 1e-6, (
    f"{got:.2f}, expected {expected:.2f}: another neuron tells best in the test part, and choosing "
    "it there, or its sign, would flatter; choose both in the training part"
)
inputs = draw_features(4000, seed=1)
hidden = torch.relu(inputs @ worlds.mT).numpy()
there = (inputs > 0).numpy()


def alone(world, feature):
    """AUROC of the best single neuron, chosen on one half of the examples, scored on the other."""
    h, y = hidden[world], there[world][:, feature]
    return float(one_neuron(h[:2000], y[:2000], h[2000:], y[2000:]))


print("Exercise 3: right. The best single neuron tells of the first feature")
for world in (0, 2):
    print(f"  where features are present {present[world]:.0%} of the time: {alone(world, 0):.2f}")

# %% [markdown]
# Beside it: a sparse probe (L1) on the six neurons, which may take as many as it likes, and a
# direction (least squares, all six neurons weighed at once). For every feature of every world:


# %%
def sparse_and_direction(world, feature):
    """Test AUROC of an L1 probe, how many neurons it keeps, and test AUROC of a direction."""
    h, y = hidden[world], there[world][:, feature]
    probe = hlens.SparseProbe(C=0.05).fit(h[:2000], y[:2000])
    centre = h[:2000].mean(0)
    direction = np.linalg.lstsq(h[:2000] - centre, y[:2000] - y[:2000].mean(), rcond=None)[0]
    few = auroc(h[2000:] @ probe.coef_[0], y[2000:])
    return few, int(probe.n_selected_), auroc(h[2000:] @ direction, y[2000:])


rows = [
    (world, feature, alone(world, feature), *sparse_and_direction(world, feature))
    for world in range(4)
    for feature in range(12)
]
told = pd.DataFrame(rows, columns=["world", "feature", "one", "few", "n_few", "direction"])
told.groupby("world")[["one", "few", "n_few", "direction"]].mean().round(2)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
figure = Figure()
for panel, (_, part) in zip(
    panels(figure, names, x_title="feature", gap=0.03, colour=colours.ink),
    told.groupby("world"),
    strict=True,
):
    axes = {"xaxis": f"x{panel}", "yaxis": f"y{panel}", "showlegend": panel == ""}
    at = part.feature + 1
    gaps = np.column_stack([part.one, part.direction, np.full(12, np.nan)]).ravel()
    figure.add_trace(
        go.Scatter(
            x=np.repeat(at, 3), y=gaps, mode="lines", line={"color": colours.neutral, "width": 3},
            hoverinfo="skip", **{**axes, "showlegend": False},
        )
    )  # fmt: skip
    for column, name, symbol, colour in (
        ("one", "best single neuron", "diamond", colours.negative),
        ("direction", "a direction", "circle", colours.positive),
    ):
        figure.add_trace(
            go.Scatter(
                x=at, y=part[column], mode="markers", name=name, legendgroup=name,
                marker={"symbol": symbol, "size": 9, "color": colour}, customdata=part.n_few,
                hovertemplate=f"feature %{{x}}, {name}: <b>%{{y:.2f}}</b><br>"
                "a sparse probe keeps %{customdata} neurons<extra></extra>", **axes,
            )
        )  # fmt: skip
    figure.update_layout(
        {
            f"xaxis{panel}": {"dtick": 3, "tick0": 3, "range": (0.3, 12.7)},
            f"yaxis{panel}": {"range": (0.45, 1.02), "showticklabels": panel == ""},
        }
    )
figure.update_layout(yaxis={"title": {"text": "AUROC, test part"}}, legend={"y": 1.14})
kept = told[(told.world == 2) & (told.direction > 0.7)]
finish(
    figure, colours, height=340, margin={"t": 66},
    title=f"A shared neuron reaches {kept.one.mean():.2f}, a direction "
    f"{kept.direction.mean():.2f}",
    subtitle=f"means of the {len(kept)} features that are kept at {present[2]:.0%}; 2,000 test "
    "examples each, 0.5 is chance",
)  # fmt: skip

# %% [markdown]
# Where each feature has its own neuron, the best neuron *is* the direction. Where features share,
# no neuron tells as much, although the model holds the feature well. And a feature that the model
# gave up is told by nothing: a probe reads what is there.
#
# ## Turn the axes
#
# A direction does not care what the axes are. The L1 penalty does: it adds up sizes of weights
# *along the axes*.

# %% [markdown]
# ### Exercise 4: the same probe in other coordinates
# *Difficulty: 3 of 5 · 7 minutes*
#
# `Q` is a rotation, an orthogonal matrix `[neuron, neuron]`. In the new coordinates an example is
# `h @ Q`. Return these together with the weights that give every example the *same score* as `w`
# gave before: `(turned h, turned w)`.
#
# **You should see** a length of the weights that stays, a sum of sizes (the L1 penalty) that grows,
# and a sparse probe that keeps more axes after the turn in the world without sharing, at the same
# AUROC. In the world where features share, the neurons have no such advantage.
#
# <details><summary>Hint 1</summary>
#
# $Q Q^\top$ is the identity, so $h\,w = h\,Q\,Q^\top w$.
# </details>


# %% tags=["exercise"]
def turned(h, w, Q):
    """The examples in the axes of Q, and the weights that score them as w did: (h, w)."""
    # solution
    return h @ Q, Q.T @ w
    # end solution


# %% tags=["check"]
def rotation(size, seed):
    """A random rotation: an orthogonal matrix, drawn evenly among all."""
    Q, R = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))
    return Q * np.sign(np.diag(R))


Q, h = rotation(6, seed=0), hidden[0][:500].astype(float)
w = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])  # a probe that reads one neuron
for example_weights in (w, np.arange(6.0) - 2):
    answer = turned(h.copy(), example_weights.copy(), Q.copy())
    assert isinstance(answer, tuple | list) and len(answer) == 2, "two things: turned h, turned w"
    new_h, new_w = map(numbers, answer)
    assert new_h.shape == h.shape and new_w.shape == w.shape, (
        f"{new_h.shape} and {new_w.shape}: the shapes of h and w stay, {h.shape} and {w.shape}"
    )
    assert np.allclose(new_h, h @ Q), "the new coordinates of an example are its row of h @ Q"
    assert np.allclose(new_h @ new_w, h @ example_weights), (
        "the scores have changed: the weights must undo the turn, and Q undone is its transpose"
    )
print("Exercise 4: right.")
new_w = numbers(turned(h, w, Q)[1])
print(f"  length of the weights:  {np.linalg.norm(w):.2f}, turned {np.linalg.norm(new_w):.2f}")
print(f"  sum of sizes, the L1:   {np.abs(w).sum():.2f}, turned {np.abs(new_w).sum():.2f}")
n_kept, scored = {}, {}
for world in (0, 2):
    y = there[world][:, 0]
    for name, axes in (("as they are", np.eye(6)), ("turned", Q)):
        h = hidden[world] @ axes
        few = hlens.SparseProbe(C=0.05).fit(h[:2000], y[:2000])
        n_kept[world, name] = int(few.n_selected_)
        scored[world, name] = auroc(h[2000:] @ few.coef_[0], y[2000:])
        print(
            f"  present {present[world]:.0%}, axes {name:>11}: the probe keeps "
            f"{n_kept[world, name]} of 6, AUROC {scored[world, name]:.2f}"
        )

# %% [markdown]
# Nothing in the data has changed, only the axes. A squared penalty does not notice a turn; an L1
# penalty does. **How many neurons a sparse probe keeps is a statement about the axes**: few, if
# what is sought lies along them. In the world where features share neurons nothing lies so, and
# the neurons are axes like any others.
#
# ## The same question on the toy world
#
# That makes a test. If the planted signal really lies on neurons, the probe of lesson 3 should need
# many more directions in a random basis. If it lies across neurons anyway, a turn should change
# little. We scale each neuron's contribution alike first (the probe of lesson 3 did that inside),
# so that only the axes differ.

# %%
model = hlens.load("toy")
questions = [q for name in hlens.toy.domain_names() for q in hlens.domains.load(name)]
responses = hlens.sample(model, questions, n=2, seed=0)
examples = hlens.spans.first_of_each_label(hlens.locate(hlens.judge(responses), model))
data = hlens.measure(model, examples, metric=hlens.metrics.cett)
train, test = hlens.evaluation.split_by_group(data, test=0.3)
centre, spread = train.values.mean(0), train.values.std(0)
train = replace(train, values=(train.values - centre) / spread)
test = replace(test, values=(test.values - centre) / spread)
probe = hlens.SparseProbe(C="cv", class_weight="balanced")
path = hlens.selection.path(train, probe)
as_it_is = hlens.find(train, probe)
print(f"keeps {len(as_it_is.selected)} of 1,024 neurons:", hlens.evaluate(as_it_is, test))

# %% [markdown]
# ### Exercise 5: contributions in a random basis
# *Difficulty: 4 of 5 · 8 minutes*
#
# `data.values` is `[example, layer, neuron]`, a tensor. Take all layers and neurons of an example
# as one row, turn it by `Q`, `[1024, 1024]`, a numpy array of float64, and give it the old shape
# back. Return the contributions with these values (`replace(data, values=...)`) as float32.
#
# **Predict** before you run: a random basis has nothing to do with the model. Will the sparse probe
# need all 1,024 directions there?
#
# **You should see** about a hundred kept in each random basis, twenty times as many as above, with
# an AUROC that is a little lower or the same.
#
# <details><summary>Hint 1</summary>
#
# `values.reshape(len(data), -1)` makes one row of each example.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `torch.from_numpy(Q)` is float64, and a product wants the same type on both sides:
# `values.double()`.
# </details>


# %% tags=["exercise"]
def rotated(data, Q):
    """The contributions in the axes of Q, in the same shape."""
    # solution
    rows = data.values.reshape(len(data), -1).double() @ torch.from_numpy(Q)
    return replace(data, values=rows.float().reshape(data.values.shape))
    # end solution


# %% tags=["check"]
Q, before = rotation(1024, seed=0), [part.values.clone() for part in (train, test)]
turned_train, turned_test = rotated(train, Q.copy()), rotated(test, Q.copy())
spoilt = not torch.equal(train.values, before[0])
for part, values in zip((train, test), before, strict=True):
    part.values.copy_(values)
assert not spoilt, "the contributions that were given have changed; make new ones with replace"
for made, given in ((turned_train, train), (turned_test, test)):
    assert isinstance(made, hlens.Contributions), (
        f"{type(made).__name__}: return contributions, by replace(data, values=...)"
    )
    assert isinstance(made.values, torch.Tensor) and made.values.shape == given.values.shape, (
        f"the values should be a tensor of shape {tuple(given.values.shape)}, as before"
    )
    assert made.values.dtype == torch.float32, f"{made.values.dtype}: the probe expects float32"
    flat, rows = made.values.reshape(len(made), -1), given.values.reshape(len(given), -1)
    assert torch.allclose(flat.norm(dim=1), rows.norm(dim=1), rtol=1e-3), (
        "a turn keeps the length of each example, over all layers; here lengths have changed"
    )
    expected = rows.double().numpy() @ Q
    assert np.allclose(flat.numpy(), expected, atol=1e-3), (
        "not the coordinates in Q: row times Q, all layers in one row, and the same Q for all"
    )
paths = {}
for seed in range(3):
    axes = rotation(1024, seed)
    paths[seed] = hlens.selection.path(rotated(train, axes), probe), rotated(test, axes)
print("Exercise 5: right.")
chosen = {}
for seed, (turned_path, part) in paths.items():
    detector = turned_path.detector(turned_path.choose())
    chosen[seed] = len(detector.selected), hlens.evaluate(detector, part)
    print(f"  random basis {seed}: keeps {chosen[seed][0]} of 1,024, AUROC {chosen[seed][1]}")

# %% [markdown]
# Along the whole path: how much is told with how many axes? ("Random" in this figure are the axes
# of the three random bases, and the band is their spread.)

# %%
points = []
for wanted in (1, 8, 16, 32, 64, 128):
    at = path.choose_count(wanted)  # the first point of the path that has so many, or more
    k, scored = int(path.n_selected[at]), hlens.evaluate(path.detector(at), test)
    points.append(("neurons", k, scored.value, scored.low, scored.high))
    scored = [
        hlens.evaluate(turned_path.detector(turned_path.choose_count(k)), part).value
        for turned_path, part in paths.values()
    ]
    points.append(("random bases", k, np.mean(scored), min(scored), max(scored)))
table = pd.DataFrame(points, columns=["neurons", "k", "auroc", "low", "high"])
dense = hlens.SparseProbe(C=0.001, penalty="l2", class_weight="balanced")
ceiling = hlens.evaluate(hlens.find(train, dense, calibration=None), test)
hlens.figures.k_sweep(table.assign(n=len(test)), ceiling=ceiling)

# %% [markdown]
# Two readings, and both are needed.
#
# - **Here the neurons are special.** Random bases tell nearly as well with twenty times as many
#   axes, and far worse with as few. That is as it should be: in this world the signal was planted
#   on neurons. In a real model nobody knows, and this is how to ask.
# - **Few of many is not yet special.** Even a basis that has nothing to do with the model gets by
#   with about a tenth of its axes. An L1 probe keeps, in general, no more axes than it has
#   examples. With 2,000 examples and 4 million neurons, "less than 0.1 % of neurons" is true of
#   *any* basis, before anything was measured.
#
# So a claim such as "fewer than 0.1 % of neurons" is about neurons only beside the same count in
# random bases, at the same AUROC. (Turning contributions does not turn the model: its activations
# are still computed neuron by neuron. It only asks the probe to do without knowing where the
# neurons are.)
#
# ## A common mistake
#
# *Reading "the probe selects neuron 7" as "neuron 7 is the feature".* In the third world above the
# sparse probe selects neurons that each read several features. It names the axes nearest to a
# direction, and L1 names few because it was paid to.
#
# ## What would falsify this?
#
# "A few neurons carry it" ends when as few random directions carry as much. "The model holds it in
# superposition" ends when single neurons tell as much as the best direction. The figure above is
# the test of the first, the one before it of the second.
#
# ## Recap
#
# 1. Why do features share neurons when they are rare, and not when they are common?
#    <details><summary>Answer</summary>Sharing hurts when two features are present at once. Rare
#    features seldom meet.</details>
# 2. Which of L1 and L2 notices a rotation, and why?
#    <details><summary>Answer</summary>L1: it adds sizes along the axes. L2 is a length, which a
#    rotation keeps.</details>
# 3. A probe keeps 300 of a million neurons, from 1,000 examples. What does "0.03 %" say?
#    <details><summary>Answer</summary>Little alone: at most 1,000 could be kept in any basis.
#    Compare with random bases at the same AUROC.</details>
#
# Next: [what a neuron promotes](13_what_a_neuron_promotes.ipynb)
