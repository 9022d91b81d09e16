"""Reading targets so that row i of a shard's vectors belongs to row i of its texts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from mtd_ray import layout
from mtd_ray.corpus.manifest import Shard
from mtd_ray.errors import TargetError
from mtd_ray.objects import ObjectStore
from mtd_ray.targets.codec import DecodedPart, decode_vectors
from mtd_ray.targets.commit import Part, PartCommit, parts_of_shard, stored_part_rows

_PARALLEL_READS = 8


class TargetStore:
    """One teacher's committed vectors.

    Args:
        teacher_fp: the teacher's fingerprint.
        part_rows: rows per part; a store that was begun with another number keeps its own.
        dimensions: the vectors' size.
    """

    def __init__(self, store: ObjectStore, teacher_fp: str, part_rows: int, dimensions: int) -> None:
        self._store = store
        self._teacher = teacher_fp
        self._part_rows = stored_part_rows(store, teacher_fp) or part_rows
        self._dimensions = dimensions

    def read_shard(self, shard: Shard, ids: Sequence[str] | None = None) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.bool_]]:
        """A shard's targets in corpus order.

        Args:
            shard: which one.
            ids: the shard's text ids; when given, every stored id is compared with them.

        Returns:
            Vectors (rows, dim) float16, zeros where there is none, and which rows are valid (rows,) bool.

        Raises:
            TargetError: a part is not committed, damaged, or belongs to other texts; its key is named.
        """
        vectors = np.zeros((shard.rows, self._dimensions), dtype=np.float16)
        valid = np.zeros(shard.rows, dtype=np.bool_)
        parts = parts_of_shard(shard, self._part_rows)
        with ThreadPoolExecutor(_PARALLEL_READS) as pool:
            for part, decoded in zip(parts, pool.map(self._read_part, parts), strict=True):
                rows = slice(part.start, part.stop)
                if ids is not None and decoded.ids != list(ids[rows]):
                    raise TargetError(f"{self._name(part)} belongs to other texts: its ids are not the corpus's. {_REDO}")
                vectors[rows], valid[rows] = decoded.vectors, decoded.valid
        return vectors, valid

    def _read_part(self, part: Part) -> DecodedPart:
        data = self._store.find(self._key(part))
        if data is None:
            raise TargetError(f"{self._name(part)} is not committed: harvest this teacher to the end first")
        try:
            return self._checked(part, PartCommit.from_json(data))
        except TargetError as error:
            raise TargetError(f"{self._name(part)}: {error}. {_REDO}") from None

    def _checked(self, part: Part, commit: PartCommit) -> DecodedPart:
        if (commit.part_start, commit.part_stop, commit.teacher) != (part.start, part.stop, self._teacher):
            raise TargetError(f"it holds rows {commit.part_start} to {commit.part_stop} of teacher {layout.short(commit.teacher)}")
        data = self._store.find(commit.file)
        if data is None:
            raise TargetError(f"its data {commit.file} is gone")
        if hashlib.sha256(data).hexdigest() != commit.sha256:
            raise TargetError(f"its data {commit.file} is damaged (sha256 differs)")
        decoded = decode_vectors(data)
        if decoded.vectors.shape != (part.rows, self._dimensions):
            raise TargetError(f"its vectors have shape {decoded.vectors.shape}, not {(part.rows, self._dimensions)}")
        return decoded

    def _key(self, part: Part) -> str:
        return layout.part_commit(self._teacher, part.shard.sha256, part.index)

    def _name(self, part: Part) -> str:
        return f"target part {self._store.url}/{self._key(part)} (shard {part.shard.index}, rows {part.start} to {part.stop})"


_REDO = "Delete this commit and harvest again; only this part is redone"
