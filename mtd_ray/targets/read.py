"""Reading targets so that row i of a shard's vectors belongs to row i of its texts."""

from __future__ import annotations

from collections import deque
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
from mtd_ray.targets.digest import sha256, xxh3

_PARALLEL_READS = 8


class TargetStore:
    """One teacher's committed vectors.

    Args:
        teacher_fp: the teacher's fingerprint.
        part_rows: rows per part; a store that was begun with another number keeps its own.
        dimensions: the vectors' size, also an attribute.
    """

    def __init__(self, store: ObjectStore, teacher_fp: str, part_rows: int, dimensions: int) -> None:
        self._store = store
        self._teacher = teacher_fp
        self._part_rows = stored_part_rows(store, teacher_fp) or part_rows
        self.dimensions = dimensions

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
        vectors = np.empty((shard.rows, self.dimensions), dtype=np.float16)
        valid = np.empty(shard.rows, dtype=np.bool_)

        def place(part: Part) -> None:
            rows = slice(part.start, part.stop)
            decoded = self.read_part(part, None if ids is None else ids[rows])
            vectors[rows], valid[rows] = decoded.vectors, decoded.valid

        with ThreadPoolExecutor(_PARALLEL_READS) as pool:
            deque(pool.map(place, self.parts(shard)), maxlen=0)
        return vectors, valid

    def parts(self, shard: Shard) -> list[Part]:
        """The parts that a shard's targets are cut into, in order."""
        return parts_of_shard(shard, self._part_rows)

    def read_part(self, part: Part, ids: Sequence[str] | None = None, *, audit: bool = False) -> DecodedPart:
        """One part's targets, found to be what was committed.

        Args:
            ids: the part's text ids; when given, every stored id is compared with them.
            audit: compute the SHA-256 too, which takes several times as long as everything else.

        Raises:
            TargetError: as :meth:`read_shard`.
        """
        commit = self.read_commit(part)
        try:
            return self._checked(part, commit, ids, audit)
        except TargetError as error:
            raise TargetError(self.problem(part, str(error))) from None

    def read_commit(self, part: Part) -> PartCommit:
        """What is known about a part. TargetError when it is not committed or its commit is damaged."""
        data = self._store.find(self._key(part))
        if data is None:
            raise TargetError(f"{self._name(part)} is not committed: harvest this teacher to the end first")
        try:
            return PartCommit.from_json(data)
        except TargetError as error:
            raise TargetError(self.problem(part, str(error))) from None

    def problem(self, part: Part, what: str) -> str:
        """What is wrong with a part, its commit's place, and what to do."""
        return f"{self._name(part)}: {what}. Delete this commit and harvest again; only this part is redone"

    def _checked(self, part: Part, commit: PartCommit, ids: Sequence[str] | None, audit: bool) -> DecodedPart:
        if (commit.part_start, commit.part_stop, commit.teacher) != (part.start, part.stop, self._teacher):
            raise TargetError(f"it holds rows {commit.part_start} to {commit.part_stop} of teacher {layout.short(commit.teacher)}")
        data = self._store.find_view(commit.file)
        if data is None:
            raise TargetError(f"its data {commit.file} is gone")
        if commit.xxh3 and xxh3(data) != commit.xxh3:
            raise TargetError(f"its data {commit.file} is damaged (xxh3 differs)")
        if (audit or not commit.xxh3) and sha256(data) != commit.sha256:
            raise TargetError(f"its data {commit.file} is damaged (sha256 differs)")
        decoded = decode_vectors(data)
        if decoded.vectors.shape != (part.rows, self.dimensions):
            raise TargetError(f"its vectors have shape {decoded.vectors.shape}, not {(part.rows, self.dimensions)}")
        if ids is not None and decoded.ids != list(ids):
            raise TargetError("it belongs to other texts: its ids are not the corpus's")
        return decoded

    def _key(self, part: Part) -> str:
        return layout.part_commit(self._teacher, part.shard.sha256, part.index)

    def _name(self, part: Part) -> str:
        return f"target part {self._store.url}/{self._key(part)} (shard {part.shard.index}, rows {part.start} to {part.stop})"
