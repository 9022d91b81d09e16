"""Harvesting through HTTP into the S3 server, on a real cluster, with everything that may go wrong on the way."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from mtd_ray import layout
from mtd_ray.config import Recipe, teacher_fingerprint
from mtd_ray.corpus import Manifest
from mtd_ray.harvest import harvest
from mtd_ray.objects import ObjectStore
from mtd_ray.sandbox.provider_faults import Fault
from mtd_ray.sandbox.provider_models import HashModel
from mtd_ray.sandbox.provider_server import ProviderServer
from mtd_ray.sandbox.ray_cluster import RayCluster
from mtd_ray.targets import TargetStore, committed_parts
from mtd_ray.teachers import AccountError, BadAnswer, BudgetSpent, TeacherError
from tests.ray_fixture import PROVIDER_KEY
from tests.tiny_corpus import tiny_recipe, tiny_texts, write_corpus

pytestmark = pytest.mark.ray

ROWS, SHARD_ROWS, PART_ROWS, SIZE = 200, 60, 10, 16
PARTS = 3 * 6 + 2
WORKERS, PARTS_IN_FLIGHT = 2, 2
WINDOW = WORKERS * PARTS_IN_FLIGHT * PART_ROWS
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer(env=PROVIDER_KEY) as server:
        yield server


@pytest.fixture
def manifest(s3_store: ObjectStore) -> Manifest:
    return write_corpus(s3_store, tiny_texts(ROWS), SHARD_ROWS)


def paid(server: ProviderServer, **changes: Any) -> dict[str, Any]:
    (key_name,) = PROVIDER_KEY
    fields = {"provider": "openai", "model": f"hash-{SIZE}", "base_url": server.base_url, "api_key": f"env:{key_name}"}
    pool = {"workers": WORKERS, "parts_in_flight": PARTS_IN_FLIGHT, "num_cpus": 0.25}
    return fields | {"dimensions": SIZE, "timeout_s": 10.0} | pool | changes


def recipe_of(store: ObjectStore, server: ProviderServer, **changes: Any) -> Recipe:
    return tiny_recipe(store, {"paid": paid(server, **changes)}, part_rows=PART_ROWS)


def targets(store: ObjectStore, recipe: Recipe, manifest: Manifest) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    teacher = recipe.teachers["paid"]
    stored = TargetStore(store, teacher_fingerprint(teacher), PART_ROWS, SIZE)
    shards = [stored.read_shard(shard) for shard in manifest.shards]
    return np.concatenate([vectors for vectors, _ in shards]), np.concatenate([valid for _, valid in shards])


def assert_all_rows_once(store: ObjectStore, recipe: Recipe, manifest: Manifest) -> None:
    vectors, valid = targets(store, recipe, manifest)
    assert valid.all()
    np.testing.assert_allclose(vectors.astype(np.float32), HashModel(SIZE).embed(tiny_texts(ROWS)), atol=1e-3)
    fingerprint = teacher_fingerprint(recipe.teachers["paid"])
    assert len(committed_parts(store, fingerprint)) == PARTS


def test_through_http_into_s3_and_again_for_nothing(
    ray_cluster: RayCluster, s3_store: ObjectStore, server: ProviderServer, manifest: Manifest, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_of(s3_store, server, workers={"min": 1, "max": WORKERS})
    receipt = harvest(s3_store, recipe, manifest)["paid"]
    assert (receipt.rows, receipt.failed_rows, receipt.parts, receipt.parts_already_there) == (ROWS, 0, PARTS, 0)
    assert receipt.requests == PARTS
    assert receipt.tokens == server.ledger()["tokens"]
    assert_all_rows_once(s3_store, recipe, manifest)
    assert f"paid {ROWS}/{ROWS} rows" in capsys.readouterr().err

    started = time.monotonic()
    again = harvest(s3_store, recipe, manifest)["paid"]
    assert time.monotonic() - started < 3
    assert (again.rows, again.parts_already_there, again.requests) == (ROWS, PARTS, 0)
    assert server.ledger()["texts"] == ROWS


def test_teachers_side_by_side_under_a_quota(
    ray_cluster: RayCluster, s3_store: ObjectStore, server: ProviderServer, manifest: Manifest
) -> None:
    server.set_quota(requests_per_minute=300, tokens_per_minute=1_000_000)
    quota = {"requests_per_minute": 300.0}
    teachers = {"paid": paid(server, quota=quota), "other": paid(server, quota=quota, prompts={"passage": "other: "})}
    receipts = harvest(s3_store, tiny_recipe(s3_store, teachers, part_rows=PART_ROWS), manifest)
    assert [receipt.rows for receipt in receipts.values()] == [ROWS, ROWS]
    # 40 requests at five a second; both teachers share the one account's pace.
    assert all(receipt.seconds > 3 for receipt in receipts.values())
    assert "429" not in server.ledger()["refused"]


@pytest.mark.parametrize("victim", ["MapWorker", "QuotaActor"])
def test_what_is_killed_is_replaced_and_its_part_redone(
    ray_cluster: RayCluster, s3_store: ObjectStore, server: ProviderServer, manifest: Manifest, victim: str
) -> None:
    server.set_faults(Fault(kind="stall", seconds=0.3))
    recipe = recipe_of(s3_store, server)
    killed: list[psutil.Process] = []
    killer = threading.Thread(target=_kill_one, args=(ray_cluster, server, victim, killed), daemon=True)
    killer.start()
    receipt = harvest(s3_store, recipe, manifest)["paid"]
    killer.join()
    assert len(killed) == 1
    assert not killed[0].is_running()
    assert receipt.rows == ROWS
    assert_all_rows_once(s3_store, recipe, manifest)
    assert server.ledger()["texts"] <= ROWS + WINDOW


def _kill_one(cluster: RayCluster, server: ProviderServer, name: str, killed: list[psutil.Process]) -> None:
    while server.ledger()["requests"] < 4:
        time.sleep(0.05)
    victim = _processes(cluster, name)[0]
    os.kill(victim.pid, signal.SIGKILL)
    killed.append(victim)


def _processes(cluster: RayCluster, name: str) -> list[psutil.Process]:
    """The cluster's living processes of an actor class."""
    found = []
    for process in cluster.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(name in word for word in process.cmdline()):
                found.append(process)
    return found


def test_a_killed_driver_is_continued_and_nothing_committed_is_paid_again(
    ray_cluster: RayCluster,
    s3_store: ObjectStore,
    s3_env: dict[str, str],
    server: ProviderServer,
    manifest: Manifest,
    tmp_path: Path,
) -> None:
    server.set_faults(Fault(kind="stall", seconds=0.3))
    recipe = recipe_of(s3_store, server)
    fingerprint = teacher_fingerprint(recipe.teachers["paid"])
    driver = _start_driver(ray_cluster, recipe, manifest, tmp_path)
    while server.ledger()["requests"] < 6:
        assert driver.poll() is None, driver.communicate()[0]
        time.sleep(0.05)
    driver.kill()
    driver.communicate()
    _wait_for_quiet(server)
    committed = len(committed_parts(s3_store, fingerprint))
    paid_before = server.ledger()["texts"]
    assert 0 < committed < PARTS

    server.set_faults()
    receipt = harvest(s3_store, recipe, manifest)["paid"]
    assert receipt.parts_already_there == committed
    assert receipt.requests == PARTS - committed
    assert server.ledger()["texts"] - paid_before == ROWS - committed * PART_ROWS
    assert paid_before - committed * PART_ROWS <= WINDOW, "at most what the workers had in flight"
    assert_all_rows_once(s3_store, recipe, manifest)


_DRIVER = """
import sys
import ray
from pathlib import Path
from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.harvest import harvest
from mtd_ray.objects import ObjectStore
address, folder = sys.argv[1:]
recipe = Recipe.model_validate_json((Path(folder) / "recipe.json").read_text())
manifest = Manifest.from_json((Path(folder) / "manifest.json").read_bytes(), folder)
ray.init(address=address, log_to_driver=False)
harvest(ObjectStore.open(recipe.storage), recipe, manifest)
"""


def _start_driver(cluster: RayCluster, recipe: Recipe, manifest: Manifest, folder: Path) -> subprocess.Popen[str]:
    (folder / "recipe.json").write_text(recipe.model_dump_json())
    (folder / "manifest.json").write_bytes(manifest.to_json())
    return subprocess.Popen(
        [sys.executable, "-c", _DRIVER, cluster.address, str(folder)],
        cwd=ROOT,
        env=os.environ | cluster.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _wait_for_quiet(server: ProviderServer) -> None:
    """Until the dead driver's workers are gone: nobody has asked anything for two seconds."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < 2:
        if (count := server.ledger()["requests"]) != seen:
            seen, since = count, time.monotonic()
        time.sleep(0.1)


@pytest.mark.parametrize("kind", ["reorder", "nan", "wrong_count", "cut"])
def test_bad_answers_now_and_then_leave_no_trace(
    ray_cluster: RayCluster, s3_store: ObjectStore, server: ProviderServer, manifest: Manifest, kind: Any
) -> None:
    server.set_faults(Fault(kind=kind, every=5))
    recipe = recipe_of(s3_store, server)
    harvest(s3_store, recipe, manifest)
    assert_all_rows_once(s3_store, recipe, manifest)


@pytest.mark.parametrize(("kind", "tells"), [("wrong_size", r"teachers\.paid\.dimensions"), ("nan", "not finite")])
def test_a_teacher_that_only_answers_badly_ends_the_harvest_and_commits_nothing(
    ray_cluster: RayCluster, s3_store: ObjectStore, server: ProviderServer, manifest: Manifest, kind: Any, tells: str
) -> None:
    server.set_faults(Fault(kind=kind, containing=""))
    recipe = recipe_of(s3_store, server)
    with pytest.raises(BadAnswer, match=tells):
        harvest(s3_store, recipe, manifest)
    assert committed_parts(s3_store, teacher_fingerprint(recipe.teachers["paid"])) == {}


def test_a_wrong_key_ends_every_teacher_with_one_message_and_commits_nothing(
    ray_cluster: RayCluster, s3_store: ObjectStore, server: ProviderServer, manifest: Manifest
) -> None:
    server.set_faults(Fault(kind="stall", seconds=2.0))
    with ProviderServer(env=dict.fromkeys(PROVIDER_KEY, "sk-the-right-one")) as strict:
        teachers = {"slow": paid(server, prompts={"passage": "slow: "}), "paid": paid(strict)}
        recipe = tiny_recipe(s3_store, teachers, part_rows=PART_ROWS)
        with pytest.raises(AccountError) as caught:
            harvest(s3_store, recipe, manifest)
    message = str(caught.value)
    assert message.startswith("teacher paid: ")
    assert "refuses the key env:" in message
    assert not any(value in message for value in PROVIDER_KEY.values())
    assert list(s3_store.list(layout.part_commits(teacher_fingerprint(recipe.teachers["paid"])))) == []
    deadline = time.monotonic() + 10
    while _processes(ray_cluster, "MapWorker") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert _processes(ray_cluster, "MapWorker") == [], "the other teacher's workers have ended too"


def test_too_many_failed_rows_end_the_harvest_but_stay_committed(
    ray_cluster: RayCluster, s3_store: ObjectStore, server: ProviderServer, manifest: Manifest
) -> None:
    refuse = Fault(kind="status", status=400, code="content_policy", containing="topic 3 ")
    server.set_faults(refuse, Fault(kind="stall", seconds=0.2))
    recipe = recipe_of(s3_store, server)
    with pytest.raises(TeacherError, match="have no vector"):
        harvest(s3_store, recipe, manifest)
    _wait_for_quiet(server)
    committed = len(committed_parts(s3_store, teacher_fingerprint(recipe.teachers["paid"])))
    assert 0 < committed < PARTS, "the rest of the corpus is not asked"
    asked = server.ledger()
    with pytest.raises(TeacherError, match="sandbox fault 400"):
        harvest(s3_store, recipe, manifest)
    assert server.ledger() == asked
    server.set_faults(refuse)
    tolerant = tiny_recipe(s3_store, {"paid": paid(server)}, part_rows=PART_ROWS, max_failed_share=0.2)
    receipt = harvest(s3_store, tolerant, manifest)["paid"]
    bad = [" topic 3 " in text for text in tiny_texts(ROWS)]
    assert (receipt.failed_rows, receipt.parts_already_there) == (sum(bad), committed)
    _, valid = targets(s3_store, tolerant, manifest)
    assert valid.tolist() == [not is_bad for is_bad in bad]

    server.set_faults()
    paid_for = server.ledger()["texts"]
    harvest(s3_store, recipe, manifest, retry_failed=True)
    assert server.ledger()["texts"] - paid_for == sum(bad), "only the failed rows are asked again"
    assert_all_rows_once(s3_store, recipe, manifest)


def test_a_spent_budget_ends_the_harvest_and_nothing_is_paid_twice_once_it_is_raised(
    ray_cluster: RayCluster, s3_store: ObjectStore, server: ProviderServer, manifest: Manifest
) -> None:
    server.set_faults(Fault(kind="stall", seconds=0.1))
    teacher = paid(server, max_inputs=2, requests_in_flight=4, usd_per_million_tokens=1000.0)

    def recipe_with(budget_usd: float) -> Recipe:
        return tiny_recipe(s3_store, {"paid": teacher}, part_rows=PART_ROWS, budget_usd=budget_usd)

    with pytest.raises(BudgetSpent, match=r"harvest\.budget_usd"):
        harvest(s3_store, recipe_with(1.0), manifest)
    _wait_for_quiet(server)
    paid_for = server.ledger()
    assert 0.5 < paid_for["tokens"] / 1000 <= 1.0
    harvest(s3_store, recipe_with(10.0), manifest)
    assert server.ledger()["texts"] == ROWS
    assert_all_rows_once(s3_store, recipe_with(10.0), manifest)
