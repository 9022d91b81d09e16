"""Replicas come, go and die, students change, and nobody who asks notices."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from ray import serve
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient
from sentence_transformers import SentenceTransformer

from mtd_ray.sandbox.ports import free_port
from mtd_ray.sandbox.ray_cluster import RayCluster
from serve.app import Embeddings
from serve.options import Options
from serve.proxy import haproxy
from tests.tiny_export import tiny_export
from tests.tiny_models import sentences

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TEXTS = sentences(50, seed=3)
KEYS = [f"the-key-of-client-{number}" for number in range(20)]
PATIENCE_S = 60.0


class Clients:
    """Ask without a pause, and hold every answer against the vector that the named student gives."""

    def __init__(self, url: str, expected: dict[str, np.ndarray]) -> None:
        self.answered: Counter[str] = Counter()
        self.faults: list[str] = []
        self._url, self._expected = url, expected
        self._over = threading.Event()

    @contextmanager
    def asking(self, clients: int = 4) -> Iterator[None]:
        threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def wait_for(self, count: int) -> None:
        """Until so many more answers have come."""
        wanted, left = self.answered.total() + count, PATIENCE_S
        while self.answered.total() < wanted and left > 0:
            left -= 0.05
            self._over.wait(0.05)
        assert left > 0, f"no {count} answers within {PATIENCE_S:.0f} s; {self.faults[:3]}"

    def _ask(self, number: int) -> None:
        with httpx.Client(timeout=PATIENCE_S, headers=bearer(KEYS[0])) as client:
            while not self._over.is_set():
                index = (self.answered.total() + number) % len(TEXTS)
                try:
                    self._check(client.post(self._url, json={"input": TEXTS[index], "model": "tiny"}), index)
                except httpx.HTTPError as error:
                    self.faults.append(repr(error))

    def _check(self, answer: httpx.Response, index: int) -> None:
        if answer.status_code != 200:
            self.faults.append(f"{answer.status_code} {answer.text}")
            return
        told = answer.json()
        if not np.allclose(told["data"][0]["embedding"], self._expected[told["model"]][index], atol=1e-4):
            self.faults.append(f"not the vector of text {index} by {told['model']}")
        self.answered[told["model"]] += 1


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    scratch = tmp_path_factory.mktemp("scratch")
    return {version: tiny_export(scratch / version, scratch / f"bert-{version}", seed=ord(version)) for version in "AB"}


@pytest.fixture(scope="module")
def expected(students: dict[str, Path]) -> dict[str, np.ndarray]:
    return {f"tiny@{version}": SentenceTransformer(str(at), device="cpu").encode(TEXTS) for version, at in students.items()}


@pytest.fixture(scope="module")
def url(ray_cluster: RayCluster) -> Iterator[str]:
    port = free_port()
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
    yield f"http://127.0.0.1:{port}/v1/embeddings"
    serve.shutdown()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text("\n".join(KEYS))
    return f"file:{file}"


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def deploy(keys: str, replicas: int = 2, **folders: Path) -> None:
    versions = [{"name": version, "folder": str(folder)} for version, folder in folders.items()]
    options = Options.model_validate({"models": [{"name": "tiny", "versions": versions}], "keys": keys})
    application = Embeddings.options(num_replicas=replicas, ray_actor_options={"num_cpus": 0.5}).bind(options)
    serve.run(application, name="embeddings")


def replicas(cluster: RayCluster) -> list[int]:
    """Process ids of those that get requests."""
    details = ServeSubmissionClient(cluster.dashboard_url).get_serve_details()
    deployment = details["applications"]["embeddings"]["deployments"]["embeddings"]
    return [replica["pid"] for replica in deployment["replicas"] if replica["state"] == "RUNNING"]


@pytest.fixture(scope="module")
def first(url: str, keys: str, students: dict[str, Path]) -> None:
    deploy(keys, A=students["A"])


@pytest.mark.usefixtures("first")
def test_who_has_no_key_is_not_answered(url: str) -> None:
    assert httpx.post(url, json={"input": "sum"}).status_code == 401
    assert httpx.post(url, json={"input": "sum"}, headers=bearer("the-key-of-a-stranger")).status_code == 401
    assert httpx.post(url, json={"input": "sum"}, headers=bearer(KEYS[1])).status_code == 200


@pytest.mark.usefixtures("first")
@pytest.mark.skipif(haproxy() is None, reason="Ray's own proxy does not send a request again")
def test_a_killed_replica_fails_no_request(url: str, ray_cluster: RayCluster, expected: dict[str, np.ndarray]) -> None:
    clients = Clients(url, expected)
    with clients.asking():
        clients.wait_for(100)
        before = replicas(ray_cluster)
        psutil.Process(before[0]).kill()
        clients.wait_for(200)
        while len(set(replicas(ray_cluster)) - {before[0]}) < 2:
            clients.wait_for(50)
        clients.wait_for(100)
    assert not clients.faults


@pytest.mark.usefixtures("first")
def test_a_new_student_takes_over_without_a_failed_request(
    url: str, keys: str, students: dict[str, Path], expected: dict[str, np.ndarray]
) -> None:
    clients = Clients(url, expected)
    with clients.asking():
        clients.wait_for(50)
        deploy(keys, B=students["B"])
        deployed = clients.answered.copy()
        clients.wait_for(200)
    assert not clients.faults
    assert deployed["tiny@A"]
    assert clients.answered["tiny@B"] > deployed["tiny@B"]


def test_versions_side_by_side_are_told_apart(
    url: str, keys: str, students: dict[str, Path], expected: dict[str, np.ndarray]
) -> None:
    deploy(keys, replicas=1, **students)

    def ask(key: str, model: str = "tiny") -> str:
        told = httpx.post(url, json={"input": TEXTS[0], "model": model}, headers=bearer(key), timeout=PATIENCE_S).json()
        np.testing.assert_allclose(told["data"][0]["embedding"], expected[told["model"]][0], atol=1e-4)
        return str(told["model"])

    assert [ask(KEYS[0], f"tiny@{version}") for version in "AB"] == ["tiny@A", "tiny@B"]
    given = [{ask(key) for _ in range(3)} for key in KEYS]
    assert all(len(versions) == 1 for versions in given)
    assert set.union(*given) == {"tiny@A", "tiny@B"}
