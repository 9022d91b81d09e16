"""Source → shards and manifest. The manifest is written last and only once: a corpus without one does not exist."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from mtd_ray import layout
from mtd_ray.config import DocstringSource, HuggingFaceSource, JsonlSource, ParquetSource, Recipe
from mtd_ray.config.rules_evaluation import HELDOUT
from mtd_ray.config.sources import Source
from mtd_ray.corpus.clean import Cleaner, CleanText, RawText, content_key, normalise
from mtd_ray.corpus.files import find_files
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
    read_pairs,
    read_shard,
)
from mtd_ray.corpus.sources import JSONL_SUFFIXES, PARQUET_SUFFIXES, read_columns, read_huggingface, read_jsonl, read_parquet
from mtd_ray.errors import CorpusError, StorageError
from mtd_ray.objects import ObjectStore

logger = logging.getLogger(__name__)

_Input = tuple[str, tuple[str, ...]]
"""A path, and the ends of its files' names."""


def build_corpus(store: ObjectStore, recipe: Recipe) -> Manifest:
    """Build the recipe's corpus, or return it when it was built before: doing it twice changes nothing.

    Texts are normalised; empty ones, duplicates (without regard to case and blanks) and the texts of all evaluation pairs are left
    out; ``corpus.limit`` keeps the first of what is left of ``corpus.source``. Each of ``corpus.additions`` then adds its own texts
    to the corpus without it, whose shards stay as and where they are. Interrupted, it starts again and writes the same objects.

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
    if recipe.corpus.additions:
        return _grow(store, recipe, build_corpus(store, _before_last_addition(recipe)))
    return _build(store, recipe)


def _build(store: ObjectStore, recipe: Recipe) -> Manifest:
    corpus = corpus_fingerprint(recipe.corpus, recipe.evaluate, recipe.seed)
    inputs = _input_sizes(_inputs(recipe), store)
    pairs, texts = _open(recipe, store)
    cleaner = Cleaner(recipe.corpus, _keys(pairs.values()))
    shards = tuple(_write_shards(store, corpus, cleaner.clean(texts), recipe.corpus.shard_rows))
    if not shards:
        raise CorpusError(f"nothing is left of corpus.source to train on: {_describe(cleaner.counts)}")
    keys = {name: _write(store, layout.corpus_pairs(corpus, name), table) for name, table in pairs.items()}
    hashes = {name: content_hash(table) for name, table in pairs.items()}
    return _publish(store, recipe, Manifest(corpus, shards, dict(cleaner.counts), keys, inputs, hashes))


def _grow(store: ObjectStore, recipe: Recipe, base: Manifest) -> Manifest:
    """The corpus without its last addition, and new shards with the texts of that addition."""
    corpus = corpus_fingerprint(recipe.corpus, recipe.evaluate, recipe.seed)
    # The files of what was built before may be gone by now.
    inputs = base.inputs | _input_sizes(_files_of(recipe.corpus.additions[-1:]), store)
    evaluation = _keys(read_pairs(store, key, base.pairs_sha256[name]) for name, key in base.pairs.items())
    known = (content_key(text) for shard in base.shards for text in read_shard(store, shard)["text"].to_pylist())
    # A limit is the source's own: counted over everything, an addition to a corpus at its limit would add nothing.
    cleaner = Cleaner(recipe.corpus.model_copy(update={"limit": None}), evaluation, known)
    texts = cleaner.clean(_raw_texts(recipe.corpus.additions[-1], recipe, store))
    new = tuple(_write_shards(store, corpus, texts, recipe.corpus.shard_rows, first=len(base.shards)))
    counts = Counter(base.counts)
    counts.update(cleaner.counts)  # a sum would leave out what was counted as 0
    return _publish(store, recipe, replace(base, fingerprint=corpus, shards=base.shards + new, counts=dict(counts), inputs=inputs))


def _before_last_addition(recipe: Recipe) -> Recipe:
    corpus = recipe.corpus.model_copy(update={"additions": recipe.corpus.additions[:-1]})
    return recipe.model_copy(update={"corpus": corpus})


def _publish(store: ObjectStore, recipe: Recipe, manifest: Manifest) -> Manifest:
    logger.info("corpus %s: %s", layout.short(manifest.fingerprint), _describe(manifest.counts))
    if not store.create(layout.corpus_manifest(manifest.fingerprint), manifest.to_json()):
        return load_manifest(store, recipe)
    return manifest


def _keys(tables: Iterable[pa.Table]) -> set[int]:
    """Keys of all texts of evaluation pairs."""
    return {content_key(normalise(text)) for table in tables for column in table.columns for text in column.to_pylist()}


def _open(recipe: Recipe, store: ObjectStore) -> tuple[dict[str, pa.Table], Iterator[RawText]]:
    """Evaluation pairs by task name, and the raw texts of ``corpus.source``."""
    source = recipe.corpus.source
    pairs = {name: _read_pairs(path, store) for name, path in recipe.evaluate.pairs.items()}
    if not isinstance(source, DocstringSource):
        return pairs, _raw_texts(source, recipe, store)
    heldout, texts = divide_docstrings(source, recipe.corpus, recipe.seed, recipe.evaluate.heldout)
    if heldout and HELDOUT in pairs:
        raise CorpusError(f"evaluate.pairs: {HELDOUT!r} is the name of the held-out pairs; choose another, or set heldout: false")
    return pairs | ({HELDOUT: _pairs_table(heldout)} if heldout else {}), texts


def _raw_texts(source: Source, recipe: Recipe, store: ObjectStore) -> Iterator[RawText]:
    """All texts of a source; nothing of it is held out."""
    if isinstance(source, ParquetSource):
        return read_parquet(find_files(source.path, PARQUET_SUFFIXES, store), source)
    if isinstance(source, JsonlSource):
        return read_jsonl(find_files(source.path, JSONL_SUFFIXES, store), source)
    if isinstance(source, HuggingFaceSource):
        return read_huggingface(source)
    return divide_docstrings(source, recipe.corpus, recipe.seed, heldout=False)[1]


def _inputs(recipe: Recipe) -> list[_Input]:
    """Every path that texts or evaluation pairs are read from."""
    pairs = [(path, PARQUET_SUFFIXES) for path in recipe.evaluate.pairs.values()]
    return pairs + _files_of((recipe.corpus.source, *recipe.corpus.additions))


def _files_of(sources: Iterable[Source]) -> list[_Input]:
    inputs: list[_Input] = []
    for source in sources:
        if isinstance(source, ParquetSource):
            inputs.append((source.path, PARQUET_SUFFIXES))
        if isinstance(source, JsonlSource):
            inputs.append((source.path, JSONL_SUFFIXES))
    return inputs


def _input_sizes(inputs: Iterable[_Input], store: ObjectStore) -> dict[str, int]:
    return {name: size for path, suffixes in inputs for name, size in _sizes(path, suffixes, store).items()}


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


def _write_shards(
    store: ObjectStore, corpus: str, texts: Iterator[CleanText], shard_rows: int, *, first: int = 0
) -> Iterator[Shard]:
    for index in itertools.count(first):
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
