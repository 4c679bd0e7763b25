"""Multilayer perceptrons trained on the CPU by back-propagation in explicit, compiled loops."""

from bpkernel.history import History
from bpkernel.mlp import MLP, Backprop
from bpkernel.optimizers import SGD, Adam

__version__ = "0.1.0"

__all__ = ["MLP", "SGD", "Adam", "Backprop", "History", "__version__"]
