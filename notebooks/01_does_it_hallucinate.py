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
# # 1. Does the model hallucinate?
#
# You cannot study hallucination before you can count it. In this lesson a model answers questions,
# a judge marks the answers, and you learn what the marks hide.
#
# **You will be able to**
#
# - sample answers from a model, repeatably, and judge them by a rule;
# - give a hallucination rate with an interval, and say over which answers it is taken;
# - tell *wrong* from *ignorant*, and say why only one of them can be seen in a real model.
#
# Time: 30 minutes. Everything runs on a CPU.

# %%
import plotly.io as pio

import hlens
from hlens.prompts import prompt_text
from hlens.types import Verdict

pio.renderers.default = "plotly_mimetype+notebook"  # figures also show in an exported notebook

# %% [markdown]
# ## A world where everything is known
#
# The toy world has four domains of invented facts: towns, people, beasts and minerals. A small
# language model, `"toy"`, was trained on half of its entities. The others it was **never taught**.
# So for each question we know something that nobody knows of a large model: whether the answer
# was in the training data.

# %%
model = hlens.load("toy")
questions = hlens.domains.load("toy_towns") + hlens.domains.load("toy_people")
taught = next(q for q in questions if q.meta["exposure"] == "common")
never = next(q for q in questions if not q.meta["taught"])
print("taught:      ", taught.text, "->", taught.answers[0])
print("never taught:", never.text, "->", never.answers[0])

# %% [markdown]
# **Predict, then run.** The model has learnt to answer in one word, and also to say "I do not
# know." What will it say of a town that it was never taught? Write your guess down. Then run the
# cell.

# %%
for question in (taught, never):
    said = [
        str(model.generate(prompt_text(question), temperature=1.0, seed=seed)) for seed in range(6)
    ]
    print(question.text, said)

# %% [markdown]
# A fact it was taught comes out the same every time. Where it was never taught it does not stop: it
# makes something up, fluently, mostly without a word of doubt. That is the behaviour whose neurons
# this series hunts.
#
# ## Count
#
# `sample` asks every question several times, each sample from a seed of its own. `judge` compares
# whole words with the gold answer. It has four verdicts: correct, hallucinated, refused, unscored.

# %%
responses = hlens.sample(model, questions, n=3, seed=0)
judgements = hlens.judge(responses)
[(j.response.text, j.verdict.value) for j in judgements[:6]]

# %% [markdown]
# ### Exercise 1: the rate
# *Difficulty: 1 of 5 · 5 minutes*
#
# A refusal is neither right nor wrong. Write the share of hallucinations **among the answers that
# were scored right or wrong**.
#
# **You should see** a little under half of the scored answers are wrong.
#
# <details><summary>Hint 1</summary>
#
# Each judgement has a `verdict`, one of `Verdict.HALLUCINATED`, `CORRECT`, `REFUSED` and
# `UNSCORED`. How many are of the first kind, how many of the second?
# </details>
#
# <details><summary>Hint 2</summary>
#
# The denominator is the sum of these two counts, and not the length of the list.
# </details>


# %% tags=["exercise"]
def hallucination_rate(judgements):
    """Wrong answers over right and wrong ones."""
    # solution
    wrong = sum(j.verdict is Verdict.HALLUCINATED for j in judgements)
    right = sum(j.verdict is Verdict.CORRECT for j in judgements)
    return wrong / (wrong + right)
    # end solution


# %% tags=["check"]
some = [j for j in judgements if j.verdict is not Verdict.UNSCORED]
marks = [j.verdict.value for j in some]
expected = marks.count("hallucinated") / (marks.count("hallucinated") + marks.count("correct"))
found = hallucination_rate(some)
assert found is not None, "the function returns nothing: end it with return"
assert abs(found - expected) < 1e-9, (
    f"{found:.3f}: divide the wrong answers by the wrong and the right ones; refusals and unscored "
    "answers are not counted"
)
print(f"Exercise 1: right. {found:.1%} of the scored answers are wrong.")

# %% [markdown]
# ### Exercise 2: an interval
# *Difficulty: 3 of 5 · 10 minutes*
#
# A rate without an interval is a rumour. But the samples of one question are not independent, and
# neither are the questions about one town. Resample **whole groups** (`question.group`): draw as
# many groups as there are, with replacement, and take the rate each time.
#
# **You should see** an interval of about a tenth around the rate, wider than answers that count
# each by itself would have.
#
# <details><summary>Hint 1</summary>
#
# Collect the judgements by `j.response.question.group` first. What is drawn with replacement is a
# list of groups, of which one may come twice.
# </details>
#
# <details><summary>Hint 2</summary>
#
# One draw gives one rate: that of all judgements of the groups drawn. Keep `draws` of them.
# </details>
#
# <details><summary>Hint 3</summary>
#
# The interval runs from the 2.5 % to the 97.5 % quantile of the rates.
# </details>


# %% tags=["exercise"]
def grouped_interval(judgements, draws=200, seed=0):
    """Central 95 % of the rate over resamples of whole groups: (low, high)."""
    # solution
    import numpy as np

    groups = {}
    for j in judgements:
        groups.setdefault(j.response.question.group, []).append(j)
    names, draw, rates = sorted(groups), np.random.default_rng(seed), []
    for _ in range(draws):
        picked = draw.choice(len(names), len(names))
        rates.append(hallucination_rate([j for at in picked for j in groups[names[at]]]))
    return tuple(np.quantile(rates, [0.025, 0.975]))
    # end solution


# %% tags=["check"]
low, high = grouped_interval(judgements)
scored = [j for j in judgements if j.verdict.value in ("correct", "hallucinated")]
n, rate = len(scored), hallucination_rate(judgements)
naive = 1.96 * (rate * (1 - rate) / n) ** 0.5
# By calculus instead of resampling: what each whole group adds to the sum.
sums = {}
for j in scored:
    group = j.response.question.group
    sums[group] = sums.get(group, 0.0) + (j.verdict.value == "hallucinated") - rate
half = 1.96 * sum(value**2 for value in sums.values()) ** 0.5 / n
assert low < rate < high, f"({low:.3f}, {high:.3f}): give (low, high); the rate lies between them"
assert (high - low) / 2 > 0.7 * half, "too narrow: were single answers resampled, not whole groups?"
assert (high - low) / 2 < 1.4 * half, (
    "too wide: take the central 95 % of the rates, not all of them"
)
print(f"Exercise 2: right. {rate:.3f} [{low:.3f}, {high:.3f}]; answers alone: +-{naive:.3f}.")

# %% [markdown]
# ## Wrong is not the same as ignorant
#
# Now use what only a toy world offers. `question.meta["taught"]` is the ground truth.
#
# **Predict.** Among questions that were never taught, which share of the answers is *right*?
#
# ### Exercise 3: the table of truth
# *Difficulty: 2 of 5 · 5 minutes*
#
# Count the judgements by (taught?, verdict).
#
# **You should see** some dozens of lucky guesses about entities that were never taught, and about
# as many slips on those that were.
#
# <details><summary>Hint 1</summary>
#
# The two parts of a key are `j.response.question.meta["taught"]`, a bool, and `j.verdict.value`, a
# word.
# </details>
#
# <details><summary>Hint 2</summary>
#
# A `collections.Counter` counts whatever it is given, and is a dict.
# </details>


# %% tags=["exercise"]
def table_of_truth(judgements):
    """A dict from (taught, verdict value) to the number of judgements."""
    # solution
    from collections import Counter

    return Counter((j.response.question.meta["taught"], j.verdict.value) for j in judgements)
    # end solution


# %% tags=["check"]
table = table_of_truth(judgements)
assert sum(table.values()) == len(judgements), "every judgement is counted once"
keys = {(known, v.value) for known in (True, False) for v in Verdict}
assert set(table) <= keys, f"{next(iter(table))}: a key is (taught: a bool, verdict: its .value)"
lucky, slips = table.get((False, "correct"), 0), table.get((True, "hallucinated"), 0)
known = [j for j in judgements if j.response.question.meta["taught"]]
right = table.get((True, "correct"), 0)
assert right == sum(j.verdict is Verdict.CORRECT for j in known), (
    f"{right} right answers on taught entities: is taught the first part of the key, as it is?"
)
wrong = sum(number for (_, verdict), number in table.items() if verdict == "hallucinated")
assert wrong == sum(j.verdict is Verdict.HALLUCINATED for j in judgements), (
    f"{wrong} hallucinated judgements: is the verdict's own value the second part of the key?"
)
print(f"Exercise 3: right. {lucky} lucky guesses without knowledge, {slips} slips on taught facts.")

# %% [markdown]
# The label that every study of a real model uses is right or wrong. Here you see what it mixes:
# lucky guesses count as knowledge, slips as ignorance. A detector trained on that label can never
# look better than the label is.
#
# ## What is lost on the way
#
# Only answers that are right or wrong become examples. The others are counted, not forgotten.

# %%
examples, losses = hlens.spans.locate_with_losses(judgements, model)
hlens.figures.losses(losses)

# %% [markdown]
# ### Exercise 4: does it know that it does not know?
# *Difficulty: 3 of 5 · 8 minutes*
#
# Ask the samples. For each question take the share of its samples that agree with the most frequent
# text. Average it over taught and over never-taught questions.
#
# **You should see** an agreement near 1 where the answer was taught, and near two thirds where it
# was not.
#
# <details><summary>Hint 1</summary>
#
# The three samples of a question share its domain and id. Collect their texts by question first.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Of one question: how often does the most frequent text occur, over how many texts there are? Then
# average over the questions of a kind.
# </details>


# %% tags=["exercise"]
def agreement(responses):
    """Mean share of the most frequent text: a dict from taught to it."""
    # solution
    from collections import Counter
    from statistics import mean

    texts = {}
    for r in responses:
        key = r.question.meta["taught"], r.question.domain, r.question.id
        texts.setdefault(key, []).append(r.text)
    share = {key: Counter(t).most_common(1)[0][1] / len(t) for key, t in texts.items()}
    return {known: mean(v for k, v in share.items() if k[0] is known) for known in (True, False)}
    # end solution


# %% tags=["check"]
from dataclasses import replace

agree = agreement(responses)
alike = agreement([replace(r, text="Oak") for r in responses])
apart = agreement([replace(r, text=str(number)) for number, r in enumerate(responses)])
assert set(agree) == {True, False}, "the keys are True (taught) and False (never taught)"
assert alike == {True: 1.0, False: 1.0}, f"{alike}: samples that all say the same agree by 1"
assert all(abs(share - 1 / 3) < 1e-9 for share in apart.values()), (
    f"{apart}: three samples that all differ agree by 1/3; take one question's samples at a time"
)
assert agree[True] > agree[False], f"{agree}: taught entities agree more; are the two swapped?"
print(f"Exercise 4: right. Agreement {agree[True]:.2f} if taught, {agree[False]:.2f} if never.")

# %% [markdown]
# ## A common mistake
#
# *Counting refusals as correct.* A model that always says "I do not know" would then be perfect.
# The rate is over answers, and the share of refusals is given beside it.
#
# ## What would falsify this?
#
# "The model hallucinates where it was never taught" would be wrong if its answers on never-taught
# entities were right as often as on taught ones, or if it refused there nearly always. Look at the
# table of exercise 3 once more: which cells would have to change, and by how much?
#
# ## Recap
#
# 1. Why are refusals left out of the rate?
#    <details><summary>Answer</summary>They claim nothing. They are reported beside it.</details>
# 2. Why resample groups and not answers?
#    <details><summary>Answer</summary>Answers about one entity rise and fall together; taken for
#    independent they make the interval too narrow.</details>
# 3. Which two things does the label "wrong" mix up?
#    <details><summary>Answer</summary>Ignorance, and slips on what is known; and it misses lucky
#    guesses.</details>
#
# Next: [what one neuron says](02_a_neurons_say.ipynb).
