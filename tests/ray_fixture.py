"""The one Ray cluster of a test run; starting one takes ten seconds, so all tests share it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mtd_ray.sandbox.object_server import ObjectServer
from mtd_ray.sandbox.ray_cluster import RayCluster, connected
from serve.proxy import private_variables

PROVIDER_KEY = {"SANDBOX_API_KEY": "sandbox-key"}


@pytest.fixture(scope="session")
def ray_cluster(object_server: ObjectServer) -> Iterator[RayCluster]:
    """A running cluster that this process is connected to; its workers hold the keys of the object server and the providers.

    What it serves is served by HAProxy where that is installed.
    """
    with private_variables() as proxy:
        env = object_server.env | PROVIDER_KEY | proxy
        with RayCluster(env=env) as cluster, connected(cluster):
            yield cluster
