"""The model thread yields to the event loop, whatever the process yields to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[4]
SCRIPT = """
import os, sys, threading
from serve.engine.priority import lower_priority
niceness = lambda thread: os.getpriority(os.PRIO_PROCESS, thread)
os.setpriority(os.PRIO_PROCESS, 0, max(15, niceness(0)))
def work():
    lower_priority()
    print(niceness(threading.get_native_id()) - niceness(os.getpid()))
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities on Linux only")
def test_the_model_yields_to_the_event_loop_in_a_worker_of_ray() -> None:
    """Ray starts workers at a niceness of 15: a fixed one of 10 would have the model go first there."""
    if os.getpriority(os.PRIO_PROCESS, 0) == 19:
        pytest.skip("nothing is nicer than this process")
    printed = subprocess.run([sys.executable, "-c", SCRIPT], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert int(printed) > 0
