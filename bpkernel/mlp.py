"""The multilayer perceptron, as its users see it."""

import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from bpkernel import checkpoints, derivatives, initializers, model_files, plots, unit_graph, validation
from bpkernel.architecture import Architecture, masks_of
from bpkernel.compiled_calls import CompiledCalls
from bpkernel.derivatives import Backprop
from bpkernel.fitting import Fitting
from bpkernel.functions.activations import HiddenActivation, OutputActivation
from bpkernel.functions.custom import Activation, Loss
from bpkernel.functions.elementwise import Elementwise
from bpkernel.functions.elementwise_losses import ElementwiseLoss
from bpkernel.functions.joint_losses import Quantile
from bpkernel.functions.losses import LossName
from bpkernel.initializers import InitName
from bpkernel.second_order import SecondOrder

Masks = Mapping[tuple[int, int], ArrayLike]


class MLP(Fitting, CompiledCalls, SecondOrder):
    """A feed-forward net, trained by back-propagation (Bishop 1995, section 4.8).

    Parameters
    ----------
    layer_sizes : sequence of int
        Units of every layer, inputs first and outputs last.  Without hidden layers, (8, 3), it is a linear model.
    activation : str, bp.Activation, or sequence of these, default="tanh"
        identity, logistic, tanh, relu, leaky_relu, elu, selu, softplus, silu, gelu, hard_sigmoid, hard_tanh or hard_silu; or an
        `Activation` of your own, `LeakyReLU(slope)` or `ELU(alpha)`.  One for all hidden layers, or one for each.
    output_activation : str or bp.Activation, default="identity"
        One of these, or softmax, exp or mean_variance.
    loss : str or bp.Loss, default="squared_error"
        E^n: squared_error (½ Σ_k (y_k - t_k)²), cross_entropy, binary_cross_entropy, poisson (half the deviance),
        absolute_error, huber, log_cosh, hinge, gamma, tweedie, focal, binary_focal, quantile or gaussian_nll; or a `Loss` of
        your own, or one with settings, such as `Huber(delta)` or `Quantile(0.1, 0.5, 0.9)`.
        The canonical output activations of the first four are identity, softmax, logistic and exp; others go with a loss
        where it is defined for all the values they take.
    dtype : str or dtype, default="float32"
        float32 or float64, of the weights and of all computation.
    random_state : None, int or numpy.random.Generator, default=None
        Source of the initial weights and of the order of the samples.
    connections : None, "all" or sequence of (int, int), default=None
        Which layers are connected, as pairs (from, to); layer 0 is the inputs.  None: each layer leads to the next one.  "all":
        to all later ones, as in a DenseNet.
    masks : dict of (int, int) to array-like of bool (n_from, n_to), default=None
        For some connections, where there are weights.  Weights that are absent are 0 and stay 0.
    init : str, default=None
        glorot_uniform, glorot_normal, he_uniform, he_normal, lecun_uniform, lecun_normal, orthogonal or zeros: how the initial
        weights are drawn.  None: the default of the activation that they lead to, see the notes.
    dropout : float, or sequence of one float for each hidden layer, default=0.0
        0 ≤ p < 1: the share of the units that are set to 0 in each sample of each step of training, at random, while the
        others are divided by 1 - p (Srivastava et al. 2014).
    input_dropout : float, default=0.0
        Likewise of the inputs.
    input_noise : float, default=0.0
        Standard deviation of normally distributed numbers that are added to the inputs in each step of training.
    layer_norm : bool, or sequence of one bool for each hidden layer, default=False
        Whether the sums a_j of a hidden layer are normalised before its activation (Ba, Kiros and Hinton 2016): z_j = g(γ_j n_j
        + β_j) with n_j = (a_j - m) / √(v + 1e-5), where m and v are mean and variance of the a_j of a sample over the units of
        the layer.

    Attributes
    ----------
    layer_sizes : tuple of int
    activation : tuple of str or bp.Activation
        The activation of every hidden layer.
    output_activation, loss_name : str
        The activation of the outputs, and the name of the loss.
    dtype : numpy.dtype
    connections : tuple of (int, int)
        The pairs of layers that are connected, by target, then source.
    weights : tuple of ndarray (n_from, n_to)
        The weights of every connection.  These are live views: the net uses what you write to them.
    biases : tuple of ndarray (n_units,)
        The biases of layer 1, 2, ...; live views too.
    layer_norm : tuple of bool
        Whether the sums of every hidden layer are normalised.
    gains, shifts : tuple of ndarray (n_units,)
        γ, ones at first, and β, zeros at first, of every layer with layer_norm; live views too.
    parameters : ndarray (n_parameters,)
        All of them in one vector, a copy: each of `weights`, row by row, then each of `biases`, of `gains` and of `shifts`.  It
        may be assigned.
    masks : dict of (int, int) to ndarray of bool (n_from, n_to)
        Copies of the masks of connections from which weights are absent.
    unit_names : tuple of tuple, or None
        The names of the units of every layer, of a net made by `from_edges`.
    optimizer : Optimizer or None
        That of the checkpoint which the net was loaded from, otherwise None; `fit` takes it if none is passed.

    Raises
    ------
    ValueError, TypeError
        If a parameter is not as above, or the loss is not defined for the output activation.

    Notes
    -----
    Weights are drawn uniformly from ±√(6 / (fan_in + fan_out)) (glorot_uniform; Glorot and Bengio 2010).  Weights that lead to
    units of relu, or of a function like it, are drawn from ±√(6 / fan_in) (he_uniform; He et al. 2015), to units of selu from a
    normal distribution of variance 1 / fan_in (lecun_normal).  Activations of your own count as functions like relu.  Biases
    are 0.  fan_in counts all weights that lead to a unit,
    fan_out all that lead from one; of absent weights the mean is taken.

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
        activation: HiddenActivation | Elementwise | Sequence[HiddenActivation | Elementwise] = "tanh",
        output_activation: OutputActivation | Elementwise = "identity",
        loss: LossName | ElementwiseLoss | Quantile = "squared_error",
        dtype: validation.FloatLike = "float32",
        random_state: int | np.random.Generator | None = None,
        *,
        connections: Literal["all"] | Iterable[tuple[int, int]] | None = None,
        masks: Masks | None = None,
        init: InitName | None = None,
        dropout: float | Sequence[float] = 0.0,
        input_dropout: float = 0.0,
        input_noise: float = 0.0,
        layer_norm: bool | Sequence[bool] = False,
    ):
        functions = activation, output_activation, loss
        disturbances = dropout, input_dropout, input_noise
        made_of = Architecture.of(layer_sizes, *functions, dtype, connections, *disturbances, layer_norm)
        present = masks_of(masks, made_of.pairs, made_of.sizes)
        if init is not None:
            validation.one_of("init", init, initializers.INITIALIZERS)
        self._random = validation.generator(random_state)
        self._allocate(made_of)
        if present:
            self._network.keep_only([present.get(pair) for pair in made_of.pairs])
        initializers.draw(self._network, init, self._random)

    @classmethod
    def from_edges(
        cls,
        edges: Iterable[tuple[Hashable, Hashable]],
        inputs: Sequence[Hashable],
        outputs: Sequence[Hashable],
        activation: HiddenActivation | Elementwise = "tanh",
        output_activation: OutputActivation | Elementwise = "identity",
        loss: LossName | ElementwiseLoss | Quantile = "squared_error",
        dtype: validation.FloatLike = "float32",
        random_state: int | np.random.Generator | None = None,
        *,
        init: InitName | None = None,
        dropout: float | Sequence[float] = 0.0,
        input_dropout: float = 0.0,
        input_noise: float = 0.0,
    ) -> "MLP":
        """A net of single units, from the edges between them.

        The units are put into layers: each unit follows, as soon as possible, those that lead to it.  Between two layers there
        are weights where there is an edge, the others are absent.  `unit_names` says where a unit is.

        Parameters
        ----------
        edges : iterable of (name, name)
            From which unit to which; names are strings or integers.
        inputs, outputs : sequence of name
            The units of the first and of the last layer, in their order in X and y.
        activation : str or bp.Activation, default="tanh"
            Of all hidden units.
        output_activation, loss, dtype, random_state, init, dropout, input_dropout, input_noise
            As of `MLP`.

        Raises
        ------
        ValueError
            If edges form a cycle, an edge is there twice, an input has an incoming or an output an outgoing edge, an output
            cannot be reached from any input, or an output has no edge; the message names the units.
        TypeError
            If the arguments are of another form.

        Examples
        --------
        >>> import bpkernel as bp
        >>> net = bp.MLP.from_edges([("x1", "h"), ("x2", "h"), ("h", "y"), ("x1", "y")], inputs=["x1", "x2"], outputs=["y"])
        >>> net.layer_sizes, net.connections, net.unit_names
        ((2, 1, 1), ((0, 1), (0, 2), (1, 2)), (('x1', 'x2'), ('h',), ('y',)))
        >>> net.masks
        {(0, 2): array([[ True],
               [False]])}
        """
        graph = unit_graph.levels(edges, inputs, outputs)
        sizes = tuple(map(len, graph.names))
        own: dict[str, Any] = {"connections": graph.pairs, "masks": graph.masks, "init": init}
        own |= {"dropout": dropout, "input_dropout": input_dropout, "input_noise": input_noise}
        net = cls(sizes, activation, output_activation, loss, dtype, random_state, **own)
        net.unit_names = graph.names
        return net

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

    # ------------------------------------------------------------------------------------------------------- pictures

    def plot(self, x: ArrayLike | None = None, t: ArrayLike | None = None, ax: Any = None) -> Any:
        """Draw the net, and the z and δ of one sample flowing forward and back (needs the extra `plot`).

        Parameters
        ----------
        x : array-like (n_inputs,), default=None
            Inputs of a sample.
        t : array-like (n_targets,), default=None
            Its targets, which x needs.
        ax : matplotlib Axes, or two of them with x and t, default=None
            None for a new figure.

        Returns
        -------
        Axes, or an array of two Axes with x and t

        Raises
        ------
        ValueError, TypeError
            If x or t do not fit the net, or one of the two is missing.
        """
        return plots.net_diagram(self, x, t, ax)

    def plot_filters(self, shape: tuple[int, int] | None = None, ax: Any = None) -> Any:
        """Draw the weights from the inputs to each unit of layer 1 as an image (needs the extra `plot`); returns the axes.

        Parameters
        ----------
        shape : (int, int), default=None
            Rows and columns of the inputs.  None: a square if that is possible, else one row.
        ax : matplotlib Axes, default=None
            None for a new figure.

        Raises
        ------
        ValueError
            If the shape does not fit the inputs.
        """
        return plots.filters(self, shape, ax)

    # ------------------------------------------------------------------------------------------------- to files and back

    def save(self, path: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None) -> None:
        """Write the net to a safetensors file, whole or not at all (needs the extra `save`).

        `metadata` may hold anything that JSON can, to be read with `load_with_metadata`, under any keys but "net",
        "nets", "histories" and "format", which raise ValueError.
        The state of an optimizer is not part of a net.
        """
        model_files.write(self, path, metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str], functions: Sequence[Activation | Loss] = ()) -> "MLP":
        """Read a net that `save` wrote, or a checkpoint of `fit`; nothing in the file is run.

        The net of a checkpoint has the `optimizer` with its state, and `fit` goes on with it if none is passed; it is None if
        its learning rate is a function, which files do not hold.

        Parameters
        ----------
        path : path-like
        functions : sequence of bp.Activation and bp.Loss, default=()
            Your own functions that the net uses, of which the file holds the names.  Others are allowed.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is no such net or damaged, uses a function of your own that is not among `functions`, or one that has other
            values than the one that it was saved with.
        """
        return cls.load_with_metadata(path, functions)[0]

    @classmethod
    def load_with_metadata(
        cls, path: str | os.PathLike[str], functions: Sequence[Activation | Loss] = ()
    ) -> tuple["MLP", dict[str, Any]]:
        """Read a net and the metadata that it was saved with; raises what `load` does."""
        net = cls.__new__(cls)
        metadata = model_files.read(net, path, functions)
        training = metadata.pop("training", None)
        if training is not None:
            net.optimizer = checkpoints.optimizer_in(path, training, net._network.layout)
        return net, metadata
