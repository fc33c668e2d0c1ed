r"""The sparse probe: the few neurons of a model that tell hallucinations from true answers.

`SparseProbe` is a scikit-learn estimator; `find` fits one to contributions and freezes the result.

**Problem.** A feature is the contribution of one neuron, so there are 10\ :sup:`4` to
10\ :sup:`6`; an example is a question that was asked, answered and judged, so there are hundreds
or thousands. With example weights ``a`` that sum to 1, penalty factors ``v`` and
``lambda = 1 / (C * sum of sample weights)``, the probe minimises scikit-learn's objective::

    P(w, b) = sum_i a_i logloss(y_i, w.x_i + b)
              + lambda * sum_j (l1_ratio * v_j |w_j| + (1 - l1_ratio) / 2 * (v_j w_j)^2)

The intercept is not penalised. ``v_j`` is 1, or the scale of feature j: that standardises the
features without touching them.

**Idea.** At most about as many weights as examples are nonzero, so all but one product concerns few
features. That product, of the whole matrix with residuals, is a *pass*, and what costs. The path of
a fit through the code (`SparseProbe.fit`, `TrainingSet.solve`, `solve_many`, `Problem.attempt`,
`newton.solve`, `minimise`, and back to `Problem.certify`):

1. *Path* (`training`): lambda falls from ``lambda_max``, where all weights are zero, to the one
   wanted, each solution starting at the one before (Friedman et al. 2010).
2. *Lockstep* (`solver`): folds, half-samples and penalties share each pass.
3. *Working set* (`working_set`): solve on few features, check the rest, add those that violate
   optimality (Johnson & Guestrin 2015, "Blitz"; Massias et al. 2018, "Celer"); the sequential
   strong rule proposes the first ones (Tibshirani et al. 2012).
4. *Proximal Newton* (`newton`): minimise a quadratic model with the L1 term (`quadratic`,
   `minimum`), then search along the line to its minimum (Lee, Sun & Saunders 2014).
5. *Certificate* (`working_set`): residuals ``theta_i = a_i (p_i - y_i)`` that sum to zero and obey
   ``|theta.x_j| <= lambda v_j`` are feasible in the dual of the lasso. Then ``D(theta) = sum_i a_i
   entropy(y_i + theta_i / a_i) <= min P``: the *duality gap* ``P - D`` bounds the distance to the
   optimum. No exact fit is returned without it.

**Memory plan.** The matrix is never copied, scaled or centred: `design` reads it in chunks and
widens half precision one chunk at a time. Working sets keep the stored precision, are centred and
widened in blocks (`centred_rows`), and those solved at one time hold about 2 % of the matrix at
most. Large temporary arrays return to the system at once (`resources.empty`).

**Worked example**: the certificate of a fit, recomputed from its definition.

>>> import numpy as np
>>> from hlens.probe.loss import entropy, logloss
>>> X = np.random.default_rng(0).gamma(1.0, size=(100, 2000))
>>> y = (X[:, 3] > 1).astype(float)
>>> probe = SparseProbe(C=0.1).fit(X, y)
>>> np.flatnonzero(probe.coef_).tolist()
[3]
>>> lam = 1 / (0.1 * 100)
>>> z = probe.decision_function(X)
>>> theta = (1 / (1 + np.exp(-z)) - y) / 100
>>> theta *= min(1, lam / np.abs(theta @ X).max())  # dual feasible: it sums to zero already
>>> primal = logloss(z, y).mean() + lam * np.abs(probe.coef_).sum()
>>> dual = entropy(y + 100 * theta).mean()
>>> null = entropy(np.array([y.mean()]))[0]
>>> bool(abs(theta.sum()) < 1e-12), bool(primal - dual <= 1e-6 * null)
(True, True)
"""

from hlens.kinds import explain_public
from hlens.probe.estimator import SparseProbe as SparseProbe
from hlens.probe.finding import find as find
from hlens.probe.solution import ConvergenceError as ConvergenceError
from hlens.types import RoutedMatrix as RoutedMatrix

explain_public(globals())
