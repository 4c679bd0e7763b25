"""Derivatives of a net as arrays: the arguments of the compiled calls, and calls of bounded length."""

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np

from bpkernel.codegen.pointers import raise_fault
from bpkernel.codegen.processor import ROWS
from bpkernel.kernels import differentials, gauss_newton, jacobians, operands, partition, per_sample, tangents
from bpkernel.kernels.differentials import Plan
from bpkernel.kernels.layout import Layout
from bpkernel.kernels.sums import compile_panels, compile_products
from bpkernel.network import Network
from bpkernel.runtime.memory import aligned_zeros, row_length
from bpkernel.runtime.pace import Pace
from bpkernel.runtime.threads import launch

KEPT = 1 << 22  # most bytes of Gauss-Newton matrices that are kept for the next call
BlockStructure = Literal["full", "layer", "diagonal"]

PART = differentials.CHUNKS * differentials.CHUNK  # samples of a call that adds up; fixed, as it decides the order of the sums


def slice_of(samples: operands.Samples, part: slice) -> operands.Samples:
    """Some of the samples, which are dense."""
    X, X_other = (array[part] if len(array) else array for array in (samples.X, samples.X_other))
    return samples._replace(X=X, X_other=X_other, T=samples.T[part], s=samples.s[part])


class Differentiator:
    """Derivatives of a net, at the weights that it has when it is called; for one caller at a time.

    The scratch memory for units of samples is about 1 MiB for each thread, or what 6 samples take; packed weights are about as
    many numbers as the weights, and sums over samples take up to 64 MiB, or 4 times the weights.

    Parameters
    ----------
    network : Network
    second : bool, default=False
        Whether second derivatives will be asked for.
    """

    def __init__(self, network: Network, *, second: bool = False):
        self._network, made_of = network, network.layout
        own = made_of.activations, made_of.dtype, made_of.pairs
        self.layout = Layout(made_of.sizes, *own, to_inputs=True, normalised=made_of.normalised)
        self._net = network.compiled
        edges = self.layout.edges
        for name in ("first_present", "end_present"):
            edges[name] = self._net.edges[name]
        self._net = self._net._replace(edges=edges)
        present = self.layout.vector(network.present) if network.present.size else network.present
        self._d = differentials.differentials(self.layout, network.loss, present, second=second)
        self._pieces = partition.weight_groups(self.layout, 1, chunked=False)[1]
        self._all, self._present = present.size == 0, network.present_places()
        self._positions = self.layout.positions()[self._present]
        self._compiled: set[str] = set()  # the tiles that are
        self._memory: dict[str, tuple[Any, Any]] = {}

    def _compile(self, *, add: bool = False, products: bool = False) -> None:
        """Compile the tiles; with `add` those that add to their results too, with `products` those of Gauss-Newton matrices."""
        wanted = {"passes", *["add"] * add, *["products"] * products}
        if wanted <= self._compiled:
            return
        own, branches = self.layout.precision, self.layout.branches
        compile_panels(self._net.panels, operands.widths(self.layout), own, add=branches or add, dots=False, add_gradients=add)
        if products:
            compile_products(self._net.panels, own)
        self._compiled |= wanted

    def _plan(self, n_samples: int, n_rows: int, *, keep_a: bool = False, more: int = 0) -> Plan:
        """Scratch memory for calls with n_samples at most, with n_rows rows of units for each; it packs the weights.

        more: operations for each row beside those of the passes.
        """
        n_threads = partition.threads_worth((self.layout.flops + more) * n_samples * n_rows)
        size = differentials.block_size(self.layout, n_rows)
        size = min(size, max(-(-n_samples // (n_threads * ROWS)), 1) * ROWS)
        own = n_samples, size, n_threads
        plan = self._kept("plan", (*own, keep_a), lambda: differentials.plan(self.layout, *own, keep_a=keep_a))
        differentials.pack(self._net, plan.packed, self._pieces)
        return plan

    def _kept(self, name: str, key: Any, make: Callable[[], Any]) -> Any:
        """Scratch memory that the last call with the same key has left, or new one."""
        if self._memory.get(name, (None,))[0] != key:
            self._memory[name] = key, make()
        return self._memory[name][1]

    def forget_large(self) -> None:
        """Free the memory for Gauss-Newton matrices, unless they are small."""
        if "products" in self._memory and self._memory["products"][1][1].nbytes > KEPT:
            del self._memory["products"]

    def _zeros(self, name: str, *shape: int) -> np.ndarray:
        """An array of zeros, or of what the last call with the same shape has left in it."""
        n = math.prod(shape)
        zeros: np.ndarray = self._kept(name, shape, lambda: aligned_zeros(n, self.layout.dtype).reshape(shape))
        return zeros

    def _each(self, samples: operands.Samples, n_rows: int, out: np.ndarray, call: Callable[..., Any]) -> np.ndarray:
        """Fill out (n_samples, any) block by block: `call(samples, plan, number of blocks, rows of out)`."""
        n = len(samples.T)
        plan = self._plan(n, n_rows)
        size = plan.units.n_samples // plan.n_threads
        pace: Pace = self._kept("pace", (n_rows, plan.units.n_samples), Pace)
        for part in pace.parts(n, plan.units.n_samples):
            own = plan._replace(order=plan.order[: part.stop - part.start])
            call(slice_of(samples, part), own, -(-len(own.order) // size), out[part])
            raise_fault(plan.units.fault)
        return out

    # ------------------------------------------------------------------------------------------------- of each sample

    def _per_sample(self, kind: int, samples: operands.Samples, width: int) -> np.ndarray:
        self._compile()
        none = np.empty(0, self.layout.dtype)

        def call(own: operands.Samples, plan: Plan, n_tasks: int, out: np.ndarray) -> None:
            launch(plan.n_threads, per_sample.per_sample, kind, self._net, self._d, own, plan, none, n_tasks, out)

        return self._each(samples, 1, np.empty((len(samples.T), width), self.layout.dtype), call)

    def gradients(self, samples: operands.Samples) -> np.ndarray:
        """s_n ∂E^n/∂w of each sample (n_samples, n_parameters)."""
        return self._per_sample(per_sample.GRADIENTS, samples, self.layout.n_parameters)

    def norms(self, samples: operands.Samples) -> np.ndarray:
        """The Euclidean norms of the `gradients` (n_samples,)."""
        return self._per_sample(per_sample.NORMS, samples, 1)[:, 0]

    def input_gradients(self, samples: operands.Samples) -> np.ndarray:
        """s_n ∂E^n/∂x of each sample (n_samples, n_inputs)."""
        return self._per_sample(per_sample.INPUTS, samples, self.layout.sizes[0])

    def spread(self, samples: operands.Samples, mean: np.ndarray) -> np.ndarray:
        """Σ_n (s_n ∂E^n/∂w - mean)²; mean and result are buffers of weights (n_params,)."""
        self._compile()

        def call(own: operands.Samples, plan: Plan, chunks: np.ndarray, total: np.ndarray) -> None:
            chunks[:] = 0
            own_mean = per_sample.SPREAD, self._net, self._d, own, plan, mean
            launch(plan.n_threads, per_sample.per_sample, *own_mean, len(chunks), chunks)
            for chunk in chunks:
                total += chunk

        return self._sum(samples, call)

    # -------------------------------------------------------------------------------------------------- of the outputs

    def _jacobians(self, kind: int, samples: operands.Samples, each: int) -> np.ndarray:
        self._compile()
        n_outputs = self.layout.sizes[-1]

        def call(own: operands.Samples, plan: Plan, n_tasks: int, out: np.ndarray) -> None:
            deltas = self._deltas(plan)
            launch(plan.n_threads, jacobians.jacobians, kind, self._net, self._d, own, plan, deltas, n_tasks, out)

        out = np.empty((len(samples.T), n_outputs * each), self.layout.dtype)
        return self._each(samples, n_outputs, out, call).reshape(len(out), n_outputs, each)

    def _deltas(self, plan: Plan) -> np.ndarray:
        """Room for δ of all samples of a plan, for each output."""
        return self._zeros("deltas", plan.units.n_samples * self.layout.sizes[-1] * self.layout.n_units)

    def jacobian(self, samples: operands.Samples) -> np.ndarray:
        """∂y_k/∂x_i of each sample (n_samples, n_outputs, n_inputs)."""
        return self._jacobians(jacobians.INPUTS, samples, self.layout.sizes[0])

    def parameter_jacobian(self, samples: operands.Samples) -> np.ndarray:
        """∂y_k/∂w of each sample (n_samples, n_outputs, n_parameters)."""
        return self._jacobians(jacobians.PARAMETERS, samples, self.layout.n_parameters)

    # ---------------------------------------------------------------------------------------------- sums over samples

    def _sum(self, samples: operands.Samples, call: Callable[..., Any]) -> np.ndarray:
        """Σ_n (n_params,) of what `call(samples, plan, chunks, total)` adds to `total`; chunks (n_chunks, n_params): memory."""
        n, n_params, dtype = len(samples.T), self.layout.n_params, self.layout.dtype
        plan, total = self._plan(min(n, PART), 1, keep_a=True), np.zeros(n_params, dtype)
        for start in range(0, n, PART):
            part = slice(start, min(start + PART, n))
            n_chunks = differentials.chunks_of(part.stop - start, n_params * dtype.itemsize)
            own = plan._replace(order=plan.order[: part.stop - start])
            call(slice_of(samples, part), own, self._zeros("chunks", n_chunks, n_params), total)
            raise_fault(plan.units.fault)
        return total

    def product(self, kind: int, samples: operands.Samples, v: np.ndarray) -> np.ndarray:
        """The Hessian, or the Gauss-Newton matrix, of Σ_n s_n E^n times v; v and the result are buffers of weights."""
        self._compile(add=True)
        direction, packed_v = self._net._replace(params=v), self._zeros("packed v", self.layout.n_packed)
        differentials.pack(direction, packed_v, self._pieces)

        def call(own: operands.Samples, plan: Plan, chunks: np.ndarray, total: np.ndarray) -> None:
            size = plan.units.n_samples * self.layout.n_units
            r = tangents.Tangents(*(self._zeros(f"tangents {name}", size) for name in tangents.Tangents._fields))
            arguments = kind, self._net, direction, self._d, own, plan, packed_v, r, chunks, total
            launch(plan.n_threads, tangents.products, *arguments)

        return self._sum(samples, call)

    def vector_product(self, kind: int, samples: operands.Samples, v: np.ndarray) -> np.ndarray:
        """The same with vectors of parameters (n_parameters,); what belongs to absent weights counts as 0."""
        params = self._zeros("v", self.layout.n_params)
        params[self._positions] = v if self._all else v[self._present]
        found: np.ndarray = self.product(kind, samples, params)[self._positions]
        if self._all:
            return found
        product = np.zeros(self.layout.n_parameters, self.layout.dtype)
        product[self._present] = found
        return product

    def hessian_rows(self, samples: operands.Samples) -> Iterator[np.ndarray]:
        """The rows (n_parameters,) of the Hessian of Σ_n s_n E^n, one after the other."""
        v = np.zeros(self.layout.n_parameters, self.layout.dtype)
        for place in range(len(v)):
            v[place] = 1
            yield self.vector_product(tangents.HESSIAN, samples, v)
            v[place] = 0

    def hessian(self, samples: operands.Samples) -> np.ndarray:
        """The Hessian (n_parameters, n_parameters)."""
        matrix = np.array(list(self.hessian_rows(samples)))
        return (matrix + matrix.T) / 2

    def hessian_diagonal(self, samples: operands.Samples) -> np.ndarray:
        """The diagonal (n_parameters,) of the Hessian."""
        return np.array([row[place] for place, row in enumerate(self.hessian_rows(samples))], self.layout.dtype)

    # ----------------------------------------------------------------------------------------- Gauss-Newton matrices

    def gauss_newton(self, samples: operands.Samples, structure: BlockStructure = "full") -> list[np.ndarray]:
        """Σ_n s_n J_nᵀ H_n J_n, of which the part from the diagonal on is computed, and the gradient of Σ_n s_n E^n.

        "layer": a block for each layer, whose rows are the biases of the layer, then the weights that lead to it, its gains and
        its shifts.  "diagonal": the diagonal alone.  The arrays are memory that the next call overwrites.
        """
        self._compile(products=True)
        more = self.layout.n_parameters * (1 if structure == "diagonal" else self.layout.n_parameters)
        plan, d = self._plan(len(samples.T), self.layout.sizes[-1], more=more), self._d
        if structure == "layer":
            weights, biases = differentials.places(self.layout, by_layer=True)
            d = d._replace(weights=weights, biases=biases, present=d.present[self.by_layer()] if d.present.size else d.present)
        key = structure, plan.units.n_samples, len(plan.order)
        rows, buffer, matrices = self._kept("products", key, lambda: self._products(structure, plan))
        deltas, together = self._deltas(plan), len(rows.jacobian) // self.layout.sizes[-1]
        if len(buffer) > 1:
            together = len(samples.T)  # chunks are of all samples
        buffer[0] = 0
        pace: Pace = self._kept("pace of products", key, Pace)
        for part in pace.parts(len(samples.T), together):
            own = plan._replace(order=plan.order[: part.stop - part.start])
            arguments = self._net, d, slice_of(samples, part), own, deltas, rows, buffer
            launch(plan.n_threads, gauss_newton.gauss_newton, *arguments)
            raise_fault(plan.units.fault)
        found: list[np.ndarray] = matrices
        return found

    def by_layer(self) -> np.ndarray:
        """The places (n_parameters,) of the parameters of blocks of layers, one after the other, in a vector of parameters."""
        to_weights, to_biases = differentials.places(self.layout, by_layer=True)
        weights, biases = differentials.places(self.layout)
        order = np.empty(self.layout.n_parameters, np.int64)
        for number, edge in enumerate(self.layout.edges):
            n_out, to, place = edge["n_out"], to_weights[number], weights[number]
            order[to : to + edge["n_in"] * n_out] = np.arange(place, place + edge["n_in"] * n_out)
            if edge["bias"]:
                to, place = to_biases[number], biases[number]
                order[to : to + n_out] = np.arange(place, place + n_out)
        return order

    def layer_bounds(self) -> list[int]:
        """Where the blocks of the layers begin, and the end of the last one."""
        biases = differentials.places(self.layout, by_layer=True)[1]
        return [*biases[self.layout.nodes["first_in"][1:]].tolist(), self.layout.n_parameters]

    def _products(self, structure: BlockStructure, plan: Plan) -> tuple[Any, np.ndarray, list[np.ndarray]]:
        """Scratch memory for Gauss-Newton matrices, the buffer of all blocks, and their views."""
        n_outputs, n, dtype = self.layout.sizes[-1], self.layout.n_parameters, self.layout.dtype
        row = row_length(n + 1, dtype)
        together = max(min(gauss_newton.ROWS_AT_ONCE, gauss_newton.ROWS_BYTES // (row * dtype.itemsize)) // n_outputs, 1)
        n_chunks = gauss_newton.chunks_of(len(plan.order), n, n_outputs) if structure == "full" else 1
        together = min(together, len(plan.order)) if n_chunks == 1 else plan.units.n_samples
        rows = [aligned_zeros(together * n_outputs * row, dtype).reshape(-1, row) for _ in range(2)]
        curvatures = np.zeros((plan.units.n_samples, n_outputs * (n_outputs + 1)), dtype)
        bounds = self.layer_bounds() if structure == "layer" else [0, n]
        groups, size, views = gauss_newton.groups_of(bounds, dtype, diagonal=structure == "diagonal")
        buffers = aligned_zeros(n_chunks * size, dtype).reshape(n_chunks, size)
        buffer = buffers[0]
        matrices = [buffer[start : start + n * row].reshape(n, -1)[:, first : first + n] for start, n, row, first in views]
        if structure == "full":
            matrices += [buffer.reshape(n, -1)[:, n]]
        if structure == "diagonal":
            matrices = [buffer[:n]]
        return gauss_newton.Products(rows[0], rows[1], curvatures, n, groups), buffers, matrices


def mirror(matrix: np.ndarray) -> np.ndarray:
    """A symmetric matrix whose part from the diagonal on is given: a new array."""
    whole, step = np.array(matrix), 512
    for first in range(0, len(whole), step):
        end = first + step
        below = np.tril_indices(min(step, len(whole) - first), -1)
        whole[first:end, first:end][below] = whole[first:end, first:end].T[below]
        whole[end:, first:end] = whole[first:end, end:].T
    return whole
