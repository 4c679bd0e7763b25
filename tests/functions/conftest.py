"""Functions of Python that call a compiled activation."""

import numpy as np
import pytest

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.precision import Precision
from bpkernel.codegen.views import flat
from bpkernel.functions import activations


@kernel(entry=True)
def run_g(pointer, z, row, first, n, fault):
    activations.forward(pointer, (flat(z), row, first, n), fault)


@kernel(entry=True)
def run_vjp(pointer, a, z, d, row, first, n, fault):
    activations.vjp(pointer, (flat(a), flat(z), flat(d), row, first, n), fault)


def _rows(array):
    """A copy of one sample, or of several, as a matrix."""
    return array.copy().reshape(-1, array.shape[-1])


def _g(name, a, first=0, n=None):
    pointer = activations.pointer_to_forward(activations.BY_NAME[name].forward, Precision.of(a.dtype))
    z = _rows(a)
    run_g(pointer, z, z.shape[1], first, z.shape[1] if n is None else n, np.zeros(1, np.int64))
    return z.reshape(a.shape)


def _vjp(name, a, z, d, first=0, n=None):
    pointer = activations.pointer_to_vjp(activations.BY_NAME[name].vjp, Precision.of(z.dtype))
    result = _rows(d)
    n = result.shape[1] if n is None else n
    run_vjp(pointer, _rows(a), _rows(z), result, result.shape[1], first, n, np.zeros(1, np.int64))
    return result.reshape(d.shape)


@pytest.fixture(scope="session")
def g():
    """g(name, a, first, n): z of one sample (n,) or of several (n_samples, row), whose units begin at column `first`."""
    return _g


@pytest.fixture(scope="session")
def vjp():
    """vjp(name, a, z, d, first, n): ∂E/∂a of one sample or of several."""
    return _vjp
