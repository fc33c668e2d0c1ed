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
# # 7. Do they cause it?
#
# A thermometer tells the weather and does not make it. So far every H-neuron may have been a
# thermometer. In the toy world we planted both kinds: **drivers**, which move the model between
# guessing and abstaining, and **bystanders**, which say the same and were trained to move as little
# as can be. Detection cannot tell them apart. Intervention can.
#
# **You will be able to**
#
# - edit neurons inside a `with` block and know that nothing is left behind;
# - draw a dose-response beside random neurons and beside what the edit costs;
# - patch activations between two prompts and read the effect.
#
# Time: 45 minutes.

# %%
import plotly.io as pio
import torch

import hlens
from hlens import effects
from hlens.behaviours import Behaviour, fabricated_entities, plain_qa
from hlens.interventions import scale
from hlens.judges import abstain
from hlens.prompts import prompt_text
from hlens.types import Verdict

pio.renderers.default = "plotly_mimetype+notebook"  # figures also show in an exported notebook
model = hlens.load("toy")
drivers = hlens.toy.planted(drives=True).renamed("drivers")
bystanders = hlens.toy.planted(drives=False).renamed("bystanders")
questions = [q for name in hlens.toy.domain_names() for q in hlens.domains.load(name, n=60)]
never = [q for q in questions if not q.meta["taught"]]
taught = [q for q in questions if q.meta["exposure"] == "common"]
len(drivers), len(bystanders), len(never), len(taught)

# %% [markdown]
# ## Silence them, turn them up
#
# We need a question on which the model makes something up: of one on which it abstains anyway,
# nothing could be seen.
#
# **Predict.** Drivers are active when the model was never taught. What does it say about an unknown
# entity when they are silenced (`scale(0)`)? And with the bystanders silenced?


# %%
def abstains(reply):
    return abstain.judge(reply).verdict is not Verdict.HALLUCINATED


greedy = hlens.Settings(max_new_tokens=8, temperature=0.0)
replies = hlens.sample(model, never, n=1, settings=greedy)
invented = [reply for reply in replies if not abstains(reply)]
asked = [reply.question for reply in invented]
print(f"{len(asked)} of {len(never)} questions are answered with an invention. Of these abstain")
said = {}
for neurons in (drivers, bystanders):
    for alpha in (0.0, 3.0):
        name = f"{neurons.name} x {alpha:g}"
        with model.editing(neurons, scale(alpha)):
            said[name] = hlens.sample(model, asked, n=1, settings=greedy)
        print(f"{name:>16}: {sum(map(abstains, said[name]))}")

# %% [markdown]
# One of those that the silenced drivers changed, in full. It was picked because it changed: what an
# edit does on the whole is the count above.

# %%
shown = next(at for at, reply in enumerate(said["drivers x 0"]) if abstains(reply))
prompt = prompt_text(asked[shown])
print(prompt)
print(f"{'as it is':>16}:", invented[shown].text)
for name, edited in said.items():
    print(f"{name:>16}:", edited[shown].text)

# %% [markdown]
# ### Exercise 1: measure it
# *Difficulty: 2 of 5 · 8 minutes*
#
# Ask all `never` questions under an edit and return the share of replies that abstain.
# `abstains(reply)`, above, tells whether a reply says so; `hlens.sample` asks, and works inside a
# `with` block.
#
# **You should see** about one reply in six abstains as the model is, and two in three with the
# drivers silenced.
#
# <details><summary>Hint 1</summary>
#
# `with model.editing(neurons, scale(alpha)):` edits everything that runs inside it.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `hlens.sample(model, never, n=1, settings=greedy)` asks the questions; `abstains(reply)` is True
# or False, and a mean of these is a share.
# </details>


# %% tags=["exercise"]
def abstention(neurons, alpha):
    """Share of abstaining replies to the never-taught questions, greedy, one sample each."""
    # solution
    with model.editing(neurons, scale(alpha)):
        replies = hlens.sample(model, never, n=1, settings=greedy)
    return sum(map(abstains, replies)) / len(replies)
    # end solution


# %% tags=["check"]
plain, silenced = abstention(drivers, 1.0), abstention(drivers, 0.0)
assert 0 <= plain <= 1 and 0 <= silenced <= 1, "a share lies between 0 and 1"
assert abs(plain - (1 - len(invented) / len(never))) < 1e-9, (
    f"{plain:.2f} abstain as it is, and {1 - len(invented) / len(never):.2f} did above: count the "
    "replies that abstain, greedily, one a question"
)
assert plain < silenced, f"{plain:.2f} as it is, {silenced:.2f} silenced: was the edit in force?"
assert abstention(bystanders, 1.0) == plain, "a scale of one changes nothing"
print(f"Exercise 1: right. Abstains {plain:.0%} as it is, {silenced:.0%} with drivers silenced.")

# %% [markdown]
# ### Exercise 2: nothing is left behind
# *Difficulty: 2 of 5 · 6 minutes*
#
# A `with` block that leaks would spoil every later measurement. Show that the logits after an edit
# equal those before, **bit by bit**.
#
# **You should see** one line, and no complaint: the logits are the same to the last bit.
#
# <details><summary>Hint 1</summary>
#
# Three runs of the model on the same prompt: before, inside, behind. Which two are compared?
# </details>
#
# <details><summary>Hint 2</summary>
#
# `torch.equal` compares bit by bit, `torch.allclose` does not.
# </details>


# %% tags=["exercise"]
def leaves_no_trace(neurons, alpha):
    """Whether the logits on one prompt are the same to the bit before and after an edit."""
    # solution
    ids = torch.tensor([model.encode(prompt)])
    with torch.inference_mode():
        before = model.hf(input_ids=ids).logits
        with model.editing(neurons, scale(alpha)):
            model.hf(input_ids=ids)
        after = model.hf(input_ids=ids).logits
    return bool(torch.equal(before, after))
    # end solution


# %% tags=["check"]
for neurons, alpha in ((drivers, 0.0), (bystanders, 3.0)):
    assert bool(leaves_no_trace(neurons, alpha)), (
        f"the logits differ after {neurons.name} x {alpha:g}: compare what the model says before "
        "the block with what it says behind it, not inside"
    )
print("Exercise 2: right.")

# %% [markdown]
# ## The dose-response
#
# One dose is an anecdote. `intervene` runs every dose of the neurons, of random neurons of the same
# layers, and of a random perturbation of the same size; and it asks what the edit costs: here,
# right answers on facts that the model was taught.

# %%
suites = [
    Behaviour(fabricated_entities.SUITE, tuple(never)),
    Behaviour(plain_qa.SUITE, tuple(taught)),
]
outcomes = effects.intervene(model, drivers, suites, alphas=(0.0, 0.5, 1.0, 2.0))
hlens.figures.dose_response(effects.dose_table(effects.rates(outcomes)))

# %%
beside = effects.intervene(model, bystanders, suites, alphas=(0.0, 0.5, 1.0, 2.0))
hlens.figures.dose_response(effects.dose_table(effects.rates(beside)))

# %% [markdown]
# ### Exercise 3: slope, against random neurons
# *Difficulty: 3 of 5 · 10 minutes*
#
# `effects.slopes(outcomes)` has one row a behaviour and set: `kind` is `"target"` for the edited
# neurons, and `over_random, over_low, over_high` is the slope less that of random neurons.
# Return whether the interval excludes zero for inventing answers (`"fabricated_entities"`).
#
# **You should see** that the drivers move the behaviour, and `True` for the bystanders as well, of
# which more below.
#
# <details><summary>Hint 1</summary>
#
# `effects.slopes(outcomes, n_boot=500)` is a table. You need its one row of
# `"fabricated_entities"` and `"target"`.
# </details>
#
# <details><summary>Hint 2</summary>
#
# An interval without zero lies wholly above it (`over_low > 0`) or wholly below it (`over_high <
# 0`).
# </details>


# %% tags=["exercise"]
def moves_behaviour(outcomes):
    """Whether the target's slope differs from random neurons' (95 % interval without zero)."""
    # solution
    table = effects.slopes(outcomes, n_boot=500)
    row = table[(table.behaviour == "fabricated_entities") & (table.kind == "target")].iloc[0]
    return bool(row.over_low > 0 or row.over_high < 0)
    # end solution


# %% tags=["check"]
assert bool(moves_behaviour(outcomes)), (
    "the drivers were planted to move it: an interval excludes zero on either side, over_low > 0 "
    "or over_high < 0, in the row of fabricated_entities and target"
)
# A random set in the place of the target: the one that moves the behaviour least.
table = effects.slopes(outcomes, n_boot=500)
rows = table[(table.behaviour == "fabricated_entities") & (table.kind == "random")]
quiet = rows.loc[rows.slope.abs().idxmin(), "set"]
idle = outcomes[outcomes.kind != "target"].copy()
idle.loc[idle["set"] == quiet, "kind"] = "target"
assert not moves_behaviour(idle), (
    f"{quiet} as the target: its slope is that of other random sets, so the interval of the slope "
    "less theirs (over_low, over_high) holds zero"
)
print(f"Exercise 3: right. Drivers move it; bystanders: {moves_behaviour(beside)}.")

# %% [markdown]
# If both do, compare the *slopes*, not the stars: with enough questions a tiny effect is
# significant. "Trained to move nothing" is a wish, and this is how it is checked.
#
# ## Patching: one neuron at a time
#
# Take an unknown entity (the *corrupted* prompt, on which the model guesses) and a known one (the
# *clean* prompt, on which the drivers are silent). Put the clean activation of one neuron into the
# corrupted run, and see how far the model moves from guessing towards "I do not know".

# %%
template = [q for q in never if q.meta["relation"] == "river"]
known = [q for q in taught if q.meta["relation"] == "river"]
refusing, pairs = model.tokenizer.convert_tokens_to_ids(" I"), []
for a, b in zip(template[:6], known[:6], strict=False):
    clean, corrupted = (tuple(model.encode(prompt_text(q))) for q in (b, a))
    guess = model.generate(prompt_text(a)).token_ids[0]
    if guess != refusing:
        pairs.append(effects.Pair(a.id, clean, corrupted, answer=refusing, foil=guess))


def abstaining_margin(pair, neurons, prompt="corrupted"):
    """Logit of " I" less that of the guess, after the clean activations are put in."""
    source = hlens.interventions.capture(model, pair.clean)
    places = hlens.interventions.align(pair.corrupted, pair.clean)
    ids = torch.tensor([pair.corrupted])
    with model.editing(neurons, hlens.interventions.patch(source, places)), torch.inference_mode():
        logits = model.hf(input_ids=ids).logits[0, -1]
    return float(logits[pair.answer] - logits[pair.foil])


def as_it_is(pair):
    with torch.inference_mode():
        logits = model.hf(input_ids=torch.tensor([pair.corrupted])).logits[0, -1]
    return float(logits[pair.answer] - logits[pair.foil])


# %% [markdown]
# ### Exercise 4: drivers, bystanders, random
# *Difficulty: 3 of 5 · 10 minutes*
#
# Return the mean change of the margin over all pairs when the members of a set are patched.
#
# **You should see** a change above 1 for the drivers, and next to nothing for bystanders and
# random neurons.
#
# <details><summary>Hint 1</summary>
#
# `abstaining_margin(pair, neurons)` is the margin with the set patched, `as_it_is(pair)` without.
# </details>
#
# <details><summary>Hint 2</summary>
#
# A difference for each pair, then the mean over all pairs.
# </details>


# %% tags=["exercise"]
def patched_change(neurons):
    """Mean over the pairs: margin with the set patched less margin as it is."""
    # solution
    return sum(abstaining_margin(p, neurons) - as_it_is(p) for p in pairs) / len(pairs)
    # end solution


# %% tags=["check"]
change = {
    "drivers": patched_change(drivers),
    "bystanders": patched_change(bystanders),
    "random": patched_change(drivers.random_like(0)),
}
assert change["drivers"] > 0, (
    f"{change['drivers']:.2f}: the margin with the set patched less the margin as it is"
)
assert change["drivers"] > abs(change["bystanders"]), "the drivers should push towards abstaining"
assert change["drivers"] > abs(change["random"]), "more than random neurons of the same layers do"
single = [abstaining_margin(p, drivers) - as_it_is(p) for p in pairs]
assert min(single) <= change["drivers"] <= max(single), (
    f"{change['drivers']:.2f}: a mean over the pairs lies between the least, {min(single):.2f}, "
    f"and the most, {max(single):.2f}"
)
print("Exercise 4: right.", {name: round(value, 2) for name, value in change.items()})

# %% [markdown]
# Both kinds detect ignorance. One kind does something with it. **A detector's weight says nothing
# about which kind a neuron is.**
#
# ## A common mistake
#
# *Reporting the effect of the edit without that of a random edit.* Any large enough edit changes a
# model. Only what goes beyond random neurons of the same layers, at a bearable cost, is about
# *these*.
#
# ## What would falsify this?
#
# "These neurons drive guessing" ends when random neurons have as steep a slope, or when right
# answers on known facts fall as fast: then the edit breaks the model rather than its habit.
#
# ## Recap
#
# 1. Why a dose-response, and not one dose?
#    <details><summary>Answer</summary>A cause should act by degrees, in both directions.</details>
# 2. What does the cost panel guard against?
#    <details><summary>Answer</summary>Calling damage control.</details>
# 3. A neuron has a large probe weight and no causal effect. Is the probe wrong?
#    <details><summary>Answer</summary>No: it reads a bystander. It detects, and moves
#    nothing.</details>
#
# Next: [catching it live](08_catching_it_live.ipynb)
