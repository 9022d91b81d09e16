"""A built corpus: its manifest, its shards and its evaluation pairs, as they stand in storage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mtd_ray import layout
from mtd_ray.config import CorpusConfig, EvaluateConfig, Recipe, fingerprint
from mtd_ray.errors import CorpusError
from mtd_ray.objects import ObjectStore

SHARD_SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string()), ("kind", pa.string())])
PAIRS_SCHEMA = pa.schema([("query", pa.string()), ("passage", pa.string())])
_FORMAT = 2


@dataclass(frozen=True)
class Shard:
    """One numbered file of the corpus. ``sha256`` is that of its content (:func:`content_hash`), not of the file's bytes."""

    index: int
    key: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a corpus consists of.

    ``counts`` says what became of the texts that were read (``read``, ``kept``, and one entry per reason to drop one).
    ``pairs`` maps each evaluation task's name to the key of its pairs, ``pairs_sha256`` to their :func:`content_hash`. ``inputs``
    are the files that were read, texts and pairs, and their bytes.
    """

    fingerprint: str
    shards: tuple[Shard, ...]
    counts: dict[str, int]
    pairs: dict[str, str]
    inputs: dict[str, int] = field(default_factory=dict)
    pairs_sha256: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.pairs.keys() != self.pairs_sha256.keys():
            raise ValueError("pairs and pairs_sha256 name different tasks")

    @property
    def rows(self) -> int:
        """Number of texts."""
        return sum(shard.rows for shard in self.shards)

    @property
    def content(self) -> str:
        """Digest of all texts and evaluation pairs, in order: equal for equal content, wherever it was read from."""
        return fingerprint({"shards": [shard.sha256 for shard in self.shards], "pairs": self.pairs_sha256})

    def to_json(self) -> bytes:
        """The stored form: stable bytes for equal manifests."""
        return (json.dumps({"format": _FORMAT} | asdict(self), indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, where: str) -> Manifest:
        """Read the stored form. CorpusError naming ``where`` when it is damaged."""
        try:
            tree: dict[str, Any] = json.loads(data)
            if tree.pop("format") != _FORMAT:
                raise ValueError("it was written by another version")
            return cls(**(tree | {"shards": tuple(Shard(**shard) for shard in tree["shards"])}))
        except (ValueError, TypeError, KeyError) as error:
            raise CorpusError(f"{where} cannot be used ({error}): delete it and build the corpus again") from None


def corpus_fingerprint(corpus: CorpusConfig, evaluate: EvaluateConfig, seed: int) -> str:
    """Digest of everything in a recipe that decides the corpus; the key it is stored under."""
    evaluation = evaluate.model_dump(mode="json", include={"heldout", "pairs"})
    return fingerprint({"corpus": corpus.model_dump(mode="json"), "evaluate": evaluation, "seed": seed})


def find_manifest(store: ObjectStore, recipe: Recipe) -> Manifest | None:
    """The recipe's corpus, or None when it was not built yet."""
    key = layout.corpus_manifest(corpus_fingerprint(recipe.corpus, recipe.evaluate, recipe.seed))
    data = store.find(key)
    return None if data is None else Manifest.from_json(data, f"{store.url}/{key}")


def load_manifest(store: ObjectStore, recipe: Recipe) -> Manifest:
    """The recipe's corpus. CorpusError when it was not built."""
    manifest = find_manifest(store, recipe)
    if manifest is None:
        raise CorpusError(f"the corpus of recipe {recipe.name!r} is not in {store.url}: build it first (jobs/harvest.py does)")
    return manifest


def read_shard(store: ObjectStore, shard: Shard) -> pa.Table:
    """A shard's texts: columns ``id``, ``text``, ``kind``, in corpus order. CorpusError when the content is not what was built."""
    return _verified(_read_parquet(store, shard.key, SHARD_SCHEMA), shard.sha256, f"{store.url}/{shard.key}", "texts")


def read_pairs(store: ObjectStore, key: str, sha256: str) -> pa.Table:
    """Evaluation pairs: columns ``query``, ``passage``; row i's passage answers row i's query.

    Raises:
        CorpusError: the content is not what was built.
    """
    return _verified(_read_parquet(store, key, PAIRS_SCHEMA), sha256, f"{store.url}/{key}", "evaluation pairs")


def content_hash(table: pa.Table) -> str:
    """sha256 over every row's texts, column by column, each with its length, so that it does not depend on how Parquet wrote them.

    Args:
        table: of ``SHARD_SCHEMA`` or ``PAIRS_SCHEMA``.
    """
    digest = hashlib.sha256()
    for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
        digest.update(_framed(row))
    return digest.hexdigest()


def _framed(values: Iterable[str]) -> bytes:
    return b"".join(len(data).to_bytes(8, "little") + data for data in (value.encode() for value in values))


_REBUILD = "delete the corpus folder and build it again"


def _verified(table: pa.Table, sha256: str, where: str, what: str) -> pa.Table:
    if content_hash(table) != sha256:
        raise CorpusError(f"{where} does not hold the {what} that were built (its content hash differs): {_REBUILD}")
    return table


def _read_parquet(store: ObjectStore, key: str, schema: pa.Schema) -> pa.Table:
    data = store.get(key)
    try:
        return pq.read_table(pa.BufferReader(data)).select(schema.names).cast(schema)
    except (pa.ArrowException, KeyError) as error:
        raise CorpusError(f"{store.url}/{key} is damaged ({error}): {_REBUILD}") from None
