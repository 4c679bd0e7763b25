"""How many threads to run on: now and then another number is tried, and kept if it is faster.

Results do not depend on the number of threads.  Two threads can be slower than one where their processors share no cache, or
share a core, or where other processes run on them; that may change within minutes.
"""

import statistics

SECONDS = 1e-3  # about how long a call of a trial takes, unless one mini-batch takes longer
CALLS = 4  # with each of the two numbers; the first one does not count, as a thread that sleeps takes up to 1 ms to wake
SHARE = 0.003  # of the time, that trials of a number that turns out slower may cost
WORTH = 0.9  # another number is kept if it takes less than this part of the time, in two trials in a row

# by kind of training: the number to run on, the seconds since the last trial, and those that a trial costs, 0 if unknown
_learnt: dict[tuple[int, ...], tuple[int, float, float]] = {}


class ThreadTrials:
    """The number of threads of a training's calls.

    Parameters
    ----------
    most : int
        The number at first.  Half of it is tried, then half of that, and so on down to 1.
    work : int
        Floating-point operations of a mini-batch.
    n_edges : int
        Edges of the net: the stages of a mini-batch, in which threads wait for each other, grow with them.  What is learnt
        holds for later trainings of the same `most`, `n_edges` and about the same work.

    Attributes
    ----------
    n_running : int
        The threads to run the next call on.
    on_trial : bool
        Whether the next call is part of a trial, and should take about SECONDS.
    """

    def __init__(self, most: int, work: int, n_edges: int):
        self._most, self._key = most, (most, work.bit_length(), n_edges)
        self._kept, self._seconds, self._cost = _learnt.get(self._key, (most, 0.0, 0.0))
        self._up = False  # whether the last trial was of more threads
        self._faster = False  # whether the other number was faster in the last trial, which is repeated
        self.n_running, self.on_trial = self._kept, False
        self._times: dict[int, list[float]] = {}  # seconds of a mini-batch in each call of a trial

    def measured(self, n_running: int, n_batches: int, seconds: float) -> None:
        """Take note of a call: the threads that it ran on, its mini-batches and the seconds that it took."""
        if self._most == 1:
            return
        if n_running != self.n_running:  # other kernels of the process were running
            self.n_running, self.on_trial, self._faster = self._kept, False, False
        elif self.on_trial:
            times = self._times[n_running]
            times.append(seconds / n_batches)
            if len(times) >= CALLS:
                if n_running == self._kept:
                    self._decide(n_batches)
                else:
                    self.n_running = self._kept
        else:
            self._seconds += seconds
            if self._seconds * SHARE >= (self._cost or CALLS * max(SECONDS, seconds / n_batches)):
                self._up = self._kept < self._most and (self._kept == 1 or not self._up)
                self._begin()
        _learnt[self._key] = self._kept, self._seconds, self._cost

    def _begin(self) -> None:
        """Begin a trial."""
        other = min(2 * self._kept, self._most) if self._up else self._kept // 2
        self._times = {other: [], self._kept: []}  # first: Ctrl-C may interrupt between any two statements
        self.n_running, self.on_trial = other, True

    def _decide(self, n_batches: int) -> None:
        """End a trial, in which a call had about this many mini-batches."""
        other, kept = self._times
        new, old = (statistics.median(self._times[number][1:]) for number in (other, kept))
        faster, before = new < WORTH * old, self._faster
        self._faster = faster and not before
        if self._faster:
            self._begin()  # once more
            return
        self._kept = other if faster else kept
        self._seconds, self._cost = 0.0, CALLS * max(abs(new - old) * n_batches, SECONDS / 10)
        self.n_running, self.on_trial = self._kept, False
