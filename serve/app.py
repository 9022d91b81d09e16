"""The Ray Serve application. HTTP, checks and models share one process: a request crosses no second queue."""

import asyncio
import gc
import os
from collections.abc import Mapping
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve
from ray.serve import Application
from ray.serve.metrics import Counter, Gauge

from serve.api.application import create_api
from serve.api.keys import Keys
from serve.autoscaling import WorkReport
from serve.engine.engine import Engine
from serve.engine.limits import MAX_REQUESTS, Limits
from serve.options import Options
from serve.proxy import KEEP_ALIVE_S, check_deadline
from serve.ray_metrics import RayMetrics
from serve.students import contents_of, load_students
from serve.versions import Versions

_ALIVE_TIMEOUT_S = 30.0
_LEAVING_S = KEEP_ALIVE_S + 30.0  # that a replica may take to end, beyond the deadline of its last request


# Every request is let in: the engine knows how much work waits and answers what is too much with 429 and a time to come back; Serve
# would count requests. A new student is loaded beside the old one, and replicas that are to end have the time that the slowest
# request may take.
@serve.deployment(
    name="embeddings",
    max_ongoing_requests=MAX_REQUESTS,
    max_surge_percent=100,
    graceful_shutdown_timeout_s=Limits().deadline_s + _LEAVING_S,
    graceful_shutdown_wait_loop_s=0.5,
    health_check_period_s=5,
    health_check_timeout_s=_ALIVE_TIMEOUT_S + 5,
    logging_config={"enable_access_log": False},
    ray_actor_options={"num_cpus": 1},
)
@serve.ingress()
class Embeddings:
    """One replica."""

    def __init__(self, options: Options, contents: Mapping[str, str] | None = None) -> None:
        check_deadline(options.limits.deadline_s, os.environ)
        self._keys = None if options.keys is None else Keys.resolve(options.keys)
        self._engine = Engine(
            # A process that asked Ray for no GPU sees all of its machine's.
            load_students(options, contents=contents, default_device=None if ray.get_gpu_ids() else "cpu"),
            limits=options.limits,
            cache_bytes=options.cache_mb * 1024 * 1024,
            choose=Versions(options.served).choose,
            input_ids=options.input_ids,
        )
        self._api = create_api(self._engine, keys=self._keys)
        # What was loaded stays. A collector that walks through it stops all threads for half a second.
        gc.freeze()
        self._draining = False
        self._work = WorkReport()
        self._metrics = RayMetrics(self._engine.metrics.registry, counter=Counter, gauge=Gauge)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return self._api

    async def check_health(self) -> None:
        """Called by Serve, at first before the replica gets requests: warms the models up, later proves that they still answer."""
        self._metrics.carry()
        if self._keys is not None:
            await asyncio.to_thread(self._keys.renew)
        if not self._draining:
            await self._engine.check_alive(_ALIVE_TIMEOUT_S)

    async def drain(self) -> None:
        """Answer what was asked before, and all else with 503 and a time to come back: before the service ends."""
        self._draining = True
        await asyncio.to_thread(self._engine.close)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Called by Serve for :class:`serve.autoscaling.QueuedWork`."""
        load = self._engine.load()
        computed_s = self._engine.metrics.registry.get_sample_value("embedding_forward_seconds_sum")
        return self._work.since_last(computed_s=computed_s or 0.0, queued_tokens=load.queued_tokens, tokens_per_s=load.tokens_per_s)

    def __del__(self) -> None:
        """Called by Serve when the last request is answered."""
        if engine := getattr(self, "_engine", None):
            engine.close()


def build(options: Options) -> Application:
    """The application, with the students that are there now: a replica that finds others in their place does not start."""
    return _bound(options)


def sized(options: Options, *, replicas: int, gpus: float) -> Application:
    """As :func:`build`, of so many replicas, each with a CPU and so many GPUs."""
    return _bound(options, num_replicas=replicas, ray_actor_options={"num_cpus": 1, "num_gpus": gpus})


def _bound(options: Options, **size: Any) -> Application:
    leaving_s = options.limits.deadline_s + _LEAVING_S
    deployment = Embeddings.options(graceful_shutdown_timeout_s=leaving_s, **size)  # type: ignore[attr-defined]
    return deployment.bind(options, contents_of(options))
