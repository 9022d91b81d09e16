"""Fixtures that several test folders share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from mtd_ray.objects import ObjectStore
from mtd_ray.sandbox.object_server import ObjectServer
from tests.ray_fixture import ray_cluster  # noqa: F401


@pytest.fixture(scope="session")
def object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """A real S3 server for the whole test run, with the bucket ``mtd-ray``."""
    with ObjectServer(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_env(object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The server's AWS variables, set in this process for the length of a test; tests may change them further."""
    for name, value in object_server.env.items():
        monkeypatch.setenv(name, value)
    return object_server.env


@pytest.fixture
def s3_store(s3_env: dict[str, str]) -> ObjectStore:
    """A store in a folder of its own on the S3 server."""
    return ObjectStore(f"s3://mtd-ray/{uuid.uuid4().hex}")


@pytest.fixture
def local_store(tmp_path_factory: pytest.TempPathFactory) -> ObjectStore:
    """A store in a fresh local folder."""
    return ObjectStore(str(tmp_path_factory.mktemp("store")))
