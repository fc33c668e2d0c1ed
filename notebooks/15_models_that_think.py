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
# # 15. Models that think
#
# Some models write to themselves before they answer: `<think>It may be Sydney ... no.</think>
# Canberra`. Everything that you have learnt so far assumed that a reply *is* the answer. Here it is
# not, and each step of the line can go wrong without a word.
#
# **You will be able to**
#
# - cut a thought off a reply, also where the template opened it or the token limit ended it;
# - keep a judge from reading what it must not, and find the token at which the answer begins;
# - choose what to measure, thought or answer, and say what a mean over both really reads.
#
# Time: 40 minutes. **What is real here:** the replies are written by hand, and the numbers of the
# last two parts are made, as the text says. No model that thinks is small enough to come with the
# lessons, so nothing below is a result about such models; it is how not to fool yourself with one.

# %%
import numpy as np
import plotly.io as pio
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

import hlens
from hlens.contributions.regions import find_region
from hlens.drawing.figure import Figure, finish
from hlens.drawing.theme import palette
from hlens.judges import named
from hlens.thoughts import find_thought, tags_of
from hlens.types import Judgement, Question, Response, Verdict

pio.renderers.default = "plotly_mimetype+notebook"  # figures also show in an exported notebook

# %% [markdown]
# ## Ten replies
#
# Each shows one thing that such models do. In the last one the chat template had opened the thought
# at the end of the prompt, as many do, so the reply has a closing tag alone.

# %%
capital = Question("capital", "geography", "What is the capital of Australia?", ("Canberra",))
emma = Question("emma", "books", "Who wrote Emma?", ("Jane Austen", "Austen"))
total = Question("total", "sums", "What is 17 + 25?", ("42", "forty-two"))
written = [  # question, reply, finish reason
    (capital, "Canberra.", "stop"),
    (capital, "<think>Parliament sits in Canberra, so Canberra.</think>\n\nCanberra.", "stop"),
    (capital, "<think>Canberra? Or Sydney? Sydney is larger.</think>\n\nSydney.", "stop"),
    (emma, "<think>Emma is by Jane Austen. Or by a sister?</think>\n\nCharlotte Brontë.", "stop"),
    (emma, "<think>I don't know all novels. Emma, 1815: Austen.</think> Jane Austen.", "stop"),
    (emma, "<think>Emma came out in 1815. Who wrote novels then? Walter Scott wrote", "length"),
    (total, "<think>7 + 5 = 12, carry 1, so 42. Or is it 32? 32.</think>32", "stop"),
    (total, "<think>\n\n</think>\n\n42", "stop"),
    (emma, "<think>Scott? Perhaps. I am not sure at all.</think> I do not know.", "stop"),
    (capital, "The seat is Canberra, I am sure.\n</think>\n\nIt is Melbourne.", "stop"),
]
opened = [not text.startswith("<think>") and "</think>" in text for _, text, _ in written]
replies = [
    Response(question, text, (), 0, finish_reason=reason, sample=number)
    for number, (question, text, reason) in enumerate(written)
]

# %% [markdown]
# **Predict, then run.** A judge that knows nothing of thoughts reads the whole text. Of how many of
# the ten will its verdict be wrong? Read them yourself first, and write your own verdicts down.

# %%
naive = [named("alias")(reply) for reply in replies]
for reply, mark in zip(replies, naive, strict=True):
    print(f"{mark.verdict.value:13}{reply.text!r}")

# %% [markdown]
# ### Exercise 1: where the thought ends
# *Difficulty: 2 of 5 · 6 minutes*
#
# Cut a reply in two. Return `(thought, answer)`, both without tags and without space around them.
# Where there is no thought, it is `""`; where the thought never ends, the answer is `None`.
# `opened` says that the prompt had opened the thought already.
#
# **You should see** that nine of the ten replies have an answer, and eight of these a thought
# before it, one of which is empty.
#
# <details><summary>Hint 1</summary>
#
# A reply begins with a thought if it begins with `<think>` (space before it does not matter), or if
# the prompt opened one. Everything else is an answer, whatever tags it mentions later.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `text.partition("</think>")` gives what is before, the tag (empty if there is none), and what is
# behind. It cuts at the first tag, which is the one that counts.
#
# </details>


# %% tags=["exercise"]
def split_thought(text, opened=False):
    """(thought, answer) of a reply; the answer is None where the thought never ends."""
    # solution
    begins = text.lstrip().startswith("<think>")
    if not begins and not opened:
        return "", text.strip()
    inside, closing, behind = text.partition("</think>")
    thought = inside.strip().removeprefix("<think>").strip()
    return thought, behind.strip() if closing else None
    # end solution


# %% tags=["check"]
for text, is_open, wanted, why in (
    ("Canberra.", False, ("", "Canberra."), "a reply without a tag is all answer"),
    ("<think>So.</think>\n\n42", False, ("So.", "42"), "tags and space belong to neither"),
    (
        "\n<think>\n\n</think>\n\n42",
        False,
        ("", "42"),
        "a thought may be empty, and space precede it",
    ),
    (
        "<think>Who wrote",
        False,
        ("Who wrote", None),
        "a thought that never ends has no answer: None",
    ),
    (
        "So.</think> 42",
        True,
        ("So.", "42"),
        "the prompt opened it, so the reply has no opening tag",
    ),
    ("Who wrote", True, ("Who wrote", None), "opened by the prompt and never closed: all thought"),
    ("<think>a</think>It is </think>.", False, ("a", "It is </think>."), "the first tag closes it"),
    ("Use <think> for thoughts.", False, ("", "Use <think> for thoughts."), "it does not begin so"),
):
    parts = split_thought(text, is_open)
    assert isinstance(parts, tuple | list) and len(parts) == 2, (
        f"{parts!r:.60}: two parts are asked for, (thought, answer)"
    )
    assert tuple(parts) == wanted, (
        f"{text!r}{' after an opened thought' * is_open} gave {tuple(parts)!r}, and {wanted!r} is "
        f"right: {why}"
    )
parted = [split_thought(r.text, o) for r, o in zip(replies, opened, strict=True)]
n_answers = sum(answer is not None for _, answer in parted)
n_empty = sum(not thought for thought, _ in parted) - 1
print(
    f"Exercise 1: right. {n_answers} of {len(parted)} replies have an answer; one has no thought, "
    f"and {n_empty} an empty one."
)

# %% [markdown]
# ### Exercise 2: what a judge must not read
# *Difficulty: 2 of 5 · 6 minutes*
#
# Judge what stands behind the thought, and nothing else. A reply whose thought never ends is
# **unscored**: it is no falsehood, the token limit was too small. Return the verdict.
#
# **You should see** that six of the ten verdicts change.
#
# <details><summary>Hint 1</summary>
#
# Exercise 1 has done the cutting. The judge wants a `Response`: `dataclasses.replace(response,
# text=...)` gives one with another text.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Do not ask the judge about an unfinished thought: return `Verdict.UNSCORED` before.
#
# </details>


# %% tags=["exercise"]
def verdict_behind(response, judge, opened=False):
    """The judge's verdict on the answer alone."""
    # solution
    from dataclasses import replace

    _, answer = split_thought(response.text, opened)
    if answer is None:
        return Verdict.UNSCORED
    return judge(replace(response, text=answer)).verdict
    # end solution


# %% tags=["check"]
read = []


def spy(response):
    """A judge that calls everything hallucinated, and remembers what it was shown."""
    read.append(getattr(response, "text", response))
    return Judgement(response, Verdict.HALLUCINATED)


ended = verdict_behind(Response(total, "<think>42?</think> 32", (), 0), spy)
assert isinstance(ended, Verdict), f"{ended!r:.60}: return the verdict, as the judge gives it"
assert ended is Verdict.HALLUCINATED, f"{ended}: the judge said hallucinated, and it decides"
assert [str(text).strip() for text in read] == ["32"], (
    f"the judge was shown {read!r}, and should read the answer alone, once: '32'"
)
read.clear()
cut = verdict_behind(Response(total, "<think>42?", (), 0, finish_reason="length"), spy)
assert cut is Verdict.UNSCORED, f"{cut}: a thought without an end has no answer, so it is unscored"
plain = verdict_behind(Response(total, "42", (), 0), named("alias"))
assert plain is Verdict.CORRECT, f"{plain}: a reply without a thought is judged as it is"
late = verdict_behind(Response(total, "So 42.</think>32", (), 0), named("alias"), True)
assert late is Verdict.HALLUCINATED, (
    f"{late}: opened in the prompt, the answer is 32; pass `opened` on"
)
behind = [verdict_behind(r, named("alias"), o) for r, o in zip(replies, opened, strict=True)]
changed = sum(a is not b.verdict for a, b in zip(behind, naive, strict=True))
print(f"Exercise 2: right. {changed} of {len(replies)} verdicts change.")
for reply, before, after in zip(replies, naive, behind, strict=True):
    print(f"{before.verdict.value:13}-> {after.value:13}{reply.text!r:.64}")

# %% [markdown]
# Look at *which* change. Where the thought names the right answer and the reply another, the naive
# judge says correct; where the thought doubts and the answer is right, it says refused. Its errors
# follow **the thought**, and a probe trained on such labels would, too.
#
# `hlens.judge` does this for you, with every judge: of replies that hlens sampled it knows the
# thought by the tags of the chat template, of a bare text by `<think>` alone.

# %% [markdown]
# ## Where the answer begins
#
# To measure neurons you need tokens, not characters. Let us make a tokenizer as thinking models
# have it: pieces of words, thought tags that are special tokens, and a template that names them.

# %%
inner = Tokenizer(models.BPE())
inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
inner.decoder = decoders.ByteLevel()
trainer = trainers.BpeTrainer(
    vocab_size=420,
    special_tokens=["<think>", "</think>"],
    initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    show_progress=False,
)
inner.train_from_iterator([reply.text for reply in replies], trainer)
tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner)
tokenizer.chat_template = (  # earlier thoughts are not shown to the model again, as usual
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'].split('</think>')[-1] + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
print("tags that the template names:", tags_of(tokenizer))
ids = tokenizer.encode(replies[2].text)
print("with special tokens:   ", repr(tokenizer.decode(ids)))
print("without special tokens:", repr(tokenizer.decode(ids, skip_special_tokens=True)))

# %% [markdown]
# The last line is what is left where special tokens are dropped, as is the habit when replies are
# stored. The tags are gone, the thought is not.
#
# ### Exercise 3: the first token of the answer
# *Difficulty: 3 of 5 · 9 minutes*
#
# Given the token ids of a reply, return the index of the first token that holds a **visible**
# character of the answer: neither the closing tag nor the space behind it. Return `None` where
# there is no answer, and 0 where there is no thought.
#
# **You should see** that of the third reply's tokens but a few answer.
#
# <details><summary>Hint 1</summary>
#
# Do not count characters or words, and do not tokenise the thought by itself: pieces may join
# differently there. Walk along the ids that you have.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The closing tag is one id: `tokenizer.convert_tokens_to_ids("</think>")`. Everything up to its
# first place is thought.
#
# </details>
# <details><summary>Hint 3</summary>
#
# From there on, go forward while `tokenizer.decode([one])` is nothing but space.
#
# </details>


# %% tags=["exercise"]
def answer_start(tokenizer, ids):
    """Index of the first token of the answer; None where the thought never ends."""
    # solution
    opening, closing = tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
    if closing not in ids:
        return None if opening in ids else 0
    start = ids.index(closing) + 1
    while start < len(ids) and tokenizer.decode([ids[start]]).isspace():
        start += 1
    return start if start < len(ids) else None
    # end solution


# %% tags=["check"]
for reply in replies:
    ids = tokenizer.encode(reply.text)
    start, thought = answer_start(tokenizer, ids), find_thought(tokenizer, [], ids)
    wanted = 0 if thought is None else thought.n_tokens if thought.finished else None
    shown = f"{reply.text!r:.50}"
    if wanted is None:
        assert start is None, f"{start!r} for {shown}: the thought never ends, so None is right"
        continue
    assert isinstance(start, int | np.integer) and not isinstance(start, bool), (
        f"{start!r:.60} for {shown}: an index is a whole number, here {wanted}"
    )
    assert start == wanted, (
        f"{start} for {shown}: token {wanted} of {len(ids)} is the first that holds a visible "
        "character of the answer; is it an index of these very ids, behind the tag and its space?"
    )
third = tokenizer.encode(replies[2].text)
start = answer_start(tokenizer, third)
print(f"Exercise 3: right. Of the third reply, {len(third) - start} of {len(third)} tokens answer.")

# %% [markdown]
# hlens finds it where a reply comes into being, and carries it along: `Response.thought`, then
# `Example.n_thought`. So every region of `hlens.measure` knows it: `"answer"` and `"response"`
# never take a token of the thought, and `"thought"` takes it alone.

# %%
prompt = tokenizer.encode("user: What is the capital of Australia?\nassistant: ")
cut_off = find_thought(tokenizer, prompt, third)
response = Response(
    capital,
    tokenizer.decode(third[cut_off.n_tokens :]),
    (*prompt, *third),
    len(prompt),
    thought=cut_off,
)
(example,) = hlens.locate(hlens.judge([response]), tokenizer)
for region in ("thought", "response", "answer"):
    ((start, stop),) = find_region(region)(example)
    print(f"{region:>9}: {tokenizer.decode(list(response.token_ids[start:stop]))!r}")
pieces = hlens.spans.token_texts(tokenizer, response.token_ids)
measured = np.full(len(pieces), np.nan)
measured[example.n_prompt + example.n_thought :] = 0.0
measured[example.start : example.stop] = 1.0
hlens.figures.tokens(pieces, measured, n_prompt=example.n_prompt, label='in region "answer"')

# %% [markdown]
# ## Thought or answer?
#
# Both can be asked about, but they are two questions. *Is this answer false?* is read at the
# answer. *Is the model going astray?* may be read in the thought, which has no verdict of its own:
# a thought may try three wrong answers and end at the right one.
#
# ### Exercise 4: what a mean reads
# *Difficulty: 2 of 5 · 6 minutes*
#
# A neuron's contributions to each token of a reply, thought first. Return three means: over the
# thought, over the answer, and over the whole reply (every **token** counts alike).
#
# **You should see** that a neuron that speaks up at the answer only, by 1.0, is nearly gone in the
# mean over the whole: four tokens of answer behind 96 of thought leave 0.04.
#
# <details><summary>Hint 1</summary>
#
# Slices of one array: `values[:n_thought]`, `values[n_thought:]`, and all of it.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The mean of the two means is not the mean over all tokens: the parts differ in length.
#
# </details>


# %% tags=["exercise"]
def means(values, n_thought):
    """Mean over (the thought, the answer, the whole reply)."""
    # solution
    return values[:n_thought].mean(), values[n_thought:].mean(), values.mean()
    # end solution


# %% tags=["check"]
got = means(np.array([1.0, 2.0, 3.0, 10.0]), 3)
assert isinstance(got, tuple | list | np.ndarray) and len(got) == 3, (
    f"{got!r:.60}: three means are asked for, (thought, answer, whole)"
)
assert abs(got[0] - 2) < 1e-9, f"{got[0]}: the mean over a thought of 1, 2 and 3 is 2"
assert abs(got[1] - 10) < 1e-9, f"{got[1]}: the mean over an answer of one token, 10, is 10"
assert abs(got[2] - 4) < 1e-9, f"{got[2]}: the mean over all four tokens, 1, 2, 3 and 10, is 4"
quiet = np.zeros(100)
quiet[96:] = 1.0
print(f"Exercise 4: right. Thought, answer, whole: {[float(m) for m in means(quiet, 96)]}")

# %% [markdown]
# **Predict.** Now a detector. Made numbers: a token's contribution is noise, and at the answer of a
# hallucination it is a little larger. What becomes of the AUROC of the mean over the whole reply as
# thoughts grow longer? And of another neuron, which knows **nothing** of the answer but is louder
# in any thought, where wrong answers come after longer thoughts?


# %%
def made_auroc(n_thought, signal, level, longer, n=1200, seed=0):
    """AUROC of the mean over the answer and over the whole reply, of made contributions.

    Answers that are wrong lie `signal` higher, thoughts of either kind `level`, and thoughts of
    wrong answers are `longer` times as long.
    """
    draw = np.random.default_rng(seed)
    wrong = np.arange(n) % 2 == 0
    read = []
    for is_wrong in wrong:
        size = n_thought * longer if is_wrong else n_thought
        values = np.r_[draw.normal(level, 1, size), draw.normal(signal * is_wrong, 1, 4)]
        read.append(means(values, size)[1:])
    return [hlens.evaluation.auroc(column, wrong) for column in np.transpose(read)]


lengths = (1, 4, 16, 64, 256)
knows = np.array([made_auroc(n, signal=0.8, level=0.0, longer=1) for n in lengths])
knows_not = np.array([made_auroc(n, signal=0.0, level=1.5, longer=3) for n in lengths])
colours = palette("light")
figure = Figure()
for name, values, colour, symbol, dash in (
    ("it knows, read at the answer", knows[:, 0], colours.negative, "diamond", "solid"),
    ("it knows, whole reply", knows[:, 1], colours.negative, "diamond-open", "dot"),
    ("it knows not, at the answer", knows_not[:, 0], colours.positive, "circle", "solid"),
    ("it knows not, whole reply", knows_not[:, 1], colours.positive, "circle-open", "dot"),
):
    figure.add_scatter(
        x=lengths,
        y=values,
        name=name,
        mode="lines+markers",
        line={"color": colour, "width": 2.4, "dash": dash},
        marker={"symbol": symbol, "size": 10, "color": colour},
    )
figure.update_layout(
    xaxis={"type": "log", "tickvals": lengths, "title": {"text": "tokens of thought"}},
    yaxis={"title": {"text": "AUROC"}, "range": [0.42, 0.92]},
)
blind = knows_not[:, 1].max()
finish(
    figure,
    colours,
    title=f"Over the whole reply a neuron that knows nothing reaches {blind:.2f}",
    subtitle="made numbers: 1,200 replies a point, four tokens of answer, one neuron at a time",
    height=400,
)

# %% [markdown]
# Over the whole reply the neuron that knows fades away, and the one that knows nothing becomes a
# detector of **length**. Nobody meant to measure either. In a real study, put the number of tokens
# of the thought beside the probe as a control, as lesson 4 did with the length of the answer.
#
# ## How long may it think?
#
# ### Exercise 5: the limit decides the rate
# *Difficulty: 3 of 5 · 8 minutes*
#
# A token limit ends some thoughts before they come to an answer. Given how many tokens each reply
# needs, and whether its answer *would* be wrong, return two numbers for a limit: the share of
# replies that are cut off, and the rate of hallucination among those that finish. A reply that
# needs exactly the limit finishes. Where none finishes, the rate is `nan`.
#
# **You should see** that the same made model hallucinates in one answer of ten under a limit of 128
# tokens, and in more than three of ten where it may think as long as it wants.
#
# <details><summary>Hint 1</summary>
#
# `needed <= limit` is a mask of the replies that finish; its mean is their share.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The rate is over the finished alone: what is cut off is neither right nor wrong, whatever it would
# have become.
#
# </details>


# %% tags=["exercise"]
def at_limit(needed, wrong, limit):
    """(share that is cut off, rate of hallucination among those that finish)."""
    # solution
    ends = needed <= limit
    rate = wrong[ends].mean() if ends.any() else float("nan")
    return 1 - ends.mean(), rate
    # end solution


# %% tags=["check"]
needs, errs = np.array([10, 20, 30, 40, 50]), np.array([False, True, False, True, True])
got = at_limit(needs, errs, 30)
assert isinstance(got, tuple | list | np.ndarray) and len(got) == 2, (
    f"{got!r:.60}: two numbers are asked for, (share cut off, rate among the finished)"
)
assert abs(got[0] - 0.4) < 1e-9, (
    f"{got[0]:.3f}: of 10, 20, 30, 40 and 50 tokens a limit of 30 cuts two off, which is 0.4; the "
    "one that needs exactly 30 finishes"
)
assert abs(got[1] - 1 / 3) < 1e-9, (
    f"{got[1]:.3f}: three finish and one of them is wrong, so the rate is 1/3; those cut off count "
    "neither above nor below the fraction's line"
)
none = at_limit(needs, errs, 5)
assert abs(none[0] - 1) < 1e-9, f"{none[0]:.3f}: a limit of 5 cuts all of them off, which is 1"
assert np.isnan(none[1]), f"{none[1]}: where no reply finishes there is no rate: nan"
draw = np.random.default_rng(0)
difficulty = draw.normal(size=3000)  # made: what is hard takes longer and goes wrong more often
needed = np.exp(5.3 + 0.8 * difficulty + 0.3 * draw.normal(size=3000)).astype(int)
wrong = draw.random(3000) < 1 / (1 + np.exp(0.9 - 1.5 * difficulty))
short, free = at_limit(needed, wrong, 128), at_limit(needed, wrong, needed.max())
print(f"Exercise 5: right. Rate {short[1]:.2f} under 128 tokens, {free[1]:.2f} without a limit.")

# %%
limits = np.geomspace(48, 2048, 30)
cut, rates = np.array([at_limit(needed, wrong, limit) for limit in limits]).T
as_wrong = cut + (1 - cut) * rates
figure = Figure()
for name, values, colour, dash in (
    ("of those that finish", rates, colours.negative, "solid"),
    ("cut off counted as hallucinated", as_wrong, colours.positive, "dash"),
    ("cut off", cut, colours.control, "dot"),
):
    line = {"color": colour, "width": 2.6, "dash": dash}
    figure.add_scatter(x=limits, y=values, name=name, mode="lines", line=line)
figure.add_hline(y=wrong.mean(), line={"color": colours.ink, "width": 1})
figure.update_layout(
    xaxis={"type": "log", "tickvals": [64, 128, 256, 512, 1024, 2048]},
    yaxis={"title": {"text": "share of replies"}, "tickformat": ".0%", "range": [0, 1]},
)
figure.update_layout(xaxis={"title": {"text": "token limit"}})
finish(
    figure,
    colours,
    title=f"One model, and a rate of {short[1]:.0%} or {free[1]:.0%} by its token limit",
    subtitle="made numbers: 3,000 questions; the black line is the rate without a limit",
    height=390,
)

# %% [markdown]
# Neither way of counting saves you: leaving the cut ones out makes the model look *better* (only
# easy questions finish), counting them as wrong makes it look *worse*. Raise the limit until hardly
# any is cut off, and report the share that is.
#
# ## With a real one
#
# Any model whose template names its tags will do, given the room to think:
#
#     model = hlens.load("Qwen/Qwen3-0.6B")
#     responses = hlens.sample(model, questions, settings=hlens.Settings(max_new_tokens=1024))
#     examples = hlens.locate(hlens.judge(responses), model)
#     answer = hlens.measure(model, examples)                      # the answer alone
#     thought = hlens.measure(model, examples, region="thought")   # another question
#
# ## A common mistake
#
# *Decoding without special tokens, then splitting at `</think>`.* The tags are gone, nothing is
# split, and the thought is judged as the answer. No error is raised, and the rates look plausible.
#
# ## What would falsify this?
#
# "The neurons read the answer" fails if the same probe does as well on the thought's tokens, or if
# the thought's length alone does. "Thinking makes the model hallucinate less" fails if the share
# that is cut off grew as the rate fell. Which number must stand beside each?
#
# ## Recap
#
# 1. Why is a reply that ends in its thought not a hallucination?
#    <details><summary>Answer</summary>It claims nothing: the limit came before the answer. It is
#    unscored, and its share is reported.</details>
# 2. Why is it wrong to find the answer's tokens by tokenising the thought by itself?
#    <details><summary>Answer</summary>Tokens may join other pieces there, and tags may be hidden:
#    the count is then of other tokens than the model read.</details>
# 3. What may a mean over the whole reply read instead of truth?
#    <details><summary>Answer</summary>How long the thought is, wherever a neuron has another level
#    in thoughts than in answers.</details>
#
# Next: [a real model](16_a_real_model.ipynb).
