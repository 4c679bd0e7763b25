# %% [markdown]
# # Initial weights without training
#
# scikit-learn issue [19701](https://github.com/scikit-learn/scikit-learn/issues/19701).
#
# `initialize(X, y)` draws the weights that `fit` begins with.  They may then be looked at, replaced, or trained by other means.

# %%
import warnings

import numpy as np
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from bpkernel import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed

X, y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
net = MLPClassifier((5,), "tanh", learning_rate_init=0.01, random_state=0, warm_start=True, max_iter=300).initialize(X, y)
before = net.score(X, y)
print([w.shape for w in net.coefs_], f"accuracy before training {before:.2f}")

# %% [markdown]
# Weights found by a simple search, without gradients:

# %%
rng = np.random.default_rng(0)
best = before
for _ in range(300):
    kept = [w.copy() for w in (*net.coefs_, *net.intercepts_)]
    for w in (*net.coefs_, *net.intercepts_):
        w += 0.3 * rng.standard_normal(w.shape)
    score = net.score(X, y)
    if score >= best:
        best = score
    else:
        for w, old in zip((*net.coefs_, *net.intercepts_), kept, strict=True):
            w[...] = old
print(f"accuracy after a random search {best:.2f}")

# %% [markdown]
# Training goes on from there:

# %%
after = net.fit(X, y).score(X, y)
print(f"accuracy after training {after:.2f}")
