"""Losses with several outputs for each target: quantiles, or a mean and a variance."""

import functools
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bpkernel.codegen.jit import kernel
from bpkernel.functions.elementwise_losses import ANY
from bpkernel.functions.settings import WithSettings, between


@kernel
def at_least(low: Any, y: Any) -> Any:
    """y, or low where y is less; NaN stays NaN, which `max` does not promise."""
    return low if y < low else y


@dataclass(frozen=True)
class Quantile(WithSettings):
    """The quantile loss, also called pinball loss: Σ of level · (t - y) where t > y, and of (1 - level) (y - t) elsewhere.

    A net trained with it predicts quantiles of the targets (Koenker and Bassett 1978).  With several levels each target has as
    many outputs: for two targets and the levels 0.1 and 0.9 these are the two quantiles of the first target, then those of the
    second.

    Parameters
    ----------
    *levels : float, default=0.5
        0 < level < 1; the default is the median.
    """

    levels: tuple[float, ...] = (0.5,)
    name: ClassVar = "quantile"
    accepts: ClassVar = ANY
    targets: ClassVar = "real"
    class_indices: ClassVar = False
    canonical: ClassVar = None
    deltas_with: ClassVar[dict[str, Any]] = {}

    def __init__(self, *levels: float):
        object.__setattr__(self, "levels", levels or (0.5,))
        for level in self.levels:
            between("every level", level, 0, 1, "between 0 and 1")

    def __repr__(self) -> str:
        return f"Quantile({', '.join(map(repr, self.levels))})"

    def n_targets(self, n_outputs: int) -> int:
        """The targets of a sample for a net of so many outputs."""
        if n_outputs % len(self.levels):
            raise ValueError(
                f"a net with the loss {self!r} needs {len(self.levels)} outputs for each target, one for each level; "
                f"{n_outputs} outputs are not a multiple of that"
            )
        return n_outputs // len(self.levels)

    @functools.cached_property
    def sample_error(self) -> Any:
        levels, n_levels = self._levels()

        def sample_error(a: Any, y: Any, t: Any) -> Any:
            one, e = y.dtype.type(1), y.dtype.type(0)
            for k in range(y.size):
                level, r = y.dtype.type(levels[k % n_levels]), t[k // n_levels] - y[k]
                e += level * r if r > 0 else (level - one) * r
            return e

        return sample_error

    @functools.cached_property
    def sample_slope(self) -> Any:
        levels, n_levels = self._levels()

        def sample_slope(y: Any, t: Any, d: Any) -> None:
            one = y.dtype.type(1)
            for k in range(y.size):
                level, r = y.dtype.type(levels[k % n_levels]), t[k // n_levels] - y[k]
                d[k] = -level if r > 0 else (one - level if r < 0 else r)  # NaN stays NaN

        return sample_slope

    @staticmethod
    def sample_curvature(y: Any, t: Any, r: Any, d: Any) -> None:
        for k in range(y.size):
            d[k] = y.dtype.type(0) * r[k]

    def _levels(self) -> tuple[tuple[float, ...], int]:
        return tuple(map(float, self.levels)), len(self.levels)


def _deltas_of_mean_and_variance(y: Any, t: Any, d: Any) -> None:
    tiny, half, one = np.finfo(y.dtype).tiny, y.dtype.type(0.5), y.dtype.type(1)
    for k in range(t.size):
        v, r = at_least(tiny, y[t.size + k]), t[k] - y[k]
        d[k] = -r / v
        d[t.size + k] = half * (one - r / v * r)


class GaussianNLL:
    """The negative log-likelihood of normal distributions, ½ Σ_k (log v_k + (t_k - m_k)² / v_k), less a constant.

    The outputs are the means m of all targets, then their variances v (Nix and Weigend 1994), as the output activation
    `mean_variance` makes them.
    """

    name = "gaussian_nll"
    accepts = ("mean_variance",)
    targets = "real"
    class_indices = False
    canonical = None

    def n_targets(self, n_outputs: int) -> int:
        """The targets of a sample for a net of so many outputs."""
        if n_outputs % 2:
            raise ValueError(
                "a net with the loss 'gaussian_nll' needs two outputs for each target, the mean and the variance; "
                f"got {n_outputs} outputs"
            )
        return n_outputs // 2

    @staticmethod
    def sample_error(a: Any, y: Any, t: Any) -> float:
        tiny, half = np.finfo(y.dtype).tiny, y.dtype.type(0.5)
        e = y.dtype.type(0)
        for k in range(t.size):
            v, r = at_least(tiny, y[t.size + k]), t[k] - y[k]
            e += half * (math.log(v) + r / v * r)
        return e

    @staticmethod
    def sample_slope(y: Any, t: Any, d: Any) -> None:
        tiny, half, one = np.finfo(y.dtype).tiny, y.dtype.type(0.5), y.dtype.type(1)
        for k in range(t.size):
            v, r = at_least(tiny, y[t.size + k]), t[k] - y[k]
            d[k] = -r / v
            d[t.size + k] = half * (one - r / v * r) / v

    @staticmethod
    def sample_curvature(y: Any, t: Any, r: Any, d: Any) -> None:
        tiny, half = np.finfo(y.dtype).tiny, y.dtype.type(0.5)
        for k in range(t.size):
            v = at_least(tiny, y[t.size + k])
            ratio = (t[k] - y[k]) / v
            r_m, r_v = r[k], r[t.size + k]
            d[k] = (r_m + ratio * r_v) / v
            d[t.size + k] = (ratio * r_m + (ratio * ratio - half / v) * r_v) / v

    deltas_with: ClassVar[dict[str, Any]] = {"mean_variance": _deltas_of_mean_and_variance}
