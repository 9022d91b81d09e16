"""Source → shards and manifest. The manifest is written last and only once: a corpus without one does not exist."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from mtd_ray import layout
from mtd_ray.config import DocstringSource, HuggingFaceSource, JsonlSource, ParquetSource, Recipe
from mtd_ray.corpus.clean import Cleaner, CleanText, RawText, content_key, normalise
from mtd_ray.corpus.files import SourceFile, find_files
from mtd_ray.corpus.heldout import Pair, divide_docstrings
from mtd_ray.corpus.manifest import (
    PAIRS_SCHEMA,
    SHARD_SCHEMA,
    Manifest,
    Shard,
    content_hash,
    corpus_fingerprint,
    find_manifest,
    load_manifest,
)
from mtd_ray.corpus.sources import JSONL_SUFFIXES, PARQUET_SUFFIXES, read_columns, read_huggingface, read_jsonl, read_parquet
from mtd_ray.errors import CorpusError, StorageError
from mtd_ray.objects import ObjectStore

logger = logging.getLogger(__name__)

HELDOUT = "heldout"
"""Name of the evaluation task made of the corpus's own held-out pairs."""


def build_corpus(store: ObjectStore, recipe: Recipe) -> Manifest:
    """Build the recipe's corpus, or return it when it was built before: doing it twice changes nothing.

    Texts are normalised; empty ones, duplicates (without regard to case and blanks) and the texts of all evaluation pairs are left
    out; ``corpus.limit`` keeps the first of what is left. Interrupted, it starts again and writes the same objects.

    Raises:
        CorpusError: the source cannot be read, nothing usable is left of it, or evaluation pairs are unfit; file and row are named.
            No manifest is written then.
        StorageError: the store cannot be read or written.
    """
    store.check()
    existing = find_manifest(store, recipe)
    if existing is not None:
        _warn_about_changes(existing, recipe, store)
        return existing
    return _build(store, recipe)


def _build(store: ObjectStore, recipe: Recipe) -> Manifest:
    corpus = corpus_fingerprint(recipe.corpus, recipe.evaluate, recipe.seed)
    inputs = {name: size for path, suffixes in _inputs(recipe) for name, size in _sizes(path, suffixes, store).items()}
    pairs, texts = _open(recipe, store, _source_files(recipe, store))
    evaluation = {
        content_key(normalise(text)) for table in pairs.values() for column in table.columns for text in column.to_pylist()
    }
    cleaner = Cleaner(recipe.corpus, evaluation)
    shards = tuple(_write_shards(store, corpus, cleaner.clean(texts), recipe.corpus.shard_rows))
    if not shards:
        raise CorpusError(f"nothing is left of corpus.source to train on: {_describe(cleaner.counts)}")
    keys = {name: _write(store, layout.corpus_pairs(corpus, name), table) for name, table in pairs.items()}
    hashes = {name: content_hash(table) for name, table in pairs.items()}
    manifest = Manifest(corpus, shards, dict(cleaner.counts), keys, inputs, hashes)
    logger.info("corpus %s: %s", layout.short(corpus), _describe(cleaner.counts))
    if not store.create(layout.corpus_manifest(corpus), manifest.to_json()):
        return load_manifest(store, recipe)
    return manifest


def _open(recipe: Recipe, store: ObjectStore, files: list[SourceFile]) -> tuple[dict[str, pa.Table], Iterator[RawText]]:
    """Evaluation pairs by task name, and the raw texts."""
    source = recipe.corpus.source
    pairs = {name: _read_pairs(path, store) for name, path in recipe.evaluate.pairs.items()}
    if isinstance(source, DocstringSource):
        heldout, texts = divide_docstrings(source, recipe.corpus, recipe.seed, recipe.evaluate.heldout)
        if heldout and HELDOUT in pairs:
            raise CorpusError(
                f"evaluate.pairs: {HELDOUT!r} is the name of the held-out pairs; choose another, or set heldout: false"
            )
        return pairs | ({HELDOUT: _pairs_table(heldout)} if heldout else {}), texts
    if isinstance(source, HuggingFaceSource):
        return pairs, read_huggingface(source)
    return pairs, read_parquet(files, source) if isinstance(source, ParquetSource) else read_jsonl(files, source)


def _source_files(recipe: Recipe, store: ObjectStore) -> list[SourceFile]:
    source = recipe.corpus.source
    if isinstance(source, ParquetSource):
        return find_files(source.path, PARQUET_SUFFIXES, store)
    return find_files(source.path, JSONL_SUFFIXES, store) if isinstance(source, JsonlSource) else []


def _inputs(recipe: Recipe) -> list[tuple[str, tuple[str, ...]]]:
    """Every path that texts or evaluation pairs are read from, and the ends of its files' names."""
    source = recipe.corpus.source
    inputs: list[tuple[str, tuple[str, ...]]] = [(path, PARQUET_SUFFIXES) for path in recipe.evaluate.pairs.values()]
    if isinstance(source, ParquetSource):
        inputs.append((source.path, PARQUET_SUFFIXES))
    if isinstance(source, JsonlSource):
        inputs.append((source.path, JSONL_SUFFIXES))
    return inputs


def _sizes(path: str, suffixes: tuple[str, ...], store: ObjectStore) -> dict[str, int]:
    return {file.name: file.size for file in find_files(path, suffixes, store)}


def _read_pairs(path: str, store: ObjectStore) -> pa.Table:
    pairs: list[Pair] = []
    for file in find_files(path, PARQUET_SUFFIXES, store):
        for number, (query, passage) in enumerate(read_columns(file, PAIRS_SCHEMA.names)):
            if not (query and query.strip() and passage and passage.strip()):
                raise CorpusError(f"{file.name} row {number}: an evaluation pair needs a query and a passage, one is empty")
            pairs.append(Pair(query, passage))
    if not pairs:
        raise CorpusError(f"{path} holds no evaluation pairs")
    return _pairs_table(pairs)


def _pairs_table(pairs: Iterable[Pair]) -> pa.Table:
    return pa.Table.from_pylist([pair._asdict() for pair in pairs], schema=PAIRS_SCHEMA)


def _write_shards(store: ObjectStore, corpus: str, texts: Iterator[CleanText], shard_rows: int) -> Iterator[Shard]:
    for index in itertools.count():
        rows = list(itertools.islice(texts, shard_rows))
        if not rows:
            return
        table = pa.Table.from_pylist([row._asdict() for row in rows], schema=SHARD_SCHEMA)
        key = _write(store, layout.corpus_shard(corpus, index), table)
        yield Shard(index, key, len(rows), content_hash(table))


def _write(store: ObjectStore, key: str, table: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    store.put(key, sink.getvalue().to_pybytes())
    return key


def _describe(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())


def _warn_about_changes(manifest: Manifest, recipe: Recipe, store: ObjectStore) -> None:
    """A corpus is never changed; say so when a file it was built from was."""
    found: dict[str, int] = {}
    all_there = True
    for path, suffixes in _inputs(recipe):
        try:
            found |= _sizes(path, suffixes, store)
        except (CorpusError, StorageError):
            all_there = False  # what a corpus was built from may be removed
    changed = found.items() ^ manifest.inputs.items() if all_there else found.items() - manifest.inputs.items()
    if changed:
        logger.warning(
            "files changed since the corpus was built, %s for one; the built corpus is used (to rebuild, delete %s)",
            min(changed)[0],
            layout.corpus(manifest.fingerprint),
        )
