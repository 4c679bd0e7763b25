"""The forward pass of one row, for compiled functions of users."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from bpkernel.codegen.addresses import constant, place_of, stack_memory
from bpkernel.codegen.jit import for_users, kernel
from bpkernel.codegen.pointers import by_pointer, raise_noted
from bpkernel.codegen.precision import PRECISIONS
from bpkernel.codegen.tiles import per_line
from bpkernel.codegen.views import array_at, block, line, strided_at
from bpkernel.kernels.few_weights import Lists
from bpkernel.kernels.layout import Layout, whole_lines
from bpkernel.kernels.operands import Net, Sparse, Units
from bpkernel.kernels.passes import forward_pass
from bpkernel.kernels.records import EDGE, NODE
from bpkernel.kernels.sums import compile_rows

STACK = 2**18  # bytes of the units of one sample: a thread has 512 KiB of stack on macOS, more on other systems

NET = np.dtype(  # addresses and sizes of a net's operands
    [
        ("function", np.int64),  # pointer to `outputs_of_row` in the net's dtype
        ("nodes", np.int64),
        ("n_nodes", np.int64),
        ("edges", np.int64),
        ("n_edges", np.int64),
        ("params", np.int64),
        ("n_params", np.int64),
        ("panels", np.int64),
        ("n_kinds", np.int64),  # rows of the table of panels
        ("n_widths", np.int64),  # its columns
        ("n_units", np.int64),
        ("normalisation", np.int64),
    ],
    align=True,
)
INT64, INT32, UINT32, UINT64 = map(np.dtype, ("int64", "int32", "uint32", "uint64"))
FLOAT32, FLOAT64, BOOL = np.dtype("float32"), np.dtype("float64"), np.dtype("bool")

KEPT: list[Any] = []  # nets whose addresses compiled functions contain: Numba frees no compiled function


class SizeError(ValueError):
    """An array has a wrong size.  The message is put together here, since compiled code only passes its parts on."""

    def __str__(self) -> str:
        name, expected, found = self.args
        return f"{name} must have {expected} number{'s' * (expected != 1)}, not {found}"


@kernel
def assign(target: Any, source: Any) -> None:
    """target[:] = source, of one size and any dtypes."""
    for i in range(target.size):
        target[i] = source[i]


@kernel
def clear(target: Any) -> None:
    """target[:] = 0."""
    for i in range(target.size):
        target[i] = 0


@kernel
def load_row(x: tuple[int, int, int], z: Any) -> None:
    """z (n,) = x, whose place is an address, the bytes from a number to the next, and 1 for float64."""
    address, stride, double = x
    if double:
        assign(z, strided_at(address, z.size, stride, FLOAT64))
    else:
        assign(z, strided_at(address, z.size, stride, FLOAT32))


@kernel
def store_row(y: tuple[int, int, int], z: Any) -> None:
    """y = z (n,), where y is a place as in `load_row`."""
    address, stride, double = y
    if double:
        assign(strided_at(address, z.size, stride, FLOAT64), z)
    else:
        assign(strided_at(address, z.size, stride, FLOAT32), z)


@kernel
def clear_margins(nodes: Any, z: Any) -> None:
    """Zeros wherever the forward pass of one sample reads z (n_units,) before it has written there, and z_0 = 1 of the inputs.

    Activations compute with whole rows; what they find beside the units does not change these, but may be slow if denormal.
    """
    per = per_line(z)
    for number in range(nodes.size):
        node = nodes[number]
        clear(line(z, node.offset, node.offset + per))
        clear(line(z, node.offset + per + whole_lines(node.n_units, per), node.offset + node.row))
    z[per - 1] = 1


def _outputs_of_row(dtype: np.dtype) -> Callable[..., int]:
    itemsize = dtype.itemsize

    def outputs_of_row(net: int, x: int, x_stride: int, x_double: int, y: int, y_stride: int, y_double: int) -> int:
        at = array_at(net, 1, NET)[0]
        nodes, edges = array_at(at.nodes, at.n_nodes, NODE), array_at(at.edges, at.n_edges, EDGE)
        params, none = array_at(at.params, at.n_params, dtype), array_at(net, 0, INT64)
        panels = block(array_at(at.panels, at.n_kinds * at.n_widths, INT64), 0, at.n_kinds, at.n_widths)
        z = array_at(stack_memory(at.n_units * itemsize), at.n_units, dtype)
        rows, fault = array_at(stack_memory(8), 1, INT64), array_at(stack_memory(8), 1, INT64)
        rows[0] = fault[0] = 0
        clear_margins(nodes, z)
        per, last = per_line(z), nodes[nodes.size - 1]
        load_row((x, x_stride, x_double), line(z, per, per + nodes[0].n_units))
        X, sparse = block(z, 0, 0, 0), Sparse(none, array_at(net, 0, INT32), line(z, 0, 0), 0, 0)  # the inputs are loaded
        none_packed = line(z, 0, 0)
        own_key = array_at(net, 0, UINT64)
        units = Units(1, False, z, z, line(z, 0, 0), none_packed, none_packed, own_key, none, fault)  # z replaces a
        index, present = array_at(net, 0, UINT32), array_at(net, 0, BOOL)
        lists = Lists(index, index, 0, 0, 0, 0, 0, 0)  # absent weights are 0, and all edges are computed in tiles
        own = Net(nodes, edges, none, params, lists, array_at(at.normalisation, 3, INT64), present, panels, 0, 0)
        forward_pass(own, X, X, sparse, rows, units, none_packed, 0)
        if fault[0] == 0:
            store_row((y, y_stride, y_double), line(z, last.offset + per, last.offset + per + last.n_units))
        return fault[0]

    return outputs_of_row


_call, _pointer = by_pointer(lambda p: types.int64(*[types.intp] * 7))
OUTPUTS_OF_ROW = {precision: _outputs_of_row(precision.storage) for precision in PRECISIONS}

_place_of_x, _place_of_y = place_of("x", writeable=False), place_of("y", writeable=True)


@kernel
def outputs_of_row(net: int, x: tuple[int, int, int], y: tuple[int, int, int]) -> int:
    """Outputs y of inputs x; net: the address of a NET;  x, y: places of arrays of the right sizes.

    Returns the address of an exception that an activation has raised, or 0.
    """
    return _call(array_at(net, 1, NET)[0].function, (net, *x, *y))


def predict_function(net: Net, layout: Layout) -> Any:
    """A compiled `predict(x, y)` that writes the outputs of one row; `net` is kept for as long as the process runs."""
    n_bytes, n_inputs, n_outputs = layout.n_units * layout.precision.storage.itemsize, layout.sizes[0], layout.sizes[-1]
    if n_bytes > STACK:
        raise ValueError(f"the units of one row take {n_bytes} bytes, more than the {STACK} that as_njit takes of a stack")
    panels = net.panels.copy()
    compile_rows(panels, layout.edges["n_out"].tolist(), layout.precision, add=layout.branches)
    net, at = net._replace(panels=panels, edges=layout.edges), np.zeros(1, NET)  # edges without lists
    for name in ("nodes", "edges", "params", "panels", "normalisation"):
        at[name] = getattr(net, name).ctypes.data
    at["n_nodes"], at["n_edges"], at["n_params"] = len(net.nodes), len(net.edges), len(net.params)
    at["n_kinds"], at["n_widths"] = net.panels.shape
    at["n_units"], at["function"] = layout.n_units, _pointer(OUTPUTS_OF_ROW[layout.precision], layout.precision)
    KEPT.append((net, at))
    address = constant(at.ctypes.data)

    def predict(x: Any, y: Any) -> None:
        """Write the outputs y (n_outputs,) of a net for inputs x (n_inputs,); see `MLP.as_njit`."""
        place_of_x, place_of_y = _place_of_x(x), _place_of_y(y)
        if x.size != n_inputs:
            raise SizeError("x", n_inputs, x.size)
        if y.size != n_outputs:
            raise SizeError("y", n_outputs, y.size)
        fault = outputs_of_row(address(), place_of_x, place_of_y)
        if fault != 0:
            raise_noted(fault)

    return for_users(predict)
