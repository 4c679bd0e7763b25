"""State of Numba's threading layer that its public functions do not show."""

from numba.np.ufunc import parallel


def is_started() -> bool:
    """Whether Numba has started its threads in this process, or in the process that it was forked from.

    The call does not start them, where `numba.get_num_threads` does.  Returns True if this version of Numba does not say.
    """
    return bool(getattr(parallel, "_is_initialized", True))
