"""Ray and DeepSpeed stay in their adapter modules, so that everything else runs and is tested with plain PyTorch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]

MAY_IMPORT = {
    "ray": {
        "mtd_ray/job.py",
        "mtd_ray/harvest/quota.py",
        "mtd_ray/harvest/budget.py",  # the cap on dollars is one actor for all workers
        "mtd_ray/harvest/metrics.py",  # Prometheus reads them from Ray
        "mtd_ray/harvest/pool.py",
        "mtd_ray/harvest/verify.py",  # a task per shard: reading terabytes again is work for all nodes
        "mtd_ray/distill/alignment.py",  # a teacher is asked on a node that has its GPU
        "mtd_ray/distill/checkpoints/evaluator.py",
        "mtd_ray/distill/checkpoints/notices.py",
        "mtd_ray/distill/pipeline.py",
        "mtd_ray/remote.py",
        "mtd_ray/sandbox/ray_cluster.py",
        "serve/app.py",
        "jobs/",
    },
    "deepspeed": {"mtd_ray/distill/engine.py"},
}


def imported_packages(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_only_the_adapters_import(package: str) -> None:
    sources = [path for room in ("mtd_ray", "serve", "jobs") for path in sorted((PROJECT / room).rglob("*.py"))]
    assert sources
    importers = {path.relative_to(PROJECT).as_posix() for path in sources if package in imported_packages(path)}
    strangers = {name for name in importers if not any(name.startswith(allowed) for allowed in MAY_IMPORT[package])}
    assert not strangers, f"{package} is imported outside its adapter modules: {sorted(strangers)}"


def test_what_other_rooms_use_of_the_harvest_needs_no_ray() -> None:
    script = "import sys, mtd_ray.harvest.plan, mtd_ray.harvest.reembed, mtd_ray.targets.sweep; sys.exit('ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=PROJECT, check=True, timeout=60)
