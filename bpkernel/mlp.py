"""The multilayer perceptron, as its users see it."""

import copy
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bpkernel import derivatives, serialization, validation
from bpkernel.derivatives import Backprop
from bpkernel.functions.activations import BY_NAME as ACTIVATIONS
from bpkernel.functions.activations import HiddenActivation, OutputActivation
from bpkernel.functions.losses import BY_NAME as LOSSES
from bpkernel.functions.losses import LossName
from bpkernel.functions.optimizers import Adam, Optimizer
from bpkernel.history import History
from bpkernel.kernels import operands
from bpkernel.network import Network
from bpkernel.runtime import in_use
from bpkernel.training import Shuffled, Training


class MLP:
    """A multilayer perceptron, trained by back-propagation (Bishop 1995, section 4.8).

    Parameters
    ----------
    layer_sizes : sequence of int
        Units of every layer, inputs first and outputs last.  Without hidden layers, (8, 3), it is a linear model.
    activation : str or sequence of str, default="tanh"
        identity, logistic, tanh or relu; one for all hidden layers, or one for each.
    output_activation : str, default="identity"
        One of these, or softmax or exp.
    loss : str, default="squared_error"
        E^n: squared_error (½ Σ_k (y_k - t_k)²), cross_entropy, binary_cross_entropy, or poisson (half the deviance).
        The canonical output activations are identity, softmax, logistic and exp in this order; others go with a loss
        where it is defined for all the values they take.
    dtype : str or dtype, default="float32"
        float32 or float64, of the weights and of all computation.
    random_state : None, int or numpy.random.Generator, default=None
        What the initial weights and the order of the samples are drawn from.

    Attributes
    ----------
    layer_sizes : tuple of int
    activation : tuple of str
        The activation of every hidden layer.
    output_activation, loss_name : str
    dtype : numpy.dtype
    weights : tuple of ndarray (n_in, n_out)
        Live views: what is written to them, the net uses.
    biases : tuple of ndarray (n_out,)
        Live views.

    Raises
    ------
    ValueError, TypeError
        If a parameter is not as above, or the loss is not defined for the output activation.

    Notes
    -----
    Weights are drawn uniformly from ±√(6 / (n_in + n_out)) (Glorot and Bengio 2010), into a layer of relu units from
    ±√(6 / n_in) (He et al. 2015); biases are 0.

    Examples
    --------
    >>> import bpkernel as bp
    >>> net = bp.MLP((2, 8, 1), output_activation="logistic", loss="binary_cross_entropy", random_state=0)
    >>> X, T = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> history = net.fit(X, T, epochs=500, optimizer=bp.Adam(learning_rate=0.05))
    >>> net.predict(X).round()
    array([[0.],
           [1.],
           [1.],
           [0.]], dtype=float32)
    """

    def __init__(
        self,
        layer_sizes: Sequence[int],
        activation: HiddenActivation | Sequence[HiddenActivation] = "tanh",
        output_activation: OutputActivation = "identity",
        loss: LossName = "squared_error",
        dtype: validation.FloatLike = "float32",
        random_state: int | np.random.Generator | None = None,
    ):
        self.layer_sizes = validation.layer_sizes(layer_sizes)
        hidden, output = validation.activations(activation, output_activation, self.layer_sizes)
        self.activation, self.output_activation = hidden, output
        self.loss_name = validation.loss(loss, output)
        self.dtype = validation.float_dtype(dtype)
        self._random = validation.generator(random_state)
        self._allocate()
        for w, g in zip(self.weights, (*hidden, output), strict=True):
            n_in, n_out = w.shape
            bound = np.sqrt(6.0 / (n_in if g == "relu" else n_in + n_out))
            w[:] = self._random.uniform(-bound, bound, w.shape)

    def _allocate(self) -> None:
        activations = [ACTIVATIONS[name] for name in (*self.activation, self.output_activation)]
        self._network = Network(self.layer_sizes, activations, LOSSES[self.loss_name], self.dtype)

    @property
    def weights(self) -> tuple[np.ndarray, ...]:
        """Live views (n_in, n_out) of the weights of every layer, inputs first."""
        return self._network.weights

    @property
    def biases(self) -> tuple[np.ndarray, ...]:
        """Live views (n_out,) of the biases of every layer, inputs first."""
        return self._network.biases

    def __repr__(self) -> str:
        return (
            f"MLP({self.layer_sizes}, activation={list(self.activation)}, output_activation={self.output_activation!r}, "
            f"loss={self.loss_name!r}, dtype={self.dtype.name!r})"
        )

    def fit(
        self,
        X: ArrayLike,
        T: ArrayLike,
        epochs: int = 20,
        batch_size: int = 200,
        optimizer: Optimizer | None = None,
        shuffle: bool = True,
        sample_weight: ArrayLike | None = None,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        progress: bool = False,
        patience: int | None = None,
        callback: Callable[[History], object] | None = None,
        alpha: float = 0.0,
    ) -> History:
        """Train from the present weights.

        Each step is along the gradient of the mini-batch's objective, (Σ_n s_n E^n + ½ alpha Σ w²) / Σ_n s_n.

        Parameters
        ----------
        X : array-like (n_samples, n_inputs)
            Inputs; read where they are if float32 or float64, C-contiguous and writeable, else copied once.
        T : array-like (n_samples, n_outputs)
            Targets; (n_samples,) will do for one output, and for cross_entropy class indices (n_samples,).
        epochs : int, default=20
            Times that every sample is seen.
        batch_size : int, default=200
            Samples in a mini-batch; all of them if there are fewer.
        optimizer : SGD or Adam, default=None
            None for a new Adam().  One passed again goes on from its state.
        shuffle : bool, default=True
            Whether to see the samples in a new order each epoch.
        sample_weight : array-like (n_samples,), default=None
            The s_n, not negative; None for ones.
        validation_data : (X, T), default=None
            Samples to compute the loss of after each epoch.
        progress : bool, default=False
            Whether to draw a progress bar on standard error (needs the extra `cli`).
        patience : int, default=None
            Stop when the validation loss has not fallen for this many epochs, and go back to the epoch of the lowest: the
            weights, and the state of the optimizer.
        callback : callable, default=None
            Called with the history after each epoch; training stops if it returns true.  It may change the settings of
            the optimizer, such as the learning rate, for the epochs that follow.
        alpha : float, default=0.0
            L2, as in scikit-learn; it leaves out biases, and `History.loss` leaves it out.

        Returns
        -------
        History

        Raises
        ------
        ValueError, TypeError
            If an argument is not as above, before any training; or if the callback gives the optimizer a setting out of
            its range: the net and the optimizer's state are then as before.
        FloatingPointError
            If training diverges; the net and the optimizer's state are then as before.
        RuntimeError
            If another call of `fit` trains this net or uses this optimizer, in another thread or around the callback that
            makes this call.  Meanwhile `predict`, `loss` and copies of the net are allowed.

        Notes
        -----
        After an interrupt (Ctrl-C) the net keeps what it has learnt; with `patience` net and optimizer are those of the lowest
        validation loss.
        """
        samples = self._samples(X, T, sample_weight)
        n_samples, alpha = len(samples.T), validation.not_negative("alpha", alpha, self.dtype)
        if sample_weight is not None:  # the samples have weights of the same ratios
            alpha = validation.not_negative("alpha / max(sample_weight)", alpha / float(np.max(sample_weight)), self.dtype)
        epochs, batch_size = validation.count("epochs", epochs), validation.count("batch_size", batch_size)
        shuffle, progress = validation.flag("shuffle", shuffle), validation.flag("progress", progress)
        optimizer = Adam() if optimizer is None else optimizer
        validation.training(optimizer, callback, patience, validation_data)
        validation_loss = None
        if validation_data is not None:
            held_back = self._samples(*validation.pair("validation_data", validation_data), prefix="validation ")
            validation_loss = lambda: self._network.mean_error(held_back)  # noqa: E731
        call = object()
        try:
            used = in_use.begin(call, sys._getframe(), self._network, optimizer)
            if used is not None:
                name = "net" if used is self._network else type(optimizer).__name__
                raise RuntimeError(
                    f"this {name} is being used by another call of fit, in another thread or around this callback; "
                    "wait for its end, or use a copy (copy.deepcopy)"
                )
            training = Training(self._network, optimizer, min(batch_size, n_samples), alpha, self._random)
            orders = Shuffled(self._random, n_samples, shuffle)
            return training.run(samples, orders, epochs, validation_loss, patience, progress, callback)
        finally:
            in_use.uses.pop(call, None)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The outputs y of the net, (n_samples, n_outputs), for inputs X (n_samples, n_inputs).

        Raises ValueError or TypeError if X is of another shape or holds other than finite numbers.  The outputs of a
        sample do not depend on the others.
        """
        return self._network.outputs(validation.samples("X", X, self.layer_sizes[0], self.dtype))

    def loss(self, X: ArrayLike, T: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """The mean error Σ_n s_n E^n / Σ_n s_n; X, T, sample_weight and what is raised as in `fit`."""
        return self._network.mean_error(self._samples(X, T, sample_weight))

    def backprop(self, X: ArrayLike, T: ArrayLike) -> Backprop:
        """Every a, z, δ, gradient and E of one pass forward and back; X, T and what is raised as in `fit`.

        Examples
        --------
        >>> import bpkernel as bp
        >>> net = bp.MLP((1, 1), dtype="float64", random_state=0)
        >>> net.weights[0][:] = 3
        >>> r = net.backprop([[2.0]], [5.0])  # y = 3 · 2, E = ½ (6 - 5)², δ = 6 - 5, ∂E/∂w = δ · 2
        >>> r.error, r.delta[1].item(), r.dw[0].item(), r.db[0].item()
        (0.5, 1.0, 2.0, 1.0)
        """
        samples = self._samples(X, T)
        X = np.concatenate([samples.X, samples.X_other]).astype(self.dtype)  # one of the two has no rows
        return derivatives.backprop(self._network, samples, X)

    def _samples(self, X: Any, T: Any, sample_weight: Any = None, *, prefix: str = "") -> operands.Samples:
        X = validation.samples(f"{prefix}X", X, self.layer_sizes[0], self.dtype)
        T = validation.targets(f"{prefix}T", T, self.loss_name, len(X), self.layer_sizes[-1], self.dtype)
        return operands.samples(X, T, validation.sample_weight(sample_weight, len(X), self.dtype))

    # ------------------------------------------------------------------------------------------------- to files and back

    def save(self, path: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None) -> None:
        """Write the net to a safetensors file, whole or not at all (needs the extra `save`).

        `metadata` may hold anything that JSON can, to be read with `load_with_metadata`, under any keys but "net" and
        "format", which raise ValueError.
        The state of an optimizer is not part of a net.
        """
        tensors = {}
        for l, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            tensors[f"weights.{l}"], tensors[f"biases.{l}"] = w, b
        if metadata is not None and not (isinstance(metadata, Mapping) and not {"net", "format"} & set(metadata)):
            raise ValueError('metadata must be a dictionary whose keys are neither "net" nor "format"')
        serialization.save(path, tensors, {**(metadata or {}), "net": self._architecture()})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "MLP":
        """Read a net that `save` wrote; nothing in the file is run.

        Raises FileNotFoundError if there is no such file, ValueError if it is no such net or damaged.
        """
        return cls.load_with_metadata(path)[0]

    @classmethod
    def load_with_metadata(cls, path: str | os.PathLike[str]) -> tuple["MLP", dict[str, Any]]:
        """Read a net and the metadata that it was saved with; raises what `load` does."""
        tensors, metadata = serialization.load(path)
        try:
            sizes = metadata["net"]["layer_sizes"]
            n_layers = len(sizes) - 1
            shapes: dict[str, tuple[int, ...]] = {f"weights.{l}": (sizes[l], sizes[l + 1]) for l in range(n_layers)}
            shapes |= {f"biases.{l}": (sizes[l + 1],) for l in range(n_layers)}
            dtype = metadata["net"]["dtype"]
            found = {name: tensor.shape for name, tensor in tensors.items()}
            if found != shapes or {tensor.dtype.name for tensor in tensors.values()} != {dtype}:
                raise ValueError(f"its tensors are not the {dtype} weights and biases of a net {sizes}")
            if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
                raise ValueError("its weights are not all finite")
            net = cls(**metadata["net"], random_state=None)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{str(path)!r} does not hold a net: {error}") from None
        for l, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
            w[:], b[:] = tensors[f"weights.{l}"], tensors[f"biases.{l}"]
        return net, metadata

    def _architecture(self) -> dict[str, Any]:
        return {
            "layer_sizes": self.layer_sizes,
            "activation": self.activation,
            "output_activation": self.output_activation,
            "loss": self.loss_name,
            "dtype": self.dtype.name,
        }

    def __getstate__(self) -> dict[str, Any]:
        return {**self._architecture(), "params": self._network.params, "random": copy.deepcopy(self._random)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.layer_sizes, self.activation = state["layer_sizes"], state["activation"]
        self.output_activation, self.loss_name = state["output_activation"], state["loss"]
        self.dtype, self._random = np.dtype(state["dtype"]), state["random"]
        self._allocate()
        self._network.params[:] = state["params"]
