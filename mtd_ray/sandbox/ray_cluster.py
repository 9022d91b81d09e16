"""A private Ray cluster of one node, for the tests and the quickstart: started, reached and stopped by its own handle.

The node takes a loopback address and free ports, so that several run side by side. Ray's own servers (GCS, raylet, workers) listen
on every interface whatever their address; what keeps strangers out is the token that each cluster draws for itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import psutil

from mtd_ray.errors import MtdError
from mtd_ray.sandbox.ports import free_port

# Ray replaces 127.0.0.1 by the machine's outward address, but leaves other loopback addresses alone; macOS has only the one, and
# there Ray keeps it.
_NODE_ADDRESS = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
_MARKER = "MTD_RAY_CLUSTER_MARKER"
_DASHBOARD_LINE = re.compile(r"RAY_API_SERVER_ADDRESS='(http://[^']+)'")
_LONGEST_TEMPORARY_FOLDER = 24  # a Unix socket's path has at most 107 bytes, and Ray adds about 75

# Becomes the command named in the arguments, after asking the kernel (prctl 1 = PR_SET_PDEATHSIG) to end it when the process that
# started it ends in whatever way. A function run between fork and exec could do the same, but may deadlock where there are threads.
_END_WITH_PARENT = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class RayCluster:
    """A local Ray head for as long as the ``with`` block runs.

    Args:
        num_cpus: CPUs that Ray believes in; more than the machine has is useful where most processes wait.
        env: variables that every worker and job inherits (keys of the object store, of providers).
        object_store_bytes: size of Ray's shared memory.
        start_timeout_s: how long the head may take to come up.

    Attributes:
        address: ``host:port`` for ``ray.init(address=…)``; valid inside the block, as are the following.
        dashboard_url: for ``ray job submit --address``.
        env: variables that a child process needs, besides ``os.environ``, to reach the cluster: its address and the token's place.
        folder: where the token and Ray's session files are.

    Raises:
        MtdError: the head did not come up; the message ends with its last lines of output.
    """

    def __init__(
        self,
        num_cpus: int = 4,
        *,
        env: Mapping[str, str] | None = None,
        object_store_bytes: int = 300_000_000,
        start_timeout_s: float = 60.0,
    ) -> None:
        self.address = ""
        self.dashboard_url = ""
        self.env: dict[str, str] = {}
        self.folder = Path()
        self._num_cpus = num_cpus
        self._worker_env = dict(env or {})
        self._object_store_bytes = object_store_bytes
        self._start_timeout_s = start_timeout_s
        self._marker = secrets.token_hex(16)
        self._head: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RayCluster:
        self.folder = Path(tempfile.mkdtemp(prefix="mtd-", dir=_temporary_folder()))
        token = self.folder / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        self.env = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_USAGE_STATS_ENABLED": "0"}
        self._terminated_before = _raise_on_sigterm()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def processes(self) -> list[psutil.Process]:
        """Every living process of the cluster, children of ended ones included."""
        return [process for process in psutil.process_iter() if self._owns(process)]

    def launch(self, ray_start: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Run a ``ray start …`` of this cluster in a session of its own, which ends with this process.

        Args:
            ray_start: the command.
            log: where its output goes.
            env: variables that the node's workers inherit besides the cluster's.
        """
        environment = os.environ | self._worker_env | self.env | _SMALL | {_MARKER: self._marker} | dict(env or {})
        for inherited in ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_JOB_CONFIG_JSON_ENV_VAR"):
            environment.pop(inherited, None)
        with log.open("wb") as output:
            return subprocess.Popen(  # noqa: S603 (our own command)
                [sys.executable, "-c", _END_WITH_PARENT, str(os.getpid()), sys.executable, *ray_start],
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self) -> None:
        """End every process of the cluster and remove its folder.

        Raises:
            MtdError: a process could not be ended.
        """
        if self._head is not None:
            self._end(self._head)
        shutil.rmtree(self.folder, ignore_errors=True)
        _restore_sigterm(self._terminated_before)

    def _end(self, head: subprocess.Popen[bytes]) -> None:
        if head.poll() is None:
            head.terminate()  # Ray ends its own processes in order
        _wait_until(lambda: head.poll() is not None and not self.processes(), 10)
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if not _wait_until(lambda: head.poll() is not None and not self.processes(), 10):
            raise MtdError(f"processes of the local Ray cluster are still running: {self.processes()}")

    def _owns(self, process: psutil.Process) -> bool:
        # Workers rewrite their title over their environment but stay in the head's session; jobs leave the session but not their
        # environment.
        try:
            if self._head is None or process.status() == psutil.STATUS_ZOMBIE:
                return False
            return os.getsid(process.pid) == self._head.pid or process.environ().get(_MARKER) == self._marker
        except (psutil.Error, OSError):  # it ended meanwhile, or belongs to someone else
            return False

    def _start(self) -> None:
        log = self.folder / "start.log"
        head = self._head = self.launch(self._command(), log)
        written = self.folder / "ray" / "ray_current_cluster"
        _wait_until(lambda: written.is_file() or head.poll() is not None, self._start_timeout_s)
        text = log.read_text(errors="replace")
        dashboard = _DASHBOARD_LINE.search(text)
        if not written.is_file() or dashboard is None or head.poll() is not None:
            raise MtdError(f"the local Ray cluster did not start within {self._start_timeout_s:.0f} s:\n{text[-2000:]}")
        self.address, self.dashboard_url = written.read_text().strip(), dashboard[1]
        self.env["RAY_ADDRESS"] = self.address

    def _command(self) -> list[str]:
        return [
            str(Path(sys.executable).with_name("ray")), "start", "--head", "--block",
            f"--node-ip-address={_NODE_ADDRESS}", "--port=0", "--dashboard-port=0", "--dashboard-agent-listen-port=0",
            f"--ray-client-server-port={free_port()}", f"--num-cpus={self._num_cpus}",
            f"--object-store-memory={self._object_store_bytes}", f"--temp-dir={self.folder / 'ray'}",
            "--no-monitor", "--disable-usage-stats", "--log-style=record", "--log-color=false",
        ]  # fmt: skip


# One thread per process: there are more processes than CPUs. No workers before they are asked for: each takes 65 MB. The allocator
# keeps what was freed, per arena, and learns to keep larger and larger blocks: few arenas, and blocks over a megabyte given back at
# once, make a training worker 300 MB smaller at the same speed.
_SMALL = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "1000000",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
}


@contextmanager
def connected(cluster: RayCluster) -> Iterator[None]:
    """``ray.init`` of this process to the cluster, for as long as the block runs."""
    import ray
    from ray._raylet import Config  # type: ignore[attr-defined, unused-ignore]

    before = {name: os.environ.get(name) for name in cluster.env}
    os.environ.update(cluster.env)
    Config.initialize("")  # Ray reads the authentication mode when it is imported, which may have been long ago
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    try:
        yield
    finally:
        ray.shutdown()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _temporary_folder() -> str:
    folder = tempfile.gettempdir()
    return folder if len(folder) <= _LONGEST_TEMPORARY_FOLDER else "/tmp"  # noqa: S108 (a fresh private folder is made inside)


def _wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _raise_on_sigterm() -> Any:
    """Make SIGTERM unwind the stack like Ctrl-C does, so that ``with`` blocks clean up. Only the main thread may ask for that."""
    if threading.current_thread() is not threading.main_thread():
        return None
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return None

    def unwind(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    return signal.signal(signal.SIGTERM, unwind)


def _restore_sigterm(before: Any) -> None:
    if before is not None:
        signal.signal(signal.SIGTERM, before)
