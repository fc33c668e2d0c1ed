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
# # 2. A neuron's say
#
# A neuron can shout into a pillow. Its activation may be large while what it writes into the model
# is nothing. This lesson measures what arrives.
#
# **You will be able to**
#
# - say what a neuron of an MLP is, and read its activation and its row of $W_\mathrm{out}$ with
#   TransformerLens;
# - compute CETT, the contribution measure of Gao et al. (arXiv 2512.01797), by hand;
# - explain why the activation alone can mislead, and what CETT does not tell either.
#
# Time: 30 minutes.

# %%
import plotly.io as pio
import torch

import hlens
from hlens.prompts import prompt_text

pio.renderers.default = "plotly_mimetype+notebook"  # figures also show in an exported notebook
model = hlens.load("toy")
model

# %% [markdown]
# ## Inside one layer
#
# An MLP layer turns the residual stream into `d_mlp` activations $z_j$, and writes
# $h = \sum_j z_j w_j$ back, where $w_j$ is row $j$ of $W_\mathrm{out}$. **Neuron $j$** is the pair
# of the number $z_j$ and the vector $w_j$. `run_with_cache` keeps what passes through.

# %%
question = next(q for q in hlens.domains.load("toy_towns") if not q.meta["taught"])
prompt = model.encode(prompt_text(question))
answer = model.generate(prompt_text(question), seed=0)
tokens = torch.tensor([[*prompt, *answer.token_ids]])
_, cache = model.run_with_cache(tokens)
trace = hlens.MlpTrace.from_cache(cache, model.bridge, layer=2)
print(question.text, "->", answer.text)
print("activations", tuple(trace.act.shape), " output", tuple(trace.out.shape))

# %% [markdown]
# ### Exercise 1: the output is a sum over neurons
# *Difficulty: 1 of 5 · 4 minutes*
#
# Rebuild the layer's output from activations and rows. (`trace.w_out` is `[neuron, d_model]`.)
#
# **You should see** one line: the sum equals the layer's output, to rounding.
#
# <details><summary>Hint 1</summary>
#
# `trace.act` is `[batch, pos, neuron]` and `trace.w_out` is `[neuron, d_model]`. Which index is
# summed over?
# </details>
#
# <details><summary>Hint 2</summary>
#
# That sum is a matrix product.
# </details>


# %% tags=["exercise"]
def rebuilt(trace):
    """The layer's output as the sum of what its neurons write: [batch, pos, d_model]."""
    # solution
    return trace.act @ trace.w_out
    # end solution


# %% tags=["check"]
shape = tuple(rebuilt(trace).shape)
assert shape == tuple(trace.out.shape), (
    f"{shape}: one vector of {trace.out.shape[-1]} numbers a token, the neurons summed"
)
off = (rebuilt(trace) - trace.out).abs().max()
assert off < 1e-4, f"off by {off:.1e}: sum each activation times its neuron's row, signs included"
print("Exercise 1: right. A layer says nothing that its neurons do not say.")

# %% [markdown]
# ### Exercise 2: CETT by hand
# *Difficulty: 2 of 5 · 8 minutes*
#
# The contribution of neuron $j$ at a token is the length of what it writes over the length of what
# the layer writes: $\;|z_j|\,\lVert w_j\rVert \,/\, \lVert h\rVert$.
#
# **You should see** one line: your numbers are those of `hlens.metrics.cett`, neuron by neuron.
#
# <details><summary>Hint 1</summary>
#
# There are three factors: the size of an activation, the length of a row of `w_out`, the length of
# the layer's output at that token.
# </details>
#
# <details><summary>Hint 2</summary>
#
# A row's length is a norm over `d_model`: one number a neuron. The output's length is one number a
# token; keep its last axis, so that it divides every neuron.
# </details>


# %% tags=["exercise"]
def contribution(trace):
    """CETT of every neuron at every token: [batch, pos, neuron]."""
    # solution
    said = trace.act.abs() * trace.w_out.norm(dim=1)
    return said / trace.out.norm(dim=-1, keepdim=True)
    # end solution


# %% tags=["check"]
own = contribution(trace)
assert own.shape == trace.act.shape, f"{tuple(own.shape)}: one number a token and neuron"
assert (own >= 0).all(), "a length over a length is never negative: take |z|"
# By the definition, neuron by neuron: what it writes is a vector, and that has a length.
for neuron in (0, 7, 100):
    wrote = trace.act[..., neuron, None] * trace.w_out[neuron]
    share = wrote.norm(dim=-1) / trace.out.norm(dim=-1)
    assert torch.allclose(own[..., neuron], share, atol=1e-5), (
        f"neuron {neuron}: compare with the formula above, norm by norm; the row's is over d_model"
    )
assert torch.allclose(own, hlens.metrics.cett(trace), atol=1e-5), "not yet hlens.metrics.cett"
print("Exercise 2: right. The same as hlens.metrics.cett.")

# %% [markdown]
# **Predict, then run.** At one token, add up the contributions of all neurons of the layer. Will
# the sum be 1, at least 1, or at most 1?

# %%
contribution(trace)[0].sum(-1)

# %% [markdown]
# At least 1: neurons write in different directions and partly cancel, so what they say adds up to
# more than what is heard (the triangle inequality). **CETT is no share**: do not read 0.1 as "ten
# percent of the output".
#
# ### Exercise 3: the activation is not a fact about the function
# *Difficulty: 2 of 5 · 6 minutes*
#
# Double a neuron's row of $W_\mathrm{out}$ and halve its activation: the model computes the same.
# Write such a change for *all* neurons by a factor `c`, and watch which measure notices.
#
# **You should see** one line: CETT stays the same under the change, and the activation does not.
#
# <details><summary>Hint 1</summary>
#
# `hlens.MlpTrace(act, out, w_out)` makes a trace. Which of the three must stay as it is?
# </details>
#
# <details><summary>Hint 2</summary>
#
# The product of an activation and its row must not change: what one loses the other gains.
# </details>


# %% tags=["exercise"]
def rescaled(trace, c):
    """The same function: activations over c, rows times c."""
    # solution
    return hlens.MlpTrace(trace.act / c, trace.out, trace.w_out * c)
    # end solution


# %% tags=["check"]
given = hlens.MlpTrace(trace.act.clone(), trace.out, trace.w_out.clone())
other = rescaled(given, 4.0)
assert torch.equal(given.act, trace.act) and torch.equal(given.w_out, trace.w_out), (
    "the function changed the trace that it was given; make a new one"
)
assert torch.allclose(rebuilt(other), trace.out, atol=1e-4), (
    "the output must stay the same: what is divided on one side is multiplied on the other"
)
same = torch.allclose(hlens.metrics.cett(other), hlens.metrics.cett(trace), atol=1e-5)
moved = not torch.allclose(hlens.metrics.activation(other), hlens.metrics.activation(trace))
assert same and moved, "CETT must stay and the activation must change: was anything rescaled?"
print("Exercise 3: right. CETT measures the function, the activation its notation.")

# %% [markdown]
# ## One neuron along an answer
#
# The toy model has planted neurons. `L1N40` was trained to be active where the entity was never
# taught (but it is deaf to half of the names). Here is its contribution, token by token, on
# one taught and one never-taught entity. Before you look: on which *tokens* should it speak?

# %%
layer, neuron = min(hlens.toy.planted("", drives=True))


def strip(question):
    """Contribution of the neuron at each token of a question and its answer, as a token strip."""
    ids = model.encode(prompt_text(question, ""))
    said = model.generate(prompt_text(question, ""))
    row = torch.tensor([[*ids, *said.token_ids]])
    _, cache = model.run_with_cache(row)
    value = hlens.metrics.cett(hlens.MlpTrace.from_cache(cache, model.bridge, layer=layer))
    words = model.tokenizer.convert_ids_to_tokens(row[0].tolist())
    return hlens.figures.tokens(words, value[0, :, neuron].clamp(max=1).numpy(), label="CETT")


strip(question)

# %%
strip(next(q for q in hlens.domains.load("toy_towns") if q.meta["exposure"] == "common"))

# %% [markdown]
# ### Exercise 4: loud but unheard
# *Difficulty: 4 of 5 · 10 minutes*
#
# Take the mean over the answer's tokens in layer 2. Rank neurons by |activation| and by CETT.
# Return the neuron that falls the most places when you change from the first ranking to the second.
#
# **You should see** one neuron, whose row is shorter than most rows of its layer.
#
# <details><summary>Hint 1</summary>
#
# Two means over the answer's tokens (from `n_prompt` on), one number a neuron each: of
# |activation|, and of CETT.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `argsort(descending=True)` lists neurons from the largest; `argsort` of that again gives each
# neuron's place.
# </details>
#
# <details><summary>Hint 3</summary>
#
# The neuron that falls most has the largest difference of places, by CETT less by |activation|.
# </details>


# %% tags=["exercise"]
def loudest_unheard(trace, n_prompt):
    """Index of the neuron whose rank by CETT is most below its rank by |activation|."""
    # solution
    loud = trace.act[0, n_prompt:].abs().mean(0)
    heard = hlens.metrics.cett(trace)[0, n_prompt:].mean(0)
    fall = heard.argsort(descending=True).argsort() - loud.argsort(descending=True).argsort()
    return int(fall.argmax())
    # end solution


# %% tags=["check"]
found = int(loudest_unheard(trace, len(prompt)))
norms = trace.w_out.norm(dim=1)
by = [
    sorted(range(len(norms)), key=lambda at: float(mean[at]), reverse=True)
    for mean in (
        trace.act[0, len(prompt) :].abs().mean(0),
        hlens.metrics.cett(trace)[0, len(prompt) :].mean(0),
    )
]
fell = {neuron: by[1].index(neuron) - by[0].index(neuron) for neuron in range(len(norms))}
assert fell[found] >= 0, f"L2N{found} rises by {-fell[found]} places: rank the largest first"
assert fell[found] == max(fell.values()), (
    f"L2N{found} falls by {fell[found]} places, another by {max(fell.values())}; take means over "
    "the answer's tokens alone, and places, not values"
)
print(
    f"Exercise 4: right. L2N{found}: its row is {norms[found] / norms.median():.2f} of the median."
)

# %% [markdown]
# ## A common mistake
#
# *Measuring at the wrong token.* A causal model reads the answer's first token one position after
# it chose it. hlens measures where answer tokens are **read** (`position="read"`, as the paper),
# and can measure where they are **predicted**. They are different questions.
#
# ## What would falsify this?
#
# "CETT tells what a neuron does" would be false if a neuron of large CETT could be removed without
# any change of the output. It can: what it writes may be ignored further up, or cancelled by
# another. CETT says how much is *said*, not how much is *used*. Lesson 7 puts that to the test.
#
# ## Recap
#
# 1. What are the two halves of a neuron?
#    <details><summary>Answer</summary>The activation, a number for each token, and the row of the
#    down projection, a fixed vector.</details>
# 2. Why is the sum of CETT over a layer at least one?
#    <details><summary>Answer</summary>The triangle inequality: parts may cancel.</details>
# 3. When do the rankings by activation and by CETT agree?
#    <details><summary>Answer</summary>When all rows are equally long.</details>
#
# Next: [finding H-neurons](03_finding_h_neurons.ipynb).
