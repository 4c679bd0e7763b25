"""Many threads, many stages: every task done once, no stage begun before the last has ended."""

import threading

import numba
import numpy as np
import pytest

import bpkernel as bp
from bpkernel import crew, epoch, plan
from bpkernel.compiler import kernel
from bpkernel.threads import available, launch


def member(state, done, early, n_tasks, n_stages, me):
    """Count how often each task is done, and how often one was begun before all of the stage before were done."""
    finished = 0
    for stage in range(1, n_stages + 1):
        k = crew.claim(state, me, stage, n_tasks)
        while k >= 0:
            if stage > 1:
                for other in range(n_tasks):
                    if done[stage - 2, other] == 0:
                        early[me] += 1
            done[stage - 1, k] += 1
            crew.finish(state)
            k = crew.claim(state, me, stage, n_tasks)
        finished += n_tasks
        crew.wait(state, finished)


bind = crew.bound(member)


@kernel(entry=True)
def run(state, done, early, n_tasks, n_stages):
    function, arguments = bind((state, done, early, n_tasks, n_stages))
    crew.run(function, arguments, state)


def check(n_threads, n_members, n_tasks, n_stages):
    done, early = np.zeros((n_stages, n_tasks), np.int64), np.zeros(n_members, np.int64)
    available()
    launch(n_threads, run, crew.state(n_members), done, early, n_tasks, n_stages)
    assert (done == 1).all()
    assert not early.any()


@pytest.mark.parametrize("n_tasks", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("n_members", [1, 2, 3, 5])
def test_every_task_is_done_once_and_in_its_stage(n_members, n_tasks):
    """More members than the machine has threads too: then one begins when others have ended."""
    check(2, n_members, n_tasks, 200)


def test_one_thread_alone_does_the_work_of_all():
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        check(2, 4, 5, 100)
    finally:
        numba.set_num_threads(before)


def test_crews_side_by_side():
    failed = []

    def work():
        try:
            for _ in range(20):
                check(2, 2, 5, 50)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_a_thread_without_a_task_reads_no_weights(monkeypatch):
    """Another thread may be updating them: a copy made then could be half old and half new."""
    monkeypatch.setattr(plan, "WORTH_A_CHUNK", 20_000)
    net = bp.MLP((5, 9, 7, 2), random_state=0)
    network, n_samples = net._network, 64
    work = plan.work(network.layout, n_samples, 2)
    assert len(work.partial) > 1
    samples = plan.samples(
        np.ones((n_samples, 5), np.float32), np.ones((n_samples, 2), np.float32), np.ones(n_samples, np.float32)
    )
    state = np.zeros((2, network.layout.n_params), np.float32)
    step = plan.step(bp.SGD, bp.SGD().settings(net.dtype), state, np.zeros(1, np.int64))
    available()
    for late in (True, False):
        work.crew[:] = (1 << 40 if late else 0, *[0] * (len(work.crew) - 1))  # tasks done: those of all stages
        for thread in range(2):
            work.crew[(thread + 1) * crew.SPACING] = 1 << 60 if late else 0  # tasks taken: likewise
        run_member(network.compiled, step, samples, np.arange(n_samples), work, np.zeros((1, 3)), 1)
        assert work.transposed[1].any() != late


bind_train = crew.bound(epoch.train_member)


@kernel(entry=True)
def run_member(net, step, samples, order, w, total, me):
    function, arguments = bind_train((net, step, samples, order, w, total))
    crew._call(function, arguments, me)
