"""The quickstart: everything a cluster and a cloud would give, on this machine, for as long as one run takes.

Starts an S3 server, a provider server and a Ray head on loopback, submits `jobs/distill.py recipes/quickstart.yaml` as one would
to a real cluster, fetches the student and the report, asks the served student once, and stops everything it started.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from mtd_ray import layout
from mtd_ray.config import Recipe, load_recipe
from mtd_ray.errors import MtdError
from mtd_ray.job import run
from mtd_ray.objects import ObjectStore
from mtd_ray.publish import fetch_folder
from mtd_ray.sandbox.memory import PeakMemory
from mtd_ray.sandbox.object_server import ObjectServer
from mtd_ray.sandbox.ports import free_port, is_free
from mtd_ray.sandbox.provider_server import ProviderServer
from mtd_ray.sandbox.ray_cluster import RayCluster

_PROJECT = Path(__file__).resolve().parents[2]
_RECIPE = "recipes/quickstart.yaml"
_STATE = _PROJECT / ".quickstart"
_SERVE_LOG = _STATE / "serve.log"
_OUT = _PROJECT / "out" / "quickstart"
_PROVIDER_KEY = {"SANDBOX_API_KEY": "sandbox-key"}
_SERVE_PORT = 8000
# What `ray job submit` says of itself (packaging, next steps) is not what a first reader needs to see.
_RAYS_OWN_LINE = re.compile(r"\[?\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\s+(INFO|SUCC|WARNING|I \d+ \d+\]) ")
_BODY = '{"input": "Return the index of the first match.", "dimensions": 256}'


def main(overrides: list[str]) -> None:
    """Run the quickstart; ``overrides`` are passed on to the recipe."""
    started = time.monotonic()
    with PeakMemory() as memory, ExitStack() as stack:
        objects = stack.enter_context(ObjectServer(_STATE / "s3"))
        provider = stack.enter_context(ProviderServer(env=_PROVIDER_KEY))
        environment = _PROVIDER_KEY | objects.env | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        overrides = [f"storage.endpoint={objects.endpoint}", f"teachers.use.base_url={provider.base_url}", *overrides]
        cluster = stack.enter_context(RayCluster(num_cpus=3, env=environment))
        _say(f"provider server at {provider.base_url}\nRay head at {cluster.dashboard_url}, token authentication on")
        _submit(cluster, overrides)
        os.environ.update(objects.env)
        _fetch(load_recipe(_PROJECT / _RECIPE, overrides))
        _ask_served_student(cluster)
    _say(f"\ndone in {(time.monotonic() - started) / 60:.1f} minutes, peak memory {memory.gigabytes:.1f} GB, nothing left running")
    _say(f"report     {_OUT / 'report' / 'index.html'}  (also report.md, results.json, scores.png)")
    _say(f"student    {_OUT / 'student'}  (loads with sentence_transformers.SentenceTransformer)")
    _say("serve it   make serve")
    _say(f"ask it     {_curl()}")


def _submit(cluster: RayCluster, overrides: list[str]) -> None:
    ray = str(Path(sys.executable).with_name("ray"))
    command = ["job", "submit", "--address", cluster.dashboard_url, "--working-dir", ".", "--"]
    job = ["python", "jobs/distill.py", _RECIPE, *overrides]
    _say(f"$ ray {' '.join(command + job)}")
    environment = os.environ | cluster.env | {"PYTHONUNBUFFERED": "1"}
    with _child([ray, *command, *job], env=environment, stdout=subprocess.PIPE, text=True) as submitted:
        for line in submitted.stdout or ():
            if not _RAYS_OWN_LINE.match(line):
                sys.stdout.write(line)
                sys.stdout.flush()
        submitted.wait()
    if submitted.returncode != 0:
        raise MtdError("the job failed; what it committed stays in .quickstart, and `make quickstart` continues from there")


def _fetch(recipe: Recipe) -> None:
    store = ObjectStore.open(recipe.storage)
    shutil.rmtree(_OUT, ignore_errors=True)
    fetch_folder(store, layout.run_student(recipe.run_name), _OUT / "student")
    store.download_folder(layout.run_report(recipe.run_name), _OUT / "report")


def _ask_served_student(cluster: RayCluster) -> None:
    port = _SERVE_PORT if is_free(_SERVE_PORT) else free_port()
    with _serving(cluster, port) as url:
        answer = httpx.post(f"{url}/v1/embeddings", content=_BODY, headers={"content-type": "application/json"}, timeout=60)
        answer.raise_for_status()
        vector = answer.json()["data"][0]["embedding"]
        _say(f"\nserved student answered with {len(vector)} numbers: {', '.join(f'{x:.4f}' for x in vector[:4])}, …")


@contextmanager
def _serving(cluster: RayCluster, port: int) -> Iterator[str]:
    command = [sys.executable, "jobs/serve.py", str(_OUT / "student"), "--port", str(port), "--replicas", "1"]
    url = f"http://127.0.0.1:{port}"
    with _SERVE_LOG.open("w") as log, _child(command, env=os.environ | cluster.env, stdout=log) as server:
        _wait_until_healthy(url, server)
        yield url


@contextmanager
def _child(command: list[str], **how: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process in the project's folder, both its outputs in one; asked to end, then made to, when it outlives the block."""
    process = subprocess.Popen(command, cwd=_PROJECT, stderr=subprocess.STDOUT, **how)  # noqa: S603 (our own command)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_healthy(url: str, server: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise MtdError(f"the served student did not become healthy at {url}/health within 120 s; its log is {_SERVE_LOG}")


def _curl() -> str:
    return f"curl -s http://127.0.0.1:{_SERVE_PORT}/v1/embeddings -H 'content-type: application/json' -d '{_BODY}'"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(lambda arguments: main(list(arguments)))
