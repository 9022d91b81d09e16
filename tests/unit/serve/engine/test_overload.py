"""Ten times what can be computed: who is let in is in time, who is not knows at once."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serve.engine.engine import Engine, Question
from serve.engine.limits import Limits
from serve.engine.model import ServedModel, Vector
from serve.wire.faults import ApiError

TOKENS_PER_S = 20_000
DEADLINE_S = 5.0


class Steady(ServedModel):
    """Takes the time of a model of a known speed."""

    def embed(self, ids: Sequence[Sequence[int]], sizes: Sequence[int | None]) -> list[Vector]:
        time.sleep(sum(map(len, ids)) / TOKENS_PER_S)
        return [np.ones(48, np.float32) for _ in ids]


def test_under_overload_what_is_accepted_is_in_time_and_what_is_refused_is_refused_at_once(exported: Path) -> None:
    engine = Engine(
        {"tiny": Steady.load(exported, name="tiny", device="cpu", batch_tokens=512)}, limits=Limits(deadline_s=DEADLINE_S)
    )
    draw = random.Random(1)
    outcomes: list[tuple[int, float]] = []

    async def ask() -> None:
        texts: list[str | list[int]] = ["list " * draw.randint(2, 30) for _ in range(draw.choice((1,) * 60 + (30,) * 2))]
        started, status = time.perf_counter(), 200
        try:
            await engine.answer(Question(None, texts, None, flow=draw.choice("abc")))
        except ApiError as fault:
            status = fault.status
        outcomes.append((status, time.perf_counter() - started))

    async def everybody() -> None:
        asked = []
        for _ in range(100):
            asked += [asyncio.create_task(ask()) for _ in range(60)]  # of 32 tokens each, within 10 ms
            await asyncio.sleep(0.01)
        await asyncio.gather(*asked)

    asyncio.run(everybody())
    engine.close()
    assert {status for status, _ in outcomes} == {200, 429}
    waits = [seconds for status, seconds in outcomes if status == 200]
    assert len(waits) > 500
    assert max(waits) < DEADLINE_S
    assert np.percentile([seconds for status, seconds in outcomes if status == 429], 99) < 0.1
