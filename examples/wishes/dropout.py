# %% [markdown]
# # Dropout
#
# scikit-learn issue [6175](https://github.com/scikit-learn/scikit-learn/issues/6175): dropout for the MLP estimators.
#
# Few samples, a fifth of them with wrong labels, and a large net: without dropout it learns the wrong labels, too.

# %%
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from bpkernel import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, train_size=300, stratify=y, random_state=0)
rng = np.random.default_rng(0)
y_train = np.where(rng.random(300) < 0.2, rng.integers(0, 10, 300), y_train)

# %%
losses, accuracies = {}, {}
settings = {"learning_rate_init": 0.003, "max_iter": 200, "tol": 0, "n_iter_no_change": 200, "random_state": 0}
for dropout, input_dropout in ((0.0, 0.0), (0.5, 0.0), ([0.5, 0.5], 0.2)):
    net = MLPClassifier((100, 100), dropout=dropout, input_dropout=input_dropout, **settings).fit(X_train, y_train)
    name = f"dropout={dropout}, input_dropout={input_dropout}"
    losses[name], accuracies[name] = log_loss(y_test, net.predict_proba(X_test)), net.score(X_test, y_test)
    print(f"{name}: test loss {losses[name]:.3f}, accuracy {accuracies[name]:.3f}")
