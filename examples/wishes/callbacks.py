# %% [markdown]
# # Callbacks
#
# scikit-learn issue [6021](https://github.com/scikit-learn/scikit-learn/issues/6021): a progress bar for `fit`.  It is a
# callback of `bpkernel`, as is any code of one's own, which runs after each epoch.

# %%
import tempfile
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

import bpkernel as bp

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed

X, y = load_digits(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(X / 16, y, random_state=0)
sizes = []


def watch(run):
    """Record the norm of the weights; halve the learning rate after epoch 10; stop when the training loss is low."""
    sizes.append(float(np.linalg.norm(run.net.coefs_[0])))
    if run.epoch == 10:
        run.optimizer.learning_rate /= 2
    return run.history.loss[-1] < 0.05


# %%
with tempfile.TemporaryDirectory() as folder:
    log, best = Path(folder) / "log.csv", Path(folder) / "best.safetensors"
    callbacks = [
        watch,
        bp.callbacks.ProgressBar(),
        bp.callbacks.CSVLogger(log),
        bp.callbacks.ModelCheckpoint(best, "val_loss"),
    ]
    net = bp.MLPClassifier((50,), callbacks=callbacks, max_iter=200, learning_rate_init=0.01, random_state=0)
    net.fit(X_train, y_train, X_val=X_val, y_val=y_val)
    rows = log.read_text().splitlines()
    saved = bp.MLP.load(best)
print(f"{net.n_iter_} epochs; norm of the first weights {sizes[0]:.2f} at first, {sizes[-1]:.2f} at the end")
print(f"{rows[0]}\n{rows[-1]}")
print(f"lowest validation loss {min(net.validation_loss_curve_):.4f}; of the file {saved.loss(X_val, y_val):.4f}")

# %% [markdown]
# The callbacks of scikit-learn 1.9 work, too:

# %%
scores = []
try:
    from sklearn.callback import ScoringMonitor
except ImportError:
    print("scikit-learn has no callbacks before 1.9")
else:
    monitor = ScoringMonitor(scoring="accuracy")
    bp.MLPClassifier((50,), max_iter=5, tol=0, random_state=0).set_callbacks(monitor).fit(X_train, y_train)
    scores = [row["accuracy"] for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    print("accuracy after each epoch:", np.round(scores, 3))
