from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import AuthenticationError

from mtd_ray import job
from mtd_ray.errors import MtdError
from mtd_ray.objects import ObjectStore
from tests.tiny_run import tiny_recipe


def _failed_to_connect(reason: str) -> ConnectionError:
    error = ConnectionError("Failed to connect to Ray cluster at 127.0.0.1:6379")
    error.__cause__ = RuntimeError(reason)
    return error


@pytest.mark.parametrize(
    ("problem", "tells"),
    [
        (ConnectionError("no cluster"), "ray start --head"),
        (AuthenticationError("no token"), "export RAY_AUTH_MODE=token"),
        (
            RuntimeError("Failed to connect to GCS. Last connection error: … ray.exceptions.AuthenticationError: …"),
            "RAY_AUTH_TOKEN",
        ),
        (_failed_to_connect("Failed to connect to GCS. … ray.exceptions.AuthenticationError: …"), "RAY_AUTH_TOKEN"),
        (_failed_to_connect("Failed to connect to GCS. … TimedOut"), "ray start --head"),
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


def test_models_on_unknown_terms_are_named_at_the_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    recipe = tiny_recipe(ObjectStore(str(tmp_path)), "some/model")
    recipe.teachers["alpha"] = recipe.teachers["alpha"].model_copy(update={"license": "mit"})
    monkeypatch.setattr(job, "load_recipe", lambda *_: recipe)
    monkeypatch.setattr(job, "check_secrets", lambda _: None)
    monkeypatch.setattr("mtd_ray.student.check_student", lambda _: None)
    job.prepare("tiny.yaml", [])
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith("teachers.beta.license, student.license: not stated")


def test_a_cluster_too_small_for_training_is_told_before_the_wait(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    recipe = tiny_recipe(ObjectStore(str(tmp_path)), "some/model", train={"workers": 8, "num_gpus": 1.0})
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 64.0, "GPU": 2.0})
    job.warn_of_scarce_resources(recipe)
    assert [record.getMessage() for record in caplog.records] == [
        "training asks for 8 GPUs (train.workers × train.num_gpus), the cluster has 2 now: it will wait until the cluster grows"
    ]
