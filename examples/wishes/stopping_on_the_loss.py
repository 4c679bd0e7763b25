# %% [markdown]
# # Early stopping on the loss
#
# scikit-learn issue [24411](https://github.com/scikit-learn/scikit-learn/issues/24411): its early stopping watches the
# score, which is R² for regressors and the accuracy for classifiers.  With `monitor="val_loss"` it watches the loss, which also
# shows how good the probabilities are, and does not jump from sample to sample.

# %%
import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from bpkernel import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed

X, y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, random_state=0)

# %%
losses = {}
settings = {"early_stopping": True, "validation_fraction": 0.2, "tol": 0, "max_iter": 500, "alpha": 0}
for monitor in ("val_score", "val_loss"):
    found = []
    for seed in range(10):
        net = MLPClassifier((50,), monitor=monitor, random_state=seed, **settings).fit(X_train, y_train)
        found.append(log_loss(y_test, net.predict_proba(X_test)))
    losses[monitor] = float(np.mean(found))
    print(f"monitor={monitor!r}: mean test loss of ten seeds {losses[monitor]:.3f}")
