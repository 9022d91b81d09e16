from __future__ import annotations

from typing import Any

import pytest
from ray.exceptions import AuthenticationError

from mtd_ray import job
from mtd_ray.errors import MtdError


@pytest.mark.parametrize(
    ("problem", "tells"),
    [
        (ConnectionError("no cluster"), "ray start --head"),
        (AuthenticationError("no token"), "export RAY_AUTH_MODE=token"),
        (
            RuntimeError("Failed to connect to GCS. Last connection error: … ray.exceptions.AuthenticationError: …"),
            "RAY_AUTH_TOKEN",
        ),
    ],
)
def test_a_cluster_that_cannot_be_joined_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, problem: Exception, tells: str
) -> None:
    def refuse(**options: Any) -> None:
        raise problem

    monkeypatch.setattr("ray.init", refuse)
    with pytest.raises(MtdError, match=tells):
        job.connect()


def test_any_other_failure_of_ray_keeps_its_stack_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**options: Any) -> None:
        raise RuntimeError("something new")

    monkeypatch.setattr("ray.init", fail)
    with pytest.raises(RuntimeError, match="something new"):
        job.connect()
