"""The peers of ``harvest_quota.py``: other ways of asking a provider that tells nothing about its quota."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import deque

import httpx
import ray
from quota_setting import KEY, MODEL, TEXTS_PER_REQUEST, WORKERS, Setting, placed, texts, texts_needed, work_together

from mtd_ray.sandbox.provider_models import count_tokens
from mtd_ray.sandbox.provider_server import ProviderServer

COOL_DOWN_S, ATTEMPTS = 15.0, 5


class FixedBucket:
    """A worker with a bucket of its own."""

    def __init__(self, url: str, tokens_per_minute: float, seed: int, count: int) -> None:
        self._url, self._per_second = f"{url}/embeddings", tokens_per_minute / 60
        everything = texts(seed, count)
        self._queue = deque(
            (everything[at : at + TEXTS_PER_REQUEST], ATTEMPTS) for at in range(0, len(everything), TEXTS_PER_REQUEST)
        )
        self._capacity = self._most = tokens_per_minute
        self._rejected_at = float("-inf")

    def node(self) -> str:
        return str(ray.get_runtime_context().get_node_id())

    async def work(self, seconds: float) -> None:
        end = refilled = time.monotonic()
        end += seconds
        (key_name,) = KEY
        headers = {"authorization": f"Bearer {os.environ[key_name]}"}
        calls: set[asyncio.Task[None]] = set()
        async with httpx.AsyncClient(headers=headers, timeout=60) as http:
            while (now := time.monotonic()) < end:
                self._capacity = min(self._most, self._capacity + self._per_second * (now - refilled))
                refilled = now
                batch, attempts = self._queue[0]
                if self._capacity >= (tokens := sum(map(count_tokens, batch))):
                    self._capacity -= tokens
                    self._queue.popleft()
                    call = asyncio.create_task(self._call(http, batch, attempts - 1))
                    calls.add(call)
                    call.add_done_callback(calls.discard)
                pause = self._rejected_at + COOL_DOWN_S - time.monotonic()
                await asyncio.sleep(min(pause, max(0.0, end - time.monotonic())) if pause > 0 else 0.001)
            for call in calls:
                call.cancel()

    async def _call(self, http: httpx.AsyncClient, batch: list[str], attempts_left: int) -> None:
        answer = await http.post(self._url, json={"model": MODEL, "input": batch, "encoding_format": "base64"})
        if answer.status_code == 429:
            self._rejected_at = time.monotonic()
            if attempts_left:
                self._queue.appendleft((batch, attempts_left))


def run_fixed_bucket(server: ProviderServer, setting: Setting) -> None:
    share = setting.tokens_per_minute / WORKERS
    workers = [placed(FixedBucket).remote(server.base_url, share, seed, texts_needed(setting)) for seed in range(WORKERS)]
    work_together(workers, setting)


def run_ray_http_stage(server: ProviderServer, setting: Setting) -> None:
    from ray.data.llm import HttpRequestProcessorConfig, build_processor

    config = HttpRequestProcessorConfig(
        url=f"{server.base_url}/embeddings",
        headers={"Authorization": f"Bearer {next(iter(KEY.values()))}"},
        qps=setting.paced_per_second,
        max_retries=10,
        concurrency=(WORKERS, WORKERS),  # a plain number would be an upper bound
        batch_size=64,
    )
    processor = build_processor(
        config,
        preprocess=lambda row: {"payload": {"model": MODEL, "input": json.loads(row["texts"]), "encoding_format": "base64"}},
        postprocess=lambda row: {"answered": 1},
    )
    everything = texts(0, WORKERS * texts_needed(setting))
    rows = [{"texts": json.dumps(everything[at : at + TEXTS_PER_REQUEST])} for at in range(0, len(everything), TEXTS_PER_REQUEST)]
    answers = processor(ray.data.from_items(rows, override_num_blocks=len(rows) // 64)).iter_batches(batch_size=None)
    deadline = None
    for _ in answers:  # the first block starts the count, late by the time it takes: in favour of this contender
        deadline = deadline or time.monotonic() + setting.end_s
        if time.monotonic() > deadline:
            return
