"""Many threads, many stages: every task is done once, and no stage begins before the last one has ended."""

import threading

import numba
import numpy as np
import pytest

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.parallel import bound, run
from bpkernel.runtime import task_queue
from bpkernel.runtime.threads import available, launch


def on_thread(queue, done, early, n_tasks, n_stages, thread):
    """Count how often each task is done, and how often one begins before all tasks of the stage before are done."""
    finished = 0
    for stage in range(1, n_stages + 1):
        task = task_queue.claim(queue, thread, stage, n_tasks)
        while task >= 0:
            if stage > 1:
                for other in range(n_tasks):
                    if done[stage - 2, other] == 0:
                        early[thread] += 1
            done[stage - 1, task] += 1
            task_queue.finish(queue)
            task = task_queue.claim(queue, thread, stage, n_tasks)
        finished += n_tasks
        task_queue.wait(queue, finished)


bind = bound(on_thread)


@kernel(entry=True)
def work(queue, done, early, n_tasks, n_stages, n_running):
    task_queue.begin(queue)
    run(bind((queue, done, early, n_tasks, n_stages)), task_queue.n_threads_of(queue), n_running)


def check(n_running, n_threads, n_tasks, n_stages):
    done, early = np.zeros((n_stages, n_tasks), np.int64), np.zeros(n_threads, np.int64)
    available()
    launch(n_running, work, task_queue.make(n_threads), done, early, n_tasks, n_stages)
    assert (done == 1).all()
    assert not early.any()


@pytest.mark.parametrize("n_tasks", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("n_threads", [1, 2, 3, 5])
def test_every_task_is_done_once_and_in_its_stage(n_threads, n_tasks):
    """Also where the queue has more threads than run at once: some then begin when others have ended."""
    check(2, n_threads, n_tasks, 200)


def test_one_thread_alone_does_the_work_of_all():
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        check(2, 4, 5, 100)
    finally:
        numba.set_num_threads(before)


def test_queues_side_by_side():
    failed = []

    def repeat():
        try:
            for _ in range(20):
                check(2, 2, 5, 50)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=repeat) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_a_queue_is_used_again_after_begin():
    """What an earlier call has counted is forgotten."""
    queue = task_queue.make(3)
    for _ in range(3):
        done, early = np.zeros((4, 5), np.int64), np.zeros(3, np.int64)
        launch(2, work, queue, done, early, 5, 4)
        assert (done == 1).all()
        assert not early.any()
        assert queue[0] == 4 * 5


@kernel(entry=True)
def claim(queue, thread, stage, n_tasks):
    return task_queue.claim(queue, thread, stage, n_tasks)


@pytest.mark.parametrize(("n_threads", "n_tasks"), [(1, 4), (2, 5), (3, 2), (4, 9)])
def test_a_thread_first_takes_its_own_tasks_and_then_those_of_others(n_threads, n_tasks):
    for thread in range(n_threads):
        queue = task_queue.make(n_threads)
        found = [claim(queue, thread, 1, n_tasks) for _ in range(n_tasks)]
        first, stop = thread * n_tasks // n_threads, (thread + 1) * n_tasks // n_threads
        assert found[: stop - first] == list(range(first, stop))
        assert sorted(found) == list(range(n_tasks))
        assert claim(queue, thread, 1, n_tasks) == -1
        assert claim(queue, thread, 2, n_tasks) >= 0
