"""Functions called on a real cluster: what they see of a machine's GPUs, and whose errors come back."""

from __future__ import annotations

import os

import pytest

from mtd_ray.errors import CorpusError, EvaluationError
from mtd_ray.remote import Call, on_cluster

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

CALL = Call("a test", "nobody", cpus=0.5)


def devices() -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def fail(error: Exception) -> None:
    raise error


def test_a_call_that_asks_for_no_gpu_sees_none() -> None:
    assert on_cluster(CALL, devices, error=EvaluationError) == ""


def test_errors_for_people_come_as_themselves() -> None:
    with pytest.raises(CorpusError, match=r"^a shard is missing$"):
        on_cluster(CALL, fail, CorpusError("a shard is missing"), error=EvaluationError)
    with pytest.raises(EvaluationError, match=r"^a test failed: "):
        on_cluster(CALL, fail, ZeroDivisionError("division"), error=EvaluationError)
