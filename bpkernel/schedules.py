"""Schedules of the learning rate, for the `learning_rate` of every optimizer.

>>> import bpkernel as bp
>>> bp.AdamW(learning_rate=bp.schedules.Cosine(0.01, n_warmup=100), weight_decay=0.1).learning_rate.n_warmup
100

A schedule gives the rate of every step 0, 1, 2, ... of an optimizer, one step for each mini-batch.  The count goes on from one
`fit` to the next.  A schedule without `n_steps` spans each `fit` anew, from its first step on, also if a callback puts it in
place later.  Any function of the step will do in place of a schedule, such as ``lambda step: 0.1 / (1 + step)``.
"""

from bpkernel.functions.cyclic_rates import Cosine, OneCycle
from bpkernel.functions.decaying_rates import Constant, Exponential, InverseScaling, ReduceOnPlateau, Step
from bpkernel.functions.learning_rates import Schedule

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "InverseScaling",
    "OneCycle",
    "ReduceOnPlateau",
    "Schedule",
    "Step",
]

SCHEDULES: tuple[type[Schedule], ...] = (Constant, Step, Exponential, InverseScaling, Cosine, OneCycle, ReduceOnPlateau)
