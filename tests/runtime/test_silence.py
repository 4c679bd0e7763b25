"""No warnings in several threads: the filters are afterwards as they were."""

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
