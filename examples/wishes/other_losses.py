# %% [markdown]
# # Other losses
#
# scikit-learn issue [14571](https://github.com/scikit-learn/scikit-learn/issues/14571): losses other than the squared error.
#
# A tenth of the targets are wrong by a lot.  The Huber loss and the absolute error let such outliers pull less.

# %%
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import bpkernel as bp

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed

rng = np.random.default_rng(0)
X = rng.uniform(-1, 1, (600, 1))
truth = np.sin(4 * X[:, 0])
y = truth + 0.1 * rng.standard_normal(600)
y[rng.random(600) < 0.1] += 8

# %%
errors = {}


def slope(y, t):
    """∂E/∂y of |y - t|^1.2."""
    return 1.2 * abs(y - t) ** 0.2 * (1 if y > t else -1)


own = bp.Loss(error=lambda y, t: abs(y - t) ** 1.2, slope=slope, name="|y - t|^1.2")
settings = {"hidden_layer_sizes": (30,), "activation": "tanh", "alpha": 0, "learning_rate_init": 0.01, "random_state": 0}
for loss in ("squared_error", "absolute_error", "huber", "log_cosh", bp.Huber(0.2), own):
    net = bp.MLPRegressor(loss, max_iter=300, tol=0, n_iter_no_change=300, **settings).fit(X, y)
    name = own.name if loss is own else str(loss)
    errors[name] = float(np.abs(net.predict(X) - truth).mean())
    print(f"{name}: mean distance to the truth {errors[name]:.3f}")
