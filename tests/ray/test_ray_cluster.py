"""The private Ray cluster that tests and the quickstart run on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
import ray

from mtd_ray.errors import MtdError
from mtd_ray.sandbox.ray_cluster import RayCluster

pytestmark = pytest.mark.ray

RAY = str(Path(sys.executable).with_name("ray"))
CONNECT = "import ray; ray.init(address='{}'); print('reached')"


def without_token() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


def test_a_task_runs_with_the_providers_key_and_one_thread(ray_cluster: RayCluster) -> None:
    @ray.remote
    def environment() -> tuple[str | None, str | None]:
        return os.environ.get("SANDBOX_API_KEY"), os.environ.get("OMP_NUM_THREADS")

    assert ray.get(environment.remote(), timeout=60) == ("sandbox-key", "1")
    assert ray.cluster_resources()["CPU"] == 4


def test_a_client_without_the_token_is_refused(ray_cluster: RayCluster) -> None:
    environment = without_token() | {"RAY_NUM_REDIS_GET_RETRIES": "1"}
    command = [sys.executable, "-c", CONNECT.format(ray_cluster.address)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert "reached" not in ended.stdout
    assert "InvalidAuthToken" in ended.stderr


def test_jobs_are_submitted_with_the_token_and_refused_without(ray_cluster: RayCluster) -> None:
    command = [RAY, "job", "submit", "--address", ray_cluster.dashboard_url, "--", "python", "-c", "'print(6 * 7)'"]
    accepted = subprocess.run(command, env=os.environ | ray_cluster.env, capture_output=True, text=True, timeout=120, check=False)
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert "42" in accepted.stdout
    refused = subprocess.run(command, env=without_token(), capture_output=True, text=True, timeout=120, check=False)
    assert refused.returncode != 0


@pytest.mark.slow
def test_a_second_cluster_runs_beside_the_first_and_leaves_nothing(ray_cluster: RayCluster) -> None:
    with RayCluster(num_cpus=1) as second:
        assert second.address != ray_cluster.address
        assert second.dashboard_url != ray_cluster.dashboard_url
        script = f"import ray; ray.init(address='{second.address}'); print(ray.get(ray.remote(lambda: 42).remote()))"
        answer = subprocess.run(
            [sys.executable, "-c", script], env=os.environ | second.env, capture_output=True, text=True, timeout=120, check=False
        )
        assert "42" in answer.stdout, answer.stderr
        running, folder = second.processes(), Path(second.env["RAY_AUTH_TOKEN_PATH"]).parent
        assert len(running) > 3
    assert not [process for process in running if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert not folder.exists()
    assert ray.get(ray.remote(lambda: "still here").remote(), timeout=60) == "still here"


def test_a_cluster_that_does_not_come_up_is_an_error_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(tempfile.mkdtemp(prefix="t"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    cluster = RayCluster(start_timeout_s=0.5)
    with pytest.raises(MtdError, match="did not start"), cluster:
        pass
    assert not cluster.processes()
    assert not list(folder.iterdir())
    folder.rmdir()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_when_the_owner_is_ended(how: signal.Signals) -> None:
    script = (
        "import sys; from mtd_ray.sandbox.ray_cluster import RayCluster\n"
        "with RayCluster(num_cpus=1) as cluster:\n"
        "    print(*[process.pid for process in cluster.processes()], flush=True)\n"
        "    sys.stdin.read()\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    running = [psutil.Process(int(pid)) for pid in owner.stdout.readline().split()]
    assert len(running) > 3
    owner.send_signal(how)
    owner.communicate()
    _, alive = psutil.wait_procs(running, timeout=30)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
