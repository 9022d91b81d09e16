"""What the hub refuses is said, and what may pass is tried again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mtd_ray.errors import EvaluationError, HubError, StorageError
from mtd_ray.evaluate.tasks.hub import load_from_hub
from mtd_ray.teachers.retry import RetryPolicy

POLICY = RetryPolicy(attempts=3, first_delay_s=1.0, chance=lambda: 1.0)


class Task:
    """A task whose data comes after so many errors."""

    def __init__(self, *errors: Exception) -> None:
        self.metadata = SimpleNamespace(name="SciFact", dataset={"path": "mteb/scifact", "revision": "1"})
        self.errors = list(errors)

    def load_data(self) -> None:
        if self.errors:
            raise self.errors.pop(0)


class AnsweredError(OSError):
    """An error with the hub's answer, as huggingface_hub raises it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status} for url")
        self.response = SimpleNamespace(status_code=status)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def named(name: str, base: type[Exception] = Exception) -> Exception:
    error: Exception = type(name, (base,), {})(name)
    return error


@pytest.mark.parametrize(
    "error",
    [
        AnsweredError(429),
        AnsweredError(503),
        ConnectionError("no route"),
        TimeoutError(),
        caused(ValueError("builder"), AnsweredError(502)),
    ],
)
def test_what_may_pass_is_tried_again_after_longer_and_longer_waits(error: Exception) -> None:
    waits: list[float] = []
    load_from_hub(Task(error, error), policy=POLICY, sleep=waits.append)
    assert waits == [1.0, 2.0]


def test_a_hub_that_stays_away_is_an_error_that_the_cluster_repeats() -> None:
    with pytest.raises(HubError, match=r"SciFact cannot be loaded from the hub .*tried 3 times.* evaluate\.data") as raised:
        load_from_hub(Task(*[ConnectionError("no route")] * 3), policy=POLICY, sleep=lambda _: None)
    assert isinstance(raised.value, StorageError)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (
            caused(named("DatasetNotFoundError"), named("GatedRepoError", OSError)),
            "ask for access at .*mteb/scifact and set HF_TOKEN",
        ),
        (AnsweredError(401), "set HF_TOKEN"),
        (caused(ConnectionError("Couldn't reach"), named("OfflineModeIsEnabled", ConnectionError)), "HF_HUB_OFFLINE is set"),
        (named("DatasetNotFoundError"), "the hub does not have"),
        (AnsweredError(404), "update mteb"),
        (KeyError("column"), "update mteb"),
    ],
)
def test_what_will_not_pass_is_told_at_once(error: Exception, advice: str) -> None:
    def never(_: Any) -> None:
        pytest.fail("waited")

    with pytest.raises(EvaluationError, match=advice):
        load_from_hub(Task(error), policy=POLICY, sleep=never)
