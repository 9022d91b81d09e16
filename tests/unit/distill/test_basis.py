"""The strongest directions of a stage's targets are found once and stored, and only good ones."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from mtd_ray import layout
from mtd_ray.config import Recipe, teacher_fingerprint
from mtd_ray.corpus import Manifest
from mtd_ray.directions import fit_basis
from mtd_ray.distill import basis as module
from mtd_ray.distill.basis import load_or_fit
from mtd_ray.errors import TargetError
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import Part, TargetStore, parts_of
from mtd_ray.targets.digest import sha256, xxh3
from tests.tiny_run import TEACHERS, store_run, tiny_recipe

PCA = {"cosine": 1.0, "target": "pca"}


def pca_recipe(store: ObjectStore, **changes: Any) -> Recipe:
    """Two stages of both teachers, with heads of 6 and 4 numbers, and one of alpha alone."""
    common = {"lr": 1e-3, "steps": 1, "batch_size": 8}
    stages = [
        {"name": "one", "heads": {4: PCA}, **common},
        {"name": "two", "heads": {6: PCA, 4: PCA, 16: {"cosine": 1.0}}, **common},
        {"name": "alpha", "teachers": ["alpha"], "heads": {4: PCA}, **common},
    ]
    return tiny_recipe(store, "/nowhere", student={"model": "/nowhere", "heads": [16, 6, 4]}, stages=stages, **changes)


def stored(store: ObjectStore) -> list[str]:
    return sorted(info.key for info in store.list("bases"))


@pytest.fixture
def run(tmp_path: Path) -> tuple[ObjectStore, Recipe, Manifest]:
    store = ObjectStore(str(tmp_path))
    recipe = pca_recipe(store)
    return store, recipe, store_run(store, recipe, failed={"beta": {3, 50}})


def whole_targets(store: ObjectStore, recipe: Recipe, manifest: Manifest) -> Tensor:
    """Of the rows that both teachers have."""
    parts, there = [], []
    for name, weight in (("alpha", 1.0), ("beta", 0.5)):
        teacher = recipe.teachers[name]
        read = [TargetStore(store, teacher_fingerprint(teacher), 16, teacher.dimensions).read_shard(s) for s in manifest.shards]
        parts.append(weight**0.5 * F.normalize(torch.from_numpy(np.concatenate([v for v, _ in read])).float(), dim=1))
        there.append(torch.from_numpy(np.concatenate([ok for _, ok in read])))
    return F.normalize(torch.cat(parts, dim=1)[there[0] & there[1]], dim=1)


def test_directions_are_those_of_the_fused_targets_of_complete_rows(run: tuple[ObjectStore, Recipe, Manifest]) -> None:
    store, recipe, manifest = run
    basis = load_or_fit(store, recipe, manifest, recipe.stages[0], 4)
    whole = whole_targets(store, recipe, manifest)
    assert whole.shape == (118, 16)
    torch.testing.assert_close(basis, fit_basis([whole], 4), atol=1e-4, rtol=0)


def test_stages_of_the_same_teachers_share_one_object_and_its_bits(run: tuple[ObjectStore, Recipe, Manifest]) -> None:
    store, recipe, manifest = run
    one, two, alpha = recipe.stages
    large, small = (load_or_fit(store, recipe, manifest, two, size) for size in (6, 4))
    assert len(stored(store)) == 1
    assert torch.equal(load_or_fit(store, recipe, manifest, one, 4), small)
    assert torch.equal(large[:, :4], small)
    assert load_or_fit(store, recipe, manifest, alpha, 4).shape == (12, 4)
    assert len(stored(store)) == 2


def test_what_is_stored_is_not_computed_again(run: tuple[ObjectStore, Recipe, Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    store, recipe, manifest = run
    first = load_or_fit(store, recipe, manifest, recipe.stages[0], 4)
    monkeypatch.setattr(module, "fit_basis", None)
    assert torch.equal(load_or_fit(store, recipe, manifest, recipe.stages[0], 4), first)


@pytest.mark.parametrize("change", [{"weight": 2.0}, {"target_dimensions": 2}, {"target_dimensions": 2, "target_shorten": "fold"}])
def test_another_target_has_other_directions(run: tuple[ObjectStore, Recipe, Manifest], change: dict[str, Any]) -> None:
    store, recipe, manifest = run
    changed = pca_recipe(store, teachers=TEACHERS | {"beta": TEACHERS["beta"] | change})
    load_or_fit(store, recipe, manifest, recipe.stages[0], 4)
    load_or_fit(store, changed, manifest, changed.stages[0], 4)
    assert len(stored(store)) == 2


def test_a_corpus_larger_than_the_sample_is_read_in_part(
    run: tuple[ObjectStore, Recipe, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, recipe, manifest = run
    sizes: list[int] = []

    def fit(blocks: list[Tensor], size: int) -> Tensor:
        sizes.extend(map(len, blocks))
        return torch.eye(16, size)

    monkeypatch.setattr(module, "_ROWS", 50)
    monkeypatch.setattr(module, "fit_basis", fit)
    load_or_fit(store, recipe, manifest, recipe.stages[0], 4)
    assert 48 <= sum(sizes) <= 50
    assert len(sizes) == 3


def test_too_few_complete_rows_are_refused(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    recipe = pca_recipe(store)
    manifest = store_run(store, recipe, failed={"beta": set(range(117))})
    with pytest.raises(
        TargetError, match=r"size 6 needs at least as many texts that have a vector of each of alpha, beta; there are 3"
    ):
        load_or_fit(store, recipe, manifest, recipe.stages[0], 4)
    assert stored(store) == []


def store_again(store: ObjectStore, recipe: Recipe, part: Part, vector: np.ndarray) -> None:
    """Give beta's part another first vector of 4 numbers, and a commit that says so."""
    teacher = teacher_fingerprint(recipe.teachers["beta"])
    commit = TargetStore(store, teacher, 16, 4).read_commit(part)
    data = store.get(commit.file)
    old = TargetStore(store, teacher, 16, 4).read_part(part).vectors[0].tobytes()
    assert data.count(old) == 1
    data = data.replace(old, vector.astype("<f2").tobytes())
    store.put(commit.file, data)
    key = layout.part_commit(teacher, part.shard.sha256, part.index)
    store.put(key, replace(commit, sha256=sha256(data), xxh3=xxh3(data)).to_json())


@pytest.mark.parametrize("spoilt", [np.array([1, np.nan, 1, 1]), np.array([np.inf, 0, 0, 0])])
def test_a_target_that_is_not_finite_is_named_and_nothing_is_stored(
    run: tuple[ObjectStore, Recipe, Manifest], spoilt: np.ndarray
) -> None:
    store, recipe, manifest = run
    part = parts_of(manifest, 16)[4]  # rows 16 to 32 of the second shard
    store_again(store, recipe, part, spoilt)
    with pytest.raises(TargetError, match=r"teacher 'beta'.*\(shard 1, rows 16 to 32\): its vector of row 16 .* not .* finite"):
        load_or_fit(store, recipe, manifest, recipe.stages[0], 4)
    assert stored(store) == []
    assert load_or_fit(store, recipe, manifest, recipe.stages[2], 4).isfinite().all()  # alpha alone


def test_directions_that_are_not_finite_are_not_stored(
    run: tuple[ObjectStore, Recipe, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, recipe, manifest = run
    monkeypatch.setattr(module, "fit_basis", lambda targets, size: torch.full((16, size), torch.nan))
    with pytest.raises(TargetError, match="computed on cpu are not finite, though all targets are; nothing was stored"):
        load_or_fit(store, recipe, manifest, recipe.stages[0], 4)
    assert stored(store) == []


def test_a_part_that_is_harvested_again_gives_new_directions(run: tuple[ObjectStore, Recipe, Manifest]) -> None:
    store, recipe, manifest = run
    before = load_or_fit(store, recipe, manifest, recipe.stages[0], 4)
    store_again(store, recipe, parts_of(manifest, 16)[0], np.array([-1, 1, -1, 1]))
    after = load_or_fit(store, recipe, manifest, recipe.stages[0], 4)
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, fit_basis([whole_targets(store, recipe, manifest)], 4), atol=1e-4, rtol=0)


NOT_FINITE = save({"basis": torch.full((16, 6), torch.nan)})


@pytest.mark.parametrize("damage", [b"", b"not a tensor", NOT_FINITE, "other"], ids=["empty", "text", "not finite", "other"])
def test_damaged_directions_are_told(run: tuple[ObjectStore, Recipe, Manifest], damage: bytes | str) -> None:
    store, recipe, manifest = run
    load_or_fit(store, recipe, manifest, recipe.stages[0], 4)
    key = stored(store)[0]
    load_or_fit(store, recipe, manifest, recipe.stages[2], 4)
    other = next(store.get(found) for found in stored(store) if found != key)
    store.put(key, other if damage == "other" else damage)
    with pytest.raises(TargetError, match=f"{key} is damaged: delete it"):
        load_or_fit(store, recipe, manifest, recipe.stages[0], 4)


class TwoThreads:
    """A process group whose two workers are threads, named by their ranks."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2, timeout=20).wait

    def is_initialized(self) -> bool:
        return True

    def get_rank(self) -> int:
        return int(threading.current_thread().name)


def test_one_worker_computes_and_all_get_the_same(
    run: tuple[ObjectStore, Recipe, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, recipe, manifest = run
    computed_by, loaded = [], {}

    def fit(blocks: list[Tensor], size: int) -> Tensor:
        computed_by.append(threading.current_thread().name)
        return fit_basis(blocks, size)

    def work(rank: str) -> None:
        loaded[rank] = load_or_fit(store, recipe, manifest, recipe.stages[0], 4)

    monkeypatch.setattr(module, "dist", TwoThreads())
    monkeypatch.setattr(module, "fit_basis", fit)
    threads = [threading.Thread(target=work, name=rank, args=(rank,)) for rank in ("1", "0")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert computed_by == ["0"]
    assert torch.equal(loaded["0"], loaded["1"])
