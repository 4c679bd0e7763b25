"""Floor 5: bpkernel in place of scikit-learn's MLP estimators, by one import or without an edit.

from bpkernel.sklearn import MLPClassifier, MLPRegressor    # the same as bpkernel.MLPClassifier, bpkernel.MLPRegressor

bpkernel.sklearn.patch()                       # from here on `from sklearn.neural_network import MLPClassifier` gives these
with bpkernel.sklearn.patch(): ...             # only so long
python -m bpkernel.sklearn program.py          # a program as it is
"""

import runpy
import sys
from pathlib import Path

import sklearn.neural_network

from bpkernel.estimators import MLPClassifier, MLPRegressor

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
    'bpkernel.estimators'
    """
    before = sklearn.neural_network.MLPClassifier, sklearn.neural_network.MLPRegressor
    _offer(MLPClassifier, MLPRegressor)
    return Patched(before)


def unpatch() -> None:
    """Give scikit-learn's own estimators again."""
    _offer(MLPClassifier._original, MLPRegressor._original)


def _offer(classifier: type, regressor: type) -> None:
    sklearn.neural_network.MLPClassifier, sklearn.neural_network.MLPRegressor = classifier, regressor


def main(arguments: list[str]) -> None:
    """Run a program, whose own arguments follow, as Python would, but patched."""
    if not arguments or not Path(arguments[0]).exists():
        raise SystemExit("usage: python -m bpkernel.sklearn PROGRAM.py [its arguments]")
    sys.argv = arguments
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = str(Path(arguments[0]).resolve().parent)
    with patch():
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
