"""Costs at the start of a program: the import, and the first fit with kernels compiled or loaded from the cache."""

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
    """The only benchmark that includes compilation; the import is not included."""

    number, rounds, repeat, warmup_time = 1, 1, 1, 0

    def timeraw_fit(self):
        return FIT, NO_KERNELS + DATA


class FirstFitCached:
    number, rounds, repeat, warmup_time = 1, 2, 5, 0
    version = "2d935e7b750b82ae7e92a6eb863d0fb9d98ec52ae63a70fd3e001dcb7db6074d"  # that of the recorded results

    def setup(self):
        exec(DATA + FIT, {})  # fills the cache from which the timed processes load the kernels

    def timeraw_fit(self):
        return FIT, DATA
