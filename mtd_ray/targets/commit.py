"""Parts and their commits.

A worker writes a part's vectors under a name of its own and then creates the part's commit, put-if-absent. The commit is the part:
readers follow commits and never list data files, so a worker that dies or comes second leaves nothing that could be read.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mtd_ray import layout
from mtd_ray.corpus.manifest import Manifest, Shard
from mtd_ray.errors import TargetError
from mtd_ray.objects import ObjectStore
from mtd_ray.targets.codec import encode_vectors
from mtd_ray.targets.digest import sha256, xxh3


@dataclass(frozen=True)
class Part:
    """Rows ``start`` to ``stop`` (exclusive) of one shard: the unit of asking, committing and re-doing."""

    shard: Shard
    index: int
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """Number of texts."""
        return self.stop - self.start


@dataclass(frozen=True)
class PartCommit:
    """What is known about a committed part. ``file`` is its key in the store, ``sha256`` and ``xxh3`` are digests of its bytes."""

    file: str
    rows: int
    failed_rows: int
    sha256: str
    part_start: int
    part_stop: int
    tokens: int
    requests: int
    seconds: float
    teacher: str
    usd: float = 0.0
    xxh3: str = ""

    def to_json(self) -> bytes:
        """The stored form."""
        return (json.dumps(asdict(self), sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> PartCommit:
        """Read the stored form. TargetError when it is damaged."""
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError) as error:
            raise TargetError(f"damaged commit: {error}") from None


def parts_of(manifest: Manifest, part_rows: int) -> list[Part]:
    """Every part of a corpus, in corpus order. The last part of a shard may be shorter."""
    return [part for shard in manifest.shards for part in parts_of_shard(shard, part_rows)]


def parts_of_shard(shard: Shard, part_rows: int) -> list[Part]:
    """The parts of one shard, in order."""
    starts = range(0, shard.rows, part_rows)
    return [Part(shard, index, start, min(start + part_rows, shard.rows)) for index, start in enumerate(starts)]


def write_teacher_description(store: ObjectStore, teacher_fp: str, description: Mapping[str, Any], part_rows: int) -> int:
    """Open a target store: say what its fingerprint stands for and fix its part size.

    Returns:
        The rows per part in force: those of the store's first harvest, which a later recipe cannot change.
    """
    data = json.dumps({"teacher": dict(description), "part_rows": part_rows}, indent=1, sort_keys=True) + "\n"
    if store.create(layout.teacher_description(teacher_fp), data.encode()):
        return part_rows
    return stored_part_rows(store, teacher_fp) or part_rows


def stored_part_rows(store: ObjectStore, teacher_fp: str) -> int | None:
    """Rows per part of a target store, or None when nothing was harvested into it."""
    key = layout.teacher_description(teacher_fp)
    data = store.find(key)
    if data is None:
        return None
    try:
        return int(json.loads(data)["part_rows"])
    except (ValueError, TypeError, KeyError):
        raise TargetError(f"{store.url}/{key} is damaged: restore it, or delete that teacher's folder and harvest again") from None


def write_part(  # noqa: PLR0917 (a part and what belongs to its rows)
    store: ObjectStore,
    teacher_fp: str,
    part: Part,
    ids: Sequence[str],
    vectors: npt.NDArray[np.float32],
    failures: Mapping[int, str],
    *,
    tokens: int,
    requests: int,
    seconds: float,
    usd: float = 0.0,
) -> PartCommit | None:
    """Write and commit one part.

    Args:
        ids: the ids of the part's texts, in corpus order.
        vectors: (part.rows, dim) float32.
        failures: row within the part → why it has no vector.
        tokens: tokens the teacher counted.
        seconds: time the teacher took.
        usd: what it cost.

    Returns:
        The commit, or None when another attempt had committed this part before; what this one wrote is then deleted.

    Raises:
        TargetError: the vectors are not fit to be targets; nothing was written.
    """
    if len(ids) != part.rows:
        raise TargetError(f"shard {part.shard.index} part {part.index} has {part.rows} rows, {len(ids)} were given")
    data = encode_vectors(vectors, ids, failures)
    commit = PartCommit(
        file=layout.part_data(teacher_fp, part.shard.sha256, part.index, uuid.uuid4().hex),
        rows=part.rows,
        failed_rows=len(failures),
        sha256=sha256(data),
        xxh3=xxh3(data),
        part_start=part.start,
        part_stop=part.stop,
        tokens=tokens,
        requests=requests,
        seconds=seconds,
        teacher=teacher_fp,
        usd=usd,
    )
    return commit if _publish(store, layout.part_commit(teacher_fp, part.shard.sha256, part.index), commit, data) else None


def _publish(store: ObjectStore, key: str, commit: PartCommit, data: bytes) -> bool:
    """Write a part's data, then its commit. False when another commit was there before; the data are then deleted again."""
    store.put(commit.file, data)
    # A create whose answer was lost is sent again and then finds its own object. Deleting the file then would break the commit.
    if store.create(key, commit.to_json()) or store.find(key) == commit.to_json():
        return True
    store.delete(commit.file)
    return False


def committed_parts(store: ObjectStore, teacher_fp: str) -> dict[tuple[str, int], str]:
    """Key of the commit of every committed part, by (shard hash as in keys, part index). One LIST."""
    found = store.list(layout.part_commits(teacher_fp))
    return {layout.part_of_commit(info.key): info.key for info in found}


def pending_parts(store: ObjectStore, teacher_fp: str, manifest: Manifest, part_rows: int) -> list[Part]:
    """Parts that are not committed yet, in corpus order. A store that was begun keeps its own rows per part."""
    done = committed_parts(store, teacher_fp)
    rows = stored_part_rows(store, teacher_fp) or part_rows
    return [part for part in parts_of(manifest, rows) if (layout.short(part.shard.sha256), part.index) not in done]
