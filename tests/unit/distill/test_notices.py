"""What Ray tells a training worker of the end of its machine, and what becomes of training where Ray tells nothing."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ray.train.torch import TorchConfig
from ray.train.v2._internal.execution import context

from mtd_ray.distill.checkpoints.notices import NoticedTorch, node_drains
from mtd_ray.distill.checkpoints.preemption import Preemption, notice_sigterm

_CONTEXT = "ray.train.v2._internal.execution.context"


def drained(monkeypatch: pytest.MonkeyPatch, *nodes: str) -> None:
    info = SimpleNamespace(preempted_node_ids=list(nodes)) if nodes else None
    told = SimpleNamespace(preemption_context=SimpleNamespace(preemption_info=info))
    monkeypatch.setattr(context, "get_train_context", lambda: told)


def started(monkeypatch: pytest.MonkeyPatch, execute: Callable[[Any], None]) -> list[str]:
    """Start the back end of a group of workers; what Ray's own was asked for."""
    calls: list[str] = []
    base = TorchConfig(backend="gloo").backend_cls
    monkeypatch.setattr(base, "on_start", lambda *_: calls.append("process group"))
    config = NoticedTorch(backend="gloo")
    config.backend_cls().on_start(SimpleNamespace(execute=execute), config)  # type: ignore[arg-type]
    return calls


def test_a_node_that_ray_empties_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    drained(monkeypatch)
    assert node_drains() is None
    drained(monkeypatch, "abc", "def")
    assert node_drains() == "Ray drains the nodes abc, def"


def test_the_notice_calls_for_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    drained(monkeypatch, "abc")
    with Preemption([node_drains], every_s=0.0) as preemption:
        preemption._thread.join(10)
        assert preemption.taken()


def test_a_ray_that_keeps_it_elsewhere_costs_the_notices_and_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, _CONTEXT, None)
    with caplog.at_level(logging.WARNING), Preemption([node_drains], every_s=0.0) as preemption:
        preemption._thread.join(10)
        assert not preemption.taken()
    (warning,) = caplog.messages
    assert warning.startswith("training goes on without the notices of node_drains: ModuleNotFoundError")


def test_every_worker_takes_sigterm_as_a_notice_before_its_process_group_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    executed: list[Any] = []
    assert started(monkeypatch, executed.append) == ["process group"]
    assert executed == [notice_sigterm]


def test_workers_that_cannot_take_the_signal_train_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(call: Any) -> None:
        raise ValueError("signal only works in main thread")

    with caplog.at_level(logging.WARNING):
        assert started(monkeypatch, refuse) == ["process group"]
    assert caplog.messages == ["training goes on without notices by SIGTERM: ValueError: signal only works in main thread"]
