"""A teacher's vectors of evaluation texts, kept in the store: a text is asked for, and paid, once over all runs."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mtd_ray import layout
from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.texts import TEXT_DIGEST_BYTES, text_digest
from mtd_ray.evaluate.vectors import Vectors

if TYPE_CHECKING:
    from mtd_ray.objects import ObjectStore

_CHUNK_BYTES = 16 * 1024 * 1024
_CHUNKS_HELD = 8
_VECTORS = "vectors"


class KeptVectors:
    """Vectors of one teacher, asked in one manner, found by their text.

    They lie in chunks of many texts; beside each chunk's vectors, and written after them, lie its texts' digests. Texts that the
    teacher has no vector of are kept with the reason. Whenever a text is looked for of which nothing is known, the store is listed
    again, and what others have kept meanwhile is read. Two processes that ask for the same text at the same time both keep it,
    which does no harm.

    Args:
        teacher: the teacher's fingerprint.
        manner: digest of what is sent beside a text.
        size: of a vector.
    """

    def __init__(self, store: ObjectStore, teacher: str, manner: str, size: int) -> None:
        self._store, self._teacher, self._manner, self._size = store, teacher, manner, size
        self._places: dict[bytes, tuple[str, int]] = {}
        self._rows: dict[str, int] = {}
        self._failures: dict[bytes, str] = {}
        self._failures_read: set[str] = set()
        self._held: OrderedDict[str, Vectors] = OrderedDict()

    @property
    def where(self) -> str:
        """The folder, for people."""
        return f"{self._store.url}/{layout.kept_chunks(self._teacher, self._manner)}"

    @property
    def chunk_rows(self) -> int:
        """How many texts a chunk should have."""
        return max(_CHUNK_BYTES // (4 * self._size), 1)

    def find(self, texts: Sequence[str]) -> tuple[Vectors, list[int]]:
        """Vectors (rows, size) float32, and the rows whose text is not kept, which are zeros.

        Raises:
            EvaluationError: a kept chunk is damaged.
        """
        vectors = np.zeros((len(texts), self._size), np.float32)
        digests = [text_digest(text) for text in texts]
        if any(digest not in self._places and digest not in self._failures for digest in digests):
            self._look()
        by_chunk: dict[str, list[tuple[int, int]]] = {}
        unknown = []
        for row, digest in enumerate(digests):
            chunk, place = self._places.get(digest, (None, 0))
            if chunk is None:
                unknown.append(row)
            else:
                by_chunk.setdefault(chunk, []).append((row, place))
        for chunk, pairs in by_chunk.items():
            rows, places = zip(*pairs, strict=True)
            vectors[list(rows)] = self._read(chunk)[list(places)]
        return vectors, unknown

    def keep(self, texts: Sequence[str], vectors: Vectors) -> None:
        """Keep vectors (rows, size) of texts as one chunk."""
        digests = [text_digest(text) for text in texts]
        chunk = hashlib.sha256(b"".join(digests)).hexdigest()
        self._store.put(layout.kept_vectors(self._teacher, self._manner, chunk), save({_VECTORS: np.ascontiguousarray(vectors)}))
        self._store.put(layout.kept_texts(self._teacher, self._manner, chunk), b"".join(digests))
        self._add(layout.short(chunk), digests)

    def failure(self, text: str) -> str | None:
        """Why there is no vector of a text that was looked for, if the teacher was asked; None where there is one."""
        digest = text_digest(text)
        return None if digest in self._places else self._failures.get(digest)

    def keep_failures(self, reasons: Mapping[str, str]) -> None:
        """Keep texts that the teacher could not embed, each with the reason."""
        failures = {text_digest(text): reason for text, reason in reasons.items()}
        key = layout.kept_failures(self._teacher, self._manner, hashlib.sha256(b"".join(failures)).hexdigest())
        self._store.put(key, json.dumps({digest.hex(): reason for digest, reason in failures.items()}).encode())
        self._failures |= failures

    def _look(self) -> None:
        """Read what was kept since the last look."""
        for info in list(self._store.list(layout.kept_chunks(self._teacher, self._manner))):
            chunk = layout.chunk_of_texts(info.key)
            if chunk is not None and chunk not in self._rows:
                self._add(chunk, _split(self._store.get(info.key)))
            elif layout.is_failures(info.key) and info.key not in self._failures_read:
                self._failures |= self._read_failures(info.key)
                self._failures_read.add(info.key)

    def _read_failures(self, key: str) -> dict[bytes, str]:
        try:
            return {bytes.fromhex(digest): str(reason) for digest, reason in json.loads(self._store.get(key)).items()}
        except (ValueError, AttributeError) as error:
            raise EvaluationError(f"{self._store.url}/{key} is damaged ({error!r}): delete it and evaluate again") from None

    def _add(self, chunk: str, digests: list[bytes]) -> None:
        self._rows[chunk] = len(digests)
        self._places.update((digest, (chunk, row)) for row, digest in enumerate(digests))

    def _read(self, chunk: str) -> Vectors:
        if chunk in self._held:
            self._held.move_to_end(chunk)
            return self._held[chunk]
        key = layout.kept_vectors(self._teacher, self._manner, chunk)
        vectors = self._checked(self._store.get(key), self._rows[chunk], f"{self._store.url}/{key}")
        self._held[chunk] = vectors
        if len(self._held) > _CHUNKS_HELD:
            self._held.popitem(last=False)
        return vectors

    def _checked(self, stored: bytes, rows: int, where: str) -> Vectors:
        try:
            vectors = load(stored)[_VECTORS]
        except (SafetensorError, KeyError) as error:
            raise EvaluationError(f"{where} is damaged ({error}): delete the folder it is in and evaluate again") from None
        if vectors.shape != (rows, self._size):
            raise EvaluationError(
                f"{where} holds {vectors.shape}, not the {rows} vectors of {self._size} numbers that were kept there: delete the "
                "folder it is in and evaluate again"
            )
        return vectors


def _split(digests: bytes) -> list[bytes]:
    return [digests[start : start + TEXT_DIGEST_BYTES] for start in range(0, len(digests), TEXT_DIGEST_BYTES)]
