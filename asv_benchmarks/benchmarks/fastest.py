"""How the suite times: a sample is the fastest of the runs within a fifth of a second.

asv takes the median of its samples, and where there is a setup a sample is one run.  But what disturbs a run, such as
another machine on the same host, only ever adds to it, and for seconds on end.  Of two equal commits in turn the medians of
single runs differed by up to a quarter (one comparison of 6 rounds), those of the fastest by a tenth (three of 10 rounds).
"""

import time


class Fastest:
    """A benchmark on a clock of its own, which `run` sets forward by what the fastest run took."""

    rounds, repeat, number, warmup_time = 2, 3, 1, 0
    window, least_runs = 0.2, 3
    clock = 0.0

    def timer(self):
        """What asv reads before and after a sample."""
        return self.clock

    def run(self, function, calls=1):
        """Time a function, so many calls in a run where one is too short."""
        fastest, n_runs, end = float("inf"), 0, time.perf_counter() + self.window
        while n_runs < self.least_runs or time.perf_counter() < end:
            start = time.perf_counter()
            for _ in range(calls):
                function()
            fastest = min(fastest, (time.perf_counter() - start) / calls)
            n_runs += 1
        self.clock += fastest
