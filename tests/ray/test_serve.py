"""The student served by Ray, asked with OpenAI's own client and with curl."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import psutil
import pytest
import ray
import yaml
from ray import serve
from ray.serve.schema import ServeDeploySchema
from sentence_transformers import SentenceTransformer

from mtd_ray.encoder import StudentEncoder
from mtd_ray.objects import ObjectStore
from mtd_ray.publish import publish_folder
from mtd_ray.sandbox.object_server import ObjectServer
from mtd_ray.sandbox.ports import free_port
from mtd_ray.sandbox.ray_cluster import RayCluster
from serve.app import build
from serve.engine.limits import Limits
from serve.options import Options
from serve.proxy import haproxy
from tests.tiny_export import HEADS, tiny_export
from tests.tiny_models import sentences

pytestmark = [pytest.mark.ray, pytest.mark.slow]

PROJECT = Path(__file__).resolve().parents[2]
REPLICA_PORTS = range(30_000, 31_000)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_export(tmp_path_factory.mktemp("export") / "tiny", tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def url(ray_cluster: RayCluster, object_server: ObjectServer, exported: Path) -> Iterator[str]:
    """The served student, fetched from S3 by its run's URL."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in object_server.env.items():
            patch.setenv(name, value)
        store = ObjectStore("s3://mtd-ray/served")
        publish_folder(store, exported, "runs/tiny/student")
    port = free_port()
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
    limits = Limits(max_queued_tokens=12_000)
    serve.run(build(Options(folder=f"{store.url}/runs/tiny", batch_tokens=256, limits=limits)), name="embeddings")
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_served_vectors_are_the_exported_ones(client: openai.OpenAI, exported: Path) -> None:
    texts = sentences(40)
    answer = client.embeddings.create(model="tiny", input=texts)  # this client asks for base64
    expected = SentenceTransformer(str(exported), device="cpu").encode(texts)
    np.testing.assert_allclose([row.embedding for row in answer.data], expected, atol=1e-4)
    assert answer.usage.prompt_tokens > 2 * len(texts)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("form", ["float", "base64"])
def test_every_size_and_form(client: openai.OpenAI, exported: Path, head: int, form: str) -> None:
    texts = sentences(3)
    answer = client.embeddings.create(model="tiny", input=texts, dimensions=head, encoding_format=form)  # type: ignore[call-overload]
    rows: list[Any] = [row.embedding for row in answer.data]
    if form == "base64":  # this client decodes only what it asked for by itself
        rows = [np.frombuffer(base64.b64decode(row), "<f4") for row in rows]
    expected = StudentEncoder.load(exported, device="cpu").encode(texts, heads=[head])[head]
    np.testing.assert_allclose(rows, expected, atol=1e-4)


def test_an_unknown_size_is_a_bad_request_that_lists_the_known(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=", ".join(map(str, HEADS))) as refusal:
        client.embeddings.create(model="tiny", input="sum", dimensions=17)
    assert refusal.value.param == "dimensions"


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="tiny"):
        client.embeddings.create(model="other", input="sum")
    assert [model.id for model in client.models.list()] == ["tiny"]


def test_many_clients_at_once_each_get_their_own_vectors(client: openai.OpenAI, exported: Path) -> None:
    texts = sentences(120, seed=5)
    with ThreadPoolExecutor(24) as pool:
        served = list(pool.map(lambda text: client.embeddings.create(model="tiny", input=text).data[0].embedding, texts))
    expected = SentenceTransformer(str(exported), device="cpu").encode(texts)
    np.testing.assert_allclose(served, expected, atol=1e-4)


def test_a_request_larger_than_a_batch_is_answered_whole(client: openai.OpenAI, exported: Path) -> None:
    texts = sentences(200, seed=6)
    answer = client.embeddings.create(model="tiny", input=texts)
    assert answer.usage.total_tokens > 4 * 256
    expected = SentenceTransformer(str(exported), device="cpu").encode(texts)
    np.testing.assert_allclose([row.embedding for row in answer.data], expected, atol=1e-4)


def test_a_body_larger_than_the_proxys_buffers_is_answered(client: openai.OpenAI) -> None:
    text = "sum " * 800_000
    assert len(client.embeddings.create(model="tiny", input=text, extra_body={"truncate": True}).data) == 1


def test_more_than_can_wait_is_told_when_to_come_back(url: str) -> None:
    """The engine answers, as it knows the work that waits; Serve, which counts requests, lets all of them through."""

    def ask(number: int) -> httpx.Response:
        return httpx.post(f"{url}/v1/embeddings", json={"input": sentences(500, seed=number)}, timeout=60)

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(ask, range(48)))
    assert {answer.status_code for answer in answers} == {200, 429}
    for answer in answers:
        if answer.status_code == 429:
            assert answer.json()["error"]["type"] == "rate_limit_error"
            assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl(url: str) -> None:
    body = '{"input": "sum", "dimensions": 16}'
    command = ["curl", "-s", f"{url}/v1/embeddings", "-H", "content-type: application/json", "-d", body]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert len(answer["data"][0]["embedding"]) == 16
    assert httpx.get(f"{url}/health").status_code == 200


@pytest.mark.skipif(haproxy() is None, reason="needs HAProxy")
def test_what_is_served_on_one_machine_is_open_on_loopback_alone(url: str, ray_cluster: RayCluster) -> None:
    open_at = [
        connection.laddr
        for process in ray_cluster.processes()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and (process.name() == "haproxy" or connection.laddr.port in REPLICA_PORTS)
    ]
    assert {address.ip for address in open_at} == {"127.0.0.1"}
    assert {int(url.rpartition(":")[2])} < {address.port for address in open_at} - set(REPLICA_PORTS)
    assert {address.port for address in open_at} & set(REPLICA_PORTS)


def test_rays_metrics_tell_of_the_engine(url: str) -> None:
    (node,) = [node for node in ray.nodes() if node["Alive"]]
    metrics = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    deadline = time.monotonic() + 60
    while "ray_embedding_requests_total{" not in (text := httpx.get(metrics, timeout=30).text):
        assert time.monotonic() < deadline
        time.sleep(1)
    (line, *_) = [line for line in text.splitlines() if line.startswith("ray_embedding_requests_total{") and 'outcome="ok"' in line]
    assert 'application="embeddings"' in line
    assert "replica=" in line


def test_the_deploy_file_matches_the_application() -> None:
    config = ServeDeploySchema.model_validate(yaml.safe_load((PROJECT / "serve" / "config.yaml").read_text()))
    (application,) = config.applications
    built = build(Options.model_validate(application.args))
    (deployment,) = application.deployments
    assert deployment.name == built._bound_deployment.name
    assert config.http_options.host == "127.0.0.1"
    autoscaling = built._bound_deployment.options(autoscaling_config=deployment.autoscaling_config, num_replicas=None)
    policy = autoscaling._deployment_config.autoscaling_config.policy
    assert callable(policy.get_policy()(**policy.policy_kwargs))
