"""``jobs/serve.py`` as a user runs it."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from mtd_ray.sandbox.ports import free_port
from mtd_ray.sandbox.ray_cluster import RayCluster
from tests.tiny_export import HEADS, tiny_export
from tests.tiny_models import sentences

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TEXTS = sentences(50)
JOB = Path(__file__).resolve().parents[2] / "jobs" / "serve.py"


@contextmanager
def serving(folder: Path, env: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The job, and the command that it says answers a request."""
    command = [sys.executable, str(JOB), folder.name, "--port", str(free_port())]
    with subprocess.Popen(command, cwd=folder.parent, env=os.environ | env, stdout=subprocess.PIPE, text=True) as job:
        try:
            assert job.stdout is not None
            assert f"serving {folder.name}" in job.stdout.readline()
            yield job, job.stdout.readline()
        finally:
            job.kill()


def ask_until_refused(url: str) -> tuple[int, int]:
    """How many requests were answered, and the status of the first that was not."""
    for answered in itertools.count():
        answer = httpx.post(url, json={"input": TEXTS}, timeout=60)
        if answer.status_code != 200:
            return answered, answer.status_code
        assert len(answer.json()["data"]) == len(TEXTS)
    raise AssertionError


def test_the_job_answers_what_it_has_taken_before_it_ends(ray_cluster: RayCluster, tmp_path: Path) -> None:
    student = tiny_export(tmp_path / "tiny", tmp_path / "bert")
    with serving(student, ray_cluster.env) as (job, curl), ThreadPoolExecutor(4) as pool:
        answer = json.loads(subprocess.run(curl, shell=True, capture_output=True, text=True, check=True).stdout)
        assert len(answer["data"][0]["embedding"]) == max(HEADS)
        asking = [pool.submit(ask_until_refused, re.findall(r"http://\S+", curl)[0]) for _ in range(4)]
        time.sleep(2)
        assert not any(client.done() for client in asking)
        job.send_signal(signal.SIGTERM)
        ended = [client.result() for client in asking]  # raises where a connection broke instead
        rest, _ = job.communicate(timeout=90)
    assert all(answered for answered, _ in ended)
    assert {503} <= {status for _, status in ended} <= {503, 404}  # 404 when nothing is left to answer
    assert job.returncode == 0
    assert "stopped" in rest


def test_the_job_serves_through_rays_own_proxy(tmp_path: Path) -> None:
    student = tiny_export(tmp_path / "tiny", tmp_path / "bert")
    with RayCluster(num_cpus=2) as cluster, serving(student, cluster.env) as (job, curl):
        answer = json.loads(subprocess.run(curl, shell=True, capture_output=True, text=True, check=True).stdout)
        assert len(answer["data"][0]["embedding"]) == max(HEADS)
        assert not [process for process in cluster.processes() if process.name() == "haproxy"]
        job.send_signal(signal.SIGTERM)
        job.communicate(timeout=60)
    assert job.returncode == 0


@pytest.mark.parametrize("keys", ["the-key-of-a-client", "env:"])
def test_keys_are_given_by_reference_and_not_repeated(keys: str, tmp_path: Path) -> None:
    tiny_export(tmp_path / "tiny", tmp_path / "bert")
    command = [sys.executable, str(JOB), str(tmp_path / "tiny"), "--keys", keys]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "by reference" in ended.stderr
    assert "the-key-of-a-client" not in ended.stderr


def test_the_job_says_what_is_wrong_with_the_folder(tmp_path: Path) -> None:
    command = [sys.executable, str(JOB), str(tmp_path)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert "Traceback" not in ended.stderr
    assert str(tmp_path) in ended.stderr
