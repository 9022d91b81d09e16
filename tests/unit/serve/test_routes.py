"""The HTTP application without Ray, asked the way clients ask."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sentence_transformers import SentenceTransformer

from serve.engine import Chunk, Engine
from serve.routes import create_api
from serve.schemas import MAX_BODY_BYTES, Vectors


@pytest.fixture(scope="module")
def client(engine: Engine) -> Iterator[TestClient]:
    with TestClient(create_api(engine, engine.embed_one)) as client:
        yield client


def test_answers_are_the_exported_vectors_in_order(client: TestClient, exported: str) -> None:
    texts = ["sort the list", "a", "mean of two numbers given as a string", "read a file"] * 6
    answer = client.post("/v1/embeddings", json={"input": texts}).json()
    served = np.array([row["embedding"] for row in answer["data"]])
    expected = SentenceTransformer(str(exported), device="cpu").encode(texts)
    np.testing.assert_allclose(served, expected, atol=1e-5)
    assert (answer["object"], answer["model"]) == ("list", "tiny")
    assert [row["index"] for row in answer["data"]] == list(range(len(texts)))


def test_lengths_are_one_only_when_asked_for(client: TestClient) -> None:
    def length(**more: object) -> float:
        answer = client.post("/v1/embeddings", json={"input": "sort the list", "dimensions": 16, **more}).json()
        return float(np.linalg.norm(answer["data"][0]["embedding"]))

    assert length() != pytest.approx(1, abs=1e-3)
    assert length(normalize=True) == pytest.approx(1, abs=1e-5)


def test_the_model_says_what_it_can_do(client: TestClient) -> None:
    (model,) = client.get("/v1/models").json()["data"]
    assert (model["id"], model["dimensions"], model["default_dimensions"]) == ("tiny", [16, 48], 48)
    assert client.get("/v1/models/tiny").json() == model
    assert client.get("/v1/models/other").json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/embeddings", b"{", 400),
        ("POST", "/v1/embeddings", b'{"input": ""}', 400),
        ("POST", "/v1/embeddings", b'{"input": "sum", "dimensions": 17}', 400),
        ("POST", "/v1/embeddings", b'{"input": "sum", "model": "other"}', 404),
        ("POST", "/v1/embeddings", b" " * (MAX_BODY_BYTES + 1), 413),
        ("GET", "/v1/embeddings", None, 405),
        ("GET", "/v2", None, 404),
    ],
)
def test_every_refusal_has_openais_shape(client: TestClient, method: str, path: str, content: bytes | None, status: int) -> None:
    answer = client.request(method, path, content=content)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_health_follows_the_model(client: TestClient, engine: Engine) -> None:
    assert client.get("/health").json() == {"status": "ok"}

    async def broken(chunk: Chunk) -> Vectors:
        raise RuntimeError("device lost at 0x7f")

    with TestClient(create_api(engine, broken), raise_server_exceptions=False) as sick:
        assert sick.get("/health").status_code == 503
        failed = sick.post("/v1/embeddings", json={"input": "sum"})
        assert failed.status_code == 500
        assert failed.json()["error"]["type"] == "server_error"
        assert "0x7f" not in failed.text
