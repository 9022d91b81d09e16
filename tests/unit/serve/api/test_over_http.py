"""The application behind a real HTTP server: what only shows on a connection."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import numpy as np
import openai
import pytest
import uvicorn

from mtd_ray.sandbox.ports import LOOPBACK, free_port
from serve.api.application import create_api
from serve.engine.engine import Engine
from serve.engine.limits import Limits


@pytest.fixture(scope="module")
def port(engine: Engine) -> Iterator[int]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_api(engine), host=LOOPBACK, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started)
    yield port
    server.should_exit = True
    thread.join()


def eventually(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.005)


def sample(engine: Engine, name: str, **labels: str) -> float:
    return engine.metrics.registry.get_sample_value(name, labels) or 0.0


def test_a_client_that_hangs_up_takes_its_work_out_of_the_queue(port: int, engine: Engine) -> None:
    before = sample(engine, "embedding_requests_total", outcome="gone")
    computed = sample(engine, "embedding_batch_inputs_sum")
    body = json.dumps({"input": ["sort the list " * 6] * 2_000}).encode()
    with socket.create_connection((LOOPBACK, port)) as client:
        client.sendall(b"POST /v1/embeddings HTTP/1.1\r\nhost: here\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        eventually(lambda: engine.load().queued_tokens > 0)
    eventually(lambda: sample(engine, "embedding_requests_total", outcome="gone") == before + 1)
    eventually(lambda: engine.load().queued_tokens == 0)
    assert sample(engine, "embedding_batch_inputs_sum") < computed + 2_000


def test_a_body_that_is_announced_as_too_long_is_refused_before_it_is_sent(port: int) -> None:
    with socket.create_connection((LOOPBACK, port), timeout=10) as client:
        client.sendall(b"POST /v1/embeddings HTTP/1.1\r\nhost: here\r\ncontent-length: 99999999\r\n\r\n")
        assert client.recv(4_096).startswith(b"HTTP/1.1 413 ")


def test_a_body_of_unknown_length_is_refused_where_it_gets_too_long(port: int) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(Limits().max_body_bytes // 65_536 + 8):
            yield b" " * 65_536

    assert httpx.post(f"http://{LOOPBACK}:{port}/embed", content=pieces()).status_code == 413


def test_a_connection_lives_on_after_a_refusal(port: int) -> None:
    with httpx.Client(base_url=f"http://{LOOPBACK}:{port}") as client:
        statuses = [client.post("/v1/embeddings", content=content).status_code for content in (b"{", b'{"input": "sum"}', b"[")]
    assert statuses == [400, 200, 400]


def test_openais_clients_get_their_vectors(port: int) -> None:
    url = f"http://{LOOPBACK}:{port}/v1"

    async def asynchronously() -> list[list[float]]:
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            answers = await asyncio.gather(*(client.embeddings.create(model="tiny", input=text) for text in ("sum", "sort")))
            return [answer.data[0].embedding for answer in answers]

    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        packed = client.embeddings.create(model="tiny", input=["sum", "sort"])  # this client asks for base64
        plain = client.embeddings.create(model="tiny", input=["sum", "sort"], encoding_format="float")
        with pytest.raises(openai.BadRequestError, match="16, 48") as refusal:
            client.embeddings.create(model="tiny", input="sum", dimensions=17)
        with pytest.raises(openai.NotFoundError, match="tiny"):
            client.embeddings.create(model="other", input="sum")
        assert [model.id for model in client.models.list()] == ["tiny"]
    assert refusal.value.param == "dimensions"
    expected = [row.embedding for row in plain.data]
    np.testing.assert_allclose([row.embedding for row in packed.data], expected, rtol=1e-6)
    np.testing.assert_allclose(asyncio.run(asynchronously()), expected, atol=1e-5)
