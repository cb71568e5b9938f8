"""Worker processes that end with the process that started them."""

from __future__ import annotations

import os
import threading
import time

#: Seconds between two looks.
_EVERY = 0.5


def end_with(parent: int) -> None:
    """Let this worker end as soon as its parent is gone, whatever ended it; for use as its initializer.

    A worker that is killed with its parent needs no help, but one whose parent was killed alone would hold its memory until
    it finds, minutes later, that there is nothing to do. Signals on the death of a parent (``prctl``) go by the thread that
    started the worker, and that thread ends early; the parent's number tells the truth.

    Parameters
    ----------
    parent
        Number of the process that must live.
    """
    if os.name == "posix":  # elsewhere a process keeps the number of a parent that is gone
        threading.Thread(target=_watch, args=(parent,), name="end-with-parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_EVERY)
    os._exit(1)  # at once: nobody waits for what is computed here
