"""bpkernel in place of scikit-learn's MLP estimators, by one import or without editing a program.

from bpkernel.sklearn import MLPClassifier, MLPRegressor    # also bpkernel.MLPClassifier, bpkernel.MLPRegressor

bpkernel.sklearn.patch()                       # later imports from sklearn.neural_network get these
with bpkernel.sklearn.patch(): ...             # until the end of the block
python -m bpkernel.sklearn program.py          # an unedited program
"""

import sklearn.neural_network

from bpkernel.sklearn.estimators import MLPClassifier, MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "patch", "unpatch"]


class Patched:
    """What `patch` returns: a context at whose end is put back what was there before."""

    def __init__(self, before: tuple[type, type]):
        self._before = before

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        _offer(*self._before)


def patch() -> Patched:
    """Give bpkernel's estimators to all who import MLPClassifier and MLPRegressor from sklearn.neural_network from now on.

    What has been imported by name before stays what it is, and so do estimators that exist already.

    Examples
    --------
    >>> import bpkernel.sklearn
    >>> with bpkernel.sklearn.patch():
    ...     from sklearn.neural_network import MLPClassifier
    >>> MLPClassifier.__module__
    'bpkernel.sklearn.estimators'
    """
    before = sklearn.neural_network.MLPClassifier, sklearn.neural_network.MLPRegressor
    _offer(MLPClassifier, MLPRegressor)
    return Patched(before)


def unpatch() -> None:
    """Give scikit-learn's own estimators again."""
    _offer(MLPClassifier._original, MLPRegressor._original)


def _offer(classifier: type, regressor: type) -> None:
    sklearn.neural_network.MLPClassifier, sklearn.neural_network.MLPRegressor = classifier, regressor
