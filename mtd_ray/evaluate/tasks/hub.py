"""Loads the data of mteb's tasks from the Hugging Face hub: what may pass is tried again, what will not is said."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

from mtd_ray.errors import EvaluationError, HubError, MtdError
from mtd_ray.teachers.retry import RetryPolicy

_LOG = logging.getLogger(__name__)
_PATIENT = RetryPolicy(attempts=6, first_delay_s=1.0, longest_delay_s=60.0)

Trouble = Literal["gated", "offline", "unknown", "passing", "other"]

# By name: datasets, huggingface_hub and the libraries below them (httpx, requests, aiohttp) each have classes of their own.
_NAMES: dict[str, Trouble] = {
    "GatedRepoError": "gated",
    "OfflineModeIsEnabled": "offline",
    "DatasetNotFoundError": "unknown",
    "DataFilesNotFoundError": "unknown",
    "EmptyDatasetError": "unknown",
    "RepositoryNotFoundError": "unknown",
    "RevisionNotFoundError": "unknown",
    "RemoteEntryNotFoundError": "unknown",
    "LocalEntryNotFoundError": "passing",  # neither in the cache nor to be had now
    "TransportError": "passing",
    "ConnectionError": "passing",
    "ClientConnectionError": "passing",
    "ClientPayloadError": "passing",
    "Timeout": "passing",
    "TimeoutError": "passing",
}


def load_from_hub(task: Any, *, policy: RetryPolicy = _PATIENT, sleep: Callable[[float], None] = time.sleep) -> None:
    """Load the data of an ``mteb.AbsTask``, several times if the hub does not answer, is busy or fails.

    Raises:
        HubError: it still does.
        EvaluationError: the hub does not have the data or does not give it, or this machine must not ask.
    """
    for attempt in range(policy.attempts):
        try:
            task.load_data()
        except Exception as error:  # each library below raises its own
            trouble = trouble_of(error)
            if trouble != "passing" or attempt + 1 == policy.attempts:
                raise _explained(task, trouble, error, attempt + 1) from error
            _LOG.info("   the hub does not give the data of %s (%s); trying again", task.metadata.name, _first_line(error))
            sleep(policy.delay(attempt))
        else:
            return


def trouble_of(error: BaseException) -> Trouble:
    """What is the matter, by an error and those it came from: closed doors wherever they are found, else what was said last."""
    found = [trouble for one in _chain(error) if (trouble := _of_one(one)) != "other"]
    return next((closed for closed in ("gated", "offline") if closed in found), found[0] if found else "other")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _of_one(error: BaseException) -> Trouble:
    for kind in type(error).__mro__:
        if kind.__name__ in _NAMES:
            return _NAMES[kind.__name__]
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return "gated"
    return "passing" if status == 429 or (isinstance(status, int) and status >= 500) else "other"


def _explained(task: Any, trouble: Trouble, error: Exception, attempts: int) -> MtdError:
    name, path = task.metadata.name, task.metadata.dataset["path"]
    own = f"put its Parquet files into a folder called {name} and name the folder above it as evaluate.data"
    advice = {
        "gated": f"ask for access at https://huggingface.co/datasets/{path} and set HF_TOKEN on every machine",
        "offline": f"HF_HUB_OFFLINE is set and no copy is on this machine: unset it, or {own}",
        "unknown": f"mteb names data that the hub does not have or does not show; "
        f"if it is private, set HF_TOKEN on every machine, else {own}",
        "passing": f"tried {attempts} times; start the job again later or, where there is no hub, {own}",
        "other": f"if other tasks load, update mteb and datasets, or {own}",
    }[trouble]
    text = f"the data of {name} cannot be loaded from the hub ({path}: {_first_line(error)}): {advice}"
    return HubError(text) if trouble == "passing" else EvaluationError(text)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
