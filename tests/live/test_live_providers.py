"""One cheap call to each real provider whose key is set: does the sandbox still say what the provider says?

Run them with keys in the environment: ``OPENAI_API_KEY=… CO_API_KEY=… VOYAGE_API_KEY=… pytest tests/live``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pytest

from mtd_ray.config import ApiTeacher, CohereTeacher, Kind, OpenAITeacher, VoyageTeacher
from mtd_ray.sandbox.provider_server import ProviderServer
from mtd_ray.teachers import Answer
from mtd_ray.teachers.api import ApiTeacherClient

SIZE = 256
TEXTS = ["how to sort a list", "sorted() returns a new sorted list"]
KINDS: list[Kind] = ["query", "passage"]
TEACHERS: dict[str, ApiTeacher] = {
    "openai": OpenAITeacher(provider="openai", model="text-embedding-3-small", dimensions=SIZE),
    "cohere": CohereTeacher(provider="cohere", model="embed-v4.0", dimensions=SIZE),
    "voyage": VoyageTeacher(provider="voyage", model="voyage-4-lite", dimensions=SIZE),
}


@dataclass
class Recorder(httpx.AsyncBaseTransport):
    """The network, and what came over it."""

    statuses: list[int] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    headers: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._network = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._network.handle_async_request(request)
        await response.aread()
        self.statuses.append(response.status_code)
        self.bodies.append(response.json())
        self.headers |= {name.lower() for name in response.headers if "ratelimit" in name.lower() or "retry" in name.lower()}
        return response

    async def aclose(self) -> None:
        await self._network.aclose()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[ProviderServer]:
    with ProviderServer(env={"SANDBOX_KEY": "sk-sandbox"}) as server:
        yield server


@pytest.mark.parametrize("provider", TEACHERS)
def test_the_sandbox_says_what_the_provider_says(
    provider: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = TEACHERS[provider]
    if not os.environ.get(variable := teacher.api_key.removeprefix("env:")):
        pytest.skip(f"{variable} is not set")
    monkeypatch.setenv("SANDBOX_KEY", "sk-sandbox")
    answer, real = asked(teacher)
    copied_answer, copy = asked(standing_in(teacher, request.getfixturevalue("sandbox")))

    for some in (answer, copied_answer):
        assert some.failures == {}
        assert some.tokens > 0
        np.testing.assert_allclose(np.linalg.norm(some.vectors, axis=1), 1.0, atol=1e-2)
    assert copy.statuses == real.statuses
    assert missing(outline(copy.bodies[0]), outline(real.bodies[0])) == []
    assert copy.headers <= real.headers, "rate headers that only the sandbox sends"


def asked(teacher: ApiTeacher) -> tuple[Answer, Recorder]:
    """Both texts' vectors, and what came over the network."""
    recorder = Recorder()
    client = ApiTeacherClient("live", teacher, transport=recorder)
    try:
        return client.embed(TEXTS, KINDS), recorder
    finally:
        client.close()


def standing_in(teacher: ApiTeacher, server: ProviderServer) -> ApiTeacher:
    """The same teacher at the sandbox."""
    urls = {"openai": server.base_url, "cohere": server.cohere_url, "voyage": server.voyage_url}
    return teacher.model_copy(update={"base_url": urls[teacher.provider], "api_key": "env:SANDBOX_KEY"})


def outline(value: Any, path: str = "") -> set[str]:
    """Every path in an answer with the type that lies there; all entries of a list are one."""
    if isinstance(value, dict):
        return {path + "{}"}.union(*(outline(inner, f"{path}.{name}") for name, inner in value.items()))
    if isinstance(value, list):
        return {path + "[]"}.union(*(outline(inner, f"{path}[]") for inner in value))
    kind = "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
    return {f"{path}: {kind}"}


def missing(copy: set[str], real: set[str]) -> list[str]:
    """What only the sandbox says. A provider may say more: clients must not need it."""
    return sorted(copy - real)
