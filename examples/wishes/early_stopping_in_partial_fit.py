# %% [markdown]
# # Early stopping in `partial_fit`
#
# scikit-learn issue [25693](https://github.com/scikit-learn/scikit-learn/issues/25693).
#
# Data come in parts.  After each call the validation set is scored; when the score has not risen for `n_iter_no_change` calls,
# the net goes back to its best state, and further calls change nothing.

# %%
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from bpkernel import MLPClassifier

X, y = load_digits(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(X / 16, y, random_state=0)
net = MLPClassifier((50,), early_stopping=True, n_iter_no_change=8, learning_rate_init=0.005, random_state=0)
rng = np.random.default_rng(0)
n_calls = 0
while n_calls < 500 and not getattr(net, "early_stopped_", False):
    rows = rng.choice(len(X_train), 300, replace=False)
    net.partial_fit(X_train[rows], y_train[rows], classes=np.arange(10), X_val=X_val, y_val=y_val)
    n_calls += 1
best, now = max(net.validation_scores_), net.score(X_val, y_val)
print(f"stopped after {n_calls} calls; best score {best:.3f}, score of the net {now:.3f}")

# %%
kept = net.coefs_[0].copy()
net.partial_fit(X_train, y_train)
unchanged = bool((net.coefs_[0] == kept).all())
print("a further call changes nothing:", unchanged)
