"""Bases of the form ``pca``: the directions in which a model's largest vectors are strongest, on texts of the corpus.

Not on the texts of a task: whoever shortens vectors does so before the queries come.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mtd_ray import layout
from mtd_ray.config import fingerprint
from mtd_ray.corpus import Manifest, Shard, read_shard
from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.models.base import Access, Asked, Measured

if TYPE_CHECKING:
    from mtd_ray.objects import ObjectStore

# Raised when bases are fitted in another way, and with it that of kept scores, some of which are made with them.
_FORMAT = 1
_ROWS = 4_096
_SHARDS = 4
AS_DOCUMENTS = Asked(task="", type="Retrieval", side="document")


@dataclass(frozen=True)
class CorpusTexts:
    """A sample of a corpus's texts, the same for the same corpus: of each shard, how many rows at equal distances."""

    shards: tuple[tuple[Shard, int], ...]

    @classmethod
    def of(cls, manifest: Manifest, size: int = 0) -> CorpusTexts | None:
        """At least ``size`` texts where the corpus has them, from few shards if it has many; None for an empty corpus."""
        shards = sorted(manifest.shards, key=lambda shard: shard.sha256)  # an order that says nothing of their texts
        left, sample = max(_ROWS, size), []
        most = max(left // _SHARDS, -(-left // max(len(shards), 1)))
        for shard in shards:
            sample.append((shard, min(shard.rows, most, left)))
            left -= sample[-1][1]
        return cls(tuple((shard, rows) for shard, rows in sample if rows)) if shards else None

    @property
    def rows(self) -> int:
        """Number of texts."""
        return sum(rows for _, rows in self.shards)

    @cached_property
    def digest(self) -> str:
        return fingerprint([[shard.sha256, rows] for shard, rows in self.shards])

    def read(self, store: ObjectStore) -> list[str]:
        """Raises CorpusError when a shard is not what was built."""
        texts: list[str] = []
        for shard, count in self.shards:
            rows = np.arange(count) * shard.rows // count
            texts += read_shard(store, shard).column("text").take(rows).to_pylist()
        return texts


@dataclass(frozen=True)
class BasesOf:
    """The bases of one model for some sizes, in the store.

    ``identity`` is the model's, ``sizes`` those of all its vectors that are measured, ``prompt`` the name of the prompt that is
    chosen for documents, None where none is.
    """

    identity: str
    sizes: tuple[int, ...]
    texts: CorpusTexts
    prompt: str | None = None

    @property
    def key(self) -> str:
        return layout.kept_bases(self.identity, fingerprint([_FORMAT, self.texts.digest, list(self.sizes), self.prompt]))

    def read(self, store: ObjectStore) -> Mapping[int, NDArray[np.float32]]:
        """Size → (largest, size), for every size below the largest for which the texts are enough.

        Raises:
            EvaluationError: they are damaged.
            StorageError: they were not fitted.
        """
        try:
            return {int(size): basis for size, basis in load(store.get(self.key)).items()}
        except (SafetensorError, ValueError) as error:
            raise EvaluationError(f"{store.url}/{self.key} is damaged ({error}): delete it and evaluate again") from None

    def fit(self, store: ObjectStore, model: Measured, access: Access) -> None:
        """Fit and keep them, unless they are there.

        Raises:
            MtdError: the model cannot be opened, or the corpus cannot be read.
        """
        from mtd_ray.evaluate.measuring.pca import fit_pca  # brings PyTorch

        if store.exists(self.key):
            return
        largest = max(self.sizes)
        with model.open(store, access) as encoder:
            vectors = encoder.encode(self.texts.read(store), AS_DOCUMENTS)[largest]
        bases = fit_pca(vectors, [size for size in self.sizes if size < largest and size <= len(vectors)])
        store.put(self.key, save({str(size): np.ascontiguousarray(basis) for size, basis in bases.items()}))
