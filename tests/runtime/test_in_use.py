"""Objects in use: a second use is noticed while the first call runs, and no longer."""

import os
import sys
import threading

import pytest

from bpkernel.runtime import in_use


class Thing:
    """Anything; equal to everything, for uses are of the very object."""

    def __eq__(self, other):
        return True

    __hash__ = None


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    assert not in_use.uses


def use(*things, during=lambda: None):
    """What of these is in use already; otherwise what `during()` returns while they are in use."""
    call = object()
    try:
        used = in_use.begin(call, sys._getframe(), *things)
        return used if used is not None else during()
    finally:
        in_use.uses.pop(call, None)


def in_another_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_a_second_use_is_noticed_in_the_same_thread_and_in_another():
    one, two, three = Thing(), Thing(), Thing()
    for where in (lambda function: function(), in_another_thread):
        assert use(one, two, during=lambda where=where: where(lambda: use(two, three))) is two
        assert use(one, two, during=lambda where=where: where(lambda: use(three, one))) is one
        assert use(one, two, during=lambda where=where: where(lambda: use(three))) is None
        assert use(one) is None


def test_of_two_uses_the_earlier_one_goes_on():
    """The later one is refused, whichever of them looks."""
    thing, found = Thing(), []
    use(thing, during=lambda: found.extend([use(thing), use(thing)]))
    assert [used is thing for used in found] == [True, True]


def interrupted(thing):
    """A call that ends without ending its use."""
    in_use.begin(object(), sys._getframe(), thing)


def test_a_call_that_was_interrupted_does_not_count():
    thing = Thing()
    interrupted(thing)
    assert use(thing) is None
    in_another_thread(lambda: interrupted(thing))
    assert use(thing) is None
    interrupted(thing)
    assert in_another_thread(lambda: use(thing)) in (None, thing)  # that thread still runs, whatever it does
    assert use(thing) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12, as there is another thread
def test_in_a_forked_child_a_use_of_another_thread_does_not_count():
    thing, begun, end = Thing(), threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: use(thing, during=lambda: begun.set() or end.wait(60)))
    thread.start()
    assert begun.wait(60)
    child = os.fork()
    if child == 0:
        os._exit(0 if use(thing) is None else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found = use(thing)
    end.set()
    thread.join()
    assert status == 0
    assert found is thing


def test_the_stack_of_a_thread():
    frames = list(in_use.stack(threading.get_ident()))
    assert sys._getframe() in frames
    assert list(in_use.stack(-1)) == []
