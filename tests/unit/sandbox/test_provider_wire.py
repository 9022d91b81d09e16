"""Cohere's and Voyage's wire formats over HTTP."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from mtd_ray.sandbox.provider_models import HashModel, count_tokens, cut_text, shortened
from mtd_ray.sandbox.provider_server import ProviderServer

CLIENT = httpx.Client(timeout=30)
KEY = "sandbox-key"
COHERE = {"model": "hash-16", "texts": ["one text", "another"], "input_type": "search_document", "embedding_types": ["base64"]}
VOYAGE = {"model": "hash-16", "input": ["one text", "another"], "input_type": None, "encoding_format": "base64"}
EXPECTED = HashModel(16).embed(["one text", "another"])


@pytest.fixture(scope="module")
def server() -> Iterator[ProviderServer]:
    with ProviderServer(env={"PROVIDER_KEY": KEY}) as server:
        yield server


def cohere(server: ProviderServer, key: str = KEY, **changes: Any) -> httpx.Response:
    return _post(f"{server.cohere_url}/v2/embed", COHERE | changes, key)


def voyage(server: ProviderServer, key: str = KEY, **changes: Any) -> httpx.Response:
    return _post(f"{server.voyage_url}/embeddings", VOYAGE | changes, key)


def unpacked(text: str) -> list[float]:
    return list(np.frombuffer(base64.b64decode(text), "<f4"))


def test_cohere_answers_in_every_encoding_asked_for(server: ProviderServer) -> None:
    answer = cohere(server, embedding_types=["base64", "float"], truncate="NONE").raise_for_status().json()
    np.testing.assert_allclose([unpacked(vector) for vector in answer["embeddings"]["base64"]], EXPECTED, atol=1e-6)
    np.testing.assert_allclose(answer["embeddings"]["float"], EXPECTED, atol=1e-6)
    assert answer["id"]
    assert answer["texts"] == COHERE["texts"]
    assert answer["meta"]["billed_units"] == {"input_tokens": 4}
    (packed, _) = cohere(server, output_dimension=4).json()["embeddings"]["base64"]
    np.testing.assert_allclose(unpacked(packed), shortened(EXPECTED, 4)[0], atol=1e-6)


def test_voyage_answers_in_base64_and_in_numbers(server: ProviderServer) -> None:
    packed = voyage(server, truncation=False).raise_for_status().json()
    plain = voyage(server, encoding_format=None, input_type="query").raise_for_status().json()
    np.testing.assert_allclose([unpacked(item["embedding"]) for item in packed["data"]], EXPECTED, atol=1e-6)
    np.testing.assert_allclose([item["embedding"] for item in plain["data"]], EXPECTED, atol=1e-6)
    assert [item["index"] for item in packed["data"]] == [0, 1]
    assert packed["usage"] == {"total_tokens": 4}
    assert len(unpacked(voyage(server, input="one", output_dimension=4).json()["data"][0]["embedding"])) == 4


@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({"input_type": None}, 400, "input_type"),
        ({"input_type": "document"}, 400, "input_type"),
        ({"texts": ["a"] * 97}, 400, "96"),
        ({"texts": []}, 400, "96"),
        ({"texts": ["a", ""]}, 400, "empty"),
        ({"texts": ["a " * 128_001], "truncate": "NONE"}, 400, "128001"),
        ({"embedding_types": ["hex"]}, 400, "embedding_types"),
        ({"output_dimension": 17}, 400, "17"),
        ({"model": "none"}, 404, "none"),
        ({"key": "other"}, 401, "key"),
    ],
)
def test_what_cohere_refuses(server: ProviderServer, changes: dict[str, Any], status: int, word: str) -> None:
    answer = cohere(server, **changes)
    assert answer.status_code == status
    assert set(answer.json()) == {"message"}
    assert word in answer.json()["message"]


@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({"input_type": "search_query"}, 400, "input_type"),
        ({"input": ["a"] * 1001}, 400, "1000"),
        ({"input": ["a", ""]}, 400, "empty"),
        ({"input": ["a " * 32_001], "truncation": False}, 400, "32001"),
        ({"input": ["a " * 32_000] * 4}, 400, "120000"),
        ({"encoding_format": "float"}, 400, "encoding_format"),
        ({"output_dimension": 17}, 400, "17"),
        ({"model": "none"}, 404, "none"),
        ({"key": "other"}, 401, "key"),
    ],
)
def test_what_voyage_refuses(server: ProviderServer, changes: dict[str, Any], status: int, word: str) -> None:
    answer = voyage(server, **changes)
    assert answer.status_code == status
    assert set(answer.json()) == {"detail"}
    assert word in answer.json()["detail"]


@pytest.mark.parametrize(("truncate", "kept"), [("END", "first"), ("START", "last")])
def test_cohere_cuts_the_end_that_truncate_names(server: ProviderServer, truncate: str, kept: str) -> None:
    text = "first " * 128_000 + "last " * 128_000
    answer = cohere(server, texts=[text], truncate=truncate, embedding_types=["float"]).json()
    np.testing.assert_allclose(answer["embeddings"]["float"], HashModel(16).embed([kept]), atol=1e-3)
    assert answer["meta"]["billed_units"]["input_tokens"] == 128_000


def test_voyage_cuts_the_end_unless_told_not_to(server: ProviderServer) -> None:
    answer = voyage(server, input=["first " * 32_000 + "last " * 32_000], encoding_format=None).json()
    np.testing.assert_allclose(answer["data"][0]["embedding"], HashModel(16).embed(["first"])[0], atol=1e-3)
    assert answer["usage"]["total_tokens"] == 32_000


def test_a_quota_of_inputs_and_each_providers_hints() -> None:
    with ProviderServer(env={"PROVIDER_KEY": KEY}, inputs_per_minute=2) as server:
        first, second = cohere(server), cohere(server)
        assert (first.status_code, second.status_code) == (200, 429)
        assert 50 <= int(second.headers["retry-after"]) <= 60
        assert 50 <= int(second.headers["x-ratelimit-reset"]) - time.time() <= 61
        refused = voyage(server)
        assert refused.status_code == 429
        assert not [name for name in refused.headers if "ratelimit" in name or "retry" in name]
        server.set_quota(requests_per_minute=1000, tokens_per_minute=100_000)
        assert voyage(server).status_code == 200
        ledger = server.ledger()
        assert (ledger["texts"], ledger["tokens"], ledger["refused"]) == (4, 8, {"429": 2})


def test_the_catalogues_models_have_their_sizes_and_their_provider(server: ProviderServer) -> None:
    assert len(unpacked(cohere(server, model="embed-v4.0").json()["embeddings"]["base64"][0])) == 1536
    assert len(unpacked(voyage(server, model="voyage-4", output_dimension=256).json()["data"][0]["embedding"])) == 256
    refused = cohere(server, model="embed-v4.0", output_dimension=300)
    assert (refused.status_code, "1536" in refused.json()["message"]) == (400, True)
    assert voyage(server, model="embed-v4.0").status_code == 404
    assert voyage(server, model="voyage-4-lite", input=["a " * 30_000] * 5).json()["usage"]["total_tokens"] == 150_000


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5])
def test_a_cut_text_has_exactly_the_tokens_allowed(most: int) -> None:
    text = "An internationalisation."
    assert count_tokens(cut_text(text, most, "keep_start")) == most
    assert count_tokens(cut_text(text, most, "keep_end")) == most
    assert cut_text(text, most, "refuse") == text


def _post(url: str, body: dict[str, Any], key: str) -> httpx.Response:
    return CLIENT.post(url, json=body, headers={"authorization": f"Bearer {key}"})
