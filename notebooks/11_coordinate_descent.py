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
# # 11. Coordinate descent: how few neurons are chosen
#
# "The probe keeps five neurons." Which five is decided by an optimiser, and an optimiser that stops
# early names others. This lesson builds one: one weight at a time, with a certificate at the end
# that says whether it has arrived. Then it meets `hlens.SparseProbe`.
#
# **You will be able to**
#
# - write soft thresholding, the update of one coordinate, and a cycle over them;
# - check a solution by its optimality conditions, and derive from them the penalty at which the
#   first neuron enters;
# - translate between $\lambda$ and `C`, and say what `scale` and `class_weight` do to the problem;
# - explain why a solver for a million neurons works on a few of them at a time.
#
# Time: 40 minutes.

# %%
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
from scipy.special import expit

import hlens
from hlens.drawing.curves import panels
from hlens.drawing.figure import Figure, finish
from hlens.drawing.theme import palette

pio.renderers.default = "plotly_mimetype+notebook"  # figures also show in an exported notebook
colours = palette("light")
model = hlens.load("toy")
questions = [q for name in ("toy_towns", "toy_people") for q in hlens.domains.load(name)]
responses = hlens.sample(model, questions, n=1, seed=0)
examples = hlens.spans.first_of_each_label(hlens.locate(hlens.judge(responses), model))
data = hlens.measure(model, examples, metric=hlens.metrics.cett)
X = data.values.reshape(len(data), -1).double().numpy()
X = (X - X.mean(0)) / X.std(0)  # [example, neuron]; what scale="feature" does inside the probe
y = data.labels.double().numpy()  # 1 is hallucinated
X.shape, y.mean().round(2)


# %%
def numbers(answer):
    """An answer as an array, whether it came as a tensor, an array or a list; else an empty one."""
    try:
        return np.asarray(answer, dtype=float)
    except (TypeError, ValueError, RuntimeError):
        return np.empty(0)


# %% [markdown]
# ## The problem
#
# With log-odds $z_i = x_i \cdot w + b$ the probe minimises the mean log loss plus a penalty:
#
# $$P(w, b) = \frac{1}{n} \sum_i \bigl( \log(1 + e^{z_i}) - y_i z_i \bigr) +
# \lambda \sum_j |w_j|$$
#
# scikit-learn and hlens name the penalty the other way round: $C = 1 / (n \lambda)$. With
# `class_weight` each example's loss has a weight, and $n$ is the sum of the weights. All examples
# are used here: this lesson asks whether the minimum is found, not how well it predicts.


# %%
def objective(w, b, lam):
    """Mean log loss plus penalty."""
    z = X @ w + b
    return float(np.mean(np.logaddexp(0, z) - y * z) + lam * np.abs(w).sum())


# %% [markdown]
# ### Exercise 1: soft thresholding
# *Difficulty: 1 of 5 · 5 minutes*
#
# Return the $v$ that minimises $\tfrac12 (v - x)^2 + t\,|v|$. It is $x$ drawn towards zero by $t$,
# and exactly zero where $|x| \le t$. `x` is a number or an array, `t` is a number.
#
# **You should see** five numbers drawn by one towards zero, three of which arrive there.
#
# <details><summary>Hint 1</summary>
#
# Where $v > 0$ the derivative is $v - x + t$. When is its zero positive?
# </details>
#
# <details><summary>Hint 2</summary>
#
# Sign times what is left of the size: `np.sign` and `np.maximum`.
# </details>


# %% tags=["exercise"]
def soft(x, t):
    """The minimiser of (v - x)**2 / 2 + t |v|, in the shape of x."""
    # solution
    return np.sign(x) * np.maximum(np.abs(x) - t, 0)
    # end solution


# %% tags=["check"]
def best_on_a_grid(x, t):
    """The same by trying values."""
    v = np.linspace(-5, 5, 10_001)
    return v[np.argmin((v - x) ** 2 / 2 + t * np.abs(v))]


given = np.array([-3.0, -0.5, 0.0, 0.8, 2.5])
got = numbers(soft(given.copy(), 1.0))
assert got.shape == (5,), f"{got.shape}: one number for each of five, in the shape of x"
assert numbers(soft(-3.0, 1.0)).shape == (), "x may also be one number; then return one number"
for t in (1.0, 0.3, 0.0):
    for x, v in zip(given, numbers(soft(given.copy(), t)), strict=True):
        best = best_on_a_grid(x, t)
        assert abs(v - best) < 2e-3, (
            f"soft({x}, {t}) is {v:.2f}, expected {best:.2f}: towards zero by t, either sign, and "
            "zero where |x| is at most t"
        )
print(f"Exercise 1: right. {given} becomes {numbers(soft(given, 1.0)) + 0.0}")

# %% [markdown]
# The corner of $|v|$ at zero is what makes weights *exactly* zero. A squared penalty has no corner
# and only shrinks.
#
# ## One coordinate
#
# Hold all weights but $w_j$. With residuals $r_i = p_i - y_i$, $p_i$ the probability of a
# hallucination, the loss has the slope and, at most, the curvature
#
# $$g = \frac1n \sum_i x_{ij}\, r_i, \qquad h = \frac{1}{4n} \sum_i x_{ij}^2$$
#
# (a quarter, because $p(1-p)$ is never more). So the objective lies below the parabola
# $g\,(v - w_j) + \frac h2 (v - w_j)^2 + \lambda |v|$, up to a constant, and touches it at $w_j$.
# The lowest point of the parabola is a step that never goes uphill.

# %% [markdown]
# ### Exercise 2: the step
# *Difficulty: 3 of 5 · 8 minutes*
#
# Return the $v$ that minimises it. `x` is one column, `[example]`, and so is `residual`; `weight`
# is the present $w_j$.
#
# **You should see** the objective fall by one step of one neuron.
#
# <details><summary>Hint 1</summary>
#
# Without the penalty: $v = w_j - g / h$, a Newton step.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Divide the parabola by $h$ and complete the square: it is exercise 1. What has become of
# $\lambda$?
# </details>


# %% tags=["exercise"]
def updated(x, residual, weight, lam):
    """The new weight of one coordinate."""
    # solution
    slope, curvature = np.mean(x * residual), np.mean(x**2) / 4
    return soft(weight - slope / curvature, lam / curvature)
    # end solution


# %% tags=["check"]
draw = np.random.default_rng(0)
for weight, lam in ((0.0, 0.02), (0.7, 0.05), (-1.5, 0.1), (0.2, 5.0), (0.4, 0.0)):
    x, residual = draw.normal(0.5, 2, 40), draw.uniform(-1, 1, 40)
    got = numbers(updated(x.copy(), residual.copy(), weight, lam))
    assert got.size == 1, f"{got.shape}: one weight, a number"
    g, h = x @ residual / 40, x @ x / 160
    # The lowest of three: at zero, and where either branch of |v| has its zero slope.
    branches = [0.0, max(weight - (g + lam) / h, 0.0), min(weight - (g - lam) / h, 0.0)]
    costs = [g * (v - weight) + h / 2 * (v - weight) ** 2 + lam * abs(v) for v in branches]
    best = branches[int(np.argmin(costs))]
    assert abs(got.item() - best) < 1e-8, (
        f"from {weight} with a penalty of {lam}: {got.item():.4f}, expected {best:.4f}; means, not "
        "sums, a quarter in the curvature, and the penalty is divided by the curvature, too"
    )
null = np.log(y.mean() / (1 - y.mean()))  # the best intercept while all weights are zero
slopes = X.T @ (y.mean() - y) / len(y)
strongest = int(np.abs(slopes).argmax())
stepped = np.zeros(X.shape[1])
stepped[strongest] = numbers(updated(X[:, strongest], y.mean() - y, 0.0, 0.05)).item()
fell = objective(stepped * 0, null, 0.05), objective(stepped, null, 0.05)
print(
    f"Exercise 2: right. L{strongest // 256}N{strongest % 256} goes to {stepped[strongest]:.2f}, "
    f"the objective from {fell[0]:.3f} to {fell[1]:.3f}"
)

# %% [markdown]
# ## A cycle

# %% [markdown]
# ### Exercise 3: one after the other
# *Difficulty: 3 of 5 · 10 minutes*
#
# Update each of `coordinates` once, in their order, **each with the residuals that the one before
# has left**. Last the intercept, by the same step: its column is all ones and it is not penalised.
# Return `(w, b)`.
#
# **You should see** the objective fall from cycle to cycle, ever more slowly.
#
# <details><summary>Hint 1</summary>
#
# The residuals are `expit(X @ w + b) - y`.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Do not multiply the whole matrix at each step: keep `z = X @ w + b`, and when $w_j$ changes add
# the change times column $j$.
# </details>


# %% tags=["exercise"]
def cycle(X, y, w, b, lam, coordinates):
    """Weights and intercept after one update of each coordinate: ([neuron], number)."""
    # solution
    w, z = w.copy(), X @ w + b
    for j in coordinates:
        new = updated(X[:, j], expit(z) - y, w[j], lam)
        if new != w[j]:
            z += (new - w[j]) * X[:, j]
            w[j] = new
    return w, b - np.mean(expit(z) - y) / 0.25
    # end solution


# %% tags=["check"]
little, little_w = draw.normal(size=(30, 6)) @ draw.normal(size=(6, 6)), draw.normal(size=6)
little_y = (draw.random(30) < 0.4).astype(float)
for order in ([4, 0, 2], [5, 4, 3, 2, 1, 0]):
    answer = cycle(little.copy(), little_y.copy(), little_w.copy(), 0.3, 0.05, list(order))
    assert isinstance(answer, tuple | list) and len(answer) == 2, "return two things, w and b"
    got_w, got_b = map(numbers, answer)
    assert got_w.shape == (6,) and got_b.size == 1, (
        f"{got_w.shape} and {got_b.shape}: all weights, also those not updated, and one intercept"
    )
    expected, stale = little_w.copy(), little_w.copy()
    before = expit(little @ little_w + 0.3) - little_y
    for j in order:  # slowly: the residuals anew at each step
        now = expit(little @ expected + 0.3) - little_y
        expected[j] = updated(little[:, j], now, expected[j], 0.05)
        stale[j] = updated(little[:, j], before, little_w[j], 0.05)
    untouched = [j for j in range(6) if j not in order]
    assert np.allclose(got_w[untouched], little_w[untouched]), (
        "weights have changed that are not among the coordinates; leave these as they were"
    )
    assert not np.allclose(got_w, stale), (
        "every step used the residuals from before the cycle: renew them after each weight"
    )
    assert np.allclose(got_w, expected), (
        "not what one update after the other gives: in the order of `coordinates`, and z (or the "
        "residuals) must follow every change"
    )
    after = expected @ little.T + 0.3
    best_b = 0.3 - np.mean(expit(after) - little_y) * 4
    assert abs(got_b.item() - best_b) < 1e-8, (
        f"the intercept is {got_b.item():.3f}, expected {best_b:.3f}: last, with the new "
        "residuals, a curvature of a quarter and no penalty"
    )
w, b, fall = np.zeros(X.shape[1]), null, []
for _ in range(3):
    w, b = cycle(X, y, w, b, 0.05, range(X.shape[1]))
    fall.append(objective(w, float(b), 0.05))
print("Exercise 3: right. The objective after each cycle:", *(f"{one:.4f}" for one in fall))

# %% [markdown]
# ## Are we there?
#
# That the objective hardly falls any more proves nothing: a slow solver is slow everywhere. But at
# the minimum, and only there, each weight is at rest:
#
# $$g_j = -\lambda\,\mathrm{sign}(w_j) \;\text{ where } w_j \ne 0, \qquad
# |g_j| \le \lambda \;\text{ where } w_j = 0$$
#
# These are the Karush-Kuhn-Tucker (KKT) conditions. The problem is convex, so who meets them has
# the minimum, by whatever way it was reached.

# %% [markdown]
# ### Exercise 4: the certificate
# *Difficulty: 3 of 5 · 8 minutes*
#
# Return for each neuron by how much its condition is missed, zero where it is met. `gradient` holds
# the $g_j$ and `w` the weights, both `[neuron]`.
#
# **You should see** at which $\lambda$ all weights may be zero, and that it is the one from which
# hlens counts.
#
# <details><summary>Hint 1</summary>
#
# Where $w_j \ne 0$: the size of $g_j + \lambda\,\mathrm{sign}(w_j)$.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Where $w_j = 0$: what $|g_j|$ has above $\lambda$, if anything. `np.where` chooses.
# </details>


# %% tags=["exercise"]
def violation(gradient, w, lam):
    """By how much each neuron misses its optimality condition: [neuron], zero at best."""
    # solution
    at_zero = np.maximum(np.abs(gradient) - lam, 0)
    return np.where(w == 0, at_zero, np.abs(gradient + lam * np.sign(w)))
    # end solution


# %% tags=["check"]
g = np.array([0.05, -0.05, 0.3, -0.3, -0.1, 0.1, 0.1, 0.02, -0.25])
at = np.array([0.0, 0.0, 0.0, 0.0, 2.0, -2.0, 2.0, -0.5, 1.0])
expected = np.array([0.0, 0.0, 0.2, 0.2, 0.0, 0.0, 0.2, 0.08, 0.15])
got = numbers(violation(g.copy(), at.copy(), 0.1))
assert got.shape == g.shape, f"{got.shape}: one number for each neuron, {g.shape}"
assert (got >= 0).all(), "a miss is a distance and never negative: zero where the condition is met"
for one in range(len(g)):
    assert abs(got[one] - expected[one]) < 1e-9, (
        f"slope {g[one]}, weight {at[one]}, penalty 0.1: {got[one]:.2f}, expected "
        f"{expected[one]:.2f}; the slope must balance the penalty's pull, which is against the "
        "weight's sign, or stay within it at zero"
    )


def missed(w, b, lam):
    """Violation of each neuron, and of the intercept, whose slope must be zero."""
    residual = expit(X @ w + b) - y
    return numbers(violation(X.T @ residual / len(y), w, lam)), abs(residual.mean())


lam_max = np.abs(slopes).max()  # at this penalty, and no smaller one, zero misses nothing
at_top, below = (missed(stepped * 0, null, lam_max * share)[0] for share in (1.0, 0.99))
probe = hlens.SparseProbe(C=1 / (len(y) * 0.1 * lam_max), tol=1e-9).fit(X, y)
print(
    f"Exercise 4: right. With all weights zero, misses at lambda_max = {lam_max:.4f}: "
    f"{(at_top > 1e-12).sum()}, at 0.99 of it: {(below > 1e-12).sum()}"
)
print(f"  hlens, asked for 0.1 of it by C = {probe.C_:.3f}, says {probe.lambda_ratio_:.3f}")

# %% [markdown]
# So $\lambda_\max$ is the largest $|g_j|$ while all weights are zero, and $\lambda / \lambda_\max$
# means the same on any data. `C` does not: twice the examples, and the same `C` is half the
# penalty.
#
# ## Two ways to spend updates
#
# Put together: cycle until nothing is missed by more than a tolerance. **All neurons**: each cycle
# goes over all 1,024. **Working sets**: look once over all, take those that are not zero and the
# ten that miss most, cycle over these alone until they rest, and look again.
#
# **Predict.** At 0.1 $\lambda_\max$: of 1,024 updates in a cycle over all neurons, how many change
# a weight in the end?


# %%
def descend(lam, w, b, *, working_sets, tol=1e-6, most=120_000):
    """The minimum, with (updates so far, objective) after each cycle and the looks over all."""
    spent, looks, history = 0, 0, []
    while spent < most:
        misses, of_b = missed(w, b, lam)
        looks += 1
        if max(misses.max(), of_b) < tol:
            break
        some = np.arange(len(w))
        if working_sets:
            some = np.union1d(np.flatnonzero(w), np.argsort(misses)[-10:])
        part = X[:, some]
        while spent < most:
            w_some, b = cycle(part, y, w[some], b, lam, range(len(some)))
            w = w.copy()
            w[some] = w_some
            spent += len(some)
            history.append((spent, objective(w, b, lam)))
            residual = expit(part @ w_some + b) - y
            rest = violation(part.T @ residual / len(y), w_some, lam).max()
            if not working_sets or max(rest, abs(residual.mean())) < tol / 2:
                break
    return w, float(b), pd.DataFrame(history, columns=["updates", "objective"]), looks


def of_hlens(share):
    """The probe at a share of lambda_max, and its objective."""
    lam = share * lam_max
    probe = hlens.SparseProbe(C=1 / (len(y) * lam), tol=1e-10).fit(X, y)
    return probe, objective(probe.coef_[0], probe.intercept_[0], lam)


rows, path = [], {}
w, b = np.zeros(X.shape[1]), null
for share in np.geomspace(1, 0.1, 11)[1:]:  # the path: each solution starts at the one before
    w, b, history, looks = descend(share * lam_max, w, b, working_sets=True)
    theirs, theirs_objective = of_hlens(share)
    path[share] = w, theirs.coef_[0]
    rows.append(
        (
            share, int((w != 0).sum()), theirs.n_selected_,
            set(np.flatnonzero(w)) == set(np.flatnonzero(theirs.coef_[0])),
            objective(w, b, share * lam_max) - theirs_objective,
            int(history.updates.iloc[-1]), looks,
        )
    )  # fmt: skip
on_path = pd.DataFrame(
    rows,
    columns=["share", "neurons", "of hlens", "the same", "objective - hlens", "updates", "looks"],
)
on_path.style.format({"share": "{:.2f}", "objective - hlens": "{:.0e}"}).hide()

# %% [markdown]
# The same neurons at every penalty, and the same objective. Your forty lines and hlens's solver
# share nothing but the problem: where a certificate holds, the way does not matter. Now
# both ways to spend updates, from nothing to 0.1 $\lambda_\max$:

# %%
lam = 0.1 * lam_max
best = of_hlens(0.1)[1]
zero = np.zeros(X.shape[1])
slow_w, slow_b, slow, _ = descend(lam, zero, null, working_sets=False)
fast_w, fast_b, fast, looks = descend(lam, zero, null, working_sets=True)
reached = slow.objective.iloc[-1] - best
needed = int(fast.updates[fast.objective - best <= reached].iloc[0])
saving = slow.updates.iloc[-1] / needed
last_fall = slow.objective.iloc[-2] - slow.objective.iloc[-1]
once_more = cycle(X, y, slow_w, slow_b, lam, range(X.shape[1]))[0]
n_moved = int((once_more != slow_w).sum())
print(f"all neurons:  {slow.updates.iloc[-1]:7,} updates, still {reached:.0e} above the minimum")
print(f"  its last cycle lowered the objective by {last_fall:.0e}")
print(f"  one more cycle moves {n_moved} of {X.shape[1]:,} weights")
print(f"working sets: {needed:7,} updates to come as near")
print(
    f"              {fast.updates.iloc[-1]:7,} to {max(fast.objective.iloc[-1] - best, 0):.0e}, "
    f"with {looks} looks over all neurons"
)

# %% tags=["hide-input"] jupyter={"source_hidden": true}
figure = Figure()
shares = np.array([1.0, *path])
ours, hlenses = (np.array([zero, *(pair[k] for pair in path.values())]) for k in (0, 1))
entered = np.flatnonzero((ours != 0).any(0))
names = ["the path: ours (line), hlens (ring)", "distance to the minimum"]
left, right = panels(figure, names, x_title="", gap=0.12, colour=colours.ink)
for j in entered:
    up = ours[np.abs(ours[:, j]).argmax(), j] > 0
    colour = colours.positive if up else colours.negative
    for values, style in (
        (ours, {"mode": "lines", "line": {"color": colour, "width": 2.2}}),
        (hlenses, {"mode": "markers", "marker": {"size": 6.5, "color": colours.page,
         "symbol": "circle" if up else "diamond",
         "line": {"color": colour, "width": 1.4}}}),
    ):  # fmt: skip
        there = slice(max(int(np.argmax(ours[:, j] != 0)) - 1, 0), None)
        figure.add_trace(
            go.Scatter(
                x=shares[there], y=values[there, j], showlegend=False,
                xaxis=f"x{left}", yaxis=f"y{left}",
                hovertemplate=f"L{j // 256}N{j % 256} at %{{x:.2f}}: <b>%{{y:+.2f}}</b>"
                "<extra></extra>", **style,
            )
        )  # fmt: skip
for place, j in enumerate(np.argsort(-ours[-1])[:2]):
    figure.add_annotation(
        x=-1, y=ours[-1, j], xref=f"x{left}", yref=f"y{left}", showarrow=False, xanchor="right",
        text=f"L{j // 256}N{j % 256}", yshift=(14, -14)[place],
        font={"color": colours.positive_ink, "size": 12},
    )  # fmt: skip
for name, history, colour, dash in (
    ("all neurons", slow, colours.control, "dot"),
    ("working sets", fast, colours.positive, "solid"),
):
    figure.add_trace(
        go.Scatter(
            x=history.updates, y=np.maximum(history.objective - best, 1e-11), mode="lines",
            name=name, line={"color": colour, "width": 2.6, "dash": dash},
            xaxis=f"x{right}", yaxis=f"y{right}",
            hovertemplate=f"{name}, %{{x:,}} updates<br><b>%{{y:.0e}}</b> above<extra></extra>",
        )
    )  # fmt: skip
log = {"type": "log", "exponentformat": "power"}
figure.update_layout(
    {
        f"xaxis{left}": {
            "type": "log", "range": (0.03, -1.05), "title": {"text": "λ / λ<sub>max</sub>"},
            "tickvals": [1, 0.5, 0.2, 0.1],
        },
        f"yaxis{left}": {"title": {"text": "weight, log-odds per SD"}},
        f"xaxis{right}": {**log, "title": {"text": "updates of a coordinate"}, "dtick": 1},
        f"yaxis{right}": {**log, "dtick": 2, "range": (-10.3, 0)},
    }
)  # fmt: skip
figure.update_layout(legend={"y": 1.14, "x": 1, "xanchor": "right"})
finish(
    figure, colours, height=380, margin={"t": 66},
    title=f"Working sets come as near with {saving:,.0f} times fewer updates",
    subtitle=f"{len(y)} examples, {X.shape[1]:,} neurons, {len(entered)} on the path; right: "
    "at 0.1 λmax, from zero",
)  # fmt: skip

# %% [markdown]
# A cycle over all neurons spends nearly everything on weights that are zero and stay zero. The
# working set asks them once in a while. With a million neurons a look over all is a pass over
# gigabytes, and what counts is how few of them are needed. hlens adds Newton steps inside the
# working set, a forecast of who will enter next, and as its certificate a *duality gap*, which says
# how far off the minimum is at most (`probe.gap_`, as a share of the objective without neurons).
#
# And `scale="feature"` is the standardising of the first cell, done in the penalty, so that no
# scaled copy of the matrix is made:

# %%
standard = hlens.SparseProbe(C=1 / (len(y) * lam), scale="feature", tol=1e-9)
detector = hlens.find(data, standard, calibration=None)
same_as_ours = {256 * layer + neuron for layer, neuron in detector.selected} == set(
    np.flatnonzero(fast_w)
)
print("the same neurons, found on contributions as they are:", same_as_ours)
hlens.figures.neuron_map(detector, contribution=data)

# %% [markdown]
# ## A common mistake
#
# *Stopping when the objective no longer falls.* The slow run above lowered it by very little in its
# last cycle, and was many times as far from the minimum. Ask for the conditions, or a gap, and not
# for the speed.
#
# ## What would falsify this?
#
# "These are the neurons that the L1 probe selects" ends with one neuron that misses its condition.
# That is one product of the matrix with the residuals, and needs no solver: ask for it wherever a
# paper names neurons. It does not make the choice *stable*: a certified minimum on other examples
# may name others (lesson 5).
#
# ## Recap
#
# 1. Why are L1 weights exactly zero, and ridge weights never?
#    <details><summary>Answer</summary>The penalty has a corner at zero: every slope between -λ and
#    λ is held there. A squared penalty has slope zero at zero and holds nothing.</details>
# 2. You double the examples by copying each. Which `C` keeps the solution?
#    <details><summary>Answer</summary>Half of it: λ = 1 / (nC) must stay.</details>
# 3. At which λ does the first neuron enter, and which neuron?
#    <details><summary>Answer</summary>Just below λ_max, the largest |slope| with all weights zero;
#    the neuron that has it.</details>
# 4. Working sets look at few neurons. Why is the result still that of all?
#    <details><summary>Answer</summary>They end only when a look over all finds none that misses
#    its condition.</details>
#
# Next: [superposition](12_superposition.ipynb)
