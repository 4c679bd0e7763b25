"""The timing method of the suite: a sample is the fastest of the runs within a fifth of a second.

asv takes the median of its samples, and in benchmarks with a setup a sample is a single run.  Disturbances, such as other
virtual machines on the same host, last for seconds and only ever add time.  When two equal commits were compared in turn,
medians of single runs differed by up to a quarter, medians of the fastest runs by a tenth.
"""

import time


class Fastest:
    """A benchmark with its own clock, which `run` advances by the time of the fastest run."""

    rounds, repeat, number, warmup_time = 2, 3, 1, 0
    window, least_runs = 0.2, 3
    clock = 0.0

    def timer(self):
        """The clock, which asv reads before and after a sample."""
        return self.clock

    def run(self, function, calls=1):
        """Time a function; a run is several calls if one is too short."""
        fastest, n_runs, end = float("inf"), 0, time.perf_counter() + self.window
        while n_runs < self.least_runs or time.perf_counter() < end:
            start = time.perf_counter()
            for _ in range(calls):
                function()
            fastest = min(fastest, (time.perf_counter() - start) / calls)
            n_runs += 1
        self.clock += fastest
