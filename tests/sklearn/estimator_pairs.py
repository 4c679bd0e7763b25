"""Data, and the same estimators fitted by bpkernel and by scikit-learn."""

import sklearn.neural_network as original
from sklearn.datasets import load_diabetes, load_digits, load_iris

import bpkernel as bp

IRIS, DIGITS, DIABETES = (load(return_X_y=True) for load in (load_iris, load_digits, load_diabetes))
CLASSIFIER = {"hidden_layer_sizes": (9,), "max_iter": 5, "random_state": 0}


def pair(kind="MLPClassifier", data=IRIS, **parameters):
    """The same fitted, by bpkernel and by scikit-learn."""
    return [getattr(m, kind)(**{**CLASSIFIER, **parameters}).fit(*data) for m in (bp, original)]
