"""Evaluation of 4 models × 3 tasks on one and on two local Ray nodes, from the cache, and killed half-way and resumed.

    python benchmarks/evaluate_scale.py --data DIR --models DIR

The tasks are mteb's SciFact and STSBenchmark, and TRECQC as a classification of one's own; the models are all-MiniLM-L6-v2, cut at
16 to 28 tokens so that all pairs together take minutes: their scores mean nothing here. Every node has one CPU as Ray counts, and
its workers one thread. Both nodes are on this machine, so that nothing is faster than its cores allow: two cores on which something
else runs cannot reach twice the speed, and the line before the last says what two unrelated processes reach there.

The last line is one JSON object:

- ``speedup_two_nodes``: seconds on one node by seconds on two, each with everything still to be measured
- ``machine_allows``: the same of two processes that only count, side by side instead of one after the other
- ``cached_seconds``: the same evaluation again, from the start of its process to the scores, without joining Ray
- ``repeated_pairs``: pairs that were kept when the driver was killed and were measured again when it was resumed
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from mtd_ray.objects import ObjectStore
from mtd_ray.sandbox.ray_cluster import RayCluster
from mtd_ray.sandbox.ray_node import RayNode

PAIRS = 12
KILLED_AFTER = 5
PATIENCE_S = 600.0
COUNT = "n = 0\nwhile n < 60_000_000: n += 1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mtd-ray-scale-") as folder:
        print(json.dumps(measure(Evaluations(given.data.absolute(), given.models.absolute() / "all-MiniLM-L6-v2", Path(folder)))))


class Evaluations:
    """Starts evaluations: each in a process of its own, on a cluster, with scores kept in a store of this name."""

    def __init__(self, data: Path, model: Path, folder: Path) -> None:
        self._data, self._model, self._folder = data, model, folder

    def start(self, cluster: RayCluster, name: str) -> subprocess.Popen[str]:
        script = Path(__file__).with_name("evaluate_scale_run.py")
        return subprocess.Popen(
            [sys.executable, str(script), str(self._data), str(self._model), str(self._folder / name)],
            env=os.environ | cluster.env,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, cluster: RayCluster, name: str) -> dict[str, Any]:
        """What an evaluation prints at its end."""
        process = self.start(cluster, name)
        output, _ = process.communicate(timeout=PATIENCE_S)
        if process.returncode != 0:
            raise SystemExit(f"the evaluation ended with {process.returncode}")
        outcome: dict[str, Any] = json.loads(output.splitlines()[-1])
        return outcome

    def kept(self, name: str) -> dict[str, datetime]:
        """When each pair's scores were written."""
        return {info.key: info.modified for info in ObjectStore(str(self._folder / name)).list("scores")}


def measure(evaluations: Evaluations) -> dict[str, Any]:
    with nodes(1) as cluster:
        one = evaluations.run(cluster, "one")
        print(f"one node: {one['seconds']:.1f} s for {len(one['scores'])} pairs")
    with nodes(2) as cluster:
        two = evaluations.run(cluster, "two")
        print(f"two nodes: {two['seconds']:.1f} s; the same scores: {one['scores'] == two['scores']}")
        cached = evaluations.run(cluster, "two")
        print(f"again, from what is kept: {cached['seconds']:.2f} s; the same scores: {cached['scores'] == two['scores']}")
        repeated, before = killed_and_resumed(evaluations, cluster)
        print(f"killed when {before} of {PAIRS} pairs were kept, resumed: {repeated} of them measured again")
    allowed = machine_allows()
    print(f"two processes that only count, side by side on {os.cpu_count()} cores: {allowed:.2f} times one after the other")
    return {
        "speedup_two_nodes": round(one["seconds"] / two["seconds"], 2),
        "machine_allows": round(allowed, 2),
        "cores": os.cpu_count(),
        "one_node_seconds": round(one["seconds"], 1),
        "two_nodes_seconds": round(two["seconds"], 1),
        "cached_seconds": round(cached["seconds"], 2),
        "repeated_pairs": repeated,
        "kept_when_killed": before,
        "same_scores": one["scores"] == two["scores"] == cached["scores"],
    }


@contextmanager
def nodes(count: int) -> Iterator[RayCluster]:
    """A cluster of nodes with one CPU each."""
    with ExitStack() as stack:
        cluster = stack.enter_context(RayCluster(num_cpus=1))
        for _ in range(count - 1):
            stack.enter_context(RayNode(cluster, num_cpus=1))
        yield cluster


def killed_and_resumed(evaluations: Evaluations, cluster: RayCluster) -> tuple[int, int]:
    """Pairs that were measured twice, and how many were kept when the driver was killed."""
    driver = evaluations.start(cluster, "killed")
    deadline = time.monotonic() + PATIENCE_S
    while len(evaluations.kept("killed")) < KILLED_AFTER:
        if driver.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("the evaluation ended before it could be killed")
        time.sleep(0.1)
    driver.kill()
    driver.wait()
    before = evaluations.kept("killed")
    evaluations.run(cluster, "killed")
    after = evaluations.kept("killed")
    if len(after) != PAIRS:
        raise SystemExit(f"{len(after)} of {PAIRS} pairs are kept after the evaluation was resumed")
    return sum(after[key] != written for key, written in before.items()), len(before)


def machine_allows() -> float:
    """How much sooner two processes end side by side than one after the other."""

    def seconds(processes: int) -> float:
        started = time.monotonic()
        running = [subprocess.Popen([sys.executable, "-c", COUNT]) for _ in range(processes)]
        for process in running:
            process.wait()
        return time.monotonic() - started

    return 2 * seconds(1) / seconds(2)


if __name__ == "__main__":
    main()
