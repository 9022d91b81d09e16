"""The sandbox provider as its clients see it, the official one included."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import psutil
import pytest

from mtd_ray.errors import MtdError
from mtd_ray.sandbox.provider_quota import QuotaChange
from mtd_ray.sandbox.provider_server import ProviderServer
from mtd_ray.sandbox.provider_timeline import quota_use

CLIENT = httpx.Client(timeout=30)
KEY = "sk-sandbox"


@pytest.fixture(scope="module")
def server() -> Iterator[ProviderServer]:
    with ProviderServer(env={"PROVIDER_KEY": KEY}) as server:
        yield server


def post(server: ProviderServer, body: dict[str, Any], key: str = KEY) -> httpx.Response:
    return CLIENT.post(f"{server.base_url}/embeddings", json=body, headers={"authorization": f"Bearer {key}"})


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_the_official_client_gets_the_same_vectors_as_base64_and_as_numbers(server: ProviderServer) -> None:
    client = openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0)
    packed = client.embeddings.create(model="hash-16", input=["one text", "another"])
    plain = client.embeddings.create(model="hash-16", input=["one text", "another"], encoding_format="float")
    np.testing.assert_allclose([e.embedding for e in packed.data], [e.embedding for e in plain.data], atol=1e-6)
    assert [e.index for e in packed.data] == [0, 1]
    assert packed.usage.prompt_tokens == 4
    assert len(client.embeddings.create(model="hash-16", input="one", dimensions=4).data[0].embedding) == 4


def test_the_key_is_enforced(server: ProviderServer) -> None:
    client = openai.OpenAI(base_url=server.base_url, api_key="sk-other", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as caught:
        client.embeddings.create(model="hash-16", input="one")
    assert caught.value.code == "invalid_api_key"
    assert httpx.post(f"{server.base_url}/embeddings", json={"model": "hash-16", "input": "x"}).status_code == 401


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"model": "hash-8", "input": ["a", ""]}, (400, "invalid_request_error")),
        ({"model": "hash-8", "input": []}, (400, "invalid_request_error")),
        ({"model": "hash-8", "input": ["a"] * 2049}, (400, "invalid_request_error")),
        ({"model": "hash-8", "input": ["word " * 8193]}, (400, "context_length_exceeded")),
        ({"model": "hash-8", "input": ["word " * 8000] * 38}, (400, "max_tokens_per_request")),
        ({"model": "hash-8", "input": "a", "dimensions": 9}, (400, "invalid_request_error")),
        ({"model": "hash-8", "input": "a", "encoding_format": "hex"}, (400, "invalid_request_error")),
        ({"model": "hash-8", "input": 5}, (400, "invalid_request_error")),
        ({"input": "a"}, (400, "invalid_request_error")),
        ({"model": "none", "input": "a"}, (404, "model_not_found")),
    ],
)
def test_what_openai_refuses_is_refused(server: ProviderServer, body: dict[str, Any], expected: tuple[int, str]) -> None:
    assert refusal(post(server, body)) == expected


def test_the_quota_turns_away_and_says_for_how_long() -> None:
    with ProviderServer(env={"PROVIDER_KEY": KEY}, requests_per_minute=2) as server:
        answers = [post(server, {"model": "hash-8", "input": "a"}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[0].headers["x-ratelimit-limit-requests"] == "2"
        assert refusal(answers[2]) == (429, "rate_limit_exceeded")
        assert 25 <= int(answers[2].headers["retry-after"]) <= 30
        server.set_quota(requests_per_minute=100_000, tokens_per_minute=1000)
        time.sleep(0.01)
        assert post(server, {"model": "hash-8", "input": "a"}).status_code == 200
        assert server.ledger()["refused"] == {"429": 1}


def test_the_ledger_counts_what_was_paid(server: ProviderServer) -> None:
    before = server.ledger()
    post(server, {"model": "hash-8", "input": ["ledger text", "ledger text", "other"]})
    post(server, {"model": "hash-8", "input": ["ledger text", ""]})
    after = server.ledger()
    assert after["texts"] - before["texts"] == 3
    assert after["by_sha256"][hashlib.sha256(b"ledger text").hexdigest()] == 2


def test_a_hidden_quota_that_changes_by_schedule_is_in_the_ledger() -> None:
    changes = [QuotaChange(at_s=0, requests_per_minute=2)]
    with ProviderServer(env={"PROVIDER_KEY": KEY}, quota_schedule=changes, burst_s=30, rate_headers=False) as server:
        answers = [post(server, {"model": "hash-8", "input": "two words"}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 429, 429]
        assert not [name for answer in answers for name in answer.headers if "ratelimit" in name or "retry" in name]
        ledger = server.ledger(by_text=False)
        assert sum(row["tokens"] for row in ledger["timeline"]) == ledger["tokens_granted"] == ledger["tokens"] == 2
        assert ledger["usd"] == pytest.approx(2 * 0.1e-6)
        assert [step["requests"] for step in ledger["quota"]] == [10_000, 2]
        assert quota_use(ledger).rejected == pytest.approx(2 / 3)
        assert server.ledger(by_text=False) == ledger


def test_the_key_is_not_on_the_command_line_and_the_server_ends(server: ProviderServer) -> None:
    with ProviderServer(env={"PROVIDER_KEY": KEY}) as other:
        (process,) = [child for child in psutil.Process().children() if _listens_on(child, other.base_url)]
        assert KEY not in " ".join(process.cmdline())
        assert {c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    assert not process.is_running()


def test_the_server_ends_with_its_starter() -> None:
    code = (
        "import os, signal\nfrom mtd_ray.sandbox.provider_server import ProviderServer\n"
        "with ProviderServer(env={'K': 'k'}) as server:\n"
        "    print(server.base_url, flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(__file__).resolve().parents[3]
    ended = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 10
    with pytest.raises(httpx.ConnectError):
        while time.monotonic() < deadline:
            httpx.get(ended.stdout.strip().removesuffix("/v1") + "/sandbox/ready")
            time.sleep(0.1)


def test_a_taken_port_is_an_error(server: ProviderServer) -> None:
    port = int(server.base_url.rsplit(":", 1)[1].removesuffix("/v1"))
    with pytest.raises(MtdError, match="did not start"), ProviderServer(env={"PROVIDER_KEY": KEY}, port=port):
        pass


def _listens_on(process: psutil.Process, base_url: str) -> bool:
    port = int(base_url.rsplit(":", 1)[1].removesuffix("/v1"))
    return any(c.laddr.port == port and c.status == psutil.CONN_LISTEN for c in process.net_connections())
