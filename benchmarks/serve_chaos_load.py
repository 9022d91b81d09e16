"""The clients of ``serve_chaos.py``: plain HTTP without retries; requests come when they are due, however slow the answers are."""

from __future__ import annotations

import asyncio
import base64
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import orjson
from serve_chaos_judge import OK, Answered, Asked, Judge
from serve_chaos_student import MODEL, SIZES, poisoned

ROWS = (1, 1, 1, 2, 4, 8, 16)
HUNG_UP_AFTER_S = 0.1
POOLS = 16  # httpx looks at every connection of a pool for every request
IDLE_CLIENTS, IDLE_S = 6, (15.0, 40.0)
TICK_S = 0.01


@dataclass
class Load:
    """Asks for vectors and has the answers judged.

    Attributes:
        in_flight: requests that are not answered yet.
        lag_s: how late this process was to wake up, again and again: what it adds to the times it measures.
    """

    url: str
    texts: Sequence[str]
    headers: dict[str, str]
    patience_s: float
    chance: random.Random
    poison: float = 0.0
    hang_ups: float = 0.0
    in_flight: int = 0
    lag_s: list[float] = field(default_factory=list)

    async def __aenter__(self) -> Load:
        self._stack = AsyncExitStack()
        self._pools = itertools.cycle([await self._client(None) for _ in range(POOLS)])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _client(self, connections: int | None, keep_s: float = 5.0) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=keep_s)
        client = httpx.AsyncClient(base_url=self.url, headers=self.headers, timeout=self.patience_s, limits=limits)
        return await self._stack.enter_async_context(client)

    async def capacity(self, judge: Judge, seconds: float, clients: int) -> float:
        """Requests per second that so many clients get answered, each of which asks as soon as it was answered."""
        until = time.monotonic() + seconds
        answered = 0

        async def ask_on(client: httpx.AsyncClient) -> None:
            nonlocal answered
            while time.monotonic() < until:
                await self._ask(client, self._draw(troubled=False), judge, time.monotonic())
                answered += time.monotonic() < until

        await asyncio.gather(*[ask_on(next(self._pools)) for _ in range(clients)])
        return answered / seconds

    async def constant(self, judge: Judge, per_second: float, until: Callable[[], bool]) -> None:
        """Requests at random times, on average so many a second, and a few clients that keep a connection and seldom use it."""
        async with asyncio.TaskGroup() as group:
            ticker = group.create_task(self._measure_lag())
            idle = [group.create_task(self._ask_seldom(judge)) for _ in range(IDLE_CLIENTS)]
            due = time.monotonic()
            while not until():
                due += self.chance.expovariate(per_second)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                group.create_task(self._ask(next(self._pools), self._draw(troubled=True), judge, due))
            for task in (ticker, *idle):
                task.cancel()

    async def _ask_seldom(self, judge: Judge) -> None:
        client = await self._client(1, keep_s=3600.0)
        while True:
            await self._ask(client, self._draw(troubled=False), judge, time.monotonic())
            await asyncio.sleep(self.chance.uniform(*IDLE_S))

    async def _measure_lag(self) -> None:
        while True:
            due = time.monotonic() + TICK_S
            await asyncio.sleep(TICK_S)
            self.lag_s.append(time.monotonic() - due)

    def _draw(self, *, troubled: bool) -> Asked:
        rows = tuple(self.chance.choices(range(len(self.texts)), k=self.chance.choice(ROWS)))
        size, luck = self.chance.choice(SIZES), self.chance.random()
        if troubled and luck < self.poison:
            return Asked("poison", rows, size, self.chance.randrange(len(rows)))
        if troubled and luck < self.poison + self.hang_ups:
            return Asked("hang-up", rows, size)
        return Asked("plain", rows, size)

    async def _ask(self, client: httpx.AsyncClient, asked: Asked, judge: Judge, due: float) -> None:
        body = self._body(asked)
        self.in_flight += 1
        try:
            if asked.kind == "hang-up":
                answered = await self._hang_up(client.post("/v1/embeddings", content=body))
            else:
                answered = _answered(await client.post("/v1/embeddings", content=body), time.monotonic() - due)
        except httpx.HTTPError as error:
            answered = Answered(None, time.monotonic() - due, fault=f"{type(error).__name__}: {error}")
        finally:
            self.in_flight -= 1
        judge.count(asked, answered)

    async def _hang_up(self, request: Awaitable[Any]) -> Answered:
        try:
            async with asyncio.timeout(self.chance.uniform(0, HUNG_UP_AFTER_S)):
                await request
        except TimeoutError:
            return Answered(None, 0.0, fault="hung up")
        return Answered(None, 0.0, fault="answered before it hung up")

    def _body(self, asked: Asked) -> bytes:
        texts = [self.texts[row] for row in asked.rows]
        if asked.poisoned is not None:
            texts[asked.poisoned] = poisoned(texts[asked.poisoned])
        form = self.chance.choice(("base64", "float"))
        return orjson.dumps({"model": MODEL, "input": texts, "dimensions": asked.size, "encoding_format": form})


def _answered(response: httpx.Response, seconds: float) -> Answered:
    if response.status_code != OK:
        return Answered(response.status_code, seconds, fault=_message(response), retry_after=response.headers.get("retry-after"))
    try:
        answer = orjson.loads(response.content)
        vectors = np.stack([_vector(row["embedding"]) for row in answer["data"]])
        in_order = [row["index"] for row in answer["data"]] == list(range(len(vectors)))
    except (ValueError, KeyError, TypeError) as error:
        return Answered(None, seconds, fault=f"unreadable answer: {error}")
    return Answered(OK, seconds, model=answer["model"], vectors=vectors if in_order else None)


def _vector(embedding: str | list[float]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(embedding), "<f4") if isinstance(embedding, str) else np.array(embedding, np.float32)


def _message(response: httpx.Response) -> str:
    try:
        return str(orjson.loads(response.content)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:160]
