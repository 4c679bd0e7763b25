"""The number of threads that a training runs on: chosen by the times of its calls, which the tests make up."""

import numba
import numpy as np
import pytest

import bpkernel as bp
from bpkernel import mini_batches
from bpkernel.runtime import thread_trials
from bpkernel.runtime.thread_trials import ThreadTrials


@pytest.fixture(autouse=True)
def nothing_learnt(monkeypatch):
    """No training has come before."""
    monkeypatch.setattr(thread_trials, "_learnt", {})


class Machine:
    """Trainings of nets whose mini-batch takes made-up seconds, on each number of threads."""

    def __init__(self, seconds, most):
        self.seconds, self.trials = seconds, ThreadTrials(most, 1 << 20, 3)

    def train(self, duration):
        """The seconds of all calls on each number of threads, in calls of 20 ms or, on trial, of 1 ms."""
        spent = dict.fromkeys(self.seconds, 0.0)
        while sum(spent.values()) < duration:
            n_running = self.trials.n_running
            n_batches = max(1, int((thread_trials.SECONDS if self.trials.on_trial else 0.02) / self.seconds[n_running]))
            spent[n_running] += n_batches * self.seconds[n_running]
            self.trials.measured(n_running, n_batches, n_batches * self.seconds[n_running])
        return spent


@pytest.mark.parametrize("batch", [1e-6, 3e-4, 0.05])
def test_fewer_threads_are_kept_where_they_are_faster(batch):
    machine = Machine({2: 1.3 * batch, 1: batch}, 2)
    machine.train(100)
    assert machine.trials._kept == 1
    spent = machine.train(100)
    assert spent[2] < 0.02 * spent[1]


@pytest.mark.parametrize("batch", [1e-6, 3e-4, 0.05])
@pytest.mark.parametrize("slower", [1.0, 1.5, 2.0, 10.0])
def test_trials_take_little_time_where_all_threads_are_faster(batch, slower):
    """SHARE of the time, and a little more as calls are whole; only the first trial cannot know what it will cost."""
    machine = Machine({2: batch, 1: slower * batch}, 2)
    machine.train(100)
    spent = machine.train(2000)
    lost = spent[1] * (1 - 1 / slower)
    assert lost < 1.5 * thread_trials.SHARE * sum(spent.values())
    assert spent[1] > 0


@pytest.mark.parametrize("best", [64, 32, 16, 4, 1])
def test_the_best_of_many_numbers_is_found(best):
    """Halves and doubles of a number are tried in turn."""
    times = {n: 1e-4 * max(n / best, best / n) for n in (1, 2, 4, 8, 16, 32, 64)}
    machine = Machine(times, 64)
    machine.train(200)
    assert machine.trials._kept == best


@pytest.mark.parametrize("most", [2, 3, 6, 7, 64])
def test_all_threads_are_taken_again_when_they_are_faster_again(most):
    """As after another process has left."""
    machine = Machine(dict(enumerate((1e-4 * n for n in range(1, most + 1)), 1)), most)
    machine.train(100)
    assert machine.trials._kept == 1
    machine.seconds.update({n: 1e-4 / n for n in machine.seconds})
    machine.train(100)
    assert machine.trials._kept == most


def test_one_thread_has_no_trials():
    machine = Machine({1: 1e-4}, 1)
    assert machine.train(100).keys() == {1}
    assert not machine.trials.on_trial


def trial(trials, seconds):
    """One trial, whose calls take the seconds that a function of the threads and the call returns."""
    trials.measured(trials.n_running, 10**9, 1e4)
    for call in range(2 * thread_trials.CALLS):
        assert trials.on_trial
        trials.measured(trials.n_running, 1, seconds(trials.n_running, call % thread_trials.CALLS))


def test_the_first_call_on_a_number_of_threads_does_not_count():
    """Threads that sleep take a while to wake."""
    trials = ThreadTrials(2, 1, 1)
    trial(trials, lambda n, call: 100.0 if n == 2 and call == 0 else 1.0)
    assert (trials.n_running, trials.on_trial) == (2, False)


def test_a_number_must_be_faster_twice():
    trials = ThreadTrials(2, 1, 1)
    trial(trials, lambda n, call: float(n))
    assert (trials.n_running, trials.on_trial) == (1, True)
    for n in [1] * thread_trials.CALLS + [2] * thread_trials.CALLS:
        trials.measured(n, 1, 1.0)
    assert (trials.n_running, trials.on_trial) == (2, False)


@pytest.mark.parametrize("sizes", [(1.0, 0.1), (0.1, 1.0), (1.0, 1.0, 0.1), (1.0, 1.0, 1.0, 0.1)])
def test_smaller_mini_batches_at_the_end_of_epochs_do_not_matter(sizes):
    """Where each call is one mini-batch."""
    trials, ends = ThreadTrials(2, 1, 1), 0
    for call in range(100_000):
        on_trial, size = trials.on_trial, sizes[call % len(sizes)]
        trials.measured(trials.n_running, 1, size / trials.n_running)
        ends += on_trial and not trials.on_trial
        assert trials._kept == 2
    assert ends > 10


def test_a_trial_ends_when_other_kernels_take_threads():
    trials = ThreadTrials(4, 1, 1)
    trials.measured(4, 10**9, 1e4)
    assert (trials.n_running, trials.on_trial) == (2, True)
    trials.measured(1, 1, 1.0)
    assert (trials.n_running, trials.on_trial) == (4, False)


def test_later_trainings_of_the_same_kind_begin_with_what_is_learnt():
    Machine({2: 2e-4, 1: 1e-4}, 2).train(100)
    assert ThreadTrials(2, 1 << 20, 3).n_running == 1
    assert [ThreadTrials(*kind).n_running for kind in ((4, 1 << 20, 3), (2, 1 << 24, 3), (2, 1 << 20, 4))] == [4, 2, 2]


@pytest.mark.skipif(numba.get_num_threads() == 1, reason="needs two threads")
@pytest.mark.parametrize(("sizes", "batch_size"), [((64, 100, 10), 200), ((30, 64, 64, 1), 1000), ((784, 300, 300, 10), 64)])
def test_fits_have_the_same_bits_whatever_numbers_are_tried(sizes, batch_size, monkeypatch):
    """Also while calls are on trial, and after fewer threads have won."""
    rng = np.random.default_rng(0)
    X, T = rng.standard_normal((2000, sizes[0])), rng.standard_normal((2000, sizes[-1]))
    running, launch = [], mini_batches.launch

    def fit():
        running.clear()
        net = bp.MLP(sizes, random_state=0)
        history = net.fit(X, T, epochs=20, batch_size=batch_size, callback=lambda history: False)
        return history.loss, *net.weights, *net.biases

    monkeypatch.setattr(mini_batches, "launch", lambda *a, most: running.append(most) or launch(*a, most=most))
    before = fit()
    most = max(running)
    assert most > 1
    monkeypatch.setattr(thread_trials, "SHARE", 1e9)  # one trial after the other
    for worth in (0.0, np.inf):
        monkeypatch.setattr(thread_trials, "WORTH", worth)
        after = fit()
        assert set(running) >= {most // 2, most}
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
