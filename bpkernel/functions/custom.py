"""Activations and losses of users, from scalar functions."""

import functools
from collections.abc import Callable
from typing import Any, Literal

from bpkernel.codegen.content_hash import digest
from bpkernel.functions import function_check
from bpkernel.functions.activations import BY_NAME as ACTIVATIONS
from bpkernel.functions.elementwise import Elementwise
from bpkernel.functions.elementwise_losses import ANY, ElementwiseLoss
from bpkernel.functions.losses import BY_NAME as LOSSES
from bpkernel.functions.losses import TARGETS
from bpkernel.functions.settings import flag

Values = Literal["real", "positive", "probability"]
Targets = Literal["real", "non_negative", "positive", "probability", "sign"]


class Own:
    """Base of activations and losses of users.

    They are equal if name, code and settings are.  Pickles hold the functions that were given.
    """

    name: str
    kinks: Any
    _given: tuple[Any, ...]
    _named: dict[str, Any]

    def _keep(self, functions: tuple[Any, ...], settings: dict[str, Any], **second: Any) -> None:
        given = {name: function for name, function in second.items() if function is not None}
        self._given, self._named = functions, {**settings, **given}
        self._identity = (type(self), self.name, *settings.values(), *map(digest, (*functions, *given.values())))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __copy__(self) -> Any:
        return self  # it does not change

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __reduce__(self) -> Any:
        kind: Any = type(self)
        return functools.partial(kind, **self._named, check=False), (*self._given, self.name), {"kinks": self.kinks}


class Activation(Own, Elementwise):
    """An activation of your own: z = g(a), unit by unit.

    The functions are compiled by Numba when they are first needed, into loops that the compiler vectorises, and are cached on
    disk by their content.  They are computed in the dtype of the net.  Variables that they refer to keep the value that they
    have when the activation is made.

    Parameters
    ----------
    g : callable
        g(a): a function of a real number, plain Python or compiled by `numba.njit`.
    g_prime : callable
        g_prime(a, z): its derivative, from a and z = g(a).  Without use of `a` it is faster: less is kept in memory.
    name : str
        Model files hold this name in place of the code; it must not be that of a built-in activation.
    values : {"real", "positive", "probability"}, default="real"
        What values g takes.  Losses that are defined for positive outputs or for probabilities need to know this.
    check : bool, default=True
        Whether to compare g_prime with finite differences of g, and the compiled functions with the plain ones, on a grid of
        numbers from -30 to 30.
    g_second : callable, default=None
        g_second(a, z): the second derivative of g, which only `MLP.hvp` and `MLP.hessian` need; 0 at a kink.

    Attributes
    ----------
    name : str
    g, g_prime, g_second : callable
        Copies of the functions.
    kinks : tuple of float
        Where the derivative jumps, as that of relu at 0; such jumps are allowed.  Empty without the check.

    Raises
    ------
    ValueError
        If g_prime is not the derivative of g, or g_second that of g_prime, a value is not finite, or g jumps; the message says
        where, and by how much.
    TypeError
        If an argument is of the wrong type, a function does not return a real number, or Numba cannot compile it.
    Exception
        Of any kind that g or g_prime raise, when made or later.

    Examples
    --------
    >>> import math
    >>> import bpkernel as bp
    >>> softplus = bp.Activation(
    ...     g=lambda a: max(a, 0.0) + math.log1p(math.exp(-abs(a))), g_prime=lambda a, z: 1 - math.exp(-z), name="my_softplus"
    ... )
    >>> net = bp.MLP((8, 64, 1), activation=softplus, random_state=0)
    >>> net.activation
    (Activation('my_softplus'),)
    """

    def __init__(
        self,
        g: Callable[[Any], Any],
        g_prime: Callable[[Any, Any], Any],
        name: str,
        *,
        values: Values = "real",
        check: bool = True,
        g_second: Callable[[Any, Any], Any] | None = None,
    ):
        self.name = function_check.name_of("an activation", name, ACTIVATIONS)
        self.g, self.g_prime = function_check.frozen_functions(g=g, g_prime=g_prime)
        self.g_second = None if g_second is None else function_check.frozen_functions(g_second=g_second)[0]
        self.values = function_check.one_of("values", values, ANY)
        self.kinks = function_check.activation(self) if flag("check", check) else ()

        self._keep((g, g_prime), {"values": values}, g_second=g_second)


class Loss(Own, ElementwiseLoss):
    """A loss of your own: E^n is the sum of error(y_k, t_k) over the outputs k.

    The functions are compiled like those of `Activation`.

    Parameters
    ----------
    error : callable
        error(y, t): the term of one output in E^n.
    slope : callable
        slope(y, t): its derivative with respect to y.
    name : str
        Model files hold this name in place of the code; it must not be that of a built-in loss.
    outputs : {"real", "positive", "probability"}, default="real"
        The outputs y that the loss is defined for.
    targets : {"real", "non_negative", "positive", "probability", "sign"}, default="real"
        The targets t that the loss is defined for; "sign" means -1 or 1.  `fit` refuses others.
    check : bool, default=True
        Whether to compare slope with finite differences of error, and the compiled functions with the plain ones, on a grid of
        such outputs and targets.
    curvature : callable, default=None
        curvature(y, t): the second derivative of error with respect to y, which second derivatives of a net need; 0 at a kink.

    Attributes
    ----------
    name : str
    error, slope, curvature : callable
        Copies of the functions.
    kinks : tuple of (float, float)
        Pairs (y, t) of the grid where the slope jumps; such jumps are allowed.

    Raises
    ------
    ValueError, TypeError, Exception
        As for `Activation`.

    Examples
    --------
    >>> import bpkernel as bp
    >>> def error(y, t):
    ...     r = abs(y - t)
    ...     return 0.5 * r * r if r <= 2 else 2 * (r - 1)
    >>> huber = bp.Loss(error=error, slope=lambda y, t: min(max(y - t, -2), 2), name="my_huber")
    >>> bp.MLP((8, 64, 1), loss=huber).loss_name
    'my_huber'
    """

    def __init__(
        self,
        error: Callable[[Any, Any], Any],
        slope: Callable[[Any, Any], Any],
        name: str,
        *,
        outputs: Values = "real",
        targets: Targets = "real",
        check: bool = True,
        curvature: Callable[[Any, Any], Any] | None = None,
    ):
        self.name = function_check.name_of("a loss", name, LOSSES)
        self.error, self.slope = function_check.frozen_functions(error=error, slope=slope)
        self.curvature = None if curvature is None else function_check.frozen_functions(curvature=curvature)[0]
        self.outputs = function_check.one_of("outputs", outputs, ANY)
        self.targets = function_check.one_of("targets", targets, [kind for kind in TARGETS if kind != "distribution"])
        self.accepts = ANY[ANY.index(self.outputs) :]  # probabilities are positive, and positive numbers are real
        self.kinks = function_check.loss(self) if flag("check", check) else ()

        self._keep((error, slope), {"outputs": outputs, "targets": targets}, curvature=curvature)


def need_curvature(loss: Any) -> None:
    """Raise ValueError if a loss is one of a user that has no second derivative."""
    if isinstance(loss, Loss) and loss.curvature is None:
        raise ValueError(
            f"second derivatives need that of loss {loss.name!r}: make it with bp.Loss(..., curvature=lambda y, t: ...)"
        )
