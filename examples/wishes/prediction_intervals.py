# %% [markdown]
# # Prediction intervals
#
# scikit-learn issue [8303](https://github.com/scikit-learn/scikit-learn/issues/8303): how certain a prediction is.
#
# Two ways: several quantiles, which describe the spread of the targets, also where it changes with X; and error bars by the
# Laplace approximation, which also grow where there are no data.

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

import bpkernel as bp

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed

rng = np.random.default_rng(0)
X = rng.uniform(-1, 1, (2000, 1))
y = np.sin(3 * X[:, 0]) + (0.1 + 0.3 * (X[:, 0] > 0)) * rng.standard_normal(2000)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

# %%
settings = {"hidden_layer_sizes": (30,), "activation": "tanh", "learning_rate_init": 0.01, "max_iter": 300, "random_state": 0}
net = bp.MLPRegressor(loss=bp.Quantile(0.1, 0.5, 0.9), tol=0, n_iter_no_change=300, **settings).fit(X_train, y_train)
low, median, high = net.predict(X_test).T
inside = float(((y_test > low) & (y_test < high)).mean())
width = {side: float((high - low)[chosen].mean()) for side, chosen in (("left", X_test[:, 0] < 0), ("right", X_test[:, 0] > 0))}
print(f"{inside:.1%} of the test targets lie between the quantiles 0.1 and 0.9")
print(f"mean width {width['left']:.2f} where the noise is small, {width['right']:.2f} where it is large")

# %%
bars = bp.MLPRegressor(error_bars=True, **{**settings, "solver": "lm"}).fit(X_train, y_train)
_, near = bars.predict([[0.0]], return_std=True)
_, far = bars.predict([[3.0]], return_std=True)
print(f"standard deviation {near[0]:.2f} among the data, {far[0]:.2f} far away from them")

# %%
x = np.linspace(-1, 1, 200)[:, None]
fig, ax = plt.subplots()
ax.plot(X_test, y_test, ".", markersize=2, color="grey")
ax.plot(x, net.predict(x), label=["quantile 0.1", "median", "quantile 0.9"])
ax.set(xlabel="x", ylabel="y")
ax.legend()
plt.show()
