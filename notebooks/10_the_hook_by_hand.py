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
# # 10. The hook by hand
#
# `hlens.measure` is one line, and every finding rests on it. A hook on the wrong tensor, a norm
# over the whole batch, a token too early: none of these crashes, and all of them give a matrix of
# the right shape. This lesson rebuilds the line from the network up, until both agree to the sixth
# decimal, and then asks which of the usual mistakes you would have noticed.
#
# **You will be able to**
#
# - cache what passes through a module with a hook of your own, and leave the model as it was;
# - compute CETT (arXiv 2512.01797) from activations, rows and outputs, the shape said at every
#   step;
# - average over a region of tokens when the rows of a batch are padded;
# - say why a good AUROC is no test of a measurement.
#
# Time: 40 minutes.

# %%
from dataclasses import replace

import einops
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
import torch

import hlens
from hlens.drawing.curves import panels
from hlens.drawing.figure import Figure, finish
from hlens.drawing.theme import palette

pio.renderers.default = "plotly_mimetype+notebook"  # figures also show in an exported notebook
colours = palette("light")
model = hlens.load("toy")
net = model.hf  # the network underneath: an ordinary torch module
layers = net.get_decoder().layers
layers[0].mlp


# %%
def numbers(answer):
    """An answer as an array, whether it came as a tensor, an array or a list; else an empty one."""
    try:
        return np.asarray(answer.detach() if torch.is_tensor(answer) else answer, dtype=float)
    except (TypeError, ValueError, RuntimeError):
        return np.empty(0)


# %% [markdown]
# ## What goes in
#
# Some hundred answers, labelled as in lesson 3. An example is a row of tokens: the prompt, then the
# response from `n_prompt` on. Rows differ in length, and a batch is a table, so short rows are
# filled up **behind** with a padding token. `real` says which tokens are no padding.

# %%
questions = [q for name in ("toy_towns", "toy_people") for q in hlens.domains.load(name)]
responses = hlens.sample(model, questions, n=1, seed=0)
examples = hlens.spans.first_of_each_label(hlens.locate(hlens.judge(responses), model))


def as_batch(examples):
    """The examples' tokens, padded behind, and which of them are real: both [example, pos]."""
    rows = [example.token_ids for example in examples]
    tokens = torch.nn.utils.rnn.pad_sequence(
        rows, batch_first=True, padding_value=int(model.pad_id)
    )
    real = torch.zeros_like(tokens)
    for at, row in enumerate(rows):
        real[at, : len(row)] = 1
    return tokens, real


lengths = np.array([len(example.token_ids) for example in examples])
few = [examples[int(np.flatnonzero(lengths == n)[0])] for n in np.unique(lengths)]
for example, row in zip(few, as_batch(few)[0], strict=True):
    words = model.tokenizer.convert_ids_to_tokens(row.tolist())
    print(*words[:9], "...", *words[example.n_prompt - 1 :])

# %% [markdown]
# ## What passes through
#
# The MLP of this model is gated:
#
# $$z = \mathrm{SiLU}(W_\mathrm{gate}\,x) \odot W_\mathrm{up}\,x, \qquad h = W_\mathrm{down}\,z$$
#
# The activation of a neuron is $z_j$, **the input of the down projection**. It has no name in the
# network: the product is computed and handed on. But whoever receives it can be watched:
# `module.register_forward_hook(f)` calls `f(module, inputs, output)` at each pass, where `inputs`
# is a tuple. It returns a handle, and `handle.remove()` ends it.

# %% [markdown]
# ### Exercise 1: the hook
# *Difficulty: 2 of 5 · 8 minutes*
#
# Run the network on a batch and return what enters the down projection of one layer and what leaves
# it: `(act, out)`, of shapes `[batch, pos, neuron]` and `[batch, pos, d_model]`. The network takes
# `net(input_ids=tokens, attention_mask=real)`. Take the hook off again.
#
# **You should see** both shapes: 256 neurons go in, 64 coordinates come out.
#
# <details><summary>Hint 1</summary>
#
# `layers[layer].mlp.down_proj` is the module. What is its input, and what its output?
# </details>
#
# <details><summary>Hint 2</summary>
#
# A hook is a function inside your function: let it put what it sees into a dict that you made
# outside of it.
# </details>
#
# <details><summary>Hint 3</summary>
#
# `try: ... finally: handle.remove()` takes it off even where the pass fails, and
# `torch.inference_mode()` keeps torch from recording gradients.
# </details>


# %% tags=["exercise"]
def caught(tokens, real, layer):
    """What enters and leaves a down projection: [batch, pos, neuron], [batch, pos, d_model]."""
    # solution
    seen = {}

    def keep(module, inputs, output):
        seen["act"], seen["out"] = inputs[0], output

    handle = layers[layer].mlp.down_proj.register_forward_hook(keep)
    try:
        with torch.inference_mode():
            net(input_ids=tokens, attention_mask=real)
    finally:
        handle.remove()
    return seen["act"], seen["out"]
    # end solution


# %% tags=["check"]
def n_hooks():
    """How many hooks the network carries."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules())


tokens, real = as_batch(few)
for at in (1, 3):
    before = n_hooks()
    answer = caught(tokens.clone(), real.clone(), at)
    left = n_hooks() - before
    assert isinstance(answer, tuple | list) and len(answer) == 2, (
        "return two tensors, in this order: (act, out)"
    )
    act, out = map(numbers, answer)
    mlp, (n, n_pos) = layers[at].mlp, tokens.shape
    assert act.shape == (n, n_pos, 256), (
        f"act is {act.shape}: expected {(n, n_pos, 256)}, batch first; the hook's inputs are a "
        "tuple, and act is what goes into the down projection"
    )
    assert out.shape == (n, n_pos, 64), (
        f"out is {out.shape}: expected {(n, n_pos, 64)}, what the down projection writes"
    )
    with torch.inference_mode():
        entered = []
        handle = mlp.register_forward_pre_hook(lambda _, inputs, e=entered: e.append(inputs[0]))
        net(input_ids=tokens, attention_mask=real)
        handle.remove()
        gate, up = mlp.gate_proj(entered[0]), mlp.up_proj(entered[0])  # by the formula above
        gated = mlp.act_fn(gate)
    where = real.numpy() == 1  # what padding gives is nobody's business
    near = [np.allclose(act[where], numbers(one)[where], atol=1e-4) for one in (gate, gated, up)]
    assert not near[0], "act is the gate before its SiLU; the neuron is what enters down_proj"
    assert not near[1], "act is SiLU(gate) alone: it is still multiplied by up(x) on its way"
    assert not near[2], "act is up(x) alone: the gate multiplies it on its way"
    expected = numbers(gated * up)
    assert np.allclose(act[where], expected[where], atol=1e-4), (
        f"act is not what enters the down projection of layer {at}; is it this layer?"
    )
    assert np.allclose(out[where], numbers(mlp.down_proj(gated * up))[where], atol=1e-4), (
        f"out is not what leaves the down projection of layer {at}"
    )
    assert not left, f"{left} hooks are still on the network: handle.remove() takes one off"
print(f"Exercise 1: right. act {act.shape}, out {out.shape}")

# %% [markdown]
# ## What a neuron says
#
# Torch keeps the weight of a linear layer as `[out, in]`. Here that is `[d_model, neuron]`: what
# neuron $j$ writes is **column** $j$ of `down_proj.weight` (and row $j$ of $W_\mathrm{out}$ in
# TransformerLens, which keeps the transpose).

# %% [markdown]
# ### Exercise 2: the contribution
# *Difficulty: 2 of 5 · 7 minutes*
#
# From `act` `[batch, pos, neuron]`, `out` `[batch, pos, d_model]` and torch's `weight`
# `[d_model, neuron]`, return CETT, `[batch, pos, neuron]`:
#
# $$\frac{|z_j|\,\lVert w_j\rVert_2}{\lVert h\rVert_2}$$
#
# **You should see** the sum over the neurons at one token: above 1, since what neurons write partly
# cancels.
#
# <details><summary>Hint 1</summary>
#
# Two norms, both over `d_model`: one for each neuron, one for each token of each row.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Write the shapes down: `[batch, pos, neuron]` times `[neuron]` over `[batch, pos, 1]`. Or let
# `einops.einsum(a, b, "batch pos neuron, neuron -> batch pos neuron")` say them.
# </details>


# %% tags=["exercise"]
def contribution(act, out, weight):
    """CETT of every neuron at every token: [batch, pos, neuron]."""
    # solution
    said = weight.norm(dim=0)  # [neuron]
    heard = einops.rearrange(out.norm(dim=-1), "batch pos -> batch pos 1")
    return einops.einsum(act.abs(), said, "batch pos neuron, neuron -> batch pos neuron") / heard
    # end solution


# %% tags=["check"]
draw = torch.Generator().manual_seed(0)
# As many coordinates as neurons and as tokens: no shape gives a wrong axis away.
act, out = (torch.randn(2, 5, 5, generator=draw) for _ in range(2))
weight = torch.randn(5, 5, generator=draw) * torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
got = numbers(contribution(act.clone(), out.clone(), weight.clone()))
assert got.shape == (2, 5, 5), f"{got.shape}: one number for each neuron at each token, (2, 5, 5)"
assert (got >= 0).all(), "a length over a length is never negative: take |z|"
lengths_of = {axis: weight.norm(dim=axis).numpy() for axis in (0, 1)}
heard = out.norm(dim=-1, keepdim=True).numpy()
assert not np.allclose(got, act.abs().numpy() * lengths_of[1] / heard, rtol=1e-3), (
    "the norms run over the wrong axis: torch keeps [d_model, neuron], so a neuron is a column"
)
for row in range(2):
    for pos in range(5):
        wrote = act[row, pos] * weight  # [d_model, neuron]: the vectors that the neurons write
        expected = wrote.norm(dim=0) / out[row, pos].norm()
        assert np.allclose(got[row, pos], expected.numpy(), rtol=1e-3), (
            f"row {row}, token {pos}: the length of what each neuron writes over the length of the "
            "output at this token of this row alone"
        )
act, out = caught(tokens, real, 2)
weight = layers[2].mlp.down_proj.weight.detach()
total = numbers(contribution(act, out, weight))[0, few[0].n_prompt].sum()
print(f"Exercise 2: right. Layer 2, first token of a response: the sum is {total:.1f}.")

# %% [markdown]
# One neuron along one answer: L2N210, a planted driver, active where an entity was never taught.
# **Before you look:** this town was never taught. From which token on can the neuron know?

# %%
untaught = {question.id for question in questions if not question.meta["taught"]}
never = next(example for example in examples if example.question_id in untaught)
tokens, real = as_batch([never])
act, out = caught(tokens, real, 2)
along = torch.as_tensor(numbers(contribution(act, out, weight)))[0, :, 210]
words = model.tokenizer.convert_ids_to_tokens(never.token_ids.tolist())
hlens.figures.tokens(words, (along / along.max()).numpy(), label="CETT / largest")

# %% [markdown]
# Behind the name, and then to the end: only the pair of words was never taught, each of them occurs
# in other names. (The question word sets it off as well, before any name. A planted neuron is no
# pure one.) A mean over all tokens would mix the two, so which tokens are taken is part of the
# measure.
#
# ## Which tokens
#
# In Python a region is `[start, stop)`: `start` is its first token, `stop` the one behind its last.
# hlens reads neurons where the region's tokens are the **input** (`position="read"`, as the paper).

# %% [markdown]
# ### Exercise 3: the mean over a region
# *Difficulty: 3 of 5 · 7 minutes*
#
# `values` is `[batch, pos, neuron]`; `starts` and `stops` are lists with one whole number a row.
# Return each row's mean over its own region, `[batch, neuron]`.
#
# **You should see** two tokens in each response here (a word and a full stop), and padding behind
# all but the longest rows.
#
# <details><summary>Hint 1</summary>
#
# A loop over rows is right, and short: `values[row, start:stop]` is `[token, neuron]`.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Without a loop: a mask `[batch, pos]` that is one inside the region. Divide by how many tokens
# *it* holds in each row, not by the length of the table.
# </details>


# %% tags=["exercise"]
def region_mean(values, starts, stops):
    """Mean over each row's own tokens: [batch, neuron]."""
    # solution
    rows = zip(values, starts, stops, strict=True)
    return torch.stack([row[start:stop].mean(dim=0) for row, start, stop in rows])
    # end solution


# %% tags=["check"]
draw = torch.Generator().manual_seed(1)
values, starts, stops = torch.rand(3, 7, 4, generator=draw), [2, 1, 3], [3, 5, 5]
for row, stop in enumerate(stops):
    values[row, stop:] += 100  # what comes behind the region is easily seen
got = numbers(region_mean(values.clone(), list(starts), list(stops)))
assert got.shape == (3, 4), f"{got.shape}: one mean for each row and neuron, (3, 4)"
assert (got < 10).all(), "what lies behind the region (padding) is measured: end before `stop`"
bounds = list(zip(starts, stops, strict=True))
each = [values[row, a:b].numpy() for row, (a, b) in enumerate(bounds)]
early = [values[row, a - 1 : b - 1].mean(0).numpy() for row, (a, b) in enumerate(bounds)]
assert not np.allclose(got, early, atol=1e-5), (
    "one token early: that is where the tokens are predicted; `start` is the first that is read"
)
for row, tokens_of_row in enumerate(each):
    assert np.allclose(got[row], tokens_of_row.mean(0), atol=1e-5), (
        f"row {row}: not the mean of its tokens {starts[row]} to {stops[row] - 1}; each row has "
        "its own start, and its own number of tokens to divide by"
    )
spans = [len(example.token_ids) - example.n_prompt for example in examples]
padded = (lengths < lengths.max()).mean()
print(
    f"Exercise 3: right. Tokens in a response: {min(spans)} to {max(spans)}, padded: {padded:.0%}"
)

# %% [markdown]
# ## The whole line

# %% [markdown]
# ### Exercise 4: measure
# *Difficulty: 3 of 5 · 8 minutes*
#
# Put the three together: for a list of examples return the mean CETT over the **response** (from
# `example.n_prompt` to the end of `example.token_ids`) of every neuron of all layers,
# `[example, layer, neuron]`.
#
# **You should see** a largest difference from `hlens.measure` far below a millionth, over all
# examples and neurons.
#
# <details><summary>Hint 1</summary>
#
# `as_batch(examples)` gives `tokens, real`. The regions are the same in all layers.
# </details>
#
# <details><summary>Hint 2</summary>
#
# One `[example, neuron]` a layer; `torch.stack(..., dim=1)` puts the layers in the middle.
# </details>


# %% tags=["exercise"]
def by_hand(examples):
    """Mean CETT over the response: [example, layer, neuron]."""
    # solution
    tokens, real = as_batch(examples)
    starts = [example.n_prompt for example in examples]
    stops = [len(example.token_ids) for example in examples]
    means = []
    for at, layer in enumerate(layers):
        act, out = caught(tokens, real, at)
        each = contribution(act, out, layer.mlp.down_proj.weight.detach())
        means.append(region_mean(each, starts, stops))
    return torch.stack(means, dim=1)
    # end solution


# %% tags=["check"]
data = hlens.measure(model, examples, metric=hlens.metrics.cett, region="response")
theirs = data.values.numpy()
some = [*few, *examples[:20], *few[::-1]]  # of mixed lengths
got = numbers(by_hand(list(some)))
assert got.shape == (len(some), 4, 256), (
    f"{got.shape}: expected {(len(some), 4, 256)}, [example, layer, neuron]"
)
expected = np.stack([theirs[next(i for i, e in enumerate(examples) if e is one)] for one in some])
for at in range(4):
    off = np.abs(got[:, at] - expected[:, at]).max()
    assert off < 1e-6, (
        f"layer {at} is off by up to {off:.1e}: is it this layer's act, out and weight, and the "
        "response from n_prompt to the row's own end?"
    )
mine = numbers(by_hand(examples))
assert mine.shape == theirs.shape, f"{mine.shape} for all examples, expected {theirs.shape}"
largest_gap = np.abs(mine - theirs).max()
assert largest_gap < 1e-6, f"off by up to {largest_gap:.1e} over all examples"
print(f"Exercise 4: right. {mine.size:,} numbers, the largest difference is {largest_gap:.0e}.")

# %% [markdown]
# That is all that `hlens.measure` does. What it adds is thrift: it runs a prompt once for all of
# its answers, and keeps no activation longer than a layer lasts.
#
# ## Would you have noticed?
#
# Four mistakes that each of us has made. All of them run, and give a matrix of the right shape:
#
# - **the gate, not the neuron**: the hook sits before the SiLU and the product;
# - **a token early**: regions begin at `n_prompt - 1`, where the response is predicted;
# - **padding measured**: the mean runs to the end of the table;
# - **the batch forgotten**: one norm of the outputs for all rows together.
#
# **Predict.** With each of these matrices we train the probe of lesson 3, and score it on entities
# that it never saw. For which of the mistakes will the AUROC fall below 0.7?


# %%
def watch(module, key, seen):
    """Keep a module's input and output under a key, until the handle is removed."""
    return module.register_forward_hook(
        lambda _, inputs, output: seen.update({key: (inputs[0], output)})
    )


tokens, real = as_batch(examples)
seen = {}
handles = [
    watch(module, (at, name), seen)
    for at, layer in enumerate(layers)
    for name, module in (("down", layer.mlp.down_proj), ("gate", layer.mlp.gate_proj))
]
with torch.inference_mode():
    net(input_ids=tokens, attention_mask=real)
for handle in handles:
    handle.remove()


def with_mistake(name):
    """The examples' values where the line has one mistake: [example, layer, neuron]."""
    early = int(name == "a token early")
    pos = torch.arange(tokens.shape[1])
    start = torch.tensor([example.n_prompt - early for example in examples])
    stop = real.sum(1) - early
    if name == "padding measured":
        stop[:] = len(pos)
    inside = ((pos >= start[:, None]) & (pos < stop[:, None])).float()  # [example, pos]
    means = []
    for at, layer in enumerate(layers):
        (act, out), (_, gate) = seen[at, "down"], seen[at, "gate"]
        if name == "the gate, not the neuron":
            act = gate
        over = (0, 2) if name == "the batch forgotten" else 2
        heard = out.norm(dim=over, keepdim=True)
        each = act.abs() * layer.mlp.down_proj.weight.detach().norm(dim=0) / heard
        total = einops.einsum(each, inside, "example pos neuron, example pos -> example neuron")
        means.append(total / inside.sum(1, keepdim=True))
    return torch.stack(means, dim=1)


right, *mistakes = (
    "by hand", "the gate, not the neuron", "a token early", "padding measured",
    "the batch forgotten",
)  # fmt: skip
made = {right: torch.as_tensor(mine).float()} | {name: with_mistake(name) for name in mistakes}
probe = hlens.SparseProbe(n_neurons=10, class_weight="balanced", scale="feature")
chosen, scored, off = {}, {}, {}
for name, values in made.items():
    train, test = hlens.evaluation.split_by_group(replace(data, values=values), test=0.3)
    found = hlens.find(train, probe, calibration=None)
    chosen[name], scored[name] = found.selected, hlens.evaluate(found, test)
    off[name] = float(((values - data.values).abs() / data.values).median())
kept = {name: len(members & chosen[right]) for name, members in chosen.items()}

again = []  # the control: the right line, on other answers to the same questions
for seed in (1, 2, 3):
    others = hlens.judge(hlens.sample(model, questions, n=1, seed=seed))
    others = hlens.spans.first_of_each_label(hlens.locate(others, model))
    others = hlens.measure(model, others, metric=hlens.metrics.cett, region="response")
    train, _ = hlens.evaluation.split_by_group(others, test=0.3)
    again.append(len(hlens.find(train, probe, calibration=None).selected & chosen[right]))
print("of the same 10 neurons, by the right line on other answers:", *again)
pd.DataFrame(
    {
        "off by (median)": {name: f"{share:.0%}" for name, share in off.items()},
        "AUROC, test": {name: str(score) for name, score in scored.items()},
        "of the same 10 neurons": kept,
    }
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
figure, draw = Figure(), np.random.default_rng(0)
shown = draw.choice(data.values.numel(), 700, replace=False)
truth = data.values.flatten()[shown].numpy()
short = dict(
    zip(made, ("by hand", "the gate", "token early", "with padding", "over the batch"), strict=True)
)
low, high = -4.6, 0.6
for panel, (name, values) in zip(
    panels(
        figure, [f"{short[name]}: {scored[name].value:.2f}" for name in made],
        x_title="hlens.measure", gap=0.02, colour=colours.ink,
    ),
    made.items(),
    strict=True,
):  # fmt: skip
    axes = {"xaxis": f"x{panel}", "yaxis": f"y{panel}", "showlegend": False}
    colour = colours.negative if name == right else colours.positive
    figure.add_trace(
        go.Scatter(
            x=truth, y=values.flatten()[shown].numpy(), mode="markers", name=name,
            marker={"size": 4, "color": colour, "opacity": 0.45,
                    "symbol": "diamond" if name == right else "circle"},
            hovertemplate=f"{name}<br>hlens %{{x:.3g}}, here <b>%{{y:.3g}}</b><extra></extra>",
            **axes,
        )
    )  # fmt: skip
    figure.add_shape(
        type="line", x0=10**low, y0=10**low, x1=10**high, y1=10**high,
        xref=f"x{panel}", yref=f"y{panel}",
        line={"color": colours.ink, "width": 1.2, "dash": "dash"},
    )  # fmt: skip
    figure.add_annotation(
        x=0.04, y=0.98, xref=f"x{panel} domain", yref=f"y{panel} domain", showarrow=False,
        xanchor="left", align="left", font={"color": colours.muted, "size": 12},
        text=f"{kept[name]} of the 10<br>neurons",
    )  # fmt: skip
    log = {"type": "log", "range": (low, high), "dtick": 2, "exponentformat": "power"}
    figure.update_layout(
        {f"xaxis{panel}": log, f"yaxis{panel}": {**log, "showticklabels": panel == ""}}
    )
figure.update_layout(yaxis={"title": {"text": "this line"}})
lowest, highest = (f([score.value for score in scored.values()]) for f in (min, max))
same = sum(np.allclose(values.numpy(), theirs, atol=1e-6) for values in made.values())
finish(
    figure, colours, height=330,
    title=f"{len(made)} measurements, AUROC {lowest:.2f} to {highest:.2f}: {same} of them is CETT",
    subtitle=f"beside each name AUROC, n = {len(test)}; the right line on other answers names "
    f"{min(again)} to {max(again)} of the 10",
)  # fmt: skip

# %% [markdown]
# None of them falls. Ten neurons at the wrong token, or before the product, tell made-up answers
# from true ones as well as the right ones do: in a small network the signal is in many places, and
# the probe finds it there. What changes is *which* neurons it names, and those names are what every
# later lesson edits, compares and explains.
#
# Is that more than noise? The right line on other answers names some five to eight of the same ten.
# Three of the mistakes name fewer. Measured padding names as many: neither the AUROC nor the
# neurons give it away, although half of all numbers are off by about a fifth or more. **An AUROC is
# no test of a measurement, and neither is a plausible list. Equality with an independent
# computation is.**
#
# (The wrong axis of exercise 2 would have shown itself here: 64 norms do not fit 256 neurons. Where
# a matrix is square, or a broadcast happens to fit, it does not. Hence the square example in that
# check.)
#
# ## A common mistake
#
# *Leaving the hook on.* A notebook cell that is run three times has then three hooks, each of which
# keeps its activations. The model slows down, memory fills, and an editing hook edits three times.
# Remove it in a `finally`, so that an error in the pass does not leave it there.
#
# ## What would falsify this?
#
# "This matrix holds CETT" is a claim about every entry, and one entry ends it. So compare *all*
# entries, over rows of different lengths, with numbers made another way: a formula applied to one
# token by hand, another library, one example at a time. Two of the four mistakes
# are invisible in a batch of one example; which?
#
# ## Recap
#
# 1. Why is the input of `down_proj` watched, and not the output of `act_fn`?
#    <details><summary>Answer</summary>In a gated MLP the SiLU of the gate is multiplied by `up(x)`
#    afterwards. What is multiplied by the neuron's row is the product.</details>
# 2. Over which axis of torch's `down_proj.weight` is the norm of a neuron taken?
#    <details><summary>Answer</summary>Over the first, `d_model`: the weight is `[d_model, neuron]`,
#    and a neuron is a column.</details>
# 3. Padding lies behind the rows, and attention is causal. Why must it be left out all the same?
#    <details><summary>Answer</summary>It changes no real token, but it has activations of its own,
#    and a mean to the end of the table takes them in.</details>
# 4. Which two mistakes does a batch of one example hide?
#    <details><summary>Answer</summary>Padding, of which a single row has none, and the forgotten
#    batch: a norm over all rows is then a norm over one.</details>
#
# Next: [coordinate descent](11_coordinate_descent.ipynb)
