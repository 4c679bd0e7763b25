"""Base class of the estimators: scikit-learn's private methods, computed by the kernels.

Parameters, validation, messages and attributes are scikit-learn's own code.  The kernels replace the computation of epochs, of
the loss and gradient of lbfgs and of outputs.  Fast checks replace scikit-learn's for ordinary input.  Anything unusual, such
as coefficients that no longer fit the layers, is left to scikit-learn's code.
"""

import functools
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import validate_data

from bpkernel.epochs import Epochs
from bpkernel.runtime.threads import limited
from bpkernel.sklearn import optimizers, own_training
from bpkernel.sklearn.coefficients import Coefficients, ComposedOrders, Objective, readable, samples
from bpkernel.sklearn.losses import check_targets, loss_type
from bpkernel.sklearn.nets import known
from bpkernel.sklearn.own_fits import OwnFits
from bpkernel.sklearn.rules import finite, in_float32, overrides, refuse_no_weight, warn
from bpkernel.sklearn.topology import layer_sizes
from bpkernel.sklearn.validation_data import HeldBack
from bpkernel.validation import EITHER

NUMERICS = "_backprop", "_forward_pass", "_compute_loss_grad"  # methods whose results the kernels compute
BETWEEN_EPOCHS = ("_update_no_improvement_count",)
LARGEST = 1e12  # of float64 targets with float32 weights: squares of much larger ones overflow here, but not in scikit-learn


class OnKernels(OwnFits):
    """What both estimators compute differently from scikit-learn."""

    _no_improvement_count: int
    _objective: tuple[Objective, type[Any]] | None = None  # the function that lbfgs minimises, while it runs

    # ------------------------------------------------------------------------------------------------------- outputs

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> np.ndarray:
        if check_input and not self._in_order(X):
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        held, activations = self.__dict__.get("_held"), self._activations()
        # SciPy's products of a sparse X are faster: 3 to 9 times with 0.5 to 2 % non-zeros
        if held is not None and isinstance(X, np.ndarray) and self._has_layers() and known(activations):
            network = held.network_of(*self._arrays(), activations, X.dtype)
            if network is not None and network.layout.sizes[0] == X.shape[1]:
                with limited(self.n_jobs):
                    return network.outputs(readable(X, network.layout.dtype))
        return super()._forward_pass_fast(X, check_input=False)

    # ---------------------------------------------------------------------------------------------- ordinary input

    def _in_order(self, X: Any) -> bool:
        """Whether X passes scikit-learn's checks; this takes a tenth of their time.  False if in doubt."""
        return (
            type(X) is np.ndarray
            and X.ndim == 2
            and X.dtype in EITHER
            and X.shape[0] > 0
            and X.shape[1] == self.__dict__.get("n_features_in_")
            and "feature_names_in_" not in self.__dict__
            and finite(X)
        )

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        checked = None if reset else self._checked(X, y)
        if checked is None:
            checked = super()._validate_input(X, y, incremental, reset)
            check_targets(self.loss, checked[1], checked[0].dtype)
        if not self._is_known_to_scikit_learn():
            self._input = checked
        return checked

    def _checked(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray] | None:
        """What `_validate_input` returns for ordinary X and y, or None if they are not."""
        if not (type(y) is np.ndarray and y.ndim == 1 and self._in_order(X) and len(y) == len(X)):
            return None
        targets = self._targets_in_order(y)
        if targets is None:
            return None
        check_targets(self.loss, targets, X.dtype)
        return X, targets

    # -------------------------------------------------------------------------------------------------------- fitting

    def _fit(self, X: Any, y: Any, sample_weight: Any = None, incremental: bool = False) -> Any:
        """As scikit-learn's, with the solvers that it does not have, on the threads of `n_jobs`."""
        if incremental and self.solver == "lm":
            self._check_solver()  # which scikit-learn's regressor does not call
        if incremental and isinstance(getattr(self, "class_weight", None), str):
            raise ValueError(
                "class_weight='balanced' is not for partial_fit, which does not see all samples: pass a dictionary of weights"
            )
        if not incremental:
            self.__dict__.pop("early_stopped_", None)
        goes_on = "coefs_" in self.__dict__ and (incremental or self.warm_start)
        if goes_on:
            self._refuse_another_topology()
        with limited(self.n_jobs), self._shown_to_callbacks():
            if goes_on and incremental and sample_weight is None and self._fit_in_order(X, y):
                return self
            own = own_training.wanted(self, incremental=incremental)
            if own and self.solver in own_training.ALL_SAMPLES:
                raise ValueError(f"solver={self.solver!r} does not have {', '.join(own)}; adam and others do")
            super()._fit(X, y, sample_weight=sample_weight, incremental=incremental)
            if not self._is_known_to_scikit_learn():  # it checks the input, draws the weights, and does no more
                self._fit_by_own_solver(sample_weight, incremental)
        return self

    def _refuse_overrides(self, what: str) -> None:
        if overrides(type(self), OnKernels, *NUMERICS):
            raise ValueError(f"{what} cannot call methods that {type(self).__name__} overrides: {', '.join(NUMERICS)}")

    def _fit_in_order(self, X: Any, y: Any) -> bool:
        """scikit-learn's `_fit` for `partial_fit` with ordinary input, in a tenth of its time; False if anything is unusual."""
        held: Coefficients | None = self.__dict__.get("_held")
        hidden, size = self.hidden_layer_sizes, self.batch_size
        sizes = tuple(hidden) if type(hidden) in (tuple, list) else (hidden,)
        usual = (
            type(self.random_state) is int
            and self.solver in ("sgd", "adam")
            and not self.early_stopping
            and not own_training.wanted(self, incremental=True)
            and all(type(n_units) is int for n_units in sizes)
            and type(self)._validate_input is OnKernels._validate_input
            and optimizers.known(self.__dict__.get("_optimizer"))
        )
        if not usual or held is None or held.network.layout.sizes[1:-1] != sizes or self._take() is not held:
            return False
        checked = self._checked(X, y)
        if checked is None or not (size == "auto" or (type(size) is int and 1 <= size <= len(X))):
            return False
        X, y = checked[0], checked[1].reshape(len(X), -1)
        if y.shape[1] != held.network.layout.sizes[-1] or not self._on_kernels(held, y, None):
            return False
        with held.training:
            held.random_state.seed(self.random_state)  # 60 times as fast as making a new one
            self._random_state = held.random_state
            self._fit_stochastic(X, y, None, held.network.layout.sizes, True)
        if not np.isfinite(held.network.params).all():
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
                "preprocessed."
            )
        return True

    def _fit_lbfgs(self, X: Any, y: Any, sample_weight: Any, *scratch_and_units: Any) -> None:
        """scikit-learn's call of SciPy with the objective of the kernels, in the dtype of the initial coefficients."""
        loss, sample_weight = self._loss_of_net(), self._with_weights_of_classes(y, sample_weight)
        layer_units = scratch_and_units[-1]
        fits = layer_sizes(self.coefs_, self.intercepts_, self._topology) == tuple(layer_units)
        if loss is not None and fits and not overrides(type(self), OnKernels, *NUMERICS):
            refuse_no_weight(sample_weight)
            dtype = np.result_type(*self.coefs_, *self.intercepts_)
            scratch = Coefficients(layer_units, self._activations(), loss.kernels, dtype, self._topology)
            objective = Objective(
                scratch, samples(X, y, sample_weight, scratch.network), float(self.alpha), self._loss_divided(y)
            )
            self._objective = objective, loss_type(loss, dtype, y, sample_weight)
            self.coefs_, self.intercepts_ = list(self.coefs_), list(self.intercepts_)  # whose items lbfgs replaces
        try:
            super()._fit_lbfgs(X, y, sample_weight, *scratch_and_units)
        finally:
            self.__dict__.pop("_objective", None)
            self._take()

    def _loss_grad_lbfgs(self, packed_coef_inter: np.ndarray, *arguments: Any, **named: Any) -> tuple[float, np.ndarray]:
        if self._objective is None:  # not called by lbfgs
            return super()._loss_grad_lbfgs(packed_coef_inter, *arguments, **named)
        self._unpack(packed_coef_inter)  # after an interrupt the net has these weights
        objective, to_type = self._objective
        loss, gradient = objective(packed_coef_inter)
        return to_type(loss), gradient

    def _fit_stochastic(self, X: Any, y: Any, sample_weight: Any, *scratch_and_units: Any) -> None:
        layer_units, incremental = scratch_and_units[-2:]
        sample_weight = self._with_weights_of_classes(y, sample_weight, incremental=incremental)
        own = own_training.wanted(self, incremental=incremental)
        if own:
            self._refuse_overrides(", ".join(own))
            self._train_as_wanted(X, y, sample_weight, incremental)
            return
        held = self._take()
        fits = held is not None and held.network.layout.sizes == tuple(layer_units)
        if held is None or not fits or not self._on_kernels(held, y, sample_weight):
            super()._fit_stochastic(X, y, sample_weight, *scratch_and_units)
            return
        with held.training:
            if optimizers.take(self, held, incremental):
                self._train(held, X, y, sample_weight, incremental)
            else:
                super()._fit_stochastic(X, y, sample_weight, *scratch_and_units)

    def _on_kernels(self, held: Coefficients, y: np.ndarray, sample_weight: np.ndarray | None) -> bool:
        """Whether the kernels compute what scikit-learn would; not if a subclass overrides its methods."""
        real = isinstance(self.alpha, Real) and float(self.alpha) >= 0
        whole = self.batch_size == "auto" or isinstance(self.batch_size, Integral)
        narrow = held.network.layout.dtype == np.float32 and not self._is_own()
        return (
            real
            and whole
            and not overrides(type(self), OnKernels, *NUMERICS)
            and not (narrow and y.dtype == np.float64 and np.abs(y).max() > LARGEST)
            and not (narrow and sample_weight is not None and not in_float32(sample_weight))
        )

    def _train(self, held: Coefficients, X: Any, y: np.ndarray, sample_weight: np.ndarray | None, incremental: bool) -> None:
        """Epochs on the kernels, with scikit-learn's stopping rules and messages."""
        X_val = y_val = s_val = held_back = None
        if self.early_stopping:
            X, X_val, y, y_val, sample_weight, s_val = self._split(X, y, sample_weight)
            held_back = HeldBack(self, X_val, y_val, s_val, held)
            self.validation_loss_curve_ = self.__dict__.get("validation_loss_curve_") or []
        dtype, batch_size = held.network.layout.dtype, self._batch_size(len(y))
        seen = samples(X, y, sample_weight, held.network)
        batches = optimizers.batches(self._optimizer, held, int(batch_size), float(self.alpha))
        loss = self._loss_of_net()
        assert loss is not None  # there is a net
        to_type = loss_type(loss, dtype, y, sample_weight, isinstance(batch_size, np.integer))

        steady = self.solver == "adam" or self.learning_rate == "constant"
        once = incremental or self.early_stopping or sample_weight is not None
        ahead = steady and not once and not overrides(type(self), OnKernels, *BETWEEN_EPOCHS)
        check = functools.partial(refuse_no_weight, sample_weight, batch_size=batch_size)
        private = isinstance(self.random_state, Integral)
        orders = ComposedOrders(held, len(y), self._random_state, check, shuffle=self.shuffle, private=private)
        epochs = Epochs(batches, seen, orders, ahead=ahead, arrays=(held.network.params, held.state, held.steps))
        try:
            self.n_iter_ = 0
            for _ in range(self.max_iter):
                optimizers.set_rate(self._optimizer, batches)
                total = epochs.next(self.max_iter - self.n_iter_)
                self.n_iter_ += 1
                self.t_ += len(y)
                self.loss_ = to_type((total[1] / self._loss_divided(y) + total[2]) / len(y))
                self.loss_curve_.append(self.loss_)
                if self.verbose:
                    print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
                if held_back is not None:
                    self.validation_loss_curve_.append(held_back.loss())
                self._update_no_improvement_count(self.early_stopping, X_val, y_val, s_val)
                self._optimizer.iteration_ends(self.t_)
                if self._converged() or incremental:
                    break
                if self.n_iter_ == self.max_iter:
                    warn(
                        f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                        "converged yet.",
                        ConvergenceWarning,
                    )
        except KeyboardInterrupt:
            warn("Training interrupted by user.")
        finally:
            epochs.settle()
            optimizers.tell(self._optimizer, held)
        if self.early_stopping and self._best_coefs is not self.coefs_:
            self._go_back_to_best(held)

    def _split(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, ...]:
        """X, y and sample weights, each split into a training and a validation part."""
        arrays = (X, y) if sample_weight is None else (X, y, sample_weight)
        stratify = y if is_classifier(self) and self.n_outputs_ == 1 else None
        parts = train_test_split(
            *arrays, random_state=self._random_state, test_size=self.validation_fraction, stratify=stratify
        )
        if parts[1].shape[0] < 2:
            raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
        if is_classifier(self):
            parts[3] = self._label_binarizer.inverse_transform(parts[3])
        return (*parts, None, None)[:6]

    def _batch_size(self, n_samples: int) -> Any:
        """The batch size: an int, or a NumPy integer, which gives the loss another type."""
        if self.batch_size == "auto":
            return min(200, n_samples)
        if self.batch_size > n_samples:
            warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
        return np.clip(self.batch_size, 1, n_samples)

    def _converged(self) -> bool:
        """Whether to stop because nothing has improved; with an adaptive learning rate that is reduced first."""
        if self._no_improvement_count <= self.n_iter_no_change:
            return False
        what = "Validation score" if self.early_stopping else "Training loss"
        message = f"{what} did not improve more than tol={self.tol:f} for {int(self.n_iter_no_change)} consecutive epochs."
        if self._optimizer.trigger_stopping(message, self.verbose):
            return True
        self._no_improvement_count = 0
        return False
