# %% [markdown]
# # An activation of one's own
#
# scikit-learn issue [14807](https://github.com/scikit-learn/scikit-learn/issues/14807).
#
# `bp.Activation` takes plain Python functions of one number: g(a) and g'(a), the latter in the form g_prime(a, z) with
# z = g(a).  They are compiled into the same loops as the built-in ones, and checked against differences when they are made.

# %%
import math
import warnings

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

import bpkernel as bp

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed

softsign = bp.Activation(g=lambda a: a / (1 + abs(a)), g_prime=lambda a, z: 1 / (1 + abs(a)) ** 2, name="softsign")
sine = bp.Activation(g=math.sin, g_prime=lambda a, z: math.cos(a), name="sine")

X, y = load_diabetes(return_X_y=True)
X, y = StandardScaler().fit_transform(X), (y - y.mean()) / y.std()
net = bp.MLPRegressor(hidden_layer_sizes=(20, 20), activation=[softsign, sine], max_iter=300, random_state=0).fit(X, y)
print(f"R² of the training data {net.score(X, y):.2f}")

# %% [markdown]
# The gradient of the whole net agrees with central differences, weight by weight:

# %%
check = bp.check_gradients(net.to_mlp(), X[:20], y[:20])
print(check)

# %% [markdown]
# A wrong derivative is noticed:

# %%
refused = False
try:
    bp.Activation(g=np.tanh, g_prime=lambda a, z: 1 - z, name="wrong")
except ValueError as error:
    refused = True
    print(error)
