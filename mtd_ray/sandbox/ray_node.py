"""One more node for a local Ray cluster: a second machine as far as Ray can tell, and one that can be killed whole."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from types import TracebackType

import psutil

from mtd_ray.errors import MtdError
from mtd_ray.sandbox.ports import free_port
from mtd_ray.sandbox.ray_cluster import RayCluster

_NUMBERS = count(3)
_POLL_S = 0.05


class RayNode:
    """A node of a :class:`RayCluster` for as long as the ``with`` block runs.

    On Linux it has a loopback address of its own.

    Args:
        cluster: the running cluster to join.
        num_cpus: CPUs that Ray believes in.
        env: variables that the node's workers inherit besides the cluster's.
        object_store_bytes: size of its shared memory.
        start_timeout_s: how long it may take to come up.

    Raises:
        MtdError: it did not come up; the message ends with its last lines of output.
    """

    def __init__(
        self,
        cluster: RayCluster,
        num_cpus: int = 1,
        *,
        env: Mapping[str, str] | None = None,
        object_store_bytes: int = 80_000_000,
        start_timeout_s: float = 60.0,
    ) -> None:
        self._cluster, self._num_cpus, self._env = cluster, num_cpus, dict(env or {})
        self._object_store_bytes, self._start_timeout_s = object_store_bytes, start_timeout_s
        self._killed = False

    def __enter__(self) -> RayNode:
        number = next(_NUMBERS)
        log = self._cluster.folder / f"node-{number}.log"
        self._killed = False
        self._process = self._cluster.launch(self._command(number), log, self._env)
        deadline = time.monotonic() + self._start_timeout_s
        while "Ray runtime started" not in (text := log.read_text(errors="replace")):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise MtdError(f"the Ray node did not start within {self._start_timeout_s:.0f} s:\n{text[-2000:]}")
            time.sleep(_POLL_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    def processes(self) -> list[psutil.Process]:
        """The node's living processes: all that are in its session."""
        if self._killed:
            return []  # the session's number may be another's by now
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if os.getsid(process.pid) == self._process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def kill(self) -> None:
        """SIGKILL every process of the node at once, as a power cut would. A second call does nothing."""
        while left := self.processes():
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.wait()
        self._killed = True

    def _command(self, number: int) -> list[str]:
        address = [f"--node-ip-address=127.0.0.{number}"] if sys.platform == "linux" else []
        return [
            str(Path(sys.executable).with_name("ray")), "start", "--block", f"--address={self._cluster.address}", *address,
            f"--dashboard-agent-listen-port={free_port()}", f"--num-cpus={self._num_cpus}",
            f"--object-store-memory={self._object_store_bytes}", "--disable-usage-stats", "--log-style=record", "--log-color=false",
        ]  # fmt: skip
