"""The one Ray cluster of a test run; starting one takes ten seconds, so all tests share it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mtd_ray.sandbox.object_server import ObjectServer
from mtd_ray.sandbox.ray_cluster import RayCluster, connected

PROVIDER_KEY = {"SANDBOX_API_KEY": "sandbox-key"}


@pytest.fixture(scope="session")
def ray_cluster(object_server: ObjectServer) -> Iterator[RayCluster]:
    """A running cluster that this process is connected to; its workers hold the keys of the object server and the providers."""
    with RayCluster(env=object_server.env | PROVIDER_KEY) as cluster, connected(cluster):
        yield cluster
