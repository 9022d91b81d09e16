"""``serve/config.yaml`` as a user deploys it, with replicas that follow the load."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from ray import serve
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

from mtd_ray.sandbox.ports import free_port
from mtd_ray.sandbox.ray_cluster import RayCluster
from tests.tiny_export import tiny_export
from tests.tiny_models import sentences

pytestmark = [pytest.mark.ray, pytest.mark.slow]

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_S = 90.0
# What config.yaml does within minutes, at another scale.
QUICK = {
    "min_replicas": 1,
    "max_replicas": 2,
    "metrics_interval_s": 0.5,
    "look_back_period_s": 2,
    "upscale_delay_s": 1,
    "downscale_delay_s": 2,
}


@pytest.fixture
def url(ray_cluster: RayCluster, tmp_path: Path) -> Iterator[str]:
    """The deployed service."""
    config = yaml.safe_load((PROJECT / "serve" / "config.yaml").read_text())
    config["http_options"]["port"] = free_port()
    (application,) = config["applications"]
    application["args"]["models"][0]["folder"] = str(tiny_export(tmp_path / "tiny", tmp_path / "bert"))
    autoscaling = application["deployments"][0]["autoscaling_config"]
    autoscaling |= QUICK
    autoscaling["policy"]["policy_kwargs"]["target_busy"] = 0.05
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    command = [str(Path(sys.executable).with_name("serve")), "deploy", str(file), "--address", ray_cluster.dashboard_url]
    subprocess.run(command, cwd=PROJECT, env=os.environ | ray_cluster.env, check=True, timeout=60)
    yield f"http://127.0.0.1:{config['http_options']['port']}/v1"
    serve.shutdown()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@contextmanager
def asked(url: str) -> Iterator[list[int]]:
    """Some clients ask without a pause; the statuses of their answers."""
    over, statuses = threading.Event(), list[int]()
    texts = sentences(100)

    def ask() -> None:
        while not over.is_set():
            statuses.append(httpx.post(f"{url}/embeddings", json={"input": texts}, timeout=60).status_code)

    clients = [threading.Thread(target=ask) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        yield statuses
    finally:
        over.set()
        for client in clients:
            client.join()


def test_the_deployed_service_has_as_many_replicas_as_its_load_needs(url: str, ray_cluster: RayCluster) -> None:
    dashboard = ServeSubmissionClient(ray_cluster.dashboard_url)

    def deployment() -> dict[str, Any]:
        deployments = dashboard.get_serve_details()["applications"]["embeddings"]["deployments"]
        return dict(deployments.get("embeddings", {"status": None, "replicas": []}))

    def running() -> int:
        return sum(replica["state"] == "RUNNING" for replica in deployment()["replicas"])

    until(lambda: deployment()["status"] == "HEALTHY" and httpx.get(f"{url}/models").status_code == 200)
    assert [model["id"] for model in httpx.get(f"{url}/models").json()["data"]] == ["student"]
    assert running() == 1
    with asked(url) as statuses:
        until(lambda: running() == 2)
    until(lambda: running() == 1)
    assert set(statuses) == {200}
