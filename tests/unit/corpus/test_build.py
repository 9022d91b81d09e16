from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtd_ray import layout
from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest, build_corpus, corpus_fingerprint, load_manifest, read_pairs, read_shard
from mtd_ray.errors import CorpusError, StorageError
from mtd_ray.objects import ObjectStore
from tests.unit.corpus.conftest import Install, MakeRecipe, WriteParquet, module_source


def _texts(store: ObjectStore, manifest: Manifest) -> list[str]:
    return [text for shard in manifest.shards for text in read_shard(store, shard).column("text").to_pylist()]


def _contents(store: ObjectStore) -> dict[str, str]:
    return {info.key: hashlib.sha256(store.get(info.key)).hexdigest() for info in store.list()}


def _parquet(path: str) -> dict[str, Any]:
    return {"format": "parquet", "path": path}


@pytest.fixture
def recipe(make_recipe: MakeRecipe, write_parquet: WriteParquet) -> Recipe:
    path = write_parquet(text=[" one ", "two", "TWO", None, "three", "four", "five"])
    return make_recipe(_parquet(path), shard_rows=2)


def test_shards_hold_the_clean_texts_in_order(local_store: ObjectStore, recipe: Recipe) -> None:
    manifest = build_corpus(local_store, recipe)
    assert _texts(local_store, manifest) == ["one", "two", "three", "four", "five"]
    assert [(shard.index, shard.rows) for shard in manifest.shards] == [(0, 2), (1, 2), (2, 1)]
    assert manifest.rows == manifest.counts["kept"] == 5
    assert manifest.counts["duplicate"] == manifest.counts["empty"] == 1
    assert read_shard(local_store, manifest.shards[0]).schema.names == ["id", "text", "kind"]
    assert load_manifest(local_store, recipe) == manifest


def test_building_twice_changes_nothing(local_store: ObjectStore, recipe: Recipe) -> None:
    first = build_corpus(local_store, recipe)
    before = _contents(local_store)
    assert build_corpus(local_store, recipe) == first
    assert _contents(local_store) == before


def test_an_interrupted_build_ends_in_the_same_bytes(local_store: ObjectStore, recipe: Recipe) -> None:
    manifest = build_corpus(local_store, recipe)
    before = _contents(local_store)
    local_store.delete(layout.corpus_manifest(manifest.fingerprint))
    local_store.delete(manifest.shards[1].key)
    with pytest.raises(CorpusError, match=r"not in .*: build it first"):
        load_manifest(local_store, recipe)
    build_corpus(local_store, recipe)
    assert _contents(local_store) == before


def test_a_builder_that_comes_second_uses_the_first_ones_corpus(
    local_store: ObjectStore, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build_corpus(local_store, recipe)
    before = _contents(local_store)
    real, finds = ObjectStore.find, iter([None])
    monkeypatch.setattr(ObjectStore, "find", lambda store, key: next(finds, real(store, key)))
    assert build_corpus(local_store, recipe) == first
    assert _contents(local_store) == before


def test_a_changed_source_is_told_and_not_used(
    local_store: ObjectStore, recipe: Recipe, write_parquet: WriteParquet, caplog: pytest.LogCaptureFixture
) -> None:
    first = build_corpus(local_store, recipe)
    write_parquet(text=["entirely different"])
    with caplog.at_level(logging.WARNING):
        assert build_corpus(local_store, recipe) == first
    assert "changed since the corpus was built" in caplog.text


def test_the_fingerprint_follows_what_decides_the_texts(recipe: Recipe) -> None:
    def of(corpus: dict[str, Any] | None = None, evaluate: dict[str, Any] | None = None, seed: int = 0) -> str:
        return corpus_fingerprint(
            recipe.corpus.model_copy(update=corpus or {}), recipe.evaluate.model_copy(update=evaluate or {}), seed
        )

    assert of() == of(evaluate={"baselines": False})
    assert len({of(), of({"limit": 5}), of({"max_chars": 9}), of(evaluate={"heldout": False}), of(seed=1)}) == 5


def test_an_empty_corpus_is_refused(local_store: ObjectStore, make_recipe: MakeRecipe, write_parquet: WriteParquet) -> None:
    for texts in ([], [None, " ", "\n"]):
        recipe = make_recipe(_parquet(write_parquet(text=pa.array(texts, pa.string()))))
        with pytest.raises(CorpusError, match=r"nothing is left.*0 kept"):
            build_corpus(local_store, recipe)
    assert list(local_store.list()) == []


def test_a_bad_row_after_good_ones_leaves_no_corpus(local_store: ObjectStore, make_recipe: MakeRecipe, tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    good = "".join(f'{{"text": "text {number}"}}\n' for number in range(10)).encode()
    path.write_bytes(good + b'{"text": "\xff"}\n')
    recipe = make_recipe({"format": "jsonl", "path": str(path)}, shard_rows=3)
    with pytest.raises(CorpusError, match=rf"{path}:11: not UTF-8"):
        build_corpus(local_store, recipe)
    with pytest.raises(CorpusError, match="build it first"):
        load_manifest(local_store, recipe)

    path.write_bytes(good)
    assert len(_texts(local_store, build_corpus(local_store, recipe))) == 10


def test_a_corrupt_file_leaves_no_corpus(local_store: ObjectStore, make_recipe: MakeRecipe, write_parquet: WriteParquet) -> None:
    recipe = make_recipe(_parquet(write_parquet(text=["a"])))
    path = Path(recipe.corpus.source.path)  # type: ignore[union-attr]
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CorpusError, match="not a readable Parquet file"):
        build_corpus(local_store, recipe)
    assert list(local_store.list()) == []


def test_a_text_of_100k_characters(local_store: ObjectStore, make_recipe: MakeRecipe, write_parquet: WriteParquet) -> None:
    source = _parquet(write_parquet(text=["short", "x" * 100_000]))
    with pytest.raises(CorpusError, match=r"texts\.parquet row 1: a text of 100,000 characters"):
        build_corpus(local_store, make_recipe(source))
    assert list(local_store.list()) == []
    cut = make_recipe(source, long_texts="cut")
    assert [len(text) for text in _texts(local_store, build_corpus(local_store, cut))] == [5, 20_000]
    dropped = make_recipe(source, long_texts="drop")
    assert _texts(local_store, build_corpus(local_store, dropped)) == ["short"]


def test_evaluation_pairs_are_copied_and_their_texts_removed(
    local_store: ObjectStore, make_recipe: MakeRecipe, write_parquet: WriteParquet
) -> None:
    pairs = write_parquet("pairs.parquet", passage=["Two  things"], query=["one?"], url=["x"])
    source = _parquet(write_parquet(text=["ONE?", "two\nthings", "three"]))
    manifest = build_corpus(local_store, make_recipe(source, evaluate={"pairs": {"mine": pairs}}))
    assert _texts(local_store, manifest) == ["three"]
    assert manifest.counts["evaluation"] == 2
    assert list(manifest.pairs) == ["mine"]
    stored = read_pairs(local_store, manifest.pairs["mine"], manifest.pairs_sha256["mine"])
    assert stored.to_pylist() == [{"query": "one?", "passage": "Two  things"}]


def test_changed_evaluation_pairs_are_told_and_not_used(
    local_store: ObjectStore, make_recipe: MakeRecipe, write_parquet: WriteParquet, caplog: pytest.LogCaptureFixture
) -> None:
    texts = write_parquet(text=["one"])
    pairs = write_parquet("pairs.parquet", query=["a"], passage=["b"])
    recipe = make_recipe(_parquet(texts), evaluate={"pairs": {"mine": pairs}})
    first = build_corpus(local_store, recipe)
    Path(texts).unlink()  # a source may go; that hides no change of another file
    with caplog.at_level(logging.WARNING):
        build_corpus(local_store, recipe)
        assert not caplog.records
        write_parquet("pairs.parquet", query=["a longer one"], passage=["b"])
        assert build_corpus(local_store, recipe) == first
    assert f"{pairs} for one" in caplog.text


def test_content_follows_texts_and_pairs_not_settings(
    local_store: ObjectStore, make_recipe: MakeRecipe, write_parquet: WriteParquet
) -> None:
    def built(texts: list[str], passage: str, **corpus: Any) -> Manifest:
        paths = write_parquet(text=texts), write_parquet("pairs.parquet", query=["a"], passage=[passage])
        for info in list(local_store.list()):
            local_store.delete(info.key)
        return build_corpus(local_store, make_recipe(_parquet(paths[0]), evaluate={"pairs": {"mine": paths[1]}}, **corpus))

    first = built(["one"], "b")
    other_settings = built(["one"], "b", max_chars=99)
    assert other_settings.content == first.content
    assert other_settings.fingerprint != first.fingerprint
    assert other_settings.pairs_sha256 == first.pairs_sha256
    assert len({first.content, built(["two"], "b").content, built(["one"], "c").content}) == 3


def test_damaged_pairs_are_found(local_store: ObjectStore, make_recipe: MakeRecipe, write_parquet: WriteParquet) -> None:
    pairs = write_parquet("pairs.parquet", query=["a"], passage=["b"])
    manifest = build_corpus(local_store, make_recipe(_parquet(write_parquet(text=["one"])), evaluate={"pairs": {"mine": pairs}}))
    local_store.put(manifest.pairs["mine"], Path(write_parquet("other.parquet", query=["a"], passage=["c"])).read_bytes())
    with pytest.raises(CorpusError, match=r"mine\.parquet does not hold the evaluation pairs that were built"):
        read_pairs(local_store, manifest.pairs["mine"], manifest.pairs_sha256["mine"])


def test_unfit_evaluation_pairs_are_refused(local_store: ObjectStore, make_recipe: MakeRecipe, write_parquet: WriteParquet) -> None:
    source = _parquet(write_parquet(text=["a"]))
    none = pa.array([], pa.string())
    unfit = {
        "has no column 'passage'; did you mean 'passages'": write_parquet("a.parquet", query=["a"], passages=["b"]),
        "row 1: an evaluation pair needs": write_parquet("b.parquet", query=["a", " "], passage=["b", "c"]),
        "row 0: an evaluation pair needs": write_parquet("c.parquet", query=["a"], passage=pa.array([None], pa.string())),
        "holds no evaluation pairs": write_parquet("d.parquet", query=none, passage=none),
        "there is no such file": "/no/such.parquet",
    }
    for message, path in unfit.items():
        with pytest.raises(CorpusError, match=message):
            build_corpus(local_store, make_recipe(source, evaluate={"pairs": {"mine": path}}))
    assert list(local_store.list()) == []


def test_docstrings_give_a_corpus_and_heldout_pairs(local_store: ObjectStore, make_recipe: MakeRecipe, install: Install) -> None:
    install("fake-docs", {f"fake/m{number}.py": module_source(number) for number in range(10)})
    source = {"format": "docstrings", "packages": ("fake-docs",), "heldout_pairs": 6}
    recipe = make_recipe(source, limit=20, shard_rows=8)
    manifest = build_corpus(local_store, recipe)
    pairs = read_pairs(local_store, manifest.pairs["heldout"], manifest.pairs_sha256["heldout"])
    texts = _texts(local_store, manifest)
    assert len(pairs) == 6
    assert len(texts) == 20
    assert not set(pairs.column("query").to_pylist() + pairs.column("passage").to_pylist()) & set(texts)
    kinds = read_shard(local_store, manifest.shards[0]).column("kind").to_pylist()
    assert kinds == ["query", "passage"] * 4
    assert manifest.pairs["heldout"] == layout.corpus_pairs(manifest.fingerprint, "heldout")


def test_a_task_cannot_take_the_heldout_name(
    local_store: ObjectStore, make_recipe: MakeRecipe, install: Install, write_parquet: WriteParquet
) -> None:
    install("fake-docs", {"m.py": module_source(0), "n.py": module_source(1)})
    pairs = write_parquet("pairs.parquet", query=["a"], passage=["b"])
    source = {"format": "docstrings", "packages": ("fake-docs",), "heldout_pairs": 1}
    with pytest.raises(CorpusError, match="'heldout' is the name of the held-out pairs"):
        build_corpus(local_store, make_recipe(source, evaluate={"pairs": {"heldout": pairs}}))


def test_a_damaged_shard_is_found(local_store: ObjectStore, recipe: Recipe) -> None:
    manifest = build_corpus(local_store, recipe)
    first, second, _ = manifest.shards
    good = local_store.get(first.key)
    for damaged in (good[:-30], local_store.get(second.key), b""):
        local_store.put(first.key, damaged)
        with pytest.raises(CorpusError, match=f"{first.key} (is damaged|does not hold the texts)"):
            read_shard(local_store, first)
    local_store.delete(first.key)
    with pytest.raises(StorageError, match="no such object"):
        read_shard(local_store, first)


def test_a_shard_is_its_content_not_its_bytes(local_store: ObjectStore, recipe: Recipe) -> None:
    shard = build_corpus(local_store, recipe).shards[0]
    sink = pa.BufferOutputStream()
    pq.write_table(read_shard(local_store, shard), sink, compression="gzip")
    local_store.put(shard.key, sink.getvalue().to_pybytes())
    assert read_shard(local_store, shard).num_rows == shard.rows


def test_a_damaged_manifest_is_found(local_store: ObjectStore, recipe: Recipe) -> None:
    key = layout.corpus_manifest(build_corpus(local_store, recipe).fingerprint)
    for damaged in (b"{", b"[]", b'{"format": 1}', b'{"format": 2}', local_store.get(key).replace(b'"rows"', b'"row"')):
        local_store.put(key, damaged)
        with pytest.raises(CorpusError, match=r"manifest\.json cannot be used"):
            load_manifest(local_store, recipe)
