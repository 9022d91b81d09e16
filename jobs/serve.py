"""Serve an exported student on 127.0.0.1 behind OpenAI's embeddings API, until Ctrl-C or SIGTERM.

Uses the Ray cluster that is running here, or starts one for as long as it serves. Before it ends, requests that it has taken are
answered, and others are told to come back; a second signal ends it at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

_PROJECT = Path(__file__).resolve().parents[1]
# A script's own folder comes first on the path, where this file would be taken for the package `serve`.
sys.path[0] = str(_PROJECT)

from mtd_ray import job  # noqa: E402
from mtd_ray.errors import MtdError  # noqa: E402
from mtd_ray.sandbox.ports import LOOPBACK, is_free  # noqa: E402
from mtd_ray.sandbox.ray_cluster import RayCluster, connected  # noqa: E402

if TYPE_CHECKING:
    from serve.options import Options

_APPLICATION = "embeddings"
_DRAIN_S = 60.0
_MOST_REPLICAS = 4  # each holds the model


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("student", help="exported folder, or the s3:// URL of a run")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--name", help="what clients call the model; by default the run's or the folder's name")
    parser.add_argument("--keys", help="where the API keys are, one a line: env:NAME, file:/path or aws-sm:ARN#KEY")
    parser.add_argument("--replicas", type=int, metavar="N", help="default: one per GPU or, without any, per free CPU, at most 4")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], help="of the forward pass (default float32)")
    parser.add_argument("--backend", choices=["torch", "openvino-int8"], help="openvino-int8: 8 bits, on CPUs")
    parser.add_argument(
        "--cache-mb", type=int, default=0, metavar="MB", help="of each replica, for vectors of texts that come again"
    )
    given = parser.parse_args(arguments)
    student = _existing(given.student)
    if given.replicas is not None and given.replicas < 1:
        raise MtdError("--replicas is at least 1")
    if not is_free(given.port):
        raise MtdError(f"port {given.port} of {LOOPBACK} is in use; choose another with --port")
    os.chdir(_PROJECT)  # Ray's workers import the package `serve` from the driver's folder
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        options = _options(student, given)
        with _cluster(), _application(options, given.port, given.replicas) as name:
            _announce(name, given.port, with_key=given.keys is not None)
            threading.Event().wait()
    except KeyboardInterrupt:
        print("stopped")


def _existing(student: str) -> str:
    if student.startswith("s3://"):
        return student
    folder = Path(student).expanduser().absolute()
    if not (folder / "modules.json").is_file():
        raise MtdError(f"{folder} is not an exported student: it has no modules.json (the quickstart's is out/quickstart/student)")
    return str(folder)


def _options(student: str, given: argparse.Namespace) -> Options:
    from pydantic import ValidationError

    from serve.options import Options

    try:
        return Options(
            folder=student, name=given.name, keys=given.keys, dtype=given.dtype, backend=given.backend, cache_mb=given.cache_mb
        )
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise MtdError(faults) from None


@contextmanager
def _cluster() -> Iterator[None]:
    """The cluster that RAY_ADDRESS or this machine names, else a private one."""
    import ray

    try:
        job.connect()
    except MtdError:
        if "RAY_ADDRESS" in os.environ:
            raise
        from serve.proxy import private_variables

        cpus = os.cpu_count() or 1
        with private_variables() as variables, RayCluster(num_cpus=cpus, env=variables) as cluster, connected(cluster):
            yield
        return
    try:
        yield
    finally:
        ray.shutdown()


def _replicas(options: Options, wanted: int | None) -> tuple[int, float]:
    """How many, and the GPUs of each: what is free in the cluster, unless told."""
    import ray

    free = ray.available_resources()
    (model,) = options.served
    if free.get("GPU", 0) >= 1 and model.backend == "torch":
        return wanted or int(free["GPU"]), 1.0
    return wanted or max(1, min(_MOST_REPLICAS, int(free.get("CPU", 1)), os.cpu_count() or 1)), 0.0


@contextmanager
def _application(options: Options, port: int, wanted: int | None) -> Iterator[str]:
    from ray import serve
    from ray.exceptions import RayError

    from serve.app import sized
    from serve.proxy import KEEP_ALIVE_S

    if serve.status().proxies:
        raise MtdError("Ray Serve already runs on this cluster: end it with `serve shutdown`, or use `serve deploy`")
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    (model,) = options.served
    try:
        serve.start(proxy_location="HeadOnly", http_options={"host": LOOPBACK, "port": port, "keep_alive_timeout_s": KEEP_ALIVE_S})
        replicas, gpus = _replicas(options, wanted)
        running = serve.run(sized(options, replicas=replicas, gpus=gpus), name=_APPLICATION)
        signal.signal(signal.SIGTERM, _interrupt)  # connecting to Ray replaces it
        try:
            yield model.called
        finally:
            with suppress(RayError, TimeoutError):  # a replica that is gone has nothing to answer
                running.broadcast("drain").results(timeout_s=_DRAIN_S)
            serve.delete(_APPLICATION)  # returns when the last answer is sent
    except (RuntimeError, RayError) as error:
        raise MtdError(f"{options.folder} cannot be served: {error}") from None
    finally:
        serve.shutdown()


def _announce(name: str, port: int, *, with_key: bool) -> None:
    print(f"serving {name} on http://{LOOPBACK}:{port}/v1; Ctrl-C stops it")
    body = '{"input": "Return the index of the first match."}'
    key = "-H 'authorization: Bearer KEY' " if with_key else ""
    print(f"curl -s http://{LOOPBACK}:{port}/v1/embeddings {key}-H 'content-type: application/json' -d '{body}'", flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    job.run(main)
