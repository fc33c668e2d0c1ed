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
# # 9. Capstone: a study of your own
#
# You write the questions, the claim and its controls down **before** you look; then you run the
# whole line and report what came out, also what did not.
#
# **You will be able to**
#
# - put your own questions into a file and your options into a recipe;
# - run a study that can be interrupted and repeated, and write its report;
# - state a finding beside its control, and ask where it came from.
#
# Time: 45 minutes. Here it runs on the toy world, in seconds. To use a real model, change two
# lines.

# %%
import json
import tempfile
from pathlib import Path

import plotly.io as pio

import hlens
from hlens.origin import trace_origin

pio.renderers.default = "plotly_mimetype+notebook"  # figures also show in an exported notebook
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Questions
#
# One JSON object a line: `question`, `answers`, and a `group` that must never be torn.
#
# ### Exercise 1: write them
# *Difficulty: 2 of 5 · 8 minutes*
#
# Turn `hlens.toy.facts(name)` into rows. A fact has `question`, `answer` and `entity`. What is the
# group?
#
# **You should see** one line: every id is used once, and the two facts of a beast share their
# group.
#
# <details><summary>Hint 1</summary>
#
# One row a fact, a plain dict. The answers are a list, also where there is one.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Two facts about one beast share what the model knows of it: that is the group. An id tells all
# facts apart.
# </details>


# %% tags=["exercise"]
def rows_of(facts):
    """Plain dicts with the keys id, question, answers (a list) and group."""
    # solution
    return [
        {
            "id": f"{fact.entity}, {fact.relation}",
            "question": fact.question,
            "answers": [fact.answer],
            "group": fact.entity,
        }
        for fact in facts
    ]
    # end solution


# %% tags=["check"]
rows = rows_of(hlens.toy.facts("toy_beasts"))
assert {"id", "question", "answers", "group"} <= set(rows[0]), f"the keys are {sorted(rows[0])}"
assert isinstance(rows[0]["answers"], list), "answers is a list, also of one"
assert len({row["id"] for row in rows}) == len(rows), "every id is used once"
assert len({row["group"] for row in rows}) == len(rows) // 2, "both facts of an entity: one group"
print("Exercise 1: right.")

# %%
path = folder / "beasts.jsonl"
path.write_text("".join(json.dumps(row) + "\n" for row in rows))
recipe = hlens.Recipe.from_dict(
    {
        "model": "toy",  # a real one: "smollm2-135m"
        "domains": [f"jsonl:{path}", "toy_minerals"],  # a real one: "general", "science"
        "sampling": {"n": 3, "max_new_tokens": 8},
        "evaluation": {"shuffles": 25, "n_boot": 300, "stability_pairs": 15, "folds": 3},
    }
)

# %% [markdown]
# ## The claim, before the data
#
# Fill this in, and do not change it later.
#
# > **Claim.** Contributions of a few neurons tell made-up answers from true ones on entities that
# > the probe never saw. **It fails if** the lower end of the probe's interval is not above what the
# > same number of random neurons reaches, or if p of the shuffled labels is not below 0.05.
#
# ## Run
#
# **Predict** the numbers of the next figure before you look: the probe, random neurons, shuffled
# labels, the answer's length.

# %%
study = hlens.Study.run(recipe, folder / "study")
scores = study.scores()
hlens.figures.scores(scores)

# %% [markdown]
# ### Exercise 2: the verdict
# *Difficulty: 2 of 5 · 7 minutes*
#
# Write the claim as code. `scores` has one row a control: use `"probe"` (its `low` and `p`) and
# `"random neurons"` (its `auroc`).
#
# **You should see** whether the claim that you wrote down holds on this study.
#
# <details><summary>Hint 1</summary>
#
# `scores.set_index("control")` lets you ask for a row by the name of its control.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Both parts must hold: the probe's `low` above the random neurons' `auroc`, and its `p` below
# 0.05.
# </details>


# %% tags=["exercise"]
def claim_holds(scores):
    """Whether the claim above holds."""
    # solution
    by = scores.set_index("control")
    probe, random = by.loc["probe"], by.loc["random neurons"]
    return bool(probe.low > random.auroc and probe.p < 0.05)
    # end solution


# %% tags=["check"]
weak = scores.copy()
weak.loc[weak.control == "probe", "low"] = 0.0
late = scores.copy()
late.loc[late.control == "probe", "p"] = 0.5
assert not claim_holds(weak), "an interval that reaches down to random neurons fails"
assert not claim_holds(late), "a p of 0.5 fails"
sound = scores.copy()
sound.loc[sound.control == "probe", ["low", "p"]] = [1.0, 0.001]
assert claim_holds(sound), "an interval above random neurons and a p of 0.001 hold"
print(f"Exercise 2: right. On this study the claim {'holds' if claim_holds(scores) else 'fails'}.")

# %%
study.in_words()

# %% [markdown]
# ## Where did they come from?
#
# `"toy-base"` is the model before its instruct stage. It completes: "Question? Answer:". The same
# detector is read there; the shared planted neurons were planted in the base stage, those of one
# domain only later.

# %%
base = hlens.load("toy-base")
questions = study.questions()
said = hlens.sample(base, questions, n=2, seed=0, instruction="\nAnswer:")
there = hlens.spans.first_of_each_label(hlens.locate(hlens.judge(said), base))
origin = trace_origin(study.detector(), hlens.measure(base, there), folds=3)
origin[["control", "auroc", "low", "high", "n"]]

# %% [markdown]
# ### Exercise 3: read it
# *Difficulty: 3 of 5 · 8 minutes*
#
# Return the name of the row that tells whether the *information* is in those neurons of the base
# model, whatever the weights.
#
# **You should see** the AUROC of a row of the table, with its interval.
#
# <details><summary>Hint 1</summary>
#
# Print `origin.control`. Which rows use the weights that were found, and which fit new ones?
# </details>
#
# <details><summary>Hint 2</summary>
#
# The row is about the selected neurons, and its weights were fitted anew there.
# </details>


# %% tags=["exercise"]
def row_of_information(origin):
    """The control's name."""
    # solution
    return next(name for name in origin.control if name.startswith("selected neurons, refit"))
    # end solution


# %% tags=["check"]
name = row_of_information(origin)
assert name in set(origin.control), f"{name!r} is none of {sorted(origin.control)}"
assert "random" not in name, "random neurons are the control, not the claim"
assert name.startswith("selected"), f"{name!r}: the question is about those neurons alone"
assert "refit" in name, "whatever the weights: they are fitted anew there"
row = origin.set_index("control").loc[name]
print(f"Exercise 3: right. {row.auroc:.3f} [{row.low:.3f}, {row.high:.3f}]")

# %% [markdown]
# ## The report
#
# One HTML file, no request to any host. Send it to a colleague.

# %%
report = study.report()
print(report.name, f"{report.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# ## A common mistake
#
# *Writing the claim after the figure.* Every data set has a largest number somewhere.
#
# ## What would falsify this?
#
# You wrote it down above. Now change the recipe's `seed` and run again: does the verdict stay?
#
# ## Recap
#
# 1. Which three parts does a finding need?
#    <details><summary>Answer</summary>The number with its interval, its control, and its
#    n.</details>
# 2. Why does a study keep the recipe beside the numbers?
#    <details><summary>Answer</summary>So that anyone can get them again.</details>
# 3. What may you say of H-neurons after lessons 1 to 9, and what not?
#    <details><summary>Answer</summary>That some neurons' contributions are associated with made-up
#    answers, beyond their controls, in this model and these domains. Not that they cause them,
#    unless an intervention beside its control says so.</details>
#
# Next, to go deeper: [the hook by hand](10_the_hook_by_hand.ipynb)
