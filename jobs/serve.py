"""Serve an exported student on 127.0.0.1 behind OpenAI's embeddings API, until Ctrl-C.

Uses the Ray cluster that is running here, or starts one for as long as it serves.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_PROJECT = Path(__file__).resolve().parents[1]
# A script's own folder comes first on the path, where this file would be taken for the package `serve`.
sys.path[0] = str(_PROJECT)

from mtd_ray import job  # noqa: E402
from mtd_ray.errors import MtdError  # noqa: E402
from mtd_ray.sandbox.ports import LOOPBACK, is_free  # noqa: E402
from mtd_ray.sandbox.ray_cluster import RayCluster, connected  # noqa: E402


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("student", help="exported folder, or the s3:// URL of a run")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--name", help="what clients call the model; by default the run's or the folder's name")
    given = parser.parse_args(arguments)
    student = _existing(given.student)
    if not is_free(given.port):
        raise MtdError(f"port {given.port} of {LOOPBACK} is in use; choose another with --port")
    os.chdir(_PROJECT)  # Ray's workers import the package `serve` from the driver's folder
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with _cluster(), _application(student, given.name, given.port) as name:
            _announce(name, given.port)
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


@contextmanager
def _cluster() -> Iterator[None]:
    """The cluster that RAY_ADDRESS or this machine names, else a private one."""
    import ray

    try:
        job.connect()
    except MtdError:
        if "RAY_ADDRESS" in os.environ:
            raise
        with RayCluster(num_cpus=2) as cluster, connected(cluster):
            yield
        return
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _application(student: str, name: str | None, port: int) -> Iterator[str]:
    from ray import serve

    from serve.app import Options, build
    from serve.source import default_name

    if serve.status().proxies:
        raise MtdError("Ray Serve already runs on this cluster: end it with `serve shutdown`, or use `serve deploy`")
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    name = name or default_name(student)
    try:
        serve.start(proxy_location="HeadOnly", http_options={"host": LOOPBACK, "port": port})
        serve.run(build(Options(folder=student, name=name)), name="embeddings")
        signal.signal(signal.SIGTERM, _interrupt)  # connecting to Ray replaces it
        yield name
    except RuntimeError as error:
        raise MtdError(f"{student} cannot be served: {error}") from None
    finally:
        serve.shutdown()


def _announce(name: str, port: int) -> None:
    print(f"serving {name} on http://{LOOPBACK}:{port}/v1; Ctrl-C stops it")
    body = '{"input": "Return the index of the first match."}'
    print(f"curl -s http://{LOOPBACK}:{port}/v1/embeddings -H 'content-type: application/json' -d '{body}'", flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    job.run(main)
