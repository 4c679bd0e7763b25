"""Calls of a net from compiled functions of its users."""

from collections.abc import Callable

import numpy as np

from bpkernel.structure import Structure


class CompiledCalls(Structure):
    """Base of `MLP`: `as_njit`."""

    def as_njit(self) -> Callable[[np.ndarray, np.ndarray], None]:
        """A function `predict(x, y)` that writes the outputs of one sample, for functions compiled by Numba.

        It may be called in code compiled by `numba.njit`, in parallel loops (`prange`) too, from several threads at once, and
        from Python.  It can be an argument of a compiled function.  It computes with the present weights of the net, and gives
        the same bits as the method `MLP.predict`.  It allocates no memory.

        Returns
        -------
        function (x, y)
            x (n_inputs,) and y (n_outputs,) are arrays of float32 or float64, contiguous or not; y is overwritten, and may
            be x.  Unlike `MLP.predict` the function does not check whether x is finite.  A net always returns the same
            function.

        Raises
        ------
        ValueError
            If the units of the net are too many for the stack: 256 KiB, 60 000 units in float32.
            The function itself raises ValueError if x or y has a wrong size.  Numba does not pass errors out of `prange`
            reliably, but y is not written then.  The same holds for exceptions of your own activations.
            A TypingError of Numba, where x or y is no such array, is raised when the calling function is compiled.

        Notes
        -----
        The weights stay in memory until the process ends, even if the net is deleted, since Numba does not free compiled
        code.  Functions with `cache=True` that call `predict` work, but Numba compiles them in every process and warns that
        it "cannot cache" them: they contain the address of the weights.  For the same reason `predict` cannot be sent to
        another process, except by a fork.

        Examples
        --------
        >>> import bpkernel as bp
        >>> import numba
        >>> import numpy as np
        >>> net = bp.MLP((2, 2), dtype="float64")
        >>> net.weights[0][:] = [[0, -1], [1, 0]]  # x_0' = x_1 and x_1' = -x_0, which cos(t) and -sin(t) solve
        >>> slope = net.as_njit()
        >>> @numba.njit
        ... def integrate(x, n_steps, dt):
        ...     dx = np.empty(2)
        ...     for _ in range(n_steps):  # the midpoint method
        ...         slope(x, dx)
        ...         slope(x + dt / 2 * dx, dx)
        ...         x = x + dt * dx
        ...     return x
        >>> x = integrate(np.array([1.0, 0.0]), 1000, np.pi / 1000)
        >>> round(float(x[0]), 4)
        -1.0
        """
        function: Callable[[np.ndarray, np.ndarray], None] = self._network.as_njit()
        return function
