"""``--verify`` on a real cluster: everything is read again, and the teachers embed a few rows once more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mtd_ray import layout
from mtd_ray.config import Recipe, teacher_fingerprint
from mtd_ray.corpus import Manifest
from mtd_ray.errors import TargetError
from mtd_ray.harvest.verify import report, require_whole, verify
from mtd_ray.objects import ObjectStore
from mtd_ray.sandbox.provider_models import HashModel
from mtd_ray.sandbox.provider_server import ProviderServer
from mtd_ray.targets import parts_of, write_part, write_teacher_description
from tests.ray_fixture import PROVIDER_KEY
from tests.tiny_corpus import tiny_recipe, tiny_texts, write_corpus

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

ROWS, SIZE, PART_ROWS = 60, 16, 10


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer(env=PROVIDER_KEY) as server:
        yield server


@pytest.fixture
def run(s3_store: ObjectStore, server: ProviderServer) -> tuple[ObjectStore, Recipe, Manifest]:
    """A teacher behind HTTP whose vectors are stored already."""
    (key_name,) = PROVIDER_KEY
    teacher = {"provider": "openai", "model": f"hash-{SIZE}", "base_url": server.base_url, "api_key": f"env:{key_name}"}
    recipe = tiny_recipe(s3_store, {"paid": teacher | {"dimensions": SIZE, "num_cpus": 0.25}}, part_rows=PART_ROWS)
    texts = tiny_texts(ROWS)
    manifest = write_corpus(s3_store, texts, 25)
    fingerprint = teacher_fingerprint(recipe.teachers["paid"])
    write_teacher_description(s3_store, fingerprint, {}, PART_ROWS)
    vectors = HashModel(SIZE).embed(texts)
    for part in parts_of(manifest, PART_ROWS):
        first = 25 * part.shard.index
        rows = range(first + part.start, first + part.stop)
        write_part(
            s3_store, fingerprint, part, [f"t{row}" for row in rows], vectors[list(rows)], {}, tokens=1, requests=1, seconds=0.1
        )
    return s3_store, recipe, manifest


def test_what_is_whole_passes_and_only_the_sample_is_paid_for(
    run: tuple[ObjectStore, Recipe, Manifest], server: ProviderServer
) -> None:
    found = verify(*run, sample_rows=4)
    require_whole(found)
    assert found[0].found.rows == ROWS
    assert found[0].least_cosine is not None
    assert found[0].least_cosine > 0.99
    assert server.ledger()["texts"] == 4
    assert "paid" in report(found)


def test_damage_is_named_and_nothing_is_paid(run: tuple[ObjectStore, Recipe, Manifest], server: ProviderServer) -> None:
    store, recipe, manifest = run
    fingerprint = teacher_fingerprint(recipe.teachers["paid"])
    key = next(info.key for info in store.list(f"{layout.teacher(fingerprint)}/data"))
    store.put(key, store.get(key)[:-1] + b"x")
    found = verify(store, recipe, manifest)
    assert server.ledger()["texts"] == 0
    with pytest.raises(TargetError, match="paid"):
        require_whole(found)
    assert "damaged" in report(found)
    assert layout.part_commits(fingerprint) in report(found)
