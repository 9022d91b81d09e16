"""Engines over a watched student."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serve.engine.engine import Engine
from serve.engine.limits import Limits
from tests.unit.serve.engine.watched import Watched


@pytest.fixture
def watched(exported: Path) -> Watched:
    return Watched.load(exported, name="tiny", device="cpu", batch_tokens=64)


@pytest.fixture
def start(watched: Watched) -> Iterator[Callable[..., Engine]]:
    """Starts an engine over ``watched``, with limits and other arguments by name."""
    engines: list[Engine] = []

    def start(*, cache_bytes: int = 0, **limits: Any) -> Engine:
        engines.append(Engine({"tiny": watched}, limits=Limits(**limits), cache_bytes=cache_bytes))
        watched.batches.clear()  # the speed was measured
        return engines[-1]

    yield start
    watched.passing.set()
    for engine in engines:
        engine.close()
