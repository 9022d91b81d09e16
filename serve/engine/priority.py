"""Who goes first on a loaded CPU: the event loop, which answers many, before the model, which has work for long."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from threading import get_native_id

_NICENESS = 5


def lower_priority() -> None:
    """Have this thread, and those that it starts from now on, yield to the process's others. Only Linux can."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, get_native_id(), _NICENESS)
