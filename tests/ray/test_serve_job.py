"""``jobs/serve.py`` as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mtd_ray.sandbox.ports import free_port
from mtd_ray.sandbox.ray_cluster import RayCluster
from tests.tiny_export import HEADS, tiny_export

pytestmark = [pytest.mark.ray, pytest.mark.slow]

JOB = Path(__file__).resolve().parents[2] / "jobs" / "serve.py"


def test_the_job_serves_until_it_is_stopped(ray_cluster: RayCluster, tmp_path: Path) -> None:
    tiny_export(tmp_path / "tiny", tmp_path / "bert")
    command = [sys.executable, str(JOB), "tiny", "--port", str(free_port())]
    job = subprocess.Popen(command, cwd=tmp_path, env=os.environ | ray_cluster.env, stdout=subprocess.PIPE, text=True)
    assert job.stdout is not None
    assert "serving tiny" in job.stdout.readline()
    curl = job.stdout.readline()
    answer = json.loads(subprocess.run(curl, shell=True, capture_output=True, text=True, check=True).stdout)
    assert len(answer["data"][0]["embedding"]) == max(HEADS)
    job.send_signal(signal.SIGTERM)
    rest, _ = job.communicate(timeout=60)
    assert job.returncode == 0
    assert "stopped" in rest


def test_the_job_says_what_is_wrong_with_the_folder(tmp_path: Path) -> None:
    command = [sys.executable, str(JOB), str(tmp_path)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert "Traceback" not in ended.stderr
    assert str(tmp_path) in ended.stderr
