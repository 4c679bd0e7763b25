# %% [markdown]
# # Weights of classes
#
# scikit-learn issue [9113](https://github.com/scikit-learn/scikit-learn/issues/9113): `class_weight` for `MLPClassifier`.
#
# A class of 3 % of the samples: without weights the net finds few of them, with `class_weight="balanced"` most.

# %%
import warnings

import numpy as np
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import balanced_accuracy_score, recall_score
from sklearn.model_selection import train_test_split

from bpkernel import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed

X, y = make_classification(6000, n_features=10, n_informative=5, weights=[0.97], class_sep=0.7, flip_y=0, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
print(f"{y.mean():.1%} of the samples are of the rare class")

# %%
recall, balanced = {}, {}
for class_weight in (None, "balanced", {0: 1, 1: 5}):
    net = MLPClassifier((20,), class_weight=class_weight, max_iter=40, random_state=0, tol=0, n_iter_no_change=40)
    predicted = net.fit(X_train.astype(np.float32), y_train).predict(X_test.astype(np.float32))
    name = str(class_weight)
    recall[name] = recall_score(y_test, predicted)
    balanced[name] = balanced_accuracy_score(y_test, predicted)
    print(f"class_weight={name}: recall of the rare class {recall[name]:.2f}, balanced accuracy {balanced[name]:.2f}")
