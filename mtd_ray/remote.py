"""Functions called on the cluster: each on a node that has room for it, with the GPUs that it asked for and no others."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from mtd_ray.errors import MtdError, StorageError

_LOG = logging.getLogger(__name__)
_RETRIES = 3
_WARN_EVERY_S = 60.0
# A task that asks for no GPU sees all of its machine's unless its worker's environment says this. A worker with an environment of
# its own is given no other tasks, which matters because PyTorch keeps to the devices that it saw first.
_WITHOUT_GPUS = {"env_vars": {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}}
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Call:
    """What a call takes of its node, and how people know it.

    Attributes:
        name: what it does.
        of: the model that it loads or asks.
    """

    name: str
    of: str
    cpus: float
    gpus: float = 0.0


def start(call: Call, work: Callable[..., Any], *args: Any) -> Any:
    """Send a call, and return a reference to its answer. It comes again when its node is lost or the storage fails."""
    # An error of storage may pass; all other errors for people come again.
    options = {"name": call.name, "max_retries": _RETRIES, "retry_exceptions": [StorageError]}
    return _remote(work, call.cpus, call.gpus).options(**options).remote(*args)


@cache  # Ray warns of a function that is sent a hundred times
def _remote(work: Callable[..., Any], cpus: float, gpus: float) -> Any:
    """A remote function that asks for its GPUs here and not in ``options``: only so Ray ends its worker after every call, and what
    PyTorch holds of a GPU with it.
    """
    return ray.remote(num_cpus=cpus, num_gpus=gpus, runtime_env=None if gpus else _WITHOUT_GPUS)(work)


def first_ended(running: Mapping[Any, Call]) -> Any:
    """The reference of a call that has ended; while none has, those that no node has room for are told once a minute."""
    while True:
        ready, _ = ray.wait(list(running), num_returns=1, timeout=_WARN_EVERY_S)
        if ready:
            return ready[0]
        warn_of_scarce_nodes(running.values())


def answer(reference: Any, what: str, error: type[MtdError]) -> Any:
    """What a call gave.

    Raises:
        MtdError: the function's own error for people; else ``error``, which says ``what`` failed.
    """
    try:
        return ray.get(reference)
    except RayError as failure:
        if isinstance(failure, RayTaskError) and isinstance(failure.cause, MtdError):
            raise failure.cause from None
        raise error(f"{what} failed: {failure}") from None


def on_cluster(call: Call, work: Callable[..., _Answer], *args: Any, error: type[MtdError]) -> _Answer:
    """Call a function of a module and wait for its answer. Arguments and answer can be sent.

    Raises:
        MtdError: see :func:`answer`.
    """
    warn_of_scarce_nodes([call])
    running = start(call, work, *args)
    found: _Answer = answer(first_ended({running: call}), call.name, error)
    return found


def warn_of_scarce_nodes(calls: Iterable[Call]) -> None:
    """Log which models wait for a node that the cluster does not have. Only warned of: a cluster may grow."""
    waiting: defaultdict[tuple[float, float], dict[str, None]] = defaultdict(dict)
    for call in calls:
        waiting[call.cpus, call.gpus][call.of] = None
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for (cpus, gpus), models in waiting.items():
        if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
            _LOG.warning(
                "no node of the cluster has num_cpus: %g and num_gpus: %g at once, which is what %s asks for: it waits until the "
                "cluster grows",
                cpus, gpus, ", ".join(models),
            )  # fmt: skip


def hosts() -> int:
    """How many machines the cluster has now."""
    return len({node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]})
