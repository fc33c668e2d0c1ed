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
# # 14. What is a hallucination?
#
# Every number of this series rests on a label, and every label on somebody's judgement. In this
# lesson the replies stay as they are and the judge changes. Watch what moves with it.
#
# **You will be able to**
#
# - write a judge, and compare it with others and with readings by hand by Cohen's kappa;
# - check a judge by hand: how much of what it calls hallucinated is, and how much it misses;
# - say how much label noise takes off an AUROC, and which AUROC a label allows at all.
#
# Time: 45 minutes.

# %%
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.io as pio
import torch

import hlens
from hlens.drawing.figure import Figure, escape, finish
from hlens.drawing.theme import palette
from hlens.judges import agreement, named
from hlens.types import Judgement, Question, Response, Verdict

pio.renderers.default = "plotly_mimetype+notebook"  # figures also show in an exported notebook
folder = next((one for one in (Path("data"), Path("../../data")) if one.is_dir()), None)
assert folder, "the replies are in notebooks/data of the repository: open this lesson from there"

# %% [markdown]
# ## Real replies, read by hand
#
# SmolLM2-135M was asked questions of general knowledge and science in its chat template. Two
# readers marked each reply, without seeing what a judge said of it. A reply that attempts nothing,
# or is cut off before it answers, is neither right nor wrong: unscored.

# %%
MEANS = {"correct": Verdict.CORRECT, "wrong": Verdict.HALLUCINATED, "refused": Verdict.REFUSED}
rows = [json.loads(line) for line in (folder / "read_replies.jsonl").read_text().splitlines()]
asked = {(q.domain, q.id): q for name in ("general", "science") for q in hlens.domains.load(name)}
replies = [
    Response(
        asked[row["domain"], row["id"]],
        row["reply"],
        token_ids=(),
        n_prompt=0,
        finish_reason=row["finish_reason"],
        sample=number,
    )
    for number, row in enumerate(rows)
]
first_reader, second_reader = (
    [
        Judgement(reply, MEANS.get(row["readings"][reader], Verdict.UNSCORED))
        for reply, row in zip(replies, rows, strict=True)
    ]
    for reader in (0, 1)
)
for reply, mark in list(zip(replies, first_reader, strict=True))[:6]:
    print(f"{mark.verdict:12} {reply.question.text} -> {reply.text[:70]!r}")

# %% [markdown]
# **Predict.** A judge that asks for the exact answer, one that looks for it anywhere in the text,
# and one that reads whole words: whose rate of hallucination will be highest, and by how many
# points? Write the three numbers down.
#
# ### Exercise 1: the strictest judge
# *Difficulty: 1 of 5 · 5 minutes*
#
# A judge is any function from `Response` to `Judgement`. Write one that is as strict as an exam
# form: **correct** where the reply *is* one of the accepted answers, and **hallucinated** for
# everything else. Ignore case, space around the reply, and a full stop at its end.
#
# **You should see** one line that says how many of the replies are exactly an answer: about one
# in seventeen.
#
# <details><summary>Hint 1</summary>
#
# The accepted answers are `response.question.answers`, all of them: the gold answer and its
# aliases.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Bring both sides into one form before you compare: `text.strip().rstrip(".").casefold()`. Then
# return `Judgement(response, verdict)`.
#
# </details>


# %% tags=["exercise"]
def exact(response):
    """Correct where the reply is one of the answers; else hallucinated."""
    # solution
    said = response.text.strip().rstrip(".").casefold()
    right = said in {answer.casefold() for answer in response.question.answers}
    return Judgement(response, Verdict.CORRECT if right else Verdict.HALLUCINATED)
    # end solution


# %% tags=["check"]
seine = Question("seine", "general", "Which river flows through Paris?", ("Seine", "the Seine"))
for text, right in (
    ("Seine", True),
    (" seine.\n", True),
    ("the Seine", True),
    ("It is the Seine.", False),
    ("Seine or Rhine", False),
    ("I do not know.", False),
):
    made = exact(Response(seine, text, (), 0))
    assert isinstance(made, Judgement), (
        f"{made!r:.60}: a judge returns Judgement(response, verdict)"
    )
    wanted = Verdict.CORRECT if right else Verdict.HALLUCINATED
    assert made.verdict is wanted, (
        f"{text!r} was called {made.verdict}, and is {wanted}: the whole reply, without case, "
        "outer space and a full stop at its end, is compared with every accepted answer"
    )
n_exact = sum(exact(reply).verdict is Verdict.CORRECT for reply in replies)
print(f"Exercise 1: right. {n_exact} of {len(replies)} replies are exactly an answer.")

# %% [markdown]
# Four judges, two readers, the same replies. `alias` is the judge that hlens labels with (whole
# words, negation, "Paris or London"); `substring` asks whether an answer occurs anywhere, even
# inside a word, as published code does.

# %%
judged = {
    "exact": hlens.judge(replies, exact),
    "substring": hlens.judge(replies, named("substring")),
    "alias": hlens.judge(replies, named("alias")),
    "first reader": first_reader,
    "second reader": second_reader,
}


def rate(judgements):
    """Hallucinated among those called correct or hallucinated."""
    counts = Counter(j.verdict for j in judgements)
    return counts["hallucinated"] / (counts["hallucinated"] + counts["correct"])


colours = palette("light")
LOOKS = {  # how far a mark goes up and down: direction and colour both tell the verdict
    "hallucinated": (colours.positive, 0.36, 0.0),
    "correct": (colours.negative, 0.0, 0.36),
    "refused": (colours.second, 0.14, 0.14),
    "unscored": (colours.neutral, 0.04, 0.04),
}
# Replies that all see alike are neighbours: sorted by the first reader's verdict, then the others'.
verdicts = {name: [j.verdict.value for j in marks] for name, marks in judged.items()}
by = ["first reader", "alias", *verdicts]
order = sorted(range(len(replies)), key=lambda at: [list(LOOKS).index(verdicts[n][at]) for n in by])
figure = Figure()
for verdict, (colour, up, down) in LOOKS.items():
    points = [
        (x, row, f"{escape(replies[at].question.text)}<br><b>{escape(replies[at].text[:80])}</b>")
        for row, name in enumerate(reversed(verdicts))
        for x, at in enumerate(order)
        if verdicts[name][at] == verdict
    ]
    figure.add_bar(
        x=[x for x, _, _ in points],
        base=[row - down for _, row, _ in points],
        y=[up + down] * len(points),
        width=0.72,
        name=f"{verdict} ({'up' if not down else 'down' if not up else 'about the line'})",
        marker={"color": colour, "line": {"width": 0}},
        hovertext=[text for _, _, text in points],
        hovertemplate="%{hovertext}<extra></extra>",
    )
ticks = [f"{name} · {rate(judged[name]):.0%}" for name in reversed(verdicts)]
figure.update_layout(
    barmode="overlay",
    xaxis={"title": {"text": "replies"}, "showgrid": False, "showticklabels": False},
    yaxis={"tickvals": list(range(len(ticks))), "ticktext": ticks, "showgrid": False},
)
least, most = (f"{end(rate(marks) for marks in judged.values()):.0%}" for end in (min, max))
finish(
    figure,
    colours,
    title=f"{len(replies)} replies: {least} are hallucinated, or {most}, by who judges",
    subtitle="one column a reply; beside each judge the hallucinated share of what it scores",
    height=400,
    margin={"t": 40},
)

# %% [markdown]
# Nobody changed a reply. Where a whole column has one colour, any judge will do; the others are
# where your result depends on a definition that few papers print.
#
# ### Exercise 2: agreement beyond chance
# *Difficulty: 3 of 5 · 10 minutes*
#
# Two judges who both say "hallucinated" nine times in ten agree on most replies even if they roll
# dice. Cohen's kappa takes that off: with *o* the share of equal verdicts, and *e* the share that
# would be equal by chance if each judge kept its own shares of verdicts, kappa is (*o* - *e*) / (1
# - *e*). Write it for two lists of verdicts, however many kinds there are.
#
# **You should see** one line with three kappas: the two readers agree nearly perfectly, `alias`
# comes nearest to them, `exact` far behind.
#
# <details><summary>Hint 1</summary>
#
# Chance, for one verdict: the share that judge A gives it, times the share that judge B gives it.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Sum that product over every verdict that either of them uses. A `Counter` of each list holds all
# you need, and gives 0 for what it never saw.
#
# </details>


# %% tags=["exercise"]
def kappa(a, b):
    """Cohen's kappa of two lists of verdicts, on the same replies in the same order."""
    # solution
    n = len(a)
    same = sum(one == other for one, other in zip(a, b, strict=True)) / n
    in_a, in_b = Counter(a), Counter(b)
    chance = sum(in_a[verdict] * in_b[verdict] for verdict in in_a) / n**2
    return (same - chance) / (1 - chance)
    # end solution


# %% tags=["check"]
yes, no, skip = "hallucinated", "correct", "unscored"
half = kappa([no, no, yes, yes], [no, yes, yes, yes])
assert isinstance(half, int | float | np.number), f"{half!r:.60}: kappa is one number"
assert abs(kappa([yes, no, skip, yes], [yes, no, skip, yes]) - 1) < 1e-9, (
    "two judges who agree on everything have a kappa of 1"
)
dice = kappa([yes, yes, no, no] * 5, [yes, no, yes, no] * 5)
assert abs(dice) < 1e-9, f"{dice:.3f}: judges who agree no more than chance have a kappa of 0"
assert abs(half - 0.5) < 1e-9, (
    f"{half:.3f} of [c, c, h, h] and [c, h, h, h]: they agree on 0.75, chance on "
    "0.5 * 0.25 + 0.5 * 0.75 = 0.5, each judge by its own shares; so kappa is 0.25 / 0.5"
)
three = kappa([yes, no, skip, no], [yes, no, yes, no])
assert abs(three - 0.6) < 1e-9, (
    f"{three:.3f}, and 0.6 is right: a verdict that only one judge ever gives is a verdict, too"
)
told = {name: kappa(verdicts[name], verdicts["first reader"]) for name in verdicts}
print(
    f"Exercise 2: right. With the first reader: second reader {told['second reader']:.2f}, "
    f"alias {told['alias']:.2f}, exact {told['exact']:.2f}."
)

# %% [markdown]
# hlens has it too, with an interval over whole groups of questions:

# %%
agreement(judged["alias"], judged["first reader"]).round(2)

# %% [markdown]
# **Be a reader yourself.** Mark these ten in `mine`, one letter each: c(orrect), h(allucinated),
# r(efused) or u(nscored). Ten are few: see how far a single mark moves your kappa.

# %%
ten = slice(20, 30)
for reply in replies[ten]:
    print(f"{reply.question.text} -> {reply.text!r}")
mine = ""  # such as "hhcuhhchhu"
if mine:
    letters = {verdict.value[0]: verdict.value for verdict in Verdict}
    print(kappa([letters[letter] for letter in mine], verdicts["first reader"][ten]))

# %% [markdown]
# ### Exercise 3: check a judge by hand
# *Difficulty: 2 of 5 · 7 minutes*
#
# Kappa says *how much*, not *which way*. Take a reader for the truth. Of the replies that the judge
# calls hallucinated, which share is? And of those that are, which share does the judge find?
#
# **You should see** a line for each judge. `exact` finds every hallucination and is wrong about
# a third of what it calls one; `alias` is right about nearly all it names and leaves some
# aside.
#
# <details><summary>Hint 1</summary>
#
# Both shares have the same numerator: replies that judge and reader both call hallucinated.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The denominators differ: all that the judge calls hallucinated, whatever the reader says
# (unscored, too), and all that the reader calls so.
#
# </details>


# %% tags=["exercise"]
def checked_by_hand(judge, reader):
    """Of two lists of verdicts: (share of the called that are, share of those that are, found)."""
    # solution
    both = sum(j == r == "hallucinated" for j, r in zip(judge, reader, strict=True))
    return both / judge.count("hallucinated"), both / reader.count("hallucinated")
    # end solution


# %% tags=["check"]
small = checked_by_hand([yes, yes, yes, no, skip], [yes, skip, no, no, yes])
assert isinstance(small, tuple | list) and len(small) == 2, (
    f"{small!r:.60}: two shares are asked for, (of the called, of those that are)"
)
called, found = small
assert abs(called - 1 / 3) < 1e-9, (
    f"{called:.3f}: the judge calls three replies hallucinated and one of them is, so the first "
    "share is 1/3; what the reader left unscored is no hallucination"
)
assert abs(found - 1 / 2) < 1e-9, (
    f"{found:.3f}: two replies are hallucinated and the judge finds one, so the second share is "
    "1/2; one that it left unscored is not found"
)
print("Exercise 3: right.")
for name in ("exact", "substring", "alias"):
    called, found = checked_by_hand(verdicts[name], verdicts["first reader"])
    print(f"{name:>10}: {called:.2f} of what it calls hallucinated is; it finds {found:.2f}")

# %% [markdown]
# ## Other labels, other neurons
#
# Back in the toy world, where it is known what the model was taught, a third meaning can be had:
# **made up** is any answer about what was never taught, also one that is right by luck. Three
# judges, the same replies, the same probe with the same penalty.

# %%
model = hlens.load("toy")
questions = hlens.domains.load("toy_towns") + hlens.domains.load("toy_people")
said = hlens.sample(model, questions, n=2, seed=0)
alias = named("alias")


def made_up(response):
    """Hallucinated where the model answers what it was never taught, right or wrong."""
    judgement = alias(response)
    if judgement.verdict is Verdict.REFUSED:
        return judgement
    known = response.question.meta["taught"]
    return replace(judgement, verdict=Verdict.CORRECT if known else Verdict.HALLUCINATED)


meanings = {"wrong": alias, "not the answer": exact, "made up": made_up}
labels = {name: hlens.judge(said, judge) for name, judge in meanings.items()}
whole = [Judgement(reply, Verdict.CORRECT, answer=alias(reply).answer) for reply in said]
measured = hlens.measure(model, hlens.locate(whole, model), metric=hlens.metrics.cett)
probe = hlens.SparseProbe(C=0.02, class_weight="balanced", scale="feature")
LABEL = {Verdict.CORRECT: False, Verdict.HALLUCINATED: True}
parts, found_by = {}, {}
for name, judgements in labels.items():
    kept = [at for at, j in enumerate(judgements) if j.verdict in LABEL]
    data = replace(
        measured.select(torch.tensor(kept)),
        labels=torch.tensor([LABEL[judgements[at].verdict] for at in kept]),
    )
    parts[name] = hlens.evaluation.split_by_group(data, test=0.3)
    found_by[name] = hlens.find(parts[name][0], probe, calibration=None)
    print(
        f"{name:>15}: {rate(judgements):.0%} hallucinated, AUROC "
        f"{hlens.evaluate(found_by[name], parts[name][1])}, {len(found_by[name].selected)} neurons"
    )

# %%
hlens.figures.upset([replace(found_by[name].selected, name=name) for name in meanings])

# %% [markdown]
# "Not the answer" counts "I do not know." as a hallucination, so its probe learns, among other
# things, to tell refusals. None of the three sets is *the* hallucination neurons. Each is the
# neurons of one sentence: say the sentence.
#
# ## Labels that are wrong
#
# Suppose a share *p* of the labels is flipped, of either kind alike and by nothing but chance. What
# becomes of the AUROC of a detector that did not change?
#
# **Predict.** Its AUROC is 0.95, and one label in five is flipped. What will you measure?
#
# ### Exercise 4: what noise costs
# *Difficulty: 4 of 5 · 12 minutes*
#
# Write the AUROC that you must expect under flipped labels. `share` is the share of hallucinated
# answers *before* flipping. AUROC is about pairs: one answer that is called hallucinated, one that
# is called correct. Either of the two may be the other kind in truth.
#
# **You should see** that 0.95 becomes 0.77 with one label in five flipped, where half of the
# answers are hallucinated, and still less where only one in ten is.
#
# <details><summary>Hint 1</summary>
#
# Let *a* be the share of truly hallucinated answers among those called hallucinated, and *b* the
# share of truly hallucinated ones among those called correct. Both follow from `share` and `flips`
# by counting.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A pair in its true order counts with the AUROC, a pair in reverse with one minus it, and a pair of
# two answers of one kind with a half.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Collect terms: the AUROC's distance from 0.5 shrinks by the factor *a* - *b*.
#
# </details>


# %% tags=["exercise"]
def expected_auroc(auroc, flips, share=0.5):
    """AUROC to expect where a share `flips` of the labels is flipped, of both kinds alike."""
    # solution
    called = share * (1 - flips) + (1 - share) * flips
    a = share * (1 - flips) / called
    b = share * flips / (1 - called)
    return 0.5 + (a - b) * (auroc - 0.5)
    # end solution


# %% tags=["check"]
first = expected_auroc(0.95, 0.2)
assert isinstance(first, int | float | np.number), f"{first!r:.60}: an AUROC is one number"
assert abs(expected_auroc(0.9, 0.0, 0.3) - 0.9) < 1e-9, "without a flip the AUROC stays as it is"
assert abs(expected_auroc(0.9, 0.5, 0.3) - 0.5) < 1e-9, "labels by a coin say nothing: 0.5"
assert abs(first - 0.77) < 1e-9, (
    f"{first:.3f}, and 0.77 is right for half and half: called hallucinated are 0.8 that are and "
    "0.2 that are not, called correct the reverse; the distance from 0.5 shrinks to 0.6 of it"
)
rare = expected_auroc(0.95, 0.2, 0.1)
draw = np.random.default_rng(0)
true = draw.random(200_000) < 0.1
score = draw.normal(size=len(true)) + 2.326 * true  # which gives an AUROC of 0.95
seen = hlens.evaluation.auroc(score, true ^ (draw.random(len(true)) < 0.2))
assert abs(rare - seen) < 0.01, (
    f"{rare:.3f} where one in ten is hallucinated and one label in five flipped; a simulation of "
    f"200,000 answers gives {seen:.3f}: most of those called hallucinated are then true ones"
)
print(
    f"Exercise 4: right. 0.95 is seen as {first:.2f}; where one in ten is hallucinated, {rare:.2f}."
)

# %% [markdown]
# Does the formula hold for a probe? And is it the same where labels are wrong *in training*? Flip
# labels of the toy detector: in the test part alone, in the training part alone (then fit again,
# and test on clean labels), and in both.

# %%
train, test = parts["made up"]
clean, score = test.labels.numpy(), found_by["made up"](test).numpy()
own = hlens.evaluation.auroc(score, clean)


def flipped(part, rate, seed):
    """The contributions with a share of their labels flipped."""
    turned = np.random.default_rng(seed).random(len(part)) < rate
    return replace(part, labels=part.labels ^ torch.from_numpy(turned))


rates = (0.0, 0.05, 0.1, 0.2, 0.3)
seen = {"test labels flipped": [], "training labels flipped": [], "both": []}
for p in rates:
    again = [hlens.find(flipped(train, p, seed), probe, calibration=None) for seed in range(2)]
    noisy = [flipped(test, p, 100 + seed).labels.numpy() for seed in range(20)]
    marks = [one(test).numpy() for one in again]
    auroc = hlens.evaluation.auroc
    seen["test labels flipped"].append(np.mean([auroc(score, label) for label in noisy]))
    seen["training labels flipped"].append(np.mean([auroc(mark, clean) for mark in marks]))
    seen["both"].append(np.mean([auroc(mark, label) for mark in marks for label in noisy]))

figure, line = Figure(), np.linspace(0, 0.35, 50)
figure.add_scatter(
    x=line,
    y=[expected_auroc(own, p, clean.mean()) for p in line],
    name="your formula",
    line={"color": colours.control, "dash": "dot"},
)
marks = (
    ("circle", colours.positive),
    ("diamond", colours.negative),
    ("square-open", colours.second),
)
for (name, values), (symbol, colour) in zip(seen.items(), marks, strict=True):
    figure.add_scatter(
        x=rates,
        y=values,
        name=name,
        mode="lines+markers" if name.startswith("train") else "markers",
        marker={
            "symbol": symbol,
            "size": 12,
            "color": colour,
            "line": {"color": colour, "width": 2},
        },
    )
figure.update_layout(xaxis={"title": {"text": "share of labels flipped"}, "tickformat": ".0%"})
figure.update_layout(yaxis={"title": {"text": "AUROC"}, "range": [0.45, 1.03]})
tenth = {name: values[rates.index(0.1)] for name, values in seen.items()}
finish(
    figure,
    colours,
    title=f"With one test label in ten flipped, {own:.2f} looks like "
    f"{tenth['test labels flipped']:.2f}",
    subtitle=f"the toy model, {len(test)} answers on groups that were held out; flipped in "
    f"training alone: {tenth['training labels flipped']:.2f}",
    height=380,
)

# %% [markdown]
# Read it twice. Wrong labels *in the test part* make a good detector look poor, by a known amount.
# Wrong labels *in training* do far less harm: here none that is seen, since what was planted is so
# clean. So spend your hours of reading on the test part.
#
# ### Exercise 5: the ceiling of a label
# *Difficulty: 2 of 5 · 5 minutes*
#
# A real judge does not flip by chance, so no formula gives what it costs. But where the truth of
# some answers is known, you can ask for the ceiling: the AUROC of a **perfect** detector, one whose
# score *is* the truth, measured against the label.
#
# **You should see** that no detector of made-up answers can look better than about 0.9 on the label
# "wrong" in the toy world.
#
# <details><summary>Hint 1</summary>
#
# `hlens.evaluation.auroc(scores, labels)`: what is the score of a detector that knows, and what is
# it held against?
#
# </details>


# %% tags=["exercise"]
def ceiling(truth, label):
    """AUROC of a detector that reads the truth perfectly, measured against the label."""
    # solution
    return hlens.evaluation.auroc(truth.astype(float), label)
    # end solution


# %% tags=["check"]
truth = np.array([True, True, True, True, False, False, False])
label = np.array([True, False, False, False, False, False, False])
top = ceiling(truth, label)
assert isinstance(top, int | float | np.number), f"{top!r:.60}: an AUROC is one number"
assert abs(ceiling(truth, truth) - 1) < 1e-9, "a label without a fault grants an AUROC of 1"
assert abs(top - 0.75) < 1e-9, (
    f"{top:.3f}, and 0.75 is right for a label that finds one of four hallucinations among seven "
    "answers: the score is the truth, the label is what it is measured against, ties count half"
)
both = [at for at, j in enumerate(labels["wrong"]) if j.verdict in LABEL]
known = np.array([not said[at].question.meta["taught"] for at in both])
called = np.array([LABEL[labels["wrong"][at].verdict] for at in both])
print(f"Exercise 5: right. In the toy world the label 'wrong' grants {ceiling(known, called):.3f}.")

# %% [markdown]
# ## What to do
#
# 1. Say in one sentence what is called a hallucination, and who says so.
# 2. Read a hundred replies by hand, *without seeing the verdicts*; two readers, if you can. Give
#    exercise 3's shares beside your result. Those of hlens are in the docs ("Do the labels
#    hold?").
# 3. Run the result again under a second judge: `hlens audit` does, and lists which claims change.
# 4. Leave what cannot be judged unscored, and count it. A forced verdict is a flipped label.
#
# ## A common mistake
#
# *Dividing the noise out again.* Exercise 4 can be solved for the true AUROC, and the result looks
# splendid. It holds only where labels are flipped by chance. A judge that errs on **long** replies
# errs where a detector of length scores high, and then wrong labels *raise* the AUROC.
#
# ## What would falsify this?
#
# "The finding does not hang on the judge" is wrong if another sensible judge names other neurons,
# or moves the AUROC out of its interval. "Labels are flipped by chance" is wrong if the replies
# where two judges differ are longer, or of another domain, than the others. Look at the columns of
# the first figure: what do the replies have in common on which they differ?
#
# ## Recap
#
# 1. Two judges agree on 90 % of the replies. Is that much?
#    <details><summary>Answer</summary>Not if both call 90 % hallucinated: chance alone would make
#    them agree on 82 %, and kappa is 0.44.</details>
# 2. Which labels should you read by hand first, and why?
#    <details><summary>Answer</summary>Those of the test part: noise there goes straight into the
#    AUROC; a probe averages much of the noise in training away.</details>
# 3. Why may a detector be better than its AUROC?
#    <details><summary>Answer</summary>It is measured against the label, and cannot look better than
#    the label's ceiling.</details>
#
# Next: [models that think](15_models_that_think.ipynb).
