"""Texts → an immutable, numbered list of shards."""

from mtd_ray.corpus.build import build_corpus
from mtd_ray.corpus.manifest import Manifest, Shard, corpus_fingerprint, load_manifest, read_pairs, read_shard

__all__ = ["Manifest", "Shard", "build_corpus", "corpus_fingerprint", "load_manifest", "read_pairs", "read_shard"]
