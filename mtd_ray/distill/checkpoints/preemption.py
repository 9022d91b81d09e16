"""Notice that this machine is about to be taken away: the time for a last checkpoint.

Schedulers (Kubernetes, systemd, Slurm) send SIGTERM; Amazon tells of a spot machine's end in its metadata, two minutes before.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import httpx

_LOG = logging.getLogger(__name__)
_METADATA_URL = "http://169.254.169.254"
_TOKEN_S = 60
_TIMEOUT_S = 2.0

_signalled = threading.Event()

Watch = Callable[[], str | None]
"""Says why this machine is about to be taken away; None as long as it is to stay."""


def notice_sigterm() -> None:
    """From now on SIGTERM no longer ends this process, but makes training commit a checkpoint. Main thread only.

    Training goes on afterwards: whoever sent the signal will stop the process, and until then every step counts.
    """
    signal.signal(signal.SIGTERM, lambda *_: _signalled.set())


class Preemption:
    """Whether a checkpoint is called for at once. As a context it watches for as long as the context lasts.

    Args:
        watches: asked in a thread; each is forgotten when it has told of an end, or has failed in a way that no waiting mends.
        every_s: between two rounds of questions.
    """

    def __init__(self, watches: Sequence[Watch] = (), *, every_s: float = 5.0) -> None:
        self._watches, self._every_s = list(watches), every_s
        self._noticed = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="spot-notice", daemon=True)

    def __enter__(self) -> Self:
        if self._watches:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()

    def taken(self) -> bool:
        """Whether there was a notice since the last call."""
        found = _signalled.is_set() or self._noticed.is_set()
        if found:
            _signalled.clear()
            self._noticed.clear()
        return found

    def _poll(self) -> None:
        while self._watches and not self._ended.is_set():
            for watch in list(self._watches):
                self._ask(watch)
            self._ended.wait(self._every_s)

    def _ask(self, watch: Watch) -> None:
        try:
            notice = watch()
        except (httpx.HTTPError, ValueError, KeyError) as error:
            # Not an Amazon machine, or its metadata service is away for a moment: no reason to stop training.
            _LOG.debug("no answer about the end of this machine: %s", error)
        except Exception as error:
            self._watches.remove(watch)
            _LOG.warning(
                "training goes on without the notices of %s: %s: %s",
                getattr(watch, "__name__", watch), type(error).__name__, error,
            )  # fmt: skip
        else:
            if notice is not None:
                _LOG.warning("this machine is about to be taken away: %s", notice)
                self._watches.remove(watch)
                self._noticed.set()


def aws_spot_notice(base_url: str = _METADATA_URL) -> str | None:
    """What EC2's instance metadata (version 2) says about the end of this spot machine; None while it is to stay.

    Raises:
        httpx.HTTPError: the metadata service does not answer, or refuses.
        ValueError, KeyError: its answer is no notice.
    """
    # No proxy: the address is this machine's own.
    with httpx.Client(base_url=base_url, timeout=_TIMEOUT_S, trust_env=False) as client:
        token = client.put("/latest/api/token", headers={"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_S)})
        token.raise_for_status()
        answer = client.get("/latest/meta-data/spot/instance-action", headers={"X-aws-ec2-metadata-token": token.text})
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    notice = answer.raise_for_status().json()
    return f"{notice['action']} at {notice['time']}"
