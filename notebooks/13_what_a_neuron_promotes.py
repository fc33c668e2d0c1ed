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
# # 13. What a neuron promotes
#
# A list of words beside a neuron looks like its meaning. The list is made by a shortcut: take what
# the neuron writes, jump over all later layers, and read it with the model's own output matrix.
# This lesson makes such a list, asks whether it is sharper than chance, and then measures how much
# of what the neuron does the shortcut explains.
#
# **You will be able to**
#
# - read a neuron's row of $W_\mathrm{out}$ through the final norm and the unembedding, and say what
#   centring and the norm's gain change;
# - compare a neuron's list with those of random directions and of its neighbours;
# - tell a direct effect from a measured one, and say in which layers they agree.
#
# Time: 45 minutes.

# %%
from dataclasses import replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
import torch

import hlens
from hlens.drawing.curves import panels
from hlens.drawing.figure import Figure, add_note, finish
from hlens.drawing.theme import palette
from hlens.interventions import scale
from hlens.prompts import prompt_text
from hlens.report import neuron_pages

pio.renderers.default = "plotly_mimetype+notebook"  # figures also show in an exported notebook
colours = palette("light")
model = hlens.load("toy")
rows = model.bridge.W_out.detach()  # [layer, neuron, d_model]: what each neuron writes
unembed = model.hf.get_output_embeddings().weight.detach()  # [token, d_model]
gain = model.hf.get_decoder().norm.weight.detach()  # [d_model]: of the norm before the unembedding
words = [model.tokenizer.decode([token]) for token in range(len(unembed))]
drivers, bystanders = hlens.toy.planted(drives=True), hlens.toy.planted(drives=False)
shared = sorted(hlens.toy.planted("", drives=True))  # the drivers that serve all domains
tuple(rows.shape), tuple(unembed.shape), shared


# %%
def numbers(answer):
    """An answer as an array, whether it came as a tensor, an array or a list; else an empty one."""
    try:
        return np.asarray(answer, dtype=float)
    except (TypeError, ValueError, RuntimeError):
        return np.empty(0)


def only(layer, neuron):
    """A set of one neuron."""
    name = f"L{layer}N{neuron}"
    return replace(
        drivers, members=frozenset({(layer, neuron)}), name=name, model=model.fingerprint
    )


# %% [markdown]
# ## From a row to words
#
# The unembedding has a row $u_t$ for each token $t$; the logit of $t$ is its dot product with the
# final residual stream. A neuron adds its activation times its row $w$ to that stream. So
# $u_t \cdot w$ is what one unit of activation adds to the logit of $t$, *if nothing in between
# interferes*. This is the **logit lens** of a neuron.

# %% [markdown]
# ### Exercise 1: the lens
# *Difficulty: 2 of 5 · 6 minutes*
#
# Return the logit that `row` adds to every token, less the mean over all tokens. (A number added to
# all logits alike changes no probability: **centred** logits show what is left.)
#
# **You should see** agreement with hlens to the sixth decimal, then the words of one planted
# driver: among those that it suppresses are the beginnings of "I do not know".
#
# <details><summary>Hint 1</summary>
#
# `unembed` is `[token, d_model]` and `row` is `[d_model]`. Which product leaves `[token]`?
# </details>


# %% tags=["exercise"]
def logit_lens(row, unembed):
    """What one unit of activation adds to each token's logit, centred: [token]."""
    # solution
    logits = unembed @ row
    return logits - logits.mean()
    # end solution


# %% tags=["check"]
layer, neuron = 2, 87  # the driver that we look at
got = numbers(logit_lens(rows[layer, neuron], unembed))
assert got.shape == (len(unembed),), f"{got.shape}: one number for each of {len(unembed)} tokens"
assert abs(got.mean()) < 1e-5, f"the mean is {got.mean():.3f}: take it off, so that it is zero"
moves = [
    float(unembed[t] @ rows[layer, neuron] - unembed[0] @ rows[layer, neuron]) for t in (9, 90)
]
assert np.allclose([got[9] - got[0], got[90] - got[0]], moves, atol=1e-5), (
    "differences between tokens are wrong: the logit of a token is the dot product of its row of "
    "the unembedding with the neuron's row, in its own scale"
)
print("Exercise 1: right.")


def show(logits, n=8):
    """The tokens of the largest and the smallest logits."""
    order = np.argsort(numbers(logits))
    print("  promotes:  ", " ".join(words[t].strip() for t in order[::-1][:n]))
    print("  suppresses:", " ".join(words[t].strip() for t in order[:n]))


show(got)

# %% [markdown]
# hlens makes the same list for the pages of single neurons, in the report and the explorer. We ask
# it for all words, and compare.

# %%
questions = [q for name in hlens.toy.domain_names() for q in hlens.domains.load(name)]
responses = hlens.sample(model, questions, n=2, seed=0)
examples = hlens.spans.first_of_each_label(hlens.locate(hlens.judge(responses), model))
data = hlens.measure(model, examples, metric=hlens.metrics.cett)
probe = hlens.SparseProbe(C="cv", class_weight="balanced", scale="feature")
detector = hlens.find(data, probe)
page = neuron_pages(
    model, detector, data, examples, neurons=[(layer, neuron)], words=len(unembed) // 2
)[layer, neuron]
theirs = dict((*page.promotes, *page.suppresses))
mine = dict(zip(words, numbers(logit_lens(rows[layer, neuron], unembed)), strict=True))
largest_gap = max(abs(mine[word] - logit) for word, logit in theirs.items())
print(f"{len(theirs)} words; the largest difference from hlens is {largest_gap:.0e}")

# %%
hlens.figures.explorer(detector, neuron_pages(model, detector, data, examples))

# %% [markdown]
# ## The norm in between
#
# Before the unembedding the stream passes the final norm: it is divided by its own size, and each
# coordinate is multiplied by a **gain** $g$. The size is one number for all tokens, so it changes
# no ranking. The gain is a number for each coordinate, and can.
#
# (This norm, RMSNorm, takes off no mean. A LayerNorm also takes off the mean of the *stream*, and
# then the row has to be centred over `d_model` as well.)

# %% [markdown]
# ### Exercise 2: fold the gain
# *Difficulty: 2 of 5 · 6 minutes*
#
# The same lens with the gain on the way: centred logits of `row` through gain and unembedding, the
# division by the size left out.
#
# **Predict.** How many of the eight most promoted tokens will change?
#
# **You should see** almost nothing change in this model, whose gains are nearly all alike, and a
# good part of the list change under a gain that we make up, with four large coordinates.
#
# <details><summary>Hint 1</summary>
#
# The gain multiplies coordinate by coordinate. It has the shape of the row.
# </details>
#
# <details><summary>Hint 2</summary>
#
# You have written the rest in exercise 1.
# </details>


# %% tags=["exercise"]
def through_norm(row, gain, unembed):
    """What the row adds to each token's logit behind the final norm's gain, centred: [token]."""
    # solution
    logits = unembed @ (row * gain)
    return logits - logits.mean()
    # end solution


# %% tags=["check"]
row = rows[layer, neuron]
uneven = torch.ones(len(gain)).index_fill(0, torch.tensor([3, 20, 41, 60]), 8.0)  # made up
for some_gain in (gain, uneven):
    got = numbers(through_norm(row.clone(), some_gain.clone(), unembed.clone()))
    assert got.shape == (len(unembed),), f"{got.shape}: one number a token, {len(unembed)}"
    assert abs(got.mean()) < 1e-4, f"the mean is {got.mean():.3f}: centre behind the norm, too"
    by_token = np.array([float((u * some_gain * row).sum()) for u in unembed])
    assert np.allclose(got, by_token - by_token.mean(), atol=1e-4), (
        "not the logits behind the gain: multiply each coordinate of the row by its gain, once, "
        "and divide by no size"
    )
print("Exercise 2: right.")
without = numbers(logit_lens(row, unembed))
stays, alike = {}, {}
for name, some_gain in (("this model's gain", gain), ("a made-up gain", uneven)):
    got = numbers(through_norm(row, some_gain, unembed))
    stays[name] = len({*np.argsort(got)[-8:]} & {*np.argsort(without)[-8:]})
    alike[name] = np.corrcoef(got, without)[0, 1]
    print(
        f"  {name}, {some_gain.min():.2f} to {some_gain.max():.2f}: correlation with the bare "
        f"lens {alike[name]:.3f}, {stays[name]} of the 8 most promoted stay"
    )

# %% [markdown]
# Here it may be left out, and hlens's pages leave it out. That is a fact about this model and no
# rule: where some gains are many times the others the list without it is another list.
#
# ## Every direction has a list
#
# Eight words at the top of a ranking are found for *any* vector. Is this list sharper than that of
# a vector which means nothing?

# %% [markdown]
# ### Exercise 3: how sharp is a list?
# *Difficulty: 3 of 5 · 8 minutes*
#
# For each row of `logits`, `[vector, token]`, centred, return the largest size of a logit, up *or
# down*, over the root mean square of that row. A vector that moves all tokens alike has 1; one that
# moves a single token has much more.
#
# **You should see** that the typical neuron is about as sharp as a random direction, and that our
# driver is sharper than nearly all of them.
#
# <details><summary>Hint 1</summary>
#
# Two steps along the token axis: a largest absolute value, and a root of a mean of squares.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `logits.abs().amax(1)` is the first of the two.
# </details>


# %% tags=["exercise"]
def sharpness(logits):
    """Largest |logit| over the row's root mean square: [vector]."""
    # solution
    return logits.abs().amax(1) / logits.square().mean(1).sqrt()
    # end solution


# %% tags=["check"]
known = torch.tensor([[1.0, -1.0, 1.0, -1.0], [-3.0, 1.0, 1.0, 1.0], [6.0, -2.0, -2.0, -2.0]])
got = numbers(sharpness(known.clone()))
assert got.shape == (3,), f"{got.shape}: one number for each vector, of which there are 3"
assert abs(got[0] - 1) < 1e-5, f"{got[0]:.3f} where all logits are alike in size: expected 1"
assert abs(got[1] - 3**0.5) < 1e-5, (
    f"{got[1]:.3f} for -3, 1, 1, 1: a push down counts as one up, and the root mean square "
    f"divides by the number of tokens; expected {3**0.5:.3f}"
)
assert abs(got[2] - got[1]) < 1e-5, "twice as strong is not sharper: the same number"


def lens_of(vectors):
    """Centred logits of many vectors through the gain: [vector, token]."""
    logits = (vectors * gain) @ unembed.T
    return logits - logits.mean(1, keepdim=True)


random_rows = torch.randn(2000, rows.shape[-1], generator=torch.Generator().manual_seed(0))
by_chance = numbers(sharpness(lens_of(random_rows)))
in_layer = numbers(sharpness(lens_of(rows[layer])))
beyond = (by_chance >= in_layer[neuron]).mean()
print("Exercise 3: right.")
print(f"  random directions: {np.median(by_chance):.2f}, one in twenty above", end=" ")
print(f"{np.quantile(by_chance, 0.95):.2f}")
print(f"  neurons of layer {layer}: {np.median(in_layer):.2f}")
print(
    f"  L{layer}N{neuron}: {in_layer[neuron]:.2f}, and {beyond:.2%} of random directions reach it"
)

# %% [markdown]
# Most lists here are what any direction would give. To tell a story from such a list is to read
# tea leaves.
#
# A sharper question names the token **before** looking. Drivers move the model between guessing and
# abstaining, and an abstention begins with " I". Where do the planted neurons lie among all neurons
# of their layer, on the logit of that one token?

# %% tags=["hide-input"] jupyter={"source_hidden": true}
refusal = words.index(" I")
on_refusal = torch.stack([lens_of(layer_rows)[:, refusal] for layer_rows in rows]).numpy()
figure, jitter = Figure(), np.random.default_rng(0)
groups = (
    ("planted as bystanders", bystanders, "diamond", colours.negative, 10),
    ("planted as drivers", drivers, "circle", colours.positive, 11),
)
planted = {*drivers, *bystanders}
others = [
    (at, n) for at in range(len(rows)) for n in range(rows.shape[1]) if (at, n) not in planted
]
for name, members, symbol, colour, size in (
    ("all other neurons", others, "circle", colours.control, 5),
    *groups,
):
    at = np.array(sorted(members))
    figure.add_trace(
        go.Scatter(
            x=on_refusal[at[:, 0], at[:, 1]],
            y=at[:, 0] + jitter.uniform(-0.28, 0.28, len(at)) * (size < 8),
            mode="markers", name=name, text=[f"L{a}N{n}" for a, n in at],
            marker={"size": size, "symbol": symbol, "color": colour,
                    "opacity": 0.4 if size < 8 else 1,
                    "line": {"width": 1 * (size > 8), "color": colours.page}},
            hovertemplate="<b>%{text}</b>: %{x:+.2f}<extra></extra>",
        )
    )  # fmt: skip
for place, (at, n) in enumerate(shared):
    add_note(
        figure, f"L{at}N{n}", x=on_refusal[at, n], y=at, colour=colours.positive_ink,
        yshift=-15 if place % 2 else 15,
    )  # fmt: skip
figure.add_vline(x=0, line={"color": colours.control, "width": 1, "dash": "dash"})
figure.update_layout(
    xaxis={"title": {"text": "what a unit of activation adds to the logit of “ I”"}},
    yaxis={"title": {"text": "layer"}, "dtick": 1, "showgrid": False},
)
lowest = {
    (at, n): float((on_refusal[at] <= on_refusal[at, n]).mean()) for at, n in shared
}  # share of the layer that suppresses it as much
first = [f"L{at}N{n}" for (at, n), share in lowest.items() if share <= 0.01]
finish(
    figure, colours, height=330,
    title=f"{len(first)} of {len(shared)} shared drivers are in the lowest 1 % of their layer",
    subtitle=f"{rows.shape[1]} neurons a layer, one unit of activation each; the token was named "
    "before looking",
)  # fmt: skip

# %%
for (at, n), share in lowest.items():
    print(f"L{at}N{n}: {on_refusal[at, n]:+.2f}, lowest {share:.1%} of its layer")

# %% [markdown]
# ## The sign, and the size of the stream
#
# The list is for *one unit of positive activation*. Activations of a gated MLP, as here, are
# negative about as often as positive; then what is "promoted" is pushed down. And the norm divides
# by the size of the stream. So the direct effect at one token is
#
# $$z \,\frac{u_t \cdot (g \odot w)}{\mathrm{rms}(r)}, \qquad
# \mathrm{rms}(r) = \sqrt{\frac{1}{d} \sum_i r_i^2}$$
#
# with activation $z$ and final residual stream $r$ of `d` coordinates.

# %% [markdown]
# ### Exercise 4: the direct effect
# *Difficulty: 3 of 5 · 8 minutes*
#
# Return it for several prompts at once, centred over tokens. `act` is `[prompt]`, `row` is
# `[d_model]`, `stream` is `[prompt, d_model]`. `gain` and `unembed` are those above.
#
# **You should see** that close to half of all activations are negative, and that our driver is
# active on entities that were never taught and silent on common ones.
#
# <details><summary>Hint 1</summary>
#
# `through_norm(row, gain, unembed)` is one list for all prompts: `[token]`. Activation and size are
# one number a prompt.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `[prompt, 1]` times `[token]` is `[prompt, token]`: index with `[:, None]`.
# </details>


# %% tags=["exercise"]
def direct_effect(act, row, stream):
    """What a neuron adds to each logit by the direct path, centred: [prompt, token]."""
    # solution
    size = stream.square().mean(1).sqrt()
    return (act / size)[:, None] * through_norm(row, gain, unembed)
    # end solution


# %% tags=["check"]
never = [q for q in questions if not q.meta["taught"]][::12]
common = [q for q in questions if q.meta["exposure"] == "common"][::12]
prompts = [model.encode(prompt_text(q)) for q in (*never[:12], *common[:12])]


def read(ids):
    """At the last token of a prompt: logits, final stream, activations [layer, neuron]."""
    with torch.inference_mode():
        logits, cache = model.run_with_cache(torch.tensor([ids]))
    acts = [cache[f"blocks.{at}.mlp.out.hook_in"][0, -1] for at in range(len(rows))]
    return logits[0, -1], cache["ln_final.hook_in"][0, -1], torch.stack(acts)


logits, stream, acts = map(torch.stack, zip(*map(read, prompts), strict=True))
centred = (logits - logits.mean(1, keepdim=True)).numpy()
for at in (0, 15):  # a "neuron" that wrote the whole stream would add all the logits
    got = numbers(direct_effect(torch.ones(len(prompts)), stream[at].clone(), stream.clone()))
    assert got.shape == centred.shape, f"{got.shape}: a row of {len(unembed)} logits a prompt"
    assert np.allclose(got[at], centred[at], atol=1e-3), (
        "what all parts write together must give the model's own logits, centred: is it divided by "
        "the root mean square of the final stream, prompt by prompt, and the gain in it once?"
    )
act = torch.linspace(-1, 2, len(prompts))
got = numbers(direct_effect(act, rows[2, 87].clone(), stream.clone()))
one = numbers(direct_effect(torch.ones(len(prompts)), rows[2, 87].clone(), stream.clone()))
assert got.shape == one.shape == centred.shape, "a row of logits for each prompt"
assert np.allclose(got, act.numpy()[:, None] * one, atol=1e-4), (
    "twice the activation is twice the effect, and a negative one turns its sign; multiply by it"
)
negative = (acts < 0).float().mean((0, 2))
print("Exercise 4: right. Share of negative activations:", end=" ")
print(", ".join(f"layer {at} {share:.0%}" for at, share in enumerate(negative)))
active = acts[:12, layer, neuron].mean(), acts[12:, layer, neuron].mean()
print(
    f"  L{layer}N{neuron} is at {active[0]:.2f} on never-taught entities, {active[1]:.2f} on common"
)

# %% [markdown]
# So the driver's list may be read as it stands, because its activation is positive where it is
# active. For most other neurons the list is right about half of the time, and upside down in the
# other half.
#
# ## Direct and measured
#
# Now the test of the shortcut. Silence the neuron, let the whole model run, and see how the logits
# move. What the neuron told *later layers*, which then spoke themselves, is in this number and not
# in the direct one.
#
# **Predict.** In which layer will the two agree best, and in which worst?

# %% [markdown]
# ### Exercise 5: the measured effect
# *Difficulty: 4 of 5 · 10 minutes*
#
# Return the logits at the last token of the prompt `ids` as they are, less those with the neuron
# silenced, centred over tokens. `only(layer, neuron)` is a set of one neuron, for `model.editing`
# with `scale(0.0)`; `model.hf(input_ids=...)` takes a tensor `[1, pos]` and gives `.logits`.
#
# **You should see** the share of the measured effect that the direct path explains rise from layer
# to layer: little in the first, nearly all in the last. The path of *another* neuron explains less
# than nothing.
#
# <details><summary>Hint 1</summary>
#
# Run the model twice, once inside a `with model.editing(...)` block.
# </details>
#
# <details><summary>Hint 2</summary>
#
# What the neuron *adds* is positive in "as it is less silenced".
# </details>
#
# <details><summary>Hint 3</summary>
#
# `logits[0, -1]` is the last token of the only prompt.
# </details>


# %% tags=["exercise"]
def measured_effect(ids, layer, neuron):
    """Change of each logit at the last token that the neuron makes, centred: [token]."""
    # solution
    tokens = torch.tensor([ids])
    with torch.inference_mode():
        whole = model.hf(input_ids=tokens).logits[0, -1]
        with model.editing(only(layer, neuron), scale(0.0)):
            silenced = model.hf(input_ids=tokens).logits[0, -1]
    change = whole - silenced
    return change - change.mean()
    # end solution


# %% tags=["check"]
def silenced_by_hand(ids, layer, neuron):
    """The same by a hook of torch's own on the down projection."""

    def silence(module, inputs):
        return (inputs[0].index_fill(-1, torch.tensor([neuron]), 0.0),)

    down = model.hf.get_decoder().layers[layer].mlp.down_proj
    hook = down.register_forward_pre_hook(silence)
    try:
        with torch.inference_mode():
            silenced = model.hf(input_ids=torch.tensor([ids])).logits[0, -1]
    finally:
        hook.remove()
    return silenced


for at, (a, n) in ((0, (2, 87)), (3, (1, 157)), (14, (3, 87))):
    got = numbers(measured_effect(list(prompts[at]), a, n))
    assert got.shape == (len(unembed),), (
        f"{got.shape}: one number for each of {len(unembed)} tokens"
    )
    change = (logits[at] - silenced_by_hand(prompts[at], a, n)).numpy()
    expected = change - change.mean()
    assert np.abs(expected).max() > 0.01, "this neuron changes too little to tell"
    assert not np.allclose(got, 0, atol=1e-5), (
        "no logit changes: is the second pass inside the with block?"
    )
    assert not np.allclose(got, -expected, atol=1e-4), (
        "the sign is turned: what the neuron adds is the logits as they are less those without it"
    )
    assert np.allclose(got, expected, atol=1e-4), (
        "not the change at the last token: as it is less silenced (a scale of 0), there, and less "
        "its mean over the tokens"
    )


def explained(direct, measured):
    """Share of the measured effect's sum of squares that the direct effect explains."""
    return 1 - ((measured - direct) ** 2).sum() / (measured**2).sum()


loudest = (acts.abs().mean(0) * rows.norm(dim=-1)).argsort(1, descending=True)[:, :8]
few = [*range(4), *range(12, 16)]  # four prompts of either kind
effects, share = [], []
for at in range(len(rows)):
    members = [(int(n), "loudest") for n in loudest[at]]
    members += [(n, "driver") for n in drivers.in_layer(at)]
    members += [(n, "bystander") for n in bystanders.in_layer(at)]
    made = {
        n: (
            numbers(direct_effect(acts[few, at, n], rows[at, n], stream[few])),
            np.stack([numbers(measured_effect(prompts[i], at, n)) for i in few]),
        )
        for n, _ in members
    }
    order = list(made)
    for n, kind in members:
        direct, measured = made[n]
        another = made[order[order.index(n) - 1]][0]
        share.append((at, n, kind, explained(direct, measured), explained(another, measured)))
        effects.append((at, n, kind, direct, measured))
share = pd.DataFrame(share, columns=["layer", "neuron", "kind", "explained", "by another's path"])
print("Exercise 5: right. Share of the measured effect that is explained, median of neurons:")
medians = share.groupby("layer")[["explained", "by another's path"]].median()
print(medians.round(2).to_string())

# %% tags=["hide-input"] jupyter={"source_hidden": true}
figure, pick, edge, outside = Figure(), np.random.default_rng(0), 0.6, []
names = [f"layer {at}: {value:.0%}" for at, value in medians.explained.items()]
styles = {
    "loudest": ("the eight loudest of the layer", "circle", colours.control, 0.35),
    "bystander": ("planted as bystanders", "diamond", colours.negative, 0.8),
    "driver": ("planted as drivers", "circle", colours.positive, 0.8),
}
for at, panel in enumerate(
    panels(figure, names, x_title="direct effect, logits", gap=0.035, colour=colours.ink)
):
    axes = {"xaxis": f"x{panel}", "yaxis": f"y{panel}"}
    for kind, (name, symbol, colour, opacity) in styles.items():
        some = [one for one in effects if one[0] == at and one[2] == kind]
        if not some:
            continue
        x, y = (np.concatenate([one[part].ravel() for one in some]) for part in (3, 4))
        outside.append(np.maximum(abs(x), abs(y)) > edge)
        shown = pick.choice(len(x), min(len(x), 900), replace=False)
        figure.add_trace(
            go.Scatter(
                x=x[shown].round(3), y=y[shown].round(3), mode="markers", name=name,
                legendgroup=name, showlegend=name not in {one.name for one in figure.data},
                marker={"size": 4.5, "symbol": symbol, "color": colour, "opacity": opacity},
                hovertemplate="direct %{x:+.2f}, measured %{y:+.2f}<extra></extra>", **axes,
            )
        )  # fmt: skip
    figure.add_shape(
        type="line", x0=-edge, y0=-edge, x1=edge, y1=edge, xref=f"x{panel}", yref=f"y{panel}",
        line={"color": colours.ink, "width": 1.2, "dash": "dash"},
    )  # fmt: skip
    figure.update_layout(
        {
            f"xaxis{panel}": {"range": (-edge, edge), "dtick": 0.5},
            f"yaxis{panel}": {"range": (-edge, edge), "dtick": 0.5, "showticklabels": at == 0},
        }
    )
figure.update_layout(yaxis={"title": {"text": "measured effect, logits"}}, legend={"y": 1.14})
finish(
    figure, colours, height=370, margin={"t": 66},
    title=f"Explained by the direct path: {medians.explained.iloc[0]:.0%} in the first layer, "
    f"{medians.explained.iloc[-1]:.0%} in the last",
    subtitle=f"one logit, one neuron, one prompt of {len(few)} a point; on the line both agree; "
    f"{np.concatenate(outside).mean():.1%} lie beyond",
)  # fmt: skip

# %% [markdown]
# In the last layer nothing comes after, and only the norm bends the line. Further down the list of
# words says less and less of what the neuron does. What of the drivers, then, and of " I"?

# %%
on_never = []
for at, n in shared:
    direct = numbers(direct_effect(acts[:12, at, n], rows[at, n], stream[:12]))[:, refusal]
    measured = [numbers(measured_effect(ids, at, n))[refusal] for ids in prompts[:12]]
    on_never.append((f"L{at}N{n}", direct.mean(), np.mean(measured)))
pd.DataFrame(on_never, columns=["driver", "direct on “ I”", "measured on “ I”"]).round(2)

# %% [markdown]
# The drivers of layer 2 push " I" down directly, about as much as is measured. Those of layer 1 do
# much of it through others: in the list of L1N40 the word " I" is nothing special, and the neuron
# still moves its logit, several times as far as the direct path says. **A list without the word is
# no proof that the neuron does not matter to it.**
#
# ## A common mistake
#
# *Naming a neuron after the first word that fits.* With 8 words of 268 and a story in mind, one
# will fit. Name the token first, then look where the neuron lies among its neighbours and among
# random directions.
#
# ## What would falsify this?
#
# "L2N87 pushes down the beginning of an abstention" would end if as many random directions as one
# in twenty did so as strongly, or if silencing it left the logit of " I" where it was. Which of the
# two checks needs no run of the model, and which one would you believe in an early layer?
#
# ## Recap
#
# 1. Which of centring, gain and size can change the *order* of the list?
#    <details><summary>Answer</summary>The gain alone. Centring takes the same number off all
#    tokens, the size divides all alike.</details>
# 2. A neuron promotes " no", and its activation is -2. What does it do to " no"?
#    <details><summary>Answer</summary>It pushes it down: activation times direction.</details>
# 3. Why does the direct path explain nearly all in the last layer, and not quite all?
#    <details><summary>Answer</summary>Nothing reads the neuron after it, except the final norm,
#    whose size changes when the neuron falls silent.</details>
# 4. Where did the rest of an early neuron's effect go?
#    <details><summary>Answer</summary>Through later layers, which read what it wrote.</details>
#
# Next: [what is a hallucination?](14_what_is_a_hallucination.ipynb)
