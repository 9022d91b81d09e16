"""A corpus that grows keeps its shards, and so the vectors that were paid for them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtd_ray import layout
from mtd_ray.config import CorpusConfig, EvaluateConfig, Recipe
from mtd_ray.corpus import Manifest, build_corpus, corpus_fingerprint, load_manifest, read_pairs, read_shard
from mtd_ray.errors import CorpusError
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import parts_of, pending_parts, write_part, write_teacher_description
from tests.unit.corpus.conftest import Install, MakeRecipe, WriteParquet, module_source

TEACHER = "b" * 64


def _parquet(path: str) -> dict[str, Any]:
    return {"format": "parquet", "path": path}


def _texts(store: ObjectStore, manifest: Manifest) -> list[str]:
    return [text for shard in manifest.shards for text in read_shard(store, shard).column("text").to_pylist()]


def _contents(store: ObjectStore) -> dict[str, str]:
    return {info.key: hashlib.sha256(store.get(info.key)).hexdigest() for info in store.list()}


@pytest.fixture
def recipes(make_recipe: MakeRecipe, write_parquet: WriteParquet) -> list[Recipe]:
    """The same corpus with no addition, with one and with two."""
    base = _parquet(write_parquet("base.parquet", text=["one", "two", "three", "four", "five"]))
    first = _parquet(write_parquet("first.parquet", text=["THREE", "six", " six", "seven", "eight"]))
    second = _parquet(write_parquet("second.parquet", text=["seven", "nine"]))
    return [make_recipe(base, shard_rows=2, limit=5, additions=additions) for additions in ((), (first,), (first, second))]


def test_a_corpus_without_additions_keeps_its_fingerprint() -> None:
    config = CorpusConfig.model_validate({"source": {"format": "jsonl", "path": "/texts"}, "limit": 5})
    assert corpus_fingerprint(config, EvaluateConfig(), 3) == "f18a04a68f8bf516b7223076778caaa73cdcae289ddbe2009d5406a6879f761d"


def test_an_addition_appends_shards_of_what_is_new(local_store: ObjectStore, recipes: list[Recipe]) -> None:
    base, grown, again = (build_corpus(local_store, recipe) for recipe in recipes)
    assert _texts(local_store, again) == ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    assert grown.shards[: len(base.shards)] == base.shards
    assert again.shards[: len(grown.shards)] == grown.shards
    assert [shard.index for shard in again.shards] == list(range(6))
    assert again.rows == again.counts["kept"] == 9
    assert again.counts["duplicate"] == 3
    assert (again.counts.keys(), again.counts["empty"]) == (base.counts.keys(), 0)
    assert len({manifest.fingerprint for manifest in (base, grown, again)}) == 3
    assert load_manifest(local_store, recipes[2]) == again


def test_grown_at_once_or_step_by_step_it_is_the_same(
    local_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory, recipes: list[Recipe]
) -> None:
    for recipe in recipes:
        build_corpus(local_store, recipe)
    other = ObjectStore(str(tmp_path_factory.mktemp("other")))
    build_corpus(other, recipes[2])
    assert _contents(other) == _contents(local_store)
    build_corpus(other, recipes[2])
    assert _contents(other) == _contents(local_store)


def test_an_interrupted_addition_ends_in_the_same_bytes(local_store: ObjectStore, recipes: list[Recipe]) -> None:
    grown = build_corpus(local_store, recipes[1])
    before = _contents(local_store)
    local_store.delete(layout.corpus_manifest(grown.fingerprint))
    local_store.delete(grown.shards[-1].key)
    assert build_corpus(local_store, recipes[1]) == grown
    assert _contents(local_store) == before


def test_only_the_new_texts_are_left_to_harvest(local_store: ObjectStore, recipes: list[Recipe]) -> None:
    base = build_corpus(local_store, recipes[0])
    write_teacher_description(local_store, TEACHER, {}, 2)
    for part in parts_of(base, 2):
        vectors = np.ones((part.rows, 4), np.float32)
        write_part(local_store, TEACHER, part, ["x"] * part.rows, vectors, {}, tokens=1, requests=1, seconds=0.1)
    assert pending_parts(local_store, TEACHER, base, 2) == []

    grown = build_corpus(local_store, recipes[1])

    pending = pending_parts(local_store, TEACHER, grown, 2)
    assert {part.shard for part in pending} == set(grown.shards) - set(base.shards)
    assert sum(part.rows for part in pending) == 3


def test_an_addition_of_nothing_new_is_the_same_texts(
    local_store: ObjectStore, make_recipe: MakeRecipe, write_parquet: WriteParquet
) -> None:
    source = _parquet(write_parquet(text=["one", "two"]))
    assert build_corpus(local_store, make_recipe(source, additions=(source,))).shards == build_corpus(
        local_store, make_recipe(source)
    ).shards  # fmt: skip


def test_evaluation_texts_stay_out_of_additions(
    local_store: ObjectStore, make_recipe: MakeRecipe, install: Install, write_parquet: WriteParquet
) -> None:
    install("fake-docs", {"m.py": module_source(0), "n.py": module_source(1)})
    source = {"format": "docstrings", "packages": ("fake-docs",), "heldout_pairs": 2}
    pairs = _parquet(write_parquet("pairs.parquet", query=["who asks"], passage=["an answer"]))
    more = _parquet(write_parquet("more.parquet", text=["Who  asks", "an answer", "new"]))
    evaluate = {"pairs": {"mine": pairs["path"]}}
    base = build_corpus(local_store, make_recipe(source, evaluate=evaluate))
    grown = build_corpus(local_store, make_recipe(source, evaluate=evaluate, additions=(more, source)))
    assert (grown.pairs, grown.pairs_sha256) == (base.pairs, base.pairs_sha256)
    added = _texts(local_store, grown)[base.rows :]
    assert added[0] == "new"
    tables = [read_pairs(local_store, key, base.pairs_sha256[name]) for name, key in base.pairs.items()]
    held = {text for table in tables for column in table.columns for text in column.to_pylist()}
    assert held
    assert held.isdisjoint(added)


def test_a_corpus_grows_though_the_files_it_was_built_from_are_gone(local_store: ObjectStore, recipes: list[Recipe]) -> None:
    base = build_corpus(local_store, recipes[0])
    Path(recipes[0].corpus.source.path).unlink()  # type: ignore[union-attr]
    assert build_corpus(local_store, recipes[1]).rows == base.rows + 3


def test_a_bad_addition_leaves_the_corpus_before_it(
    local_store: ObjectStore, make_recipe: MakeRecipe, write_parquet: WriteParquet
) -> None:
    source = _parquet(write_parquet(text=["one"]))
    recipe = make_recipe(source, additions=(_parquet("/nowhere.parquet"),))
    with pytest.raises(CorpusError, match=r"/nowhere\.parquet"):
        build_corpus(local_store, recipe)
    assert load_manifest(local_store, make_recipe(source)).rows == 1
    with pytest.raises(CorpusError, match="build it first"):
        load_manifest(local_store, recipe)
