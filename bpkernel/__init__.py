"""Multilayer perceptrons trained on the CPU by back-propagation in explicit, compiled loops."""

from bpkernel import reference
from bpkernel.mlp import MLP
from bpkernel.optimizers import SGD, Adam
from bpkernel.results import Backprop, History
from bpkernel.version import __version__

__all__ = ["MLP", "SGD", "Adam", "Backprop", "History", "__version__", "reference"]
