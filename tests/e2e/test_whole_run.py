"""The whole run, submitted as a user submits it: S3 server, provider over HTTP, Ray jobs; interrupted and continued."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtd_ray import layout
from mtd_ray.config import load_recipe, teacher_fingerprint
from mtd_ray.objects import ObjectStore
from mtd_ray.sandbox.object_server import ObjectServer
from mtd_ray.sandbox.provider_server import ProviderServer
from mtd_ray.sandbox.ray_cluster import RayCluster
from tests.tiny_models import WORDS, tiny_qwen2

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("s3_env")]

PROJECT = Path(__file__).resolve().parents[2]
TEXTS, PAIRS = 400, 60
WORKERS, PARTS_IN_FLIGHT, PART_ROWS = 2, 2, 50

RECIPE = """
name: {name}
storage: {{url: "s3://mtd-ray/{name}", endpoint: "{endpoint}"}}
corpus:
  source: {{format: jsonl, path: {texts}}}
  shard_rows: 100
teachers:
  paid:
    provider: openai
    base_url: {base_url}
    api_key: env:SANDBOX_API_KEY
    model: hash-64
    dimensions: 64
    send_dimensions: false
    max_inputs: 20
    workers: {workers}
    parts_in_flight: {parts_in_flight}
  words: {{provider: local, model: "package:wordllama", dimensions: 256}}
harvest: {{part_rows: {part_rows}}}
student: {{model: {model}, init: random, pooling: mean, max_tokens: 32, heads: [320, 32]}}
stages:
  - {{name: heads, trainable: heads, heads: {{320: {{cosine: 10}}}}, lr: 5e-3, steps: 20, batch_size: 32}}
  - name: all
    heads: {{320: {{cosine: 10, similarity: 200, ranking: 20}}, 32: {{similarity: 200, ranking: 20}}}}
    lr: 5e-3
    steps: 40
    batch_size: 32
train: {{workers: 2, zero_stage: 2, checkpoint_every: 10}}
evaluate: {{heldout: false, pairs: {{words: {pairs}}}}}
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[ProviderServer]:
    with ProviderServer(env={"SANDBOX_API_KEY": "sandbox-key"}) as server:
        yield server


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts, evaluation pairs (a query is a few words of its passage) and a tiny random Qwen2."""
    folder = tmp_path_factory.mktemp("data")
    rng = random.Random(7)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(4, 16))) for _ in range(TEXTS)]
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    passages = [rng.sample(WORDS, 12) for _ in range(PAIRS)]
    pairs = {"query": [" ".join(rng.sample(p, 4)) for p in passages], "passage": [" ".join(p) for p in passages]}
    pq.write_table(pa.table(pairs), folder / "pairs.parquet")
    tiny_qwen2(folder / "qwen2", hidden=64)
    return folder


def write_recipe(name: str, data: Path, objects: ObjectServer, provider: ProviderServer) -> Path:
    places = {"texts": data / "texts.jsonl", "pairs": data / "pairs.parquet", "model": data / "qwen2"}
    path = data / f"{name}.yaml"
    sizes = {"workers": WORKERS, "parts_in_flight": PARTS_IN_FLIGHT, "part_rows": PART_ROWS}
    path.write_text(RECIPE.format(name=name, endpoint=objects.endpoint, base_url=provider.base_url, **places, **sizes))
    return path


def submit(cluster: RayCluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    ray = str(Path(sys.executable).with_name("ray"))
    command = [ray, "job", "submit", "--address", cluster.dashboard_url, "--working-dir", ".", "--", sys.executable, *arguments]
    return subprocess.run(command, cwd=PROJECT, env=os.environ | cluster.env, text=True, capture_output=True, check=False)


def run_here(cluster: RayCluster, objects: ObjectServer, arguments: Sequence[str]) -> subprocess.Popen[str]:
    environment = os.environ | cluster.env | objects.env | {"SANDBOX_API_KEY": "sandbox-key"}
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=PROJECT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_a_submitted_run_finishes_and_a_second_submission_returns_at_once(
    ray_cluster: RayCluster, object_server: ObjectServer, provider: ProviderServer, data: Path
) -> None:
    recipe_file = write_recipe("whole", data, object_server, provider)
    first = submit(ray_cluster, "jobs/distill.py", str(recipe_file))
    assert first.returncode == 0, first.stdout + first.stderr
    recipe = load_recipe(recipe_file)
    store = ObjectStore.open(recipe.storage)
    assert store.exists(layout.run_finished(recipe.run_name))
    for key in (f"{layout.run_student(recipe.run_name)}/modules.json", f"{layout.run_report(recipe.run_name)}/report.md"):
        assert store.exists(key)

    paid_before = provider.ledger()
    started = time.monotonic()
    second = submit(ray_cluster, "jobs/distill.py", str(recipe_file))
    assert second.returncode == 0, second.stdout + second.stderr
    assert "already finished" in second.stdout
    assert time.monotonic() - started < 60
    assert provider.ledger() == paid_before


def test_a_run_killed_again_and_again_finishes_and_pays_twice_only_for_what_was_in_flight(
    ray_cluster: RayCluster, object_server: ObjectServer, provider: ProviderServer, data: Path
) -> None:
    recipe_file = write_recipe("killed", data, object_server, provider)
    command = ["jobs/distill.py", str(recipe_file), "evaluate.baselines=false"]
    recipe = load_recipe(recipe_file)
    store = ObjectStore.open(recipe.storage)
    paid_before = provider.ledger()["texts"]
    paid_teacher = teacher_fingerprint(recipe.teachers["paid"])
    for reached in (
        layout.part_commits(paid_teacher), layout.run_checkpoints(recipe.run_name), layout.run_student(recipe.run_name),
    ):  # fmt: skip
        driver = run_here(ray_cluster, object_server, command)
        _wait_for_object(store, reached, driver)
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
    last = run_here(ray_cluster, object_server, command)
    output, _ = last.communicate(timeout=400)
    assert last.returncode == 0, output
    assert store.exists(layout.run_finished(recipe.run_name))
    paid = provider.ledger()["texts"] - paid_before
    assert TEXTS <= paid <= TEXTS + WORKERS * PARTS_IN_FLIGHT * PART_ROWS


def _wait_for_object(store: ObjectStore, prefix: str, driver: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not any(True for _ in store.list(prefix)):
        assert driver.poll() is None, driver.communicate()[0]
        assert time.monotonic() < deadline, f"nothing appeared under {prefix}"
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("overrides", "code", "message"),
    [
        (["train.workes=2"], 2, "did you mean 'workers'?"),
        (["teachers.paid.api_key=env:NOT_SET_ANYWHERE"], 2, "env:NOT_SET_ANYWHERE is missing"),
        (["storage.endpoint=http://127.0.0.1:9"], 1, "cannot be reached"),
        (["storage.url=s3://no-such-bucket/x"], 1, "bucket does not exist"),
    ],
)
def test_bad_input_ends_with_its_message_and_no_stack_trace(
    ray_cluster: RayCluster,
    object_server: ObjectServer,
    provider: ProviderServer,
    data: Path,
    overrides: list[str],
    code: int,
    message: str,
) -> None:
    recipe_file = write_recipe("bad", data, object_server, provider)
    job = run_here(ray_cluster, object_server, ["jobs/distill.py", str(recipe_file), *overrides])
    output, _ = job.communicate(timeout=120)
    assert job.returncode == code, output
    assert message in output
    assert "Traceback" not in output
