"""The HTTP application without Ray, asked the way clients ask."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sentence_transformers import SentenceTransformer

from serve.api.application import create_api
from serve.api.keys import Keys
from serve.engine.engine import Engine
from serve.engine.limits import Limits
from serve.engine.model import ServedModel
from serve.wire.openai import Model
from serve.wire.tei import Info
from tests.tiny_export import HEADS, PROMPTS

TEXTS = ["sort the list", "a", "mean of two numbers given as a string", "read a file"] * 6
KEY = "a-key-of-this-test-0123456789"


@pytest.fixture(scope="module")
def client(engine: Engine) -> Iterator[TestClient]:
    with TestClient(create_api(engine), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def reference(exported: Path) -> SentenceTransformer:
    return SentenceTransformer(str(exported), device="cpu")


def vectors(client: TestClient, **fields: object) -> np.ndarray:
    answer = client.post("/v1/embeddings", json=fields)
    assert answer.status_code == 200, answer.text
    return np.array([row["embedding"] for row in answer.json()["data"]])


def test_answers_are_the_exported_vectors_in_order(client: TestClient, reference: SentenceTransformer) -> None:
    answer = client.post("/v1/embeddings", json={"input": TEXTS}).json()
    served = np.array([row["embedding"] for row in answer["data"]])
    np.testing.assert_allclose(served, reference.encode(TEXTS), atol=1e-5)
    assert (answer["object"], answer["model"]) == ("list", "tiny")
    assert [row["index"] for row in answer["data"]] == list(range(len(TEXTS)))


def test_usage_counts_what_the_model_reads(client: TestClient, reference: SentenceTransformer) -> None:
    usage = client.post("/v1/embeddings", json={"input": TEXTS, "input_type": "query"}).json()["usage"]
    read = sum(len(reference.tokenizer(PROMPTS["query"] + text)["input_ids"]) for text in TEXTS)
    assert usage == {"prompt_tokens": read, "total_tokens": read}


def test_token_ids_are_the_text_they_stand_for(client: TestClient, reference: SentenceTransformer) -> None:
    ids = [reference.tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS[:4]]
    np.testing.assert_allclose(vectors(client, input=ids), vectors(client, input=TEXTS[:4]), atol=1e-5)
    np.testing.assert_allclose(vectors(client, input=ids[0]), vectors(client, input=TEXTS[0]), atol=1e-5)


@pytest.mark.parametrize("fields", [{"input_type": "query"}, {"prompt_name": "query"}])
def test_a_prompt_is_put_before_texts(client: TestClient, fields: dict[str, str]) -> None:
    prompted = [PROMPTS["query"] + text for text in TEXTS[:4]]
    np.testing.assert_allclose(vectors(client, input=TEXTS[:4], **fields), vectors(client, input=prompted), atol=1e-5)


def test_lengths_are_one_only_when_asked_for(client: TestClient) -> None:
    def length(**more: object) -> float:
        return float(np.linalg.norm(vectors(client, input="sort the list", dimensions=16, **more)))

    assert length() != pytest.approx(1, abs=1e-3)
    assert length(normalize=True) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("dtype", "numpy_type"), [("float", "<f4"), ("int8", "i1"), ("uint8", "u1"), ("binary", "i1"), ("ubinary", "u1")]
)
def test_every_type_comes_as_numbers_and_as_bytes(client: TestClient, dtype: str, numpy_type: str) -> None:
    plain = vectors(client, input=TEXTS[:2], output_dtype=dtype)
    packed = vectors(client, input=TEXTS[:2], output_dtype=dtype, encoding_format="base64")
    assert plain.shape == (2, HEADS[-1] // 8 if "binary" in dtype else HEADS[-1])
    np.testing.assert_allclose([np.frombuffer(base64.b64decode(row), numpy_type) for row in packed], plain, rtol=1e-6)


def test_the_model_says_what_it_can_do(client: TestClient) -> None:
    (model,) = client.get("/v1/models").json()["data"]
    told = Model.model_validate(model)
    assert (told.id, told.dimensions, told.default_dimensions, told.prompts) == ("tiny", [16, 48], 48, ["query"])
    assert client.get("/v1/models/tiny").json() == model
    assert client.get("/v1/models/other").json()["error"]["code"] == "model_not_found"
    assert client.get("/v1/models/an/owner's").status_code == 404


def test_every_version_is_described_and_named_in_its_answers(exported: Path, tiny: ServedModel) -> None:
    other = ServedModel.load(exported, name="tiny", device="cpu", batch_tokens=64)
    engine = Engine({"tiny@é": tiny, "tiny@2": other}, limits=Limits())
    with TestClient(create_api(engine)) as client:
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["tiny", "tiny@é", "tiny@2"]
        assert client.get("/v1/models/tiny@2").json()["dimensions"] == [16, 48]
        asked = client.post("/v1/embeddings", json={"input": "sum", "model": "tiny@2"})
        assert asked.headers["x-model"] == asked.json()["model"] == "tiny@2"
        assert client.post("/embed", json={"inputs": "sum"}).headers["x-model"] == "tiny@%C3%A9"
    engine.close()


def test_text_embeddings_inference_s_routes_answer_its_clients(client: TestClient, reference: SentenceTransformer) -> None:
    answer = client.post("/embed", json={"inputs": TEXTS, "truncate": True, "truncation_direction": "right"})
    np.testing.assert_allclose(answer.json(), reference.encode(TEXTS, normalize_embeddings=True), atol=1e-5)
    raw = client.post("/embed", json={"inputs": "sort the list", "normalize": False, "dimensions": 16, "prompt_name": "query"})
    np.testing.assert_allclose(raw.json(), vectors(client, input="sort the list", dimensions=16, input_type="query"), atol=1e-6)
    info = Info.model_validate(client.get("/info").json())
    assert (info.max_input_length, info.model_dtype) == (32, "float32")


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/embeddings", b"{", 400),
        ("POST", "/v1/embeddings", b'{"input": ""}', 400),
        ("POST", "/v1/embeddings", b'{"input": []}', 400),
        ("POST", "/v1/embeddings", b'{"input": [[]]}', 400),
        ("POST", "/v1/embeddings", b'{"input": [9999999]}', 400),
        ("POST", "/v1/embeddings", b'{"input": "sum", "dimensions": 17}', 400),
        ("POST", "/v1/embeddings", b'{"input": "sum", "dimensions": -9223372036854775808}', 400),
        ("POST", "/v1/embeddings", b'{"input": "' + b"sum " * 40 + b'"}', 400),
        ("POST", "/v1/embeddings", b'{"input": "sum", "model": "other"}', 404),
        ("POST", "/v1/embeddings", b" " * (Limits().max_body_bytes + 1), 413),
        ("GET", "/v1/embeddings", None, 405),
        ("POST", "/v1/embeddings/", b'{"input": "sum"}', 404),
        ("GET", "/v2", None, 404),
        ("GET", "/v1/models/%ff%00", None, 404),
    ],
)
def test_every_refusal_has_openais_shape(client: TestClient, method: str, path: str, content: bytes | None, status: int) -> None:
    answer = client.request(method, path, content=content)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"{", 422, "JSON"),
        (b'{"inputs": "sum", "dimensions": 17}', 413, "16, 48"),
        (b'{"input": "sum"}', 422, "known fields: inputs"),
        (b'{"inputs": []}', 400, "list of texts is empty"),
        (b'{"inputs": ["sum", ""]}', 400, "input 1 is an empty text"),
        (b'{"inputs": [[9999999]]}', 422, "vocabulary"),
        (b'{"inputs": "' + b"sum " * 40 + b'"}', 413, "32"),
        (b'{"inputs": "sum", "truncate": true, "truncation_direction": "left"}', 413, "right"),
    ],
)
def test_every_refusal_of_embed_has_its_own_shape(client: TestClient, content: bytes, status: int, said: str) -> None:
    answer = client.post("/embed", content=content)
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "error_type"}
    assert said in answer.json()["error"]


def test_an_unknown_size_is_told_the_known_ones(client: TestClient) -> None:
    fault = client.post("/v1/embeddings", json={"input": "sum", "dimensions": 17}).json()["error"]
    assert fault["param"] == "dimensions"
    assert "16, 48" in fault["message"]


def test_metrics_count_what_was_answered(client: TestClient) -> None:
    vectors(client, input="sum")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'embedding_requests_total{outcome="ok"}' in answer.text


@pytest.mark.parametrize("content", [b"{", b'{"input": "sum", "dimensions": 17}'])
def test_metrics_count_each_refusal_once(client: TestClient, engine: Engine, content: bytes) -> None:
    def refused() -> float:
        return engine.metrics.registry.get_sample_value("embedding_requests_total", {"outcome": "invalid"}) or 0

    before = refused()
    client.post("/v1/embeddings", content=content)
    assert refused() == before + 1


def test_with_keys_only_health_metrics_and_the_description_are_open(engine: Engine) -> None:
    with TestClient(create_api(engine, keys=Keys([KEY]))) as client:
        for path in ("/health", "/metrics", "/openapi.json", "/docs"):
            assert client.get(path).status_code == 200
        for path in ("/v1/models", "/v1/models/tiny"):
            refused = client.get(path)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
            assert refused.headers["www-authenticate"] == "Bearer"
            assert client.get(path, headers={"api-key": KEY}).status_code == 200
        assert set(client.get("/info").json()) == {"error", "error_type"}
        assert client.post("/embed", json={"inputs": "sum"}).status_code == 401
        assert client.post("/v1/embeddings", json={"input": "sum"}).status_code == 401
        let_in = client.post("/v1/embeddings", json={"input": "sum"}, headers={"authorization": f"Bearer {KEY}"})
        assert let_in.status_code == 200


def test_a_full_queue_refuses_before_the_body_and_says_when_to_come_back(exported: Path) -> None:
    engine = Engine({"tiny": ServedModel.load(exported, name="tiny", device="cpu")}, limits=Limits(max_queued_tokens=1))
    with TestClient(create_api(engine)) as client, ThreadPoolExecutor(1) as pool:
        many = pool.submit(client.post, "/v1/embeddings", json={"input": ["sort the list " * 6] * 2_000})
        answers = [client.post("/v1/embeddings", content=b"not even JSON")]
        while not many.done():
            answers.append(client.post("/v1/embeddings", content=b"not even JSON"))
    engine.close()
    assert many.result().status_code == 200
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} - {400} == {429}
    assert refused[0].json()["error"]["type"] == "rate_limit_error"
    assert int(refused[0].headers["retry-after"]) >= 1


def test_health_follows_the_model_and_failures_tell_nothing(exported: Path) -> None:
    model = ServedModel.load(exported, name="tiny", device="cpu")
    engine = Engine({"tiny": model}, limits=Limits())
    with TestClient(create_api(engine), raise_server_exceptions=False) as client:
        assert client.get("/health").json() == {"status": "ok"}
        engine.close()
        sick = client.get("/health")
        assert (sick.status_code, sick.json()["error"]["type"]) == (503, "server_error")
        assert client.post("/v1/embeddings", json={"input": "sum"}).status_code == 503
        assert client.post("/embed", json={"inputs": "sum"}).json()["error_type"] == "Unhealthy"


@pytest.mark.parametrize(("path", "field", "status"), [("/v1/embeddings", "input", 500), ("/embed", "inputs", 424)])
def test_a_bug_is_answered_without_its_secrets(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, path: str, field: str, status: int
) -> None:
    async def broken(question: object, **more: object) -> None:
        raise RuntimeError("device lost at 0x7f")

    monkeypatch.setattr(engine, "answer", broken)
    with TestClient(create_api(engine)) as client:
        before = engine.metrics.registry.get_sample_value("embedding_requests_total", {"outcome": "failed"}) or 0
        failed = client.post(path, json={field: "sum"})
    assert failed.status_code == status
    assert "0x7f" not in failed.text
    assert engine.metrics.registry.get_sample_value("embedding_requests_total", {"outcome": "failed"}) == before + 1


def test_a_large_body_is_read_beside_the_event_loop(client: TestClient) -> None:
    texts = ["sort the list " * 30] * 700
    assert len(vectors(client, input=texts, truncate=True)) == 700
    assert client.post("/v1/embeddings", json={"input": texts, "other": 1}).status_code == 400


def test_a_model_s_default_prompt_stands_before_texts_for_which_none_is_chosen(exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "prompted"))
    about = folder / "config_sentence_transformers.json"
    prompts = PROMPTS | {"plain": ""}
    about.write_text(json.dumps(json.loads(about.read_text()) | {"prompts": prompts, "default_prompt_name": "query"}))
    engine = Engine({"tiny": ServedModel.load(folder, name="tiny", device="cpu")}, limits=Limits())
    reference = SentenceTransformer(str(folder), device="cpu")
    with TestClient(create_api(engine)) as client:
        np.testing.assert_allclose(vectors(client, input=TEXTS), reference.encode(TEXTS), atol=1e-5)
        plain = reference.encode(TEXTS, prompt_name="plain")
        np.testing.assert_allclose(vectors(client, input=TEXTS, prompt_name="plain"), plain, atol=1e-5)
        refused = client.post("/v1/embeddings", json={"input": "sum", "prompt_name": "other"})
        assert refused.status_code == 400
    engine.close()


def test_the_description_s_examples_are_answered(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path in ("/v1/embeddings", "/embed"):
        for example in paths[path]["post"]["requestBody"]["content"]["application/json"]["examples"].values():
            assert client.post(path, json=example["value"]).status_code == 200, example
    described = {path for path in paths if "{" not in path and "get" in paths[path]}
    assert "token ids" in paths["/v1/embeddings"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert described == {"/v1/models", "/info", "/health", "/metrics"}
    told = {path: json.dumps(paths[path]) for path in paths}
    assert all('"429"' in told[path] and '"Retry-After"' in told[path] for path in ("/v1/embeddings", "/embed"))
