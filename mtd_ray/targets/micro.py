"""Micro-parts: answered rows of a part that is not committed yet.

A slow API works at one part for minutes. Rows it has answered, and is paid for, are put away meanwhile, so that a worker that dies
takes little of them with it: the next attempt at the part reads its micro-parts and asks only for the rest. A micro-part's name
ends with the sha256 of its bytes, so a damaged one is noticed and left out.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mtd_ray import layout
from mtd_ray.errors import TargetError
from mtd_ray.objects import ObjectStore
from mtd_ray.targets.codec import decode_vectors, encode_vectors
from mtd_ray.targets.commit import Part, PartCommit
from mtd_ray.targets.digest import sha256

_log = logging.getLogger(__name__)

_SPENT = "spent"
_SUFFIX = ".parquet"


@dataclass(frozen=True)
class Spent:
    """What answers cost: tokens and requests (``rejected`` of them for the rate limit), US dollars, and seconds of asking."""

    tokens: int = 0
    requests: int = 0
    rejected: int = 0
    usd: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


@dataclass(frozen=True, eq=False)
class MicroPart:
    """Some rows of a part.

    Attributes:
        rows: their places in the part.
        vectors: ``(len(rows), dim)`` float32, in the order of ``rows``; what stands at a failed row means nothing.
        failures: row (its place in the part) → why it has no vector.
        spent: what these rows cost.
    """

    rows: Sequence[int]
    vectors: npt.NDArray[np.float32]
    failures: Mapping[int, str]
    spent: Spent

    def to_bytes(self) -> bytes:
        """The stored form: a target file whose ids are the rows' places. Raises TargetError like :func:`encode_vectors`."""
        reasons = {index: self.failures[row] for index, row in enumerate(self.rows) if row in self.failures}
        return encode_vectors(self.vectors, [str(row) for row in self.rows], reasons, {_SPENT: json.dumps(asdict(self.spent))})

    @classmethod
    def from_bytes(cls, data: bytes) -> MicroPart:
        """Read the stored form. TargetError when it is none."""
        decoded = decode_vectors(data)
        try:
            rows = [int(name) for name in decoded.ids]
            spent = Spent(**json.loads((pq.read_schema(pa.BufferReader(data)).metadata or {})[_SPENT.encode()]))
        except (ValueError, TypeError, KeyError) as error:
            raise TargetError(f"not a micro-part: {error!r}") from None
        failures = {row: reason for row, reason in zip(rows, decoded.reasons, strict=True) if reason is not None}
        return cls(rows, decoded.vectors.astype(np.float32), failures, spent)


def write_micro_part(store: ObjectStore, teacher_fp: str, part: Part, attempt: str, micro: MicroPart) -> str:
    """Put some rows of a part away; the key they are found under."""
    data = micro.to_bytes()
    folder = layout.part_micro(teacher_fp, part.shard.sha256, part.index)
    key = f"{folder}/{attempt}-{sha256(data)}{_SUFFIX}"
    store.put(key, data)
    return key


def list_micro_parts(store: ObjectStore, teacher_fp: str, part: Part) -> list[str]:
    """Keys of a part's micro-parts, in a fixed order. One LIST."""
    return sorted(info.key for info in store.list(layout.part_micro(teacher_fp, part.shard.sha256, part.index)))


def read_micro_parts(store: ObjectStore, teacher_fp: str, part: Part, dimensions: int) -> dict[str, MicroPart]:
    """Key → rows of a part that earlier attempts have paid for. Files that are damaged or do not fit the part are left out."""
    found = {}
    for key in list_micro_parts(store, teacher_fp, part):
        try:
            found[key] = _read(store, key, part, dimensions)
        except TargetError as error:
            _log.warning("%s/%s is left out, its rows are asked again: %s", store.url, key, error)
    return found


def reopen_part(store: ObjectStore, teacher_fp: str, part: Part, commit: PartCommit) -> None:
    """Take a commit back, so that the part's rows without a vector are asked once more.

    Its other rows, and all that was spent, become a micro-part first: an interruption leaves the part committed as it was, or
    pending with its good rows. Micro-parts that were left behind are deleted, for they may hold the failures again.

    Raises:
        TargetError: the committed data is damaged or gone; nothing was changed.
    """
    data = store.find(commit.file)
    key = layout.part_commit(teacher_fp, part.shard.sha256, part.index)
    if data is None or sha256(data) != commit.sha256:
        wrong = "gone" if data is None else "damaged (sha256 differs)"
        raise TargetError(f"{store.url}/{commit.file} is {wrong}: delete its commit {key}, and harvest again to ask the whole part")
    decoded = decode_vectors(data)
    rows = [int(row) for row in np.flatnonzero(decoded.valid)]
    spent = Spent(commit.tokens, commit.requests, usd=commit.usd, seconds=commit.seconds)
    for left in list_micro_parts(store, teacher_fp, part):
        store.delete(left)
    # Named after the commit, so that doing this twice counts what was spent once.
    micro = MicroPart(rows, decoded.vectors[rows].astype(np.float32), {}, spent)
    write_micro_part(store, teacher_fp, part, layout.short(commit.sha256), micro)
    store.delete(key)


def _read(store: ObjectStore, key: str, part: Part, dimensions: int) -> MicroPart:
    data = store.find(key)
    if data is None:
        raise TargetError("it is gone since it was listed")
    if not key.endswith(f"-{sha256(data)}{_SUFFIX}"):
        raise TargetError("it is damaged (sha256 differs)")
    micro = MicroPart.from_bytes(data)
    if micro.vectors.shape[1] != dimensions or not all(0 <= row < part.rows for row in micro.rows):
        raise TargetError(f"it holds vectors of shape {micro.vectors.shape}, the part has {part.rows} rows of {dimensions} numbers")
    return micro
