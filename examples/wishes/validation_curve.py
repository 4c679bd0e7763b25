# %% [markdown]
# # A curve of the validation loss
#
# scikit-learn issue [18507](https://github.com/scikit-learn/scikit-learn/issues/18507): the loss of the validation data after
# each epoch, beside `loss_curve_`.
#
# With `early_stopping=True` it is that of the part that is held back; here the validation data are passed to `fit`.
#
# The net is too large for the data.  The training loss falls to the end; the validation loss shows from where on it overfits.

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from bpkernel import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed

X, y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X)
X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.3, random_state=1)
net = MLPClassifier((100,), alpha=0, max_iter=150, tol=0, n_iter_no_change=150, learning_rate_init=0.005, random_state=0)
net.fit(X_train, y_train, X_val=X_val, y_val=y_val)

# %%
lowest = int(np.argmin(net.validation_loss_curve_))
print(f"training loss: {net.loss_curve_[0]:.3f} at first, {net.loss_curve_[-1]:.5f} at the end")
print(f"validation loss: lowest in epoch {lowest + 1} with {net.validation_loss_curve_[lowest]:.3f}, ", end="")
print(f"{net.validation_loss_curve_[-1]:.3f} at the end")

# %%
fig, ax = plt.subplots()
ax.semilogy(net.loss_curve_, label="training")
ax.semilogy(net.validation_loss_curve_, label="validation")
ax.axvline(lowest, color="grey", linewidth=0.8)
ax.set(xlabel="epoch", ylabel="loss")
ax.legend()
plt.show()

# %% [markdown]
# The curve with `early_stopping=True` alone, of a tenth of the training data:

# %%
stopped = MLPClassifier((100,), early_stopping=True, max_iter=150, learning_rate_init=0.005, random_state=0).fit(
    X_train, y_train
)
print(f"{stopped.n_iter_} epochs, validation loss after each:", np.round(stopped.validation_loss_curve_[:5], 2), "...")
