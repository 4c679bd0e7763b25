"""PyTorch compiled by `torch.compile`, in addition to the peers of `bpkernel bench`.

Compilation needs a C++ compiler and takes about half a minute for each net, too long for that command.
"""

import os
import shutil
import sys
from typing import Any

from bpkernel.cli import peers
from bpkernel.cli.peers import PyTorch, Workload


class CompiledPyTorch(PyTorch):
    """PyTorch with its fused optimizer; net and loss are compiled."""

    def __init__(self, workload: Workload, n_threads: int):
        import torch

        super().__init__(workload, n_threads)
        net, loss, X, T = self.net, self.loss, self.X, self.T

        def error(rows: Any) -> Any:
            return loss(net(X[rows]), T[rows])

        torch.compiler.reset()  # otherwise it counts the shapes of all nets, and stops compiling after eight
        self.error = torch.compile(error, dynamic=False)


PEERS = {name: peers.PEERS[name] for name in ("bpkernel", "scikit-learn", "PyTorch")}
PEERS |= {"PyTorch compiled": CompiledPyTorch, "JAX": peers.PEERS["JAX"]}  # in the order of tables


def installed() -> list[str]:
    """Names of the peers that can run on this machine."""
    names = peers.installed()
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if "PyTorch" in names and shutil.which(compiler):
        names.append("PyTorch compiled")
    return [name for name in PEERS if name in names]
