"""A model of tables as an ONNX graph, which takes the columns of a table and gives predictions.

Inputs are (n, 1), one for each column: numbers, and 1 and 0 for booleans, as float64 with NaN for missing cells, dates as days
since 1970 likewise, and categories as strings, "" for missing cells.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bpkernel.extras import need
from bpkernel.mlp import MLP
from bpkernel.serialization import write_atomically
from bpkernel.tables.delimited import TableError
from bpkernel.tables.features import MISSING, OTHER, Feature
from bpkernel.tables.model import Model
from bpkernel.tables.preparation import LARGEST, NEAREST
from bpkernel.version import __version__

OPSET, OPSET_ML = 20, 3  # of onnxruntime 1.17 and later


class Graph:
    """An ONNX graph that is being made.  Values are names; `op` adds a node and returns the name of its result."""

    def __init__(self, taken: set[str]):
        self._taken = taken
        self.kinds = need("onnx", "onnx").TensorProto
        self.helper, self._numpy = need("onnx.helper", "onnx"), need("onnx.numpy_helper", "onnx")
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def op(self, kind: str, *inputs: str, domain: str = "", output: str | None = None, **attributes: Any) -> str:
        """Add a node."""
        output = self.free(f"value_{len(self.nodes)}" if output is None else output)
        self.nodes.append(self.helper.make_node(kind, inputs, [output], domain=domain, **attributes))
        return output

    def free(self, name: str) -> str:
        """The name, with _ behind it where a column has that name."""
        while name in self._taken:
            name += "_"
        return name

    def constant(self, value: Any, dtype: Any = np.float64) -> str:
        """Add a constant array."""
        name = self.free(f"constant_{len(self.constants)}")
        array = np.array(value, object if dtype is str else dtype)
        self.constants[name] = self._numpy.from_array(array, name)
        return name

    def clip(self, x: str, low: Any, high: Any) -> str:
        """Numbers within bounds, which are numbers or rows of numbers."""
        return self.op("Min", self.op("Max", x, self.constant(low)), self.constant(high))


def write(model: Model, path: Path) -> None:
    """Write a model as an ONNX file, whole or not at all.

    Raises
    ------
    TableError
        If the nets are no chains of layers, or have functions of a user.
    """
    onnx, helper = need("onnx", "onnx"), need("onnx.helper", "onnx")
    graph = Graph({feature.name for feature in model.preparation.features})
    kinds = graph.kinds
    X = _inputs(graph, model)
    y = _mean(graph, [_outputs(graph, net, X) for net in model.nets], model.net.dtype)
    outputs = _predictions(graph, model, y)
    features = model.preparation.features
    made = helper.make_graph(
        graph.nodes,
        "bpkernel",
        [
            helper.make_tensor_value_info(f.name, kinds.STRING if f.kind == "category" else kinds.DOUBLE, [None, 1])
            for f in features
        ],
        [helper.make_tensor_value_info(graph.free(name), getattr(kinds, kind), [None, *n]) for name, kind, n in outputs],
        list(graph.constants.values()),
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", OPSET_ML)]
    found = helper.make_model(made, opset_imports=opsets, producer_name="bpkernel", producer_version=__version__, ir_version=9)
    onnx.checker.check_model(found)
    write_atomically(path, found.SerializeToString())


def _inputs(graph: Graph, model: Model) -> str:
    """The inputs of the nets (n, n_inputs) float64, as of `Preparation.X`."""
    own, parts, numbers = model.preparation, list[str](), list[str]()
    for feature in own.features:
        if not feature.one_hot:
            numbers.append(_raw(graph, feature))
    if numbers:
        R = graph.op("Concat", *numbers, axis=1)
        is_missing = graph.op("IsNaN", R)
        Z = _standardised(graph, model, graph.op("Where", is_missing, graph.constant(own.fill), R))
        parts += [Z, *_intervals(graph, Z, own.knots)]
        place = 0
        for feature in own.features:
            if not feature.one_hot:
                if feature.filled:
                    column = graph.op("Gather", is_missing, graph.constant([place], np.int64), axis=1)
                    parts.append(graph.op("Where", column, graph.constant(1.0), graph.constant(0.0)))
                place += len(feature.inputs())
    for feature in own.features:
        if feature.one_hot:
            code, n = _code(graph, feature), len(feature.values)
            parts.append(graph.op("Gather", graph.constant(np.vstack([np.eye(n), np.zeros(n)])), code, axis=0))
    return graph.op("Concat", *parts, axis=1)


def _code(graph: Graph, feature: Feature) -> str:
    """The index of each cell's category (n,); that of rare ones for unseen cells, or one too many if there are none."""
    unseen = feature.values.index(OTHER) if OTHER in feature.values else len(feature.values)
    keys = [value for value in feature.values if value != MISSING]
    codes = [feature.values.index(value) for value in keys]
    keys, codes = [*keys, ""], [*codes, feature.values.index(MISSING) if MISSING in feature.values else unseen]
    flat = graph.op("Reshape", feature.name, graph.constant([-1], np.int64))
    return graph.op("LabelEncoder", flat, domain="ai.onnx.ml", keys_strings=keys, values_int64s=codes, default_int64=unseen)


def _raw(graph: Graph, feature: Feature) -> str:
    """The numbers of a column (n, k), as of `Feature.raw`."""
    if feature.kind == "category":
        return graph.op(
            "Gather", graph.constant(np.vstack([feature.encodings, feature.default])), _code(graph, feature), axis=0
        )
    parts = [feature.name]
    for period in feature.cycles:
        angle = graph.op("Mul", feature.name, graph.constant(2 * np.pi))
        angle = graph.op("Div", angle, graph.constant(period))
        quarter = graph.op("Add", angle, graph.constant(np.pi / 2))
        parts += [graph.op("Sin", angle), graph.op("Sin", quarter)]
    return graph.op("Concat", *parts, axis=1)


def _standardised(graph: Graph, model: Model, filled: str) -> str:
    """As of `Preparation`: RobustScaler, Yeo and Johnson's power where there is one, StandardScaler."""
    own = model.preparation
    halves = graph.op("Sub", graph.op("Mul", filled, graph.constant(0.5)), graph.constant(np.array(own.centre) / 2))
    near = graph.op("Mul", graph.op("Div", halves, graph.constant(own.spread)), graph.constant(2.0))
    near = graph.clip(near, -NEAREST, NEAREST)
    power = np.array(own.power, float)
    if not np.isnan(power).all():
        near = graph.op(
            "Where", graph.constant(np.isnan(power), bool), near, _powered(graph, near, np.nan_to_num(power, nan=1.0))
        )
    Z = graph.op("Div", graph.op("Sub", near, graph.constant(own.mean)), graph.constant(own.scale))
    return graph.clip(Z, -LARGEST, LARGEST)


def _powered(graph: Graph, x: str, power: np.ndarray) -> str:
    """Yeo and Johnson's transformation (2000, eq. 2.1)."""

    def branch(size: str, exponent: np.ndarray) -> str:
        grown = graph.op("Add", size, graph.constant(1.0))
        safe = np.where(exponent == 0, 1.0, exponent)
        raised = graph.op("Sub", graph.op("Pow", grown, graph.constant(safe)), graph.constant(1.0))
        raised = graph.op("Div", raised, graph.constant(safe))
        return graph.op("Where", graph.constant(exponent == 0, bool), graph.op("Log", grown), raised)

    zero = graph.constant(0.0)
    above, below = graph.op("Max", x, zero), graph.op("Max", graph.op("Neg", x), zero)
    return graph.op("Sub", branch(above, power), branch(below, 2 - power))


def _intervals(graph: Graph, Z: str, knots: Sequence[Sequence[float]]) -> list[str]:
    """The piecewise linear encoding of each column."""
    found = []
    for place, ends in enumerate(knots):
        if ends:
            z = graph.op("Gather", Z, graph.constant([place], np.int64), axis=1)
            share = graph.op("Div", graph.op("Sub", z, graph.constant(ends[:-1])), graph.constant(np.diff(ends)))
            found.append(graph.clip(share, 0.0, 1.0))
    return found


def _outputs(graph: Graph, net: MLP, X: str) -> str:
    """The outputs of a net (n, n_outputs), computed in its dtype."""
    kind = graph.kinds
    n_layers = len(net.layer_sizes) - 1
    if net.connections != tuple((l, l + 1) for l in range(n_layers)) or any(net.layer_norm):
        raise TableError("only chains of layers without layer_norm can be exported")
    z = graph.op("Cast", X, to=kind.FLOAT if net.dtype == np.float32 else kind.DOUBLE)
    for weights, biases, activation in zip(net.weights, net.biases, [*net.activation, net.output_activation], strict=True):
        a = graph.op("Add", graph.op("MatMul", z, graph.constant(weights, net.dtype)), graph.constant(biases, net.dtype))
        if activation not in ACTIVATIONS:
            raise TableError(f"the activation {activation!r} cannot be exported; those that can: {', '.join(ACTIVATIONS)}")
        z = ACTIVATIONS[activation](graph, a, net.dtype)
    return z


def _mean(graph: Graph, outputs: list[str], dtype: Any) -> str:
    total = outputs[0]
    for other in outputs[1:]:
        total = graph.op("Add", total, other)
    return total if len(outputs) == 1 else graph.op("Div", total, graph.constant(len(outputs), dtype))


def _predictions(graph: Graph, model: Model, y: str) -> list[tuple[str, str, list[int]]]:
    """Add what a model makes of outputs; the name, the kind and the further dimensions of each output of the graph."""
    target, kinds = model.target, graph.kinds
    if model.classify:
        if model.net.layer_sizes[-1] == 1:
            y = graph.op("Concat", graph.op("Sub", graph.constant(1.0, model.net.dtype), y), y, axis=1)
        graph.op("Identity", y, output="probabilities")
        code = graph.op("ArgMax", y, axis=1, keepdims=0)
        graph.op("Gather", graph.constant(target.classes, str), code, axis=0, output="prediction")
        return [
            ("prediction", "STRING", []),
            ("probabilities", "FLOAT" if model.net.dtype == np.float32 else "DOUBLE", [len(target.classes)]),
        ]
    y = graph.op("Cast", y, to=kinds.DOUBLE)
    y = graph.op("Add", graph.op("Mul", y, graph.constant(target.scale)), graph.constant(target.mean))
    if not target.quantiles:
        graph.op("Reshape", y, graph.constant([-1], np.int64), output="prediction")
        return [("prediction", "DOUBLE", [])]
    n = len(target.quantiles)
    y = graph.op("Add", y, graph.constant(target.shifts))
    names = [graph.free("quantiles"), graph.free("places")]
    graph.nodes.append(graph.helper.make_node("TopK", [y, graph.constant([n], np.int64)], names, axis=1, largest=0, sorted=1))
    graph.op("Gather", names[0], graph.constant(target.quantiles.index(0.5), np.int64), axis=1, output="prediction")
    return [("prediction", "DOUBLE", []), ("quantiles", "DOUBLE", [n])]


def _simple(kind: str, **attributes: Any) -> Callable[[Graph, str, Any], str]:
    return lambda graph, a, dtype: graph.op(kind, a, **attributes)


def _silu(graph: Graph, a: str, dtype: Any) -> str:
    return graph.op("Mul", a, graph.op("Sigmoid", a))


def _within(graph: Graph, a: str, low: float, high: float, dtype: Any) -> str:
    return graph.op("Min", graph.op("Max", a, graph.constant(low, dtype)), graph.constant(high, dtype))


def _hard_sigmoid(graph: Graph, a: str, dtype: Any) -> str:
    sixth = graph.op("Div", graph.op("Add", a, graph.constant(3.0, dtype)), graph.constant(6.0, dtype))
    return _within(graph, sixth, 0.0, 1.0, dtype)


def _exponential_below(scale: float, alpha: float) -> Callable[[Graph, str, Any], str]:
    """ELU and SELU: scale · a above 0, scale · alpha (e^a - 1) below."""

    def made(graph: Graph, a: str, dtype: Any) -> str:
        zero = graph.constant(0.0, dtype)
        grown = graph.op("Sub", graph.op("Exp", graph.op("Min", a, zero)), graph.constant(1.0, dtype))
        below = graph.op("Mul", grown, graph.constant(alpha, dtype))
        return graph.op("Mul", graph.op("Add", graph.op("Max", a, zero), below), graph.constant(scale, dtype))

    return made


def _softplus(graph: Graph, a: str, dtype: Any) -> str:
    small = graph.op("Exp", graph.op("Neg", graph.op("Abs", a)))
    logarithm = graph.op("Log", graph.op("Add", small, graph.constant(1.0, dtype)))
    return graph.op("Add", graph.op("Max", a, graph.constant(0.0, dtype)), logarithm)


def _gelu(graph: Graph, a: str, dtype: Any) -> str:
    """In float32 also for nets in float64: onnxruntime has no erf of float64."""
    kind = graph.kinds
    found = graph.op("Gelu", graph.op("Cast", a, to=kind.FLOAT))
    return graph.op("Cast", found, to=kind.FLOAT if dtype == np.float32 else kind.DOUBLE)


# made of operations that onnxruntime has for float32 and float64
ACTIVATIONS: dict[Any, Callable[[Graph, str, Any], str]] = {
    "identity": _simple("Identity"),
    "logistic": _simple("Sigmoid"),
    "tanh": _simple("Tanh"),
    "relu": _simple("Relu"),
    "leaky_relu": lambda graph, a, dtype: graph.op("Max", a, graph.op("Mul", a, graph.constant(0.01, dtype))),
    "elu": _exponential_below(1.0, 1.0),
    "selu": _exponential_below(1.0507009873554805, 1.6732632423543772),  # Klambauer et al. 2017
    "softplus": _softplus,
    "silu": _silu,
    "gelu": _gelu,
    "hard_sigmoid": _hard_sigmoid,
    "hard_tanh": lambda graph, a, dtype: _within(graph, a, -1.0, 1.0, dtype),
    "hard_silu": lambda graph, a, dtype: graph.op("Mul", a, _hard_sigmoid(graph, a, dtype)),
    "softmax": _simple("Softmax", axis=1),
    "exp": _simple("Exp"),
}
