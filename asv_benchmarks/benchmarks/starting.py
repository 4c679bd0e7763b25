"""What a program pays once: the import, and the first fit with kernels that are compiled, or read from disk."""

DATA = """
import numpy as np
import bpkernel as bp
X, y = np.zeros((400, 64), np.float32), np.arange(400) % 10
"""
FIT = """
bp.MLP((64, 100, 10), "relu", "softmax", "cross_entropy", random_state=0).fit(X, y, epochs=1)
"""
NO_KERNELS = """
import os, tempfile
folder = tempfile.TemporaryDirectory(prefix="bpkernel-")
os.environ["BPKERNEL_CACHE_DIR"] = folder.name
"""


class Import:
    number, rounds, repeat, warmup_time = 1, 2, 5, 0

    def timeraw_import(self):
        return "import bpkernel"


class FirstFitCompiled:
    """This alone times the compiler; the import not included."""

    number, rounds, repeat, warmup_time = 1, 1, 1, 0

    def timeraw_fit(self):
        return FIT, NO_KERNELS + DATA


class FirstFitCached:
    number, rounds, repeat, warmup_time = 1, 2, 5, 0

    def setup(self):
        exec(DATA + FIT, {})  # the processes that are timed find the kernels where this one keeps them

    def timeraw_fit(self):
        return FIT, DATA
