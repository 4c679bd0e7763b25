# %% [markdown]
# # The activation of the outputs
#
# scikit-learn issue [11791](https://github.com/scikit-learn/scikit-learn/issues/11791).
#
# Targets that are shares lie between 0 and 1.  A regressor with `output_activation="logistic"` never predicts others.

# %%
import numpy as np
from sklearn.model_selection import train_test_split

from bpkernel import MLPRegressor

rng = np.random.default_rng(0)
X = rng.normal(size=(1000, 3))
share = 1 / (1 + np.exp(-4 * X[:, 0] - 2 * X[:, 1] * X[:, 2]))
X_train, X_test, y_train, y_test = train_test_split(X, share, random_state=0)

# %%
ranges, scores = {}, {}
for output_activation in (None, "logistic"):
    net = MLPRegressor(
        hidden_layer_sizes=(20,), output_activation=output_activation, learning_rate_init=0.01, max_iter=200, random_state=0
    )
    predicted = net.fit(X_train, y_train).predict(X_test)
    name = str(output_activation)
    ranges[name], scores[name] = (predicted.min(), predicted.max()), net.score(X_test, y_test)
    print(f"output_activation={output_activation}: from {predicted.min():.2f} to {predicted.max():.2f}, ", end="")
    print(f"R² {net.score(X_test, y_test):.3f}")
