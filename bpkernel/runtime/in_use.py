"""Which objects calls are using right now, so that a second call can be refused.

Nothing relies on code that runs at the end of a call, because Ctrl-C may interrupt between any two bytecodes: a use counts only
while its call is running.  It is noted here and not in the objects, so copies and pickles of these are free.
"""

import os
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NamedTuple


class Use(NamedTuple):
    """A call, and the objects that it uses."""

    process: int
    thread: int
    frame: FrameType
    objects: tuple[Any, ...]

    def is_running(self) -> bool:
        """False if the call was interrupted before it could end its use, and in a child forked while another thread ran it."""
        if self.thread == threading.get_ident():
            return any(frame is self.frame for frame in stack(self.thread))
        return self.process == os.getpid() and self.thread in sys._current_frames()


uses: dict[object, Use] = {}  # by a key of each call, in the order in which they began


def begin(call: object, frame: FrameType, *objects: Any) -> Any:
    """Note that a call uses objects; returns the first of them that an earlier call is using, or None.

    call : object
        A key of the call, with which it ends its use: `uses.pop(call, None)`, in a `finally` around `begin` too.
    frame : frame
        Of the function that makes the call, which is on the stack as long as the use lasts.
    """
    uses[call] = Use(os.getpid(), threading.get_ident(), frame, objects)
    for other, use in list(uses.items()):
        if other is call:
            break
        if not use.is_running():
            uses.pop(other, None)
            continue
        for used in objects:
            if any(used is mine for mine in use.objects):
                return used
    return None


def stack(thread: int) -> Iterator[FrameType]:
    """The frames of a Python thread, innermost first; none for a thread that has ended, also by a fork."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        yield frame
        frame = frame.f_back
