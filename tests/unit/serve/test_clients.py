"""The API over real HTTP, asked by the clients that people have.

LangChain's and LlamaIndex's packages are not among this project's: their tests run where they are installed
(``pip install -c constraints.txt langchain-openai llama-index-embeddings-openai-like``).
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import tiktoken
import uvicorn

from mtd_ray.encoder import StudentEncoder
from serve.api.application import create_api
from serve.api.keys import Keys
from serve.engine.engine import Engine
from serve.engine.input_ids import Meaning
from serve.engine.limits import Limits
from serve.engine.model import ServedModel
from tests.tiny_export import DEFAULT_HEAD, HEADS, PROMPTS

TEXTS = ["sort the list", "a", "mean of two numbers given as a string", "read a file"]
KEY = "a-key-of-this-test-0123456789"


@contextmanager
def served(tiny: ServedModel, input_ids: Meaning = "own") -> Iterator[str]:
    """The base URL of a server that asks for :data:`KEY`."""
    engine = Engine({"tiny": tiny}, limits=Limits(), input_ids=input_ids)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_api(engine, keys=Keys([KEY])), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            thread.join(10)
            engine.close()


@pytest.fixture(scope="module")
def url(tiny: ServedModel) -> Iterator[str]:
    with served(tiny) as url:
        yield url


@pytest.fixture(scope="module")
def reference(exported: Path) -> StudentEncoder:
    return StudentEncoder.load(exported, device="cpu")


def expected(reference: StudentEncoder, texts: list[str], size: int = DEFAULT_HEAD, prompt: str = "") -> np.ndarray:
    return reference.encode(texts, heads=[size], prompt=prompt)[size]


def assert_same(vectors: Any, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(np.array(vectors, np.float32), wanted, atol=1e-5)


@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
def test_openai(url: str, reference: StudentEncoder, encoding: dict[str, Any]) -> None:
    client = openai.OpenAI(base_url=url, api_key=KEY)
    answer = client.embeddings.create(model="tiny", input=TEXTS, dimensions=HEADS[0], **encoding)
    vectors = [row.embedding for row in answer.data]
    if encoding == {"encoding_format": "base64"}:  # asked for by name, it is given as it came
        vectors = [np.frombuffer(base64.b64decode(row), "<f4") for row in vectors]
    assert_same(vectors, expected(reference, TEXTS, HEADS[0]))
    assert answer.usage.total_tokens == sum(reference.count_tokens(TEXTS))
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").id == "tiny"


def test_openai_with_what_this_server_adds(url: str, reference: StudentEncoder) -> None:
    client = openai.OpenAI(base_url=url, api_key=KEY)
    extra = {"input_type": "query", "truncate": True}
    answer = client.embeddings.create(model="tiny", input=[*TEXTS, "list " * 100], extra_body=extra)
    assert_same([row.embedding for row in answer.data], expected(reference, [*TEXTS, "list " * 100], prompt=PROMPTS["query"]))


def test_openai_with_numbers_of_another_type(url: str, reference: StudentEncoder) -> None:
    client = openai.OpenAI(base_url=url, api_key=KEY)
    extra = {"output_dtype": "int8"}
    answer = client.embeddings.create(model="tiny", input=TEXTS, encoding_format="float", extra_body=extra)
    vectors = expected(reference, TEXTS)
    codes = np.array([row.embedding for row in answer.data])
    np.testing.assert_array_equal(codes, np.round(vectors / np.abs(vectors).max(axis=1, keepdims=True) * 127))


def test_openai_asynchronously(url: str, reference: StudentEncoder) -> None:
    async def ask() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=url, api_key=KEY) as client:
            return await asyncio.gather(*(client.embeddings.create(model="tiny", input=text) for text in TEXTS * 4))

    assert_same([answer.data[0].embedding for answer in asyncio.run(ask())], expected(reference, TEXTS * 4))


def test_openai_is_told_what_is_wrong(url: str) -> None:
    client = openai.OpenAI(base_url=url, api_key=KEY)
    with pytest.raises(openai.BadRequestError, match="no vectors of 17 dimensions; it has 16, 48"):
        client.embeddings.create(model="tiny", input="a", dimensions=17)
    with pytest.raises(openai.NotFoundError, match="this server has 'tiny'"):
        client.embeddings.create(model="small", input="a")
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=url, api_key="another").embeddings.create(model="tiny", input="a")


def test_curl(url: str, reference: StudentEncoder) -> None:
    head = ["curl", "-sS", "-H", "content-type: application/json", "-H", f"authorization: Bearer {KEY}"]

    def ask(address: str, body: dict[str, Any]) -> Any:
        done = subprocess.run([*head, address, "-d", json.dumps(body)], capture_output=True, check=True, timeout=30)
        return json.loads(done.stdout)

    (row,) = ask(f"{url}/embeddings", {"input": TEXTS[0]})["data"]
    assert_same([row["embedding"]], expected(reference, TEXTS[:1]))
    unit = expected(reference, TEXTS) / np.linalg.norm(expected(reference, TEXTS), axis=1, keepdims=True)
    assert_same(ask(f"{url.removesuffix('/v1')}/embed", {"inputs": TEXTS, "normalize": True}), unit)


def test_langchain(url: str, reference: StudentEncoder) -> None:
    embeddings = pytest.importorskip("langchain_openai").OpenAIEmbeddings
    client = embeddings(model="tiny", base_url=url, api_key=KEY, check_embedding_ctx_length=False, dimensions=HEADS[0])
    assert_same(client.embed_documents(TEXTS), expected(reference, TEXTS, HEADS[0]))
    assert_same(asyncio.run(client.aembed_documents(TEXTS)), expected(reference, TEXTS, HEADS[0]))
    queries = embeddings(
        model="tiny",
        base_url=url,
        api_key=KEY,
        check_embedding_ctx_length=False,
        model_kwargs={"extra_body": {"input_type": "query", "truncate": True}},
    )
    assert_same([queries.embed_query("list " * 100)], expected(reference, ["list " * 100], prompt=PROMPTS["query"]))


def test_langchain_as_it_comes_sends_ids_of_openai(
    tiny: ServedModel, url: str, reference: StudentEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings = pytest.importorskip("langchain_openai").OpenAIEmbeddings
    ranks = {bytes([byte]): byte for byte in range(256)}
    vocabulary = tiktoken.Encoding("cl100k_base", pat_str=r"[\s\S]", mergeable_ranks=ranks, special_tokens={})
    monkeypatch.setattr(tiktoken, "get_encoding", {"cl100k_base": vocabulary}.__getitem__)
    with pytest.raises(openai.BadRequestError, match=r"vocabulary|check_embedding_ctx_length=False"):
        embeddings(model="tiny", base_url=url, api_key=KEY).embed_documents(TEXTS)
    with served(tiny, "cl100k_base") as understanding:
        client = embeddings(model="tiny", base_url=understanding, api_key=KEY)
        assert_same(client.embed_documents(TEXTS), expected(reference, TEXTS))
        assert_same([client.embed_query(TEXTS[0])], expected(reference, TEXTS[:1]))


@pytest.mark.parametrize("name", ["openai.OpenAIEmbedding", "openai_like.OpenAILikeEmbedding"])
def test_llamaindex(url: str, reference: StudentEncoder, name: str) -> None:
    module, _, kind = name.partition(".")
    embedding = getattr(pytest.importorskip(f"llama_index.embeddings.{module}"), kind)
    extra = {"extra_body": {"input_type": "query"}}
    client = embedding(model_name="tiny", api_base=url, api_key=KEY, dimensions=HEADS[0], embed_batch_size=3)
    queries = embedding(model_name="tiny", api_base=url, api_key=KEY, additional_kwargs=extra)
    assert_same(client.get_text_embedding_batch(TEXTS), expected(reference, TEXTS, HEADS[0]))
    assert_same([client.get_text_embedding("sort\nthe list")], expected(reference, ["sort the list"], HEADS[0]))
    assert_same([queries.get_query_embedding(TEXTS[0])], expected(reference, TEXTS[:1], prompt=PROMPTS["query"]))
    assert_same([asyncio.run(client.aget_query_embedding(TEXTS[0]))], expected(reference, TEXTS[:1], HEADS[0]))
