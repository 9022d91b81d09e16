"""All of one shard's targets, read again: are they whole, in the order of the texts, and vectors that have a direction?"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from mtd_ray.corpus import Shard, read_shard
from mtd_ray.errors import MtdError
from mtd_ray.objects import ObjectStore
from mtd_ray.targets.codec import DecodedPart
from mtd_ray.targets.commit import Part
from mtd_ray.targets.read import TargetStore

_BLOCK_ROWS = 64


@dataclass(frozen=True)
class Norms:
    """Lengths of vectors: how many, the shortest and the longest, their sum and that of their squares."""

    count: int = 0
    least: float = math.inf
    most: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Norms) -> Norms:
        return Norms(
            self.count + other.count,
            min(self.least, other.least),
            max(self.most, other.most),
            self.total + other.total,
            self.squares + other.squares,
        )

    @property
    def mean(self) -> float:
        """Their mean; 0 where there are none."""
        return self.total / self.count if self.count else 0.0

    @property
    def deviation(self) -> float:
        """Their standard deviation; 0 where there are none."""
        return math.sqrt(max(0.0, self.squares / self.count - self.mean**2)) if self.count else 0.0


@dataclass(frozen=True)
class Audit:
    """What reading targets again has found.

    Attributes:
        parts, rows, failed_rows: of the parts that are as they should be.
        norms: of their vectors.
        problems: one message per part that is missing, damaged or wrong, or per shard whose texts cannot be read.
    """

    parts: int = 0
    rows: int = 0
    failed_rows: int = 0
    norms: Norms = Norms()
    problems: list[str] = field(default_factory=list)

    def __add__(self, other: Audit) -> Audit:
        return Audit(
            self.parts + other.parts,
            self.rows + other.rows,
            self.failed_rows + other.failed_rows,
            self.norms + other.norms,
            self.problems + other.problems,
        )


def audit_shard(store: ObjectStore, targets: TargetStore, shard: Shard, pending: Collection[int] = ()) -> Audit:
    """Read all parts of a shard but those ``pending`` (their numbers). One part is in memory at a time.

    A part is in order when it is committed, its file has both digests of its commit, it holds the shard's ids in their order and as
    many failed rows as its commit says, and every other vector is finite and not zero.
    """
    found = Audit()
    ids: Sequence[str] | None = None
    try:
        ids = read_shard(store, shard)["id"].to_pylist()
    except MtdError as error:
        found += Audit(problems=[str(error)])
    for part in targets.parts(shard):
        if part.index in pending:
            continue
        try:
            found += _audit_part(targets, part, None if ids is None else ids[part.start : part.stop])
        except MtdError as error:
            found += Audit(problems=[str(error)])
    return found


def _audit_part(targets: TargetStore, part: Part, ids: Sequence[str] | None) -> Audit:
    commit = targets.read_commit(part)
    decoded = targets.read_part(part, ids, audit=True)
    failed = int((~decoded.valid).sum())
    if (commit.rows, commit.failed_rows) != (part.rows, failed):
        said, held = f"{commit.rows} rows, {commit.failed_rows} of them failed", f"{part.rows}, {failed} of them failed"
        return Audit(problems=[targets.problem(part, f"its commit says {said}; it holds {held}")])
    norms = _norms(decoded)
    unfit = ~(np.isfinite(norms) & (norms > 0))
    if unfit.any():
        row = part.start + int(np.flatnonzero(decoded.valid)[np.flatnonzero(unfit)[0]])
        return Audit(problems=[targets.problem(part, f"the vector of row {row} is zero or not finite ({unfit.sum()} such rows)")])
    summary = Norms()
    if len(norms):
        summary = Norms(len(norms), float(norms.min()), float(norms.max()), float(norms.sum()), float((norms**2).sum()))
    return Audit(1, part.rows, failed, summary)


def _norms(decoded: DecodedPart) -> np.ndarray:
    """Lengths of the valid rows' vectors, float64, a block of rows in float32 at a time."""
    rows = np.flatnonzero(decoded.valid)
    norms = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = decoded.vectors[rows[start : start + _BLOCK_ROWS]].astype(np.float32)
        norms[start : start + len(block)] = np.linalg.norm(block, axis=1)
    return norms
