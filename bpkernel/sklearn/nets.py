"""The net of an estimator, and scikit-learn's private methods for the nets that scikit-learn does not have.

Each method is scikit-learn's own for the nets that scikit-learn has.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
from sklearn.neural_network._base import DERIVATIVES
from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron
from sklearn.utils.validation import validate_data

from bpkernel import architecture, derivatives, initializers
from bpkernel.functions.activations import BY_NAME as ACTIVATIONS
from bpkernel.functions.activations import HIDDEN
from bpkernel.kernels.layout import chain
from bpkernel.network import Network
from bpkernel.sklearn.coefficients import Coefficients, outputs, samples
from bpkernel.sklearn.losses import LossOfEstimator, loss_of, output_for, output_of, own_loss
from bpkernel.sklearn.parameters import FITTED, OF_CLASSIFIER, OF_REGRESSOR, OWN, TRAINING
from bpkernel.sklearn.topology import Topology, layer_sizes, same

HIDDEN_NAMES = frozenset(HIDDEN)
IN_SCIKIT_LEARN = frozenset(DERIVATIVES)  # activations of hidden layers


def known(activations: tuple[Any, ...]) -> bool:
    """Whether the kernels have these activations of the hidden layers and, last, of the outputs."""
    *hidden, output = activations
    if isinstance(output, str) and output not in ACTIVATIONS:
        return False
    return HIDDEN_NAMES.issuperset(hidden) or all(
        each in HIDDEN_NAMES if isinstance(each, str) else getattr(each, "hidden", False) for each in hidden
    )


def name_in_scikit_learn(activation: Any) -> str | None:
    """The activation of all hidden layers, if scikit-learn has it; `activation` is that parameter of an estimator."""
    each = set(activation) if isinstance(activation, (list, tuple)) else {activation}
    return each.pop() if len(each) == 1 and each <= IN_SCIKIT_LEARN else None


def own_values(estimator: Any) -> list[str]:
    """What of an estimator scikit-learn's does not have, in words."""
    found = [name for name in ("connections", "masks") if getattr(estimator, name) is not None]
    if not found and estimator._topology is not None:
        found = ["the connections, masks or normalised layers that it was fitted with"]
    for name in ("init", "layer_norm", *TRAINING, *OF_CLASSIFIER, *OF_REGRESSOR):
        value = getattr(estimator, name, OWN[name])
        if value is not OWN[name] and value != OWN[name] and value not in ([], ()):
            found.append(f"{name}={value!r}")
    if not isinstance(estimator.solver, str) or estimator.solver not in ("lbfgs", "sgd", "adam"):
        found.append(f"solver={estimator.solver!r}")
    if not isinstance(estimator.learning_rate, str):
        found.append(f"learning_rate={estimator.learning_rate!r}")
    if isinstance(estimator.alpha, (list, tuple)):
        found.append(f"alpha={estimator.alpha!r}")
    if not isinstance(estimator.activation, str) or estimator.activation in HIDDEN_NAMES - IN_SCIKIT_LEARN:
        found.append(f"activation={estimator.activation!r}")
    return found if own_loss(estimator.loss) is None else [*found, f"loss={estimator.loss!r}"]


class Nets(BaseMultilayerPerceptron):
    """The net of an estimator.

    `coefs_`, `intercepts_`, `gains_` and `shifts_` are views of `_held`, a Coefficients, until someone replaces them.
    """

    connections: Any
    masks: Any
    init: Any
    layer_norm: Any
    loss_curve_: list[Any]
    validation_scores_: list[Any] | None
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    gains_: list[np.ndarray]  # of the normalised layers, if there are any
    shifts_: list[np.ndarray]
    _topology: Topology | None = None  # of the fitted net

    @property
    def connections_(self) -> tuple[tuple[int, int], ...]:
        """The pairs of layers that are connected, in the order of `coefs_`."""
        if "n_layers_" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has connections_ after fit only")
        return chain(self.n_layers_) if self._topology is None else self._topology.pairs

    def _activations(self) -> tuple[Any, ...]:
        """The activation of every layer but the inputs, by its name or itself."""
        own = self.activation
        if isinstance(own, (list, tuple)):
            sizes = (len(self.coefs_[0]), *map(len, self.intercepts_))
            return (*architecture.hidden_activations(own, sizes), self.out_activation_)
        n_hidden = len(self.coefs_ if self._topology is None else self.intercepts_) - 1
        return (*[own] * n_hidden, self.out_activation_)

    def _arrays(self) -> tuple[Any, Any]:
        """`coefs_`, and the vectors of the units: `intercepts_`, then gains and shifts."""
        if self._topology is None or not self._topology.normalised:
            return self.coefs_, self.intercepts_
        return self.coefs_, [*self.intercepts_, *self.gains_, *self.shifts_]

    def _keep_best(self) -> None:
        """Keep copies of the present weights as the best ones."""
        coefs, vectors = self._arrays()
        n_layers = len(self.intercepts_)
        self._best_coefs = [w.copy() for w in coefs]
        self._best_intercepts = [b.copy() for b in vectors[:n_layers]]
        self._best_scales = [own.copy() for own in vectors[n_layers:]]

    def _go_back_to_best(self, held: Coefficients) -> None:
        """Go back to the best weights."""
        held.load(self._best_coefs, [*self._best_intercepts, *self.__dict__.get("_best_scales", ())])
        self._best_coefs, self._best_intercepts = self.coefs_, self.intercepts_

    def _loss_of_net(self) -> LossOfEstimator | None:
        return loss_of(self.loss, self.out_activation_)

    def _is_own(self) -> bool:
        """Whether scikit-learn has no such net."""
        scikit_learns = isinstance(self.activation, str) and (
            self.activation in IN_SCIKIT_LEARN
            or self.activation not in HIDDEN_NAMES  # its code raises an error for unknown names
        )
        own_output = getattr(self, "output_activation", None) is not None
        return not scikit_learns or own_output or self._topology is not None or own_loss(self.loss) is not None

    def _has_layers(self) -> bool:
        """Whether there are weights for every connection."""
        return len(self.coefs_) == (self.n_layers_ - 1 if self._topology is None else len(self._topology.pairs))

    def _take(self) -> Coefficients | None:
        """Make `coefs_` and `intercepts_` views of a net, unless they are already; returns None if they form no net."""
        held, activations = self.__dict__.get("_held"), self._activations()
        loss = self._loss_of_net()
        if loss is None or not self._has_layers() or not known(activations):
            return None
        alike = held is not None and held.activations == activations and held.loss == loss.kernels
        if alike and held is not None and held.topology is self._topology and held.are(*self._arrays()):
            return held
        coefs, vectors = self._arrays()
        sizes = layer_sizes(coefs, vectors, self._topology)
        if sizes is None:
            return None
        taken = Coefficients(sizes, activations, loss.kernels, np.result_type(*coefs, *vectors), self._topology)
        taken.load(coefs, vectors)
        if self.__dict__.get("_best_coefs") is self.coefs_:  # as after early stopping
            self._best_coefs, self._best_intercepts = taken.coefs, taken.intercepts
        self._held, self.coefs_, self.intercepts_ = taken, taken.coefs, taken.intercepts
        if taken.gains:
            self.gains_, self.shifts_ = taken.gains, taken.shifts
        return taken

    def _taken(self) -> Coefficients:
        """As `_take`, but raises ValueError if there is no net."""
        held = self._take()
        if held is None:
            raise ValueError(
                "coefs_, intercepts_, activation, loss and out_activation_ do not form a net with these connections"
            )
        return held

    def _network_for(self, X: Any) -> Network:
        """The net for inputs X, which have been checked; raises ValueError if it does not fit them."""
        network = self._taken().network_of(*self._arrays(), self._activations(), X.dtype)
        if network is None or network.layout.sizes[0] != X.shape[1]:
            raise ValueError(f"X has {X.shape[1]} columns of {X.dtype}, and the net has {len(self.coefs_[0])} inputs")
        return network

    def _taken_for(self, X: Any, y: np.ndarray) -> Coefficients:
        """As `_taken`, but raises ValueError if the net is not for so many features and targets, which are checked."""
        held = self._taken()
        n_in, n_out = held.network.layout.sizes[0], held.network.layout.sizes[-1]
        if (n_in, n_out) != (X.shape[1], y.shape[1]):
            raise ValueError(
                f"the net has {n_in} inputs and {n_out} outputs, which X and y with {X.shape[1]} and {y.shape[1]} columns "
                "cannot train; call fit with warm_start=False"
            )
        return held

    def _refuse_another_topology(self) -> None:
        """Raise ValueError if `connections`, `masks` or `layer_norm` are not those of the fitted net."""
        usual = self.connections is None and self.masks is None and self.layer_norm is False
        if usual and self._topology is None:
            return
        sizes = layer_sizes(*self._arrays(), self._topology)
        if sizes is not None and not same(self._topology_of(sizes), self._topology):
            raise ValueError(
                "connections, masks and layer_norm cannot change while training goes on: they are not those that the net was "
                "made with; call fit with warm_start=False"
            )

    def _topology_of(self, sizes: tuple[int, ...]) -> Topology | None:
        """That of the parameters."""
        return Topology.of(self.connections, self.masks, self.layer_norm, sizes)

    # ------------------------------------------------------------------------------------------------- initial weights

    def _initialize(self, y: np.ndarray, layer_units: Any, dtype: Any) -> None:
        sizes, own_loss_object = tuple(layer_units), own_loss(self.loss)
        hidden = () if isinstance(self.activation, str) else architecture.hidden_activations(self.activation, sizes)
        topology = self._topology_of(sizes)
        drawn_here = topology is not None or self.init is not None or name_in_scikit_learn(self.activation) is None
        # with one layer scikit-learn draws no weights
        super()._initialize(y, layer_units[:1] if drawn_here else layer_units, dtype)
        self.n_layers_ = len(sizes)
        for name in ("_topology", *FITTED):
            self.__dict__.pop(name, None)
        if self.solver not in ("lbfgs", "lm", "sgd", "adam"):  # as scikit-learn does for its stochastic solvers
            self.loss_curve_, self._no_improvement_count = [], 0
            self.best_loss_ = None if self.early_stopping else np.inf
            self.validation_scores_ = [] if self.early_stopping else None
            self.best_validation_score_ = -np.inf if self.early_stopping else None
        if topology is not None:
            self._topology = topology
        if own_loss_object is not None:
            self.out_activation_ = output_of(own_loss_object)
        if getattr(self, "output_activation", None) is not None:
            self.out_activation_ = output_for(self.loss, self.output_activation)
        if drawn_here:
            hidden = hidden or architecture.hidden_activations(self.activation, sizes)
            output = self.out_activation_
            self._draw(sizes, (*hidden, ACTIVATIONS[output] if isinstance(output, str) else output), np.dtype(dtype))

    def _draw(self, sizes: tuple[int, ...], activations: tuple[Any, ...], dtype: np.dtype) -> None:
        """Draw the initial weights as `init` says."""
        network = Coefficients(sizes, activations, None, dtype, self._topology).network
        initializers.draw(network, self.init, self._random_state)
        self.coefs_, self.intercepts_ = ([*map(np.array, views)] for views in (network.weights, network.biases))
        if network.gains:
            self.gains_, self.shifts_ = ([*map(np.array, views)] for views in (network.gains, network.shifts))
        self._keep_best()

    def _init_coef(self, *sizes_and_dtype: Any) -> Any:
        if isinstance(self.activation, str):
            return super()._init_coef(*sizes_and_dtype)
        name = name_in_scikit_learn(self.activation)  # of a list with the same one for each layer
        like_this = SimpleNamespace(activation=name, _random_state=self._random_state)
        return BaseMultilayerPerceptron._init_coef(like_this, *sizes_and_dtype)

    # ------------------------------------------------------------------------------- forward and backward pass, lbfgs

    def _unpack(self, packed_parameters: np.ndarray) -> None:
        """As scikit-learn's; for other nets `_coef_indptr`, which describes a chain of layers, is not used."""
        if self._topology is None:
            super()._unpack(packed_parameters)
            return
        start = 0
        for arrays in (self.coefs_, self.intercepts_):
            for index, array in enumerate(arrays):
                arrays[index] = packed_parameters[start : start + array.size].reshape(array.shape)
                start += array.size

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> np.ndarray:
        if not self._is_own():
            return super()._forward_pass_fast(X, check_input=check_input)
        if check_input:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        return outputs(self._network_for(X), X)

    def _forward_pass(self, activations: list[Any]) -> list[Any]:
        if not self._is_own():
            return super()._forward_pass(activations)
        network, X = self._taken().network, activations[0]
        given = samples(X, np.ones((X.shape[0], network.layout.sizes[-1])), None, network)  # no target is needed
        activations[1:] = derivatives.backprop(network, given, X).z[1:]
        return activations

    def _backprop(
        self, X: Any, y: Any, sample_weight: Any, activations: Any, deltas: Any, coef_grads: Any, intercept_grads: Any
    ) -> Any:
        if not self._is_own():
            return super()._backprop(X, y, sample_weight, activations, deltas, coef_grads, intercept_grads)
        network = self._taken().network
        found = derivatives.backprop(network, samples(X, y, sample_weight, network), X)
        total = len(y) if sample_weight is None else sample_weight.sum()
        penalty = 0.5 * self.alpha * sum(float(np.square(w).sum()) for w in self.coefs_)
        activations[1:], deltas[:] = found.z[1:], found.delta[1:]
        coef_grads[:] = [(dw + self.alpha * w) / total for dw, w in zip(found.dw, self.coefs_, strict=True)]
        intercept_grads[:] = [db / total for db in found.db]
        return (found.error / self._loss_divided(y) + penalty) / total, coef_grads, intercept_grads

    def _loss_divided(self, y: np.ndarray) -> int:
        """scikit-learn's squared error is the mean over the outputs, though its gradient is that of the sum (issue 8349)."""
        return y.shape[1] if isinstance(self.loss, str) and self.loss == "squared_error" else 1


for _name, _default in OWN.items():  # for estimators whose `__init__` did not set them, as in older pickles
    setattr(Nets, _name, _default)
