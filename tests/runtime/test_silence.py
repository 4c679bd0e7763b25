"""No warnings in several threads: the filters are afterwards as they were."""

import os
import threading
import warnings

import pytest

from bpkernel.runtime.silence import no_warnings


def test_filters_come_back_whatever_the_order_in_which_threads_end():
    before = list(warnings.filters)
    begun, end = threading.Event(), threading.Event()

    def silent():
        with no_warnings():
            begun.set()
            end.wait(60)
            warnings.warn("of the thread", UserWarning, stacklevel=1)

    thread = threading.Thread(target=silent)
    with no_warnings():
        assert warnings.filters != before
        thread.start()
        assert begun.wait(60)
    end.set()
    thread.join()
    assert warnings.filters == before
    with pytest.raises(UserWarning, match="heard"):
        warnings.warn("heard", UserWarning, stacklevel=1)


def test_filters_come_back_after_an_exception():
    before = list(warnings.filters)
    with pytest.raises(KeyError), no_warnings():
        raise KeyError
    assert warnings.filters == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_forked_while_another_thread_is_silent_hears_warnings(run_python):
    """Also if that thread holds the lock at this moment."""
    run_python(
        """
        import os, signal, threading, warnings
        from bpkernel.runtime import silence

        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        before, begun, end = list(warnings.filters), threading.Event(), threading.Event()

        def silent():
            with silence.no_warnings(), silence._lock:
                begun.set()
                end.wait(60)

        thread = threading.Thread(target=silent)
        thread.start()
        begun.wait(60)
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            assert warnings.filters == before
            with silence.no_warnings():
                assert warnings.filters != before
            assert warnings.filters == before
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        end.set()
        thread.join()
        assert warnings.filters == before
        """
    )
