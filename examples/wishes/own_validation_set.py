# %% [markdown]
# # A validation set of one's own
#
# scikit-learn issue [18748](https://github.com/scikit-learn/scikit-learn/issues/18748): early stopping that watches data which
# the user has chosen, not a random part of the training data.
#
# The digits were written by 43 people, and the last ones by others than the first ones.  So the last samples that one has
# are the best judge of what comes after them.

# %%
from sklearn.datasets import load_digits

from bpkernel import MLPClassifier

X, y = load_digits(return_X_y=True)
X = X / 16
parts = {"train": slice(0, 1000), "validation": slice(1000, 1300), "test": slice(1300, None)}
X_train, X_val, X_test = (X[part] for part in parts.values())
y_train, y_val, y_test = (y[part] for part in parts.values())

# %%
net = MLPClassifier((50,), early_stopping=True, max_iter=300, learning_rate_init=0.005, random_state=0)
net.fit(X_train, y_train, X_val=X_val, y_val=y_val)
print(f"stopped after {net.n_iter_} epochs, since the accuracy of the validation set did not rise any more")
print(f"accuracy: best of the validation set {net.best_validation_score_:.3f}, test set {net.score(X_test, y_test):.3f}")

# %% [markdown]
# The net is that of the best epoch:

# %%
print(f"accuracy of the validation set now: {net.score(X_val, y_val):.3f}")
