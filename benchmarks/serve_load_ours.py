"""Serves a model folder on 127.0.0.1 until it is told to end: our contender in ``serve_load.py``.

    python benchmarks/serve_load_ours.py MODEL PORT MODE REPLICAS THREADS

MODE is ``haproxy`` or ``ray-proxy``: a private cluster and what stands before its replicas; or ``uvicorn``: the same application
without Ray, to see what Ray costs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

_PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_PROJECT))

from mtd_ray.sandbox.ports import LOOPBACK  # noqa: E402
from mtd_ray.sandbox.ray_cluster import RayCluster, connected  # noqa: E402


@dataclass(frozen=True)
class Served:
    """What is served where, by how many replicas of how many threads."""

    model: str
    port: int
    replicas: int
    threads: int


def on_ray(served: Served, variables: AbstractContextManager[Mapping[str, str]]) -> None:
    """On a private cluster whose nodes have these variables. Ray gives a replica as many threads as CPUs."""
    from ray import serve

    from serve.app import Embeddings
    from serve.options import Options

    with variables as env, RayCluster(num_cpus=2, env=env) as cluster, connected(cluster):
        serve.start(proxy_location="HeadOnly", http_options={"host": LOOPBACK, "port": served.port})
        sized = Embeddings.options(num_replicas=served.replicas, ray_actor_options={"num_cpus": served.threads})
        serve.run(sized.bind(Options(folder=served.model, name="measured")), name="embeddings")
        signal.signal(signal.SIGTERM, _interrupt)  # connecting to Ray replaces it
        try:
            threading.Event().wait()
        finally:
            serve.shutdown()


def behind_haproxy(served: Served) -> None:
    from serve.proxy import private_variables

    on_ray(served, private_variables())


def behind_ray_proxy(served: Served) -> None:
    from serve.proxy import variables

    on_ray(served, nullcontext({name: value for name, value in variables().items() if name != "RAY_SERVE_ENABLE_HA_PROXY"}))


def without_ray(served: Served) -> None:
    import torch
    import uvicorn

    from serve.api.application import create_api
    from serve.engine.engine import Engine
    from serve.engine.limits import Limits
    from serve.engine.model import ServedModel

    torch.set_num_threads(served.threads)
    engine = Engine({"measured": ServedModel.load(served.model, name="measured", device="cpu")}, limits=Limits())
    uvicorn.run(create_api(engine), host=LOOPBACK, port=served.port, log_level="warning", access_log=False)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


MODES = {"haproxy": behind_haproxy, "ray-proxy": behind_ray_proxy, "uvicorn": without_ray}

if __name__ == "__main__":
    os.chdir(_PROJECT)  # Ray's workers import the package `serve` from the driver's folder
    signal.signal(signal.SIGTERM, _interrupt)
    with contextlib.suppress(KeyboardInterrupt):
        folder, port, mode, replicas, threads = sys.argv[1:]
        MODES[mode](Served(folder, int(port), int(replicas), int(threads)))
