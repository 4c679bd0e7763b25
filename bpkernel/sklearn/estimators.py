"""The estimators: scikit-learn's MLPClassifier and MLPRegressor on the kernels, and conversions to other kinds of nets."""

import copy
from typing import Any, ClassVar

import numpy as np
from sklearn.neural_network import MLPClassifier as OriginalClassifier
from sklearn.neural_network import MLPRegressor as OriginalRegressor
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import check_is_fitted, validate_data

from bpkernel.mlp import MLP
from bpkernel.sklearn.base import OnKernels
from bpkernel.sklearn.nets import own_values
from bpkernel.sklearn.parameters import CONSTRAINTS, LOSS_CONSTRAINTS, OWN, documentation, init_with_signature
from bpkernel.sklearn.rules import finite
from bpkernel.sklearn.topology import layer_sizes
from bpkernel.validation import EITHER


class Estimator(OnKernels):
    """What both estimators add to scikit-learn's."""

    _original: type[Any]

    def __init__(self, *args: Any, connections: Any = None, masks: Any = None, init: Any = None, **named: Any):
        super().__init__(*args, **named)
        self.connections, self.masks, self.init = connections, masks, init

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_held", None)  # compiled code, and the numbers that the lists hold too
        return {name: value for name, value in state.items() if value is not None or name not in OWN}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "coefs_" in self.__dict__:
            self._take()

    def __copy__(self) -> Any:
        """A shallow copy: it shares weights, optimizer and loss curve with this one, as in scikit-learn."""
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        return new

    # -------------------------------------------------------------------------------------------------- conversions

    def to_sklearn(self) -> Any:
        """scikit-learn's own estimator in the same state; the two share nothing.

        For tools that check the class of an estimator, such as converters to ONNX.  Raises ValueError if this estimator has
        connections, masks, activations, a loss or an `init` that scikit-learn does not have.
        """
        own = own_values(self)
        if own:
            raise ValueError(
                f"scikit-learn's {self._original.__name__} has no such net or parameter: {', '.join(own)}; "
                "to_mlp() converts all fitted estimators"
            )
        new = _in_state_of(self._original, self)
        for name in (*OWN, "error_bars"):
            new.__dict__.pop(name, None)
        return new

    @classmethod
    def from_sklearn(cls, estimator: Any) -> Any:
        """This estimator in the state of one of scikit-learn's, fitted or not; the two share nothing.

        Raises TypeError if `estimator` is of another kind.
        """
        if not isinstance(estimator, cls._original):
            raise TypeError(f"from_sklearn takes a {cls._original.__module__}.{cls.__name__}; got {estimator!r}")
        new = _in_state_of(cls, estimator)
        if "coefs_" in new.__dict__:
            new._take()
        return new

    def to_mlp(self) -> MLP:
        """An `MLP` with these weights, whose outputs equal the results of `predict_proba` or `predict`.

        Its loss is the one this estimator was trained with, without alpha; for several outputs, the MLP's squared error is the
        sum over them, scikit-learn's is the mean.  Raises NotFittedError before `fit`, ValueError if coefficients
        and activations do not form a net.
        """
        check_is_fitted(self)
        sizes, loss = layer_sizes(self.coefs_, self.intercepts_, self._topology), self._loss_of_net()
        if sizes is None or loss is None:
            raise ValueError("coefs_, intercepts_ and out_activation_ do not form a net that an MLP can represent")
        dtype, pairs = np.result_type(*self.coefs_, *self.intercepts_), self.connections_
        kept = () if self._topology is None else zip(pairs, self._topology.masks, strict=True)
        masks = {pair: mask for pair, mask in kept if mask is not None}
        made_of: tuple[Any, ...] = sizes, self.activation, self.out_activation_, loss.in_mlp, dtype, 0
        net = MLP(*made_of, connections=pairs, masks=masks)
        for mine, other in zip((*net.weights, *net.biases), (*self.coefs_, *self.intercepts_), strict=True):
            mine[...] = other
        return net


class MLPClassifier(Estimator, OriginalClassifier):
    __doc__ = documentation(OriginalClassifier)
    __init__ = init_with_signature(OriginalClassifier, Estimator.__init__)
    _original = OriginalClassifier
    _parameter_constraints: ClassVar[dict[str, Any]] = {**OriginalClassifier._parameter_constraints, **CONSTRAINTS}

    def _targets_of_mlp(self, y: Any) -> np.ndarray:
        """The targets (n_samples, n_outputs) of `to_mlp()` from classes y."""
        return np.asarray(self._label_binarizer.transform(y), float).reshape(len(y), -1)

    def _targets_in_order(self, y: np.ndarray) -> np.ndarray | None:
        """Rows of bool from classes y (n_samples,), as the label binarizer returns them; None if it might refuse them."""
        binarizer, classes = self._label_binarizer, self.classes_
        kinds = y.dtype.kind in "iub" and classes.dtype.kind in "iub"
        if self.warm_start or not kinds or binarizer.y_type_ not in ("binary", "multiclass"):
            return None
        index = np.searchsorted(classes, y)
        index[index == len(classes)] = 0
        if (classes[index] != y).any():
            return None
        if self.n_outputs_ == 1:
            return index == 1
        rows = np.zeros((len(y), len(classes)), bool)
        rows[np.arange(len(y)), index] = True
        return rows

    def _predict(self, X: Any, check_input: bool = True) -> np.ndarray:
        y, binarizer = self._forward_pass_fast(X, check_input=check_input), self._label_binarizer
        ordinary = type(binarizer) is LabelBinarizer and not binarizer.sparse_input_
        if ordinary and isinstance(y, np.ndarray) and y.shape == (len(y), self.n_outputs_):
            # what `inverse_transform` returns; for one row its checks take 40 µs, twice as long as all the rest
            kind, classes = binarizer.y_type_, binarizer.classes_
            if kind == "multiclass" and self.n_outputs_ == len(classes) > 1:
                return classes[y.argmax(axis=1)]
            if kind == "binary" and self.n_outputs_ == 1 and len(classes) == 2:
                return classes[(y.ravel() > (binarizer.pos_label + binarizer.neg_label) / 2).astype(np.intp)]
        return binarizer.inverse_transform(y.ravel() if self.n_outputs_ == 1 else y)

    def _score(self, X: Any, y: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
        """The accuracy after each epoch of early stopping; labels that came from the binarizer need no more checks."""
        from_binarizer = isinstance(y, np.ndarray) and y.dtype == self._label_binarizer.classes_.dtype
        if not from_binarizer or y.shape != np.shape(X)[:1]:
            return super()._score(X, y, sample_weight=sample_weight)
        return float(np.average(self._predict(X, check_input=False) == y, weights=sample_weight))


class MLPRegressor(Estimator, OriginalRegressor):
    __doc__ = documentation(OriginalRegressor)
    error_bars: bool = False  # here for estimators whose `__init__` did not set it, as in older pickles
    _original = OriginalRegressor
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **OriginalRegressor._parameter_constraints,
        **CONSTRAINTS,
        "loss": LOSS_CONSTRAINTS,
        "error_bars": ["boolean"],
    }

    def _set_parameters(self, *args: Any, error_bars: bool = False, **named: Any) -> None:
        super().__init__(*args, **named)
        self.error_bars = error_bars

    __init__ = init_with_signature(OriginalRegressor, _set_parameters, error_bars=False)

    def _fit(self, X: Any, y: Any, sample_weight: Any = None, incremental: bool = False) -> Any:
        super()._fit(X, y, sample_weight=sample_weight, incremental=incremental)
        self.__dict__.pop("posterior_", None)
        if self.error_bars and not incremental:
            self.posterior_ = self.to_mlp().laplace(self._dense(X), np.asarray(y), sample_weight)
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predict, and with `return_std` give the standard deviations of the targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        return_std : bool, default=False
            Needs ``error_bars=True``.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        std : ndarray of the shape of y
            Only with `return_std`.

        Raises
        ------
        ValueError
            If `return_std` is true and the estimator was not fitted with ``error_bars=True``.
        """
        y = super().predict(X)
        if not return_std:
            return y
        if "posterior_" not in self.__dict__:
            raise ValueError("predict(..., return_std=True) needs MLPRegressor(error_bars=True), and fit")
        _, std = self.posterior_.predict(self._dense(X), return_std=True)
        return y, std.reshape(y.shape)

    def _dense(self, X: Any) -> np.ndarray:
        """Inputs as scikit-learn checks them, dense."""
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        return X.toarray() if hasattr(X, "toarray") else X

    def _targets_of_mlp(self, y: Any) -> Any:
        """The targets of `to_mlp()`."""
        return y

    def _targets_in_order(self, y: np.ndarray) -> np.ndarray | None:
        """The targets y (n_samples,), or None if scikit-learn might refuse them."""
        return y if y.dtype.kind in "iu" or (y.dtype in EITHER and finite(y)) else None


def _in_state_of(kind: type[Any], estimator: Any) -> Any:
    """A new estimator of a class, with a copy of the attributes of another one, except its net."""
    new = kind.__new__(kind)  # type: ignore[call-overload]
    new.__dict__.update(copy.deepcopy({name: value for name, value in estimator.__dict__.items() if name != "_held"}))
    return new
