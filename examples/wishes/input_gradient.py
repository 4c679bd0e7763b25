# %% [markdown]
# # The gradient with respect to the inputs
#
# scikit-learn issue [27996](https://github.com/scikit-learn/scikit-learn/issues/27996).
#
# `input_gradient(X, y)` is the derivative of the loss of each sample by its inputs, and `jacobian(X)` that of the outputs.

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from bpkernel import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed

X, y = load_digits(return_X_y=True)
X = X / 16
net = MLPClassifier((50,), activation="tanh", max_iter=60, random_state=0, tol=0).fit(X, y)
gradient, jacobian = net.input_gradient(X[:9], y[:9]), net.jacobian(X[:9])
print("gradient of the loss:", gradient.shape, "derivatives of the outputs:", jacobian.shape)

# %% [markdown]
# The same by central differences of the probabilities:

# %%
step, places = 1e-5, np.arange(64)
shifted = {sign: np.repeat(X[:1], 64, axis=0) for sign in (1, -1)}
for sign, rows in shifted.items():
    rows[places, places] += sign * step
by_differences = (net.predict_proba(shifted[1]) - net.predict_proba(shifted[-1])).T / (2 * step)
distance = float(np.abs(by_differences - jacobian[0]).max())
print(f"largest distance {distance:.1e}, largest derivative {np.abs(jacobian[0]).max():.2f}")

# %% [markdown]
# Which pixels would make the net less certain of each digit:

# %%
fig, axes = plt.subplots(2, 9, figsize=(9, 2))
for above, below, digit, slope in zip(*axes, X, gradient, strict=False):
    above.imshow(digit.reshape(8, 8), cmap="gray_r")
    below.imshow(slope.reshape(8, 8), cmap="RdBu", vmin=-np.abs(slope).max(), vmax=np.abs(slope).max())
for ax in axes.flat:
    ax.axis("off")
plt.show()
