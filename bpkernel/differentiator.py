"""Derivatives of a net as arrays: the arguments of the compiled calls, and calls of bounded length."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bpkernel.codegen.pointers import raise_fault
from bpkernel.codegen.processor import ROWS
from bpkernel.kernels import differentials, jacobians, operands, partition, per_sample, tangents
from bpkernel.kernels.differentials import Plan
from bpkernel.kernels.layout import Layout
from bpkernel.kernels.sums import compile_panels
from bpkernel.network import Network
from bpkernel.runtime.memory import aligned_zeros
from bpkernel.runtime.pace import Pace
from bpkernel.runtime.threads import launch

PART = differentials.CHUNKS * differentials.CHUNK  # samples of a call that adds up; fixed, as it decides the order of the sums


def slice_of(samples: operands.Samples, part: slice) -> operands.Samples:
    """Some of the samples, which are dense."""
    X, X_other = (array[part] if len(array) else array for array in (samples.X, samples.X_other))
    return samples._replace(X=X, X_other=X_other, T=samples.T[part], s=samples.s[part])


class Differentiator:
    """Derivatives of a net, at the weights that it has when it is called; for one caller at a time.

    The scratch memory for units of samples is 256 KiB for each thread, or what 6 samples take; packed weights are about as
    many numbers as the weights, and sums over samples take up to 64 MiB, or 4 times the weights.

    Parameters
    ----------
    network : Network
    second : bool, default=False
        Whether second derivatives will be asked for.
    """

    def __init__(self, network: Network, *, second: bool = False):
        self._network, made_of = network, network.layout
        self.layout = Layout(made_of.sizes, made_of.activations, made_of.dtype, made_of.pairs, to_inputs=True)
        self._net = network.compiled
        edges = self.layout.edges
        for name in ("first_present", "end_present"):
            edges[name] = self._net.edges[name]
        self._net = self._net._replace(edges=edges)
        present = self.layout.vector(network.present) if network.present.size else network.present
        self._d = differentials.differentials(self.layout, network.loss, present, second=second)

    def _compile(self, *, add: bool = False) -> None:
        """Compile the tiles; with `add` those that add to their results too."""
        own, branches = (self.layout.precision, self.layout.branches)
        compile_panels(self._net.panels, operands.widths(self.layout), own, add=branches or add, dots=False, add_gradients=add)

    def _plan(self, n_samples: int, n_rows: int, *, keep_a: bool = False) -> Plan:
        """Scratch memory for calls with n_samples at most, with n_rows rows of units for each, and the packed weights."""
        size = differentials.block_size(self.layout, n_rows)
        n_threads = partition.threads_worth(self.layout.flops * n_samples * n_rows)
        size = min(size, max(-(-n_samples // (n_threads * ROWS)), 1) * ROWS)
        return differentials.plan(self.layout, self._net, n_samples, size, n_threads, keep_a=keep_a)

    def _each(self, samples: operands.Samples, n_rows: int, out: np.ndarray, call: Callable[..., Any]) -> np.ndarray:
        """Fill out (n_samples, any) block by block: `call(samples, plan, number of blocks, rows of out)`."""
        n = len(samples.T)
        plan = self._plan(n, n_rows)
        size = plan.units.n_samples // plan.n_threads
        for part in Pace().parts(n, plan.units.n_samples):
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

        def call(own: operands.Samples, plan: Plan, out: np.ndarray) -> None:
            launch(plan.n_threads, per_sample.per_sample, per_sample.SPREAD, self._net, self._d, own, plan, mean, len(out), out)

        return self._sum(samples, call)

    # -------------------------------------------------------------------------------------------------- of the outputs

    def _jacobians(self, kind: int, samples: operands.Samples, each: int) -> np.ndarray:
        self._compile()
        n_outputs, deltas = self.layout.sizes[-1], None

        def call(own: operands.Samples, plan: Plan, n_tasks: int, out: np.ndarray) -> None:
            nonlocal deltas
            if deltas is None:
                deltas = self._deltas(plan)
            launch(plan.n_threads, jacobians.jacobians, kind, self._net, self._d, own, plan, deltas, n_tasks, out)

        out = np.empty((len(samples.T), n_outputs * each), self.layout.dtype)
        return self._each(samples, n_outputs, out, call).reshape(len(out), n_outputs, each)

    def _deltas(self, plan: Plan) -> np.ndarray:
        """Room for δ of all samples of a plan, for each output."""
        return aligned_zeros(plan.units.n_samples * self.layout.sizes[-1] * self.layout.n_units, self.layout.dtype)

    def jacobian(self, samples: operands.Samples) -> np.ndarray:
        """∂y_k/∂x_i of each sample (n_samples, n_outputs, n_inputs)."""
        return self._jacobians(jacobians.INPUTS, samples, self.layout.sizes[0])

    def parameter_jacobian(self, samples: operands.Samples) -> np.ndarray:
        """∂y_k/∂w of each sample (n_samples, n_outputs, n_parameters)."""
        return self._jacobians(jacobians.PARAMETERS, samples, self.layout.n_parameters)

    # ---------------------------------------------------------------------------------------------- sums over samples

    def _sum(self, samples: operands.Samples, call: Callable[..., Any]) -> np.ndarray:
        """Σ_n of what `call(samples, plan, out)` adds to the rows of out (n_chunks, n_params), one for each chunk of samples."""
        n, n_params, dtype = len(samples.T), self.layout.n_params, self.layout.dtype
        plan, total = self._plan(min(n, PART), 1, keep_a=True), np.zeros(n_params, dtype)
        for start in range(0, n, PART):
            part = slice(start, min(start + PART, n))
            n_chunks = differentials.chunks_of(part.stop - start, n_params * dtype.itemsize)
            out = aligned_zeros(n_chunks * n_params, dtype).reshape(n_chunks, n_params)
            call(slice_of(samples, part), plan._replace(order=plan.order[: part.stop - start]), out)
            raise_fault(plan.units.fault)
            for chunk in out:
                total += chunk
        return total

    def product(self, kind: int, samples: operands.Samples, v: np.ndarray) -> np.ndarray:
        """The Hessian, or the Gauss-Newton matrix, of Σ_n s_n E^n times v; v and the result are buffers of weights."""
        self._compile(add=True)
        direction = self._net._replace(params=v)
        packed_v, r = differentials.packed(self.layout, direction), None

        def call(own: operands.Samples, plan: Plan, out: np.ndarray) -> None:
            nonlocal r
            if r is None:
                size = plan.units.n_samples * self.layout.n_units
                r = tangents.Tangents(*(aligned_zeros(size, self.layout.dtype) for _ in range(3)))
            launch(plan.n_threads, tangents.products, kind, self._net, direction, self._d, own, plan, packed_v, r, out)

        return self._sum(samples, call)
