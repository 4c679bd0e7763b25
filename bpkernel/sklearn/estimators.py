"""The estimators: scikit-learn's MLPClassifier and MLPRegressor on the kernels, and conversions to other kinds of nets."""

import copy
from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import d2_pinball_score
from sklearn.neural_network import MLPClassifier as OriginalClassifier
from sklearn.neural_network import MLPRegressor as OriginalRegressor
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted

from bpkernel.mlp import MLP
from bpkernel.sklearn.coefficients import load_arrays
from bpkernel.sklearn.documentation import documentation
from bpkernel.sklearn.hidden_layers import HiddenLayers
from bpkernel.sklearn.losses import n_outputs_of_a_target
from bpkernel.sklearn.nets import own_values
from bpkernel.sklearn.own_fits import stochastic
from bpkernel.sklearn.parameters import (
    CLASSIFIER_CONSTRAINTS,
    COMMON,
    CONSTRAINTS,
    FITTED,
    OF_CLASSIFIER,
    OF_REGRESSOR,
    OWN,
    REGRESSOR_CONSTRAINTS,
    init_with_signature,
)
from bpkernel.sklearn.rules import finite
from bpkernel.sklearn.topology import layer_sizes
from bpkernel.validation import EITHER


class Estimator(HiddenLayers):
    """What both estimators add to scikit-learn's."""

    _original: type[Any]

    def __sklearn_is_fitted__(self) -> bool:
        """As scikit-learn finds out, but without a look at every attribute, which takes 5 µs of each prediction."""
        return "coefs_" in self.__dict__

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        for name in ("_held", "_held_back"):  # compiled code, with the numbers that the lists hold too
            state.pop(name, None)
        return {name: value for name, value in state.items() if name not in OWN or value is not OWN[name]}

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

        For tools that check the class of an estimator, such as converters to ONNX.  Raises ValueError if this estimator has a
        parameter that scikit-learn does not have.
        """
        own = own_values(self)
        if own:
            raise ValueError(
                f"scikit-learn's {self._original.__name__} has no such net or parameter: {', '.join(own)}; "
                "to_mlp() converts all fitted estimators"
            )
        new = _in_state_of(self._original, self)
        for name in (*OWN, *FITTED, "posterior_"):
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

        Its loss is the one this estimator was trained with, without alpha and l1, and it has the same dropout.  For several
        outputs, the MLP's squared error is the sum over them, scikit-learn's is the mean.  Raises NotFittedError before `fit`,
        ValueError if coefficients and activations do not form a net.
        """
        check_is_fitted(self)
        sizes, loss = layer_sizes(*self._arrays(), self._topology), self._loss_of_net()
        if sizes is None or loss is None:
            raise ValueError("coefs_, intercepts_ and out_activation_ do not form a net that an MLP can represent")
        dtype, pairs = np.result_type(*self.coefs_, *self.intercepts_), self.connections_
        kept = () if self._topology is None else zip(pairs, self._topology.masks, strict=True)
        masks = {pair: mask for pair, mask in kept if mask is not None}
        made_of: tuple[Any, ...] = sizes, self.activation, self.out_activation_, loss.in_mlp, dtype, 0
        noise = {name: getattr(self, name) for name in ("dropout", "input_dropout", "input_noise")}
        normalised = () if self._topology is None else self._topology.normalised
        layer_norm = [layer in normalised for layer in range(1, len(sizes) - 1)]
        net = MLP(*made_of, connections=pairs, masks=masks, layer_norm=layer_norm, **noise)
        load_arrays(net, *self._arrays())
        return net


class MLPClassifier(Estimator, OriginalClassifier):
    __doc__ = documentation(OriginalClassifier)
    __init__ = init_with_signature(OriginalClassifier, {**COMMON, **OF_CLASSIFIER})
    _original = OriginalClassifier
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **OriginalClassifier._parameter_constraints,
        **CONSTRAINTS,
        **CLASSIFIER_CONSTRAINTS,
    }

    @available_if(stochastic)
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        classes: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Update the model with one epoch over the given data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or, for several labels, (n_samples, n_labels)
        sample_weight : array-like of shape (n_samples,), default=None
        classes : array of shape (n_classes,), default=None
            All classes; needed in the first call.  For several labels not needed.
        X_val, y_val, sample_weight_val : array-like, default=None
            As of ``fit``.  With ``early_stopping=True`` they are needed.  When what is monitored has not improved for
            ``n_iter_no_change`` calls, the net goes back to its best weights, ``early_stopped_`` is True, and further calls
            change nothing.

        Returns
        -------
        self
        """
        if classes is None and "classes_" not in self.__dict__ and type_of_target(y).startswith("multilabel"):
            classes = np.arange((y if hasattr(y, "shape") else np.asarray(y)).shape[1])
        held_back = X_val, y_val, sample_weight_val
        return self._fit_with(held_back, True, super().partial_fit, X, y, sample_weight, classes)

    def _encoded(self, y: Any) -> np.ndarray:
        """Targets of the net (n_samples, n_outputs) from labels y."""
        return np.asarray(self._label_binarizer.transform(y)).astype(bool).reshape(len(y), -1)

    def _decoded(self, y: np.ndarray) -> np.ndarray:
        """Labels from targets of the net (n_samples, n_outputs)."""
        labels: np.ndarray = self._label_binarizer.inverse_transform(y)
        return labels

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
    __init__ = init_with_signature(OriginalRegressor, {**COMMON, **OF_REGRESSOR})
    _original = OriginalRegressor
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **OriginalRegressor._parameter_constraints,
        **CONSTRAINTS,
        **REGRESSOR_CONSTRAINTS,
    }

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

    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None, sample_weight_val: Any = None
    ) -> Any:
        """Update the model with one epoch over the given data; see `MLPClassifier.partial_fit`."""
        return self._fit_with((X_val, y_val, sample_weight_val), True, super().partial_fit, X, y, sample_weight)

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        X, y = super()._validate_input(X, y, incremental, reset)
        n_levels = n_outputs_of_a_target(self.loss)
        if n_levels > 1:
            y = np.repeat(y.reshape(len(y), -1), n_levels, axis=1)
            if "_input" in self.__dict__:
                self._input = X, y
        return X, y

    def _encoded(self, y: Any) -> np.ndarray:
        """Targets of the net (n_samples, n_outputs) from targets y."""
        y = np.asarray(y, float).reshape(len(y), -1)
        n_levels = n_outputs_of_a_target(self.loss)
        return y if y.shape[1] == self.n_outputs_ else np.repeat(y, n_levels, axis=1)

    def _decoded(self, y: np.ndarray) -> np.ndarray:
        """Targets as users pass them from targets of the net (n_samples, n_outputs)."""
        y = y[:, :: n_outputs_of_a_target(self.loss)]
        return y[:, 0] if y.shape[1] == 1 else y

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R² of the predictions; for several quantiles the mean of their D² (``sklearn.metrics.d2_pinball_score``)."""
        if n_outputs_of_a_target(self.loss) == 1:
            return float(super().score(X, y, sample_weight))
        return self._score_of_quantiles(y, self.predict(X), sample_weight)

    def _score(self, X: Any, y: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
        if n_outputs_of_a_target(self.loss) == 1:
            return float(super()._score(X, y, sample_weight=sample_weight))
        return self._score_of_quantiles(self._decoded(self._encoded(y)), self._predict(X, check_input=False), sample_weight)

    def _score_of_quantiles(self, y: Any, predicted: np.ndarray, sample_weight: Any) -> float:
        levels = self.loss.levels
        scores = [
            d2_pinball_score(y, np.squeeze(predicted[:, k :: len(levels)]), sample_weight=sample_weight, alpha=level)
            for k, level in enumerate(levels)
        ]
        return float(np.mean(scores))

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
