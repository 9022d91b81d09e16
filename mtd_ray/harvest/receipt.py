"""What a harvest of one teacher came to, read from what is committed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mtd_ray import layout
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import Part, PartCommit

_READERS = 16


@dataclass(frozen=True)
class HarvestReceipt:
    """One teacher's targets after a harvest.

    Attributes:
        rows, failed_rows, parts: everything committed for this corpus, whenever that was.
        parts_already_there: how many of the parts were committed before this call.
        tokens, requests, rejected_requests: spent by this call; a request rejected for the rate limit costs nothing.
        seconds: how long this call took for the teacher.
    """

    teacher: str
    fingerprint: str
    rows: int
    failed_rows: int
    parts: int
    parts_already_there: int
    tokens: int
    requests: int
    rejected_requests: int
    seconds: float

    def __str__(self) -> str:
        if self.parts == self.parts_already_there:
            return f"{self.teacher}: {self.rows:,} rows, all there already"
        spent = f"{self.tokens:,} tokens" + (f", {self.requests:,} requests" if self.requests else "")
        kept = f", {self.parts_already_there} of {self.parts} parts there already" if self.parts_already_there else ""
        failed = f", {self.failed_rows:,} without a vector" if self.failed_rows else ""
        return f"{self.teacher}: {self.rows:,} rows{failed}{kept}; {spent} in {self.seconds:.0f} s"


def read_commits(store: ObjectStore, fingerprint: str, parts: Sequence[Part]) -> dict[str, PartCommit]:
    """Key → commit of the parts, in their order.

    Raises:
        StorageError: one is missing.
    """

    keys = [layout.part_commit(fingerprint, part.shard.sha256, part.index) for part in parts]
    with ThreadPoolExecutor(_READERS) as pool:
        return {key: PartCommit.from_json(data) for key, data in zip(keys, pool.map(store.get, keys), strict=True)}
