"""The service under constant load while replicas, a node and versions come and go; then under ten times what it can do.

Two Ray nodes on this machine, three replicas behind HAProxy, a student of all-MiniLM-L6-v2's shape with random weights in two
versions. Clients are plain HTTP without retries; requests come at random times, at half the rate that the service was found to
reach. In ``--seconds`` of that replicas get SIGKILL, all processes of the second node get SIGKILL, and the other version is rolled
out. Among the requests are some with a text whose vector is not finite, for which an error is the right answer, some clients
that hang up, and a few that keep a connection open and seldom use it. Every answer is compared with the vectors that the exported
folder of the version it names gives. Then come ten times as many requests as can be answered.

    python benchmarks/serve_chaos.py --seconds 120

The last line is one JSON object:

- ``failed_accepted``: requests that were not rejected (429) and had no answer within the deadline, other than poison
- ``wrong_vectors``: answers with another vector than the right one
- ``reject_ms_p99``: of the overload's rejections, from when the request was due
- ``memory_growth_mb``: all replicas together (proportional set size), from a first overload's end to the second's end
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path.append(str(PROJECT))  # the package `serve`

from serve_chaos_judge import Judge, percentile_ms  # noqa: E402
from serve_chaos_load import Load  # noqa: E402
from serve_chaos_service import Service  # noqa: E402
from serve_chaos_student import VERSIONS, Right, export_versions, right_vectors, texts  # noqa: E402

DEADLINE_S = 15.0
LATE_S = 1.0  # an answer may take so much longer than the deadline to arrive
CAPACITY_S, CLIENTS = 8.0, 32
HALF, TENFOLD = 0.5, 10.0
WARM_UP_SHARE, OVERLOAD_SHARE = 0.2, 0.25  # of --seconds
NODE_AT, ROLL_OVER_AT = 0.25, 0.45
KILL_EVERY_S, AT_LEAST_S = 12.0, 5.0
POISON, HANG_UPS = 0.03, 0.03


class Chaos:
    """What is done to the service, and when; in a thread of its own."""

    def __init__(self, service: Service, load: Load, seconds: float) -> None:
        self._service, self._load, self._started = service, load, time.monotonic()
        self._killing = asyncio.Lock()
        self.kills: list[dict[str, Any]] = []
        self.figures: dict[str, Any] = {}
        kills = max(2, round(seconds / KILL_EVERY_S))
        plan = [(seconds * (number + 0.5) / kills, self._kill) for number in range(kills)]
        plan += [(seconds * ROLL_OVER_AT, self._begin_roll_over), (seconds * NODE_AT, self._remove_node)]
        self._plan = sorted(plan, key=lambda step: step[0])

    def now(self) -> float:
        return round(time.monotonic() - self._started, 1)

    async def run(self) -> None:
        """Returns when everything was done and the roll-over is complete."""
        async with asyncio.TaskGroup() as group:
            for at, step in self._plan:
                await asyncio.sleep(max(0.0, at - self.now()))
                group.create_task(step())

    async def _kill(self) -> None:
        async with self._killing:
            while (victim := await asyncio.to_thread(self._service.kill_replica)) is None:
                await asyncio.sleep(0.5)
            in_flight = self._load.in_flight
            self.kills.append({"at": self.now(), "in_flight": in_flight})
            print(f"{self.now():6.1f} s: killed {victim}, {in_flight} requests under way", flush=True)
            await asyncio.sleep(AT_LEAST_S)

    async def _begin_roll_over(self) -> None:
        self.figures["rolled_over_at"] = self.now()
        print(f"{self.now():6.1f} s: version {VERSIONS[1]} is rolled out", flush=True)
        await asyncio.to_thread(self._service.deploy, VERSIONS[1])
        self.figures["rolled_over_s"] = round(self.now() - self.figures["rolled_over_at"], 1)
        print(f"{self.now():6.1f} s: all replicas serve version {VERSIONS[1]}", flush=True)

    async def _remove_node(self) -> None:
        lost = await asyncio.to_thread(self._service.remove_node)
        self.figures |= {"node_removed_at": self.now(), "replicas_on_node": lost}
        print(f"{self.now():6.1f} s: removed the second node with {lost} replicas", flush=True)


async def measure(service: Service, asked: list[str], right: Right, seconds: float, seed: int) -> dict[str, Any]:
    patience_s = 2 * service.deadline_s + 10
    load = Load(service.url, asked, service.headers, patience_s, random.Random(seed), poison=POISON, hang_ups=HANG_UPS)

    def judge() -> Judge:
        return Judge(right, service.deadline_s + LATE_S)

    async with load:
        await load.capacity(judge(), CAPACITY_S / 2, CLIENTS)
        capacity = await load.capacity(judge(), CAPACITY_S, CLIENTS)
        print(f"{capacity:.1f} requests/s are answered at most", flush=True)
        chaos, troubled = Chaos(service, load, seconds), judge()
        doing, until = asyncio.create_task(chaos.run()), time.monotonic() + seconds
        await load.constant(troubled, HALF * capacity, lambda: doing.done() and time.monotonic() > until)
        print(f"{chaos.now():6.1f} s: {troubled.figures()}; failed: {dict(troubled.failures)}", flush=True)
        await doing
        await asyncio.to_thread(service.settle)
        overload = await overloaded(service, load, judge, TENFOLD * capacity, seconds)
    answers = {"accepted_ms_p50": percentile_ms(troubled.accepted_s, 50), "accepted_ms_p99": percentile_ms(troubled.accepted_s, 99)}
    figures = troubled.figures() | answers | {"by_version": dict(troubled.by_version), "load_rps": round(HALF * capacity, 1)}
    totals = {name: figures[name] + overload[name] for name in ("failed_accepted", "wrong_vectors", "without_retry_after")}
    return {
        **totals,
        "reject_ms_p99": overload["reject_ms_p99"],
        "memory_growth_mb": overload["memory_growth_mb"],
        "kills": len(chaos.kills),
        "in_flight_at_kills": [kill["in_flight"] for kill in chaos.kills],
        **chaos.figures,
        "capacity_rps": round(capacity, 1),
        "chaos": figures,
        "overload": overload,
    }


async def overloaded(service: Service, load: Load, judge: Any, per_second: float, seconds: float) -> dict[str, Any]:
    """Ten times too many requests, first to warm up, then measured."""
    first, second = judge(), judge()
    until = time.monotonic() + WARM_UP_SHARE * seconds
    await load.constant(first, per_second, lambda: time.monotonic() > until)
    before = await asyncio.to_thread(service.memory_mb)
    load.lag_s.clear()
    until = time.monotonic() + OVERLOAD_SHARE * seconds
    await load.constant(second, per_second, lambda: time.monotonic() > until)
    after = await asyncio.to_thread(service.memory_mb)
    print(f"overload: {second.figures()}; failed: {dict(second.failures)}", flush=True)
    return {
        **second.figures(),
        "reject_ms_p50": percentile_ms(second.rejected_s, 50),
        "reject_ms_p99": percentile_ms(second.rejected_s, 99),
        "client_lag_ms_p99": percentile_ms(load.lag_s, 99),
        "accepted_ms_p99": percentile_ms(second.accepted_s, 99),
        "accepted_ms_most": percentile_ms(second.accepted_s, 100),
        "deadline_ms": 1000 * service.deadline_s,
        "memory_mb": round(sum(before.values()), 1),
        "memory_growth_mb": round(sum(after.values()) - sum(before.values()), 1),
        "replicas_replaced": len(before.keys() - after.keys()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="of constant load; the overload takes a third of it")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.chdir(PROJECT)  # Ray's workers import the package `serve` from the driver's folder
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, ExitStack() as stack:
        folders = export_versions(Path(folder))
        asked = texts()
        right = right_vectors(folders, asked)
        service = Service(stack, folders, DEADLINE_S, given.seed)
        service.deploy(VERSIONS[0])
        print(json.dumps(asyncio.run(measure(service, asked, right, given.seconds, given.seed))))


if __name__ == "__main__":
    main()
