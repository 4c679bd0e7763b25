"""Whether Numba's threads are started."""

import os

import pytest
from numba.np.ufunc import parallel

from bpkernel.codegen import threading_layer

PROGRAM = """
    import numba
    import bpkernel as bp
    from bpkernel.codegen.threading_layer import is_started
    found = [is_started()]
    numba.get_num_threads()
    found.append(is_started())
    if {fork}:
        import os
        child = os.fork()
        if child == 0:
            os._exit(7 if is_started() else 0)
        found.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7)
    print(*found)
"""


def test_the_threads_start_with_the_first_question_about_them(run_python):
    assert run_python(PROGRAM.replace("{fork}", "False")).stdout.split() == ["False", "True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_in_a_forked_child_the_threads_of_its_parent_count_as_started(run_python):
    assert run_python(PROGRAM.replace("{fork}", "True")).stdout.split() == ["False", "True", "True"]


def test_this_version_of_numba_says_so():
    """With a version that does not, a forked child under OpenMP always runs on one thread."""
    assert hasattr(parallel, "_is_initialized")


def test_threads_count_as_started_if_numba_does_not_say(monkeypatch):
    monkeypatch.delattr(parallel, "_is_initialized")
    assert threading_layer.is_started()
