"""What a harvest of one teacher came to, read from what is committed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from mtd_ray import layout
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import Part, PartCommit, decode_vectors
from mtd_ray.teachers import TeacherError

_READERS = 16
_EXAMPLES = 3


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


def read_commits(store: ObjectStore, fingerprint: str, parts: Sequence[Part]) -> list[PartCommit]:
    """The commits of the parts, in their order.

    Raises:
        StorageError: one is missing.
    """

    def read(part: Part) -> PartCommit:
        return PartCommit.from_json(store.get(layout.part_commit(fingerprint, part.shard.sha256, part.index)))

    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(read, parts))


def require_few_failures(store: ObjectStore, name: str, commits: Sequence[PartCommit], max_share: float) -> None:
    """Raise TeacherError when too large a share of the rows is without a vector; the message shows examples."""
    rows = sum(commit.rows for commit in commits)
    failed = sum(commit.failed_rows for commit in commits)
    if failed <= max_share * rows:
        return
    examples = "\n".join(f"  {example}" for example in _examples(store, commits))
    raise TeacherError(
        f"teacher {name}: {failed} of {rows} texts ({failed / rows:.1%}) have no vector, more than harvest.max_failed_share "
        f"({max_share:.1%}); for example\n{examples}\n"
        f"remove such texts from the corpus, or raise harvest.max_failed_share to train without them"
    )


def _examples(store: ObjectStore, commits: Sequence[PartCommit]) -> list[str]:
    found: list[str] = []
    for commit in commits:
        if commit.failed_rows and len(found) < _EXAMPLES:
            part = decode_vectors(store.get(commit.file))
            bad = ((row, reason) for row, reason in enumerate(part.reasons) if reason is not None)
            found += [f"row {part.ids[row]}: {reason}" for row, reason in islice(bad, _EXAMPLES - len(found))]
    return found
