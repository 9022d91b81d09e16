"""A teacher's commits, read one after the other and added up: memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from mtd_ray import layout
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import Part, PartCommit

_READERS = 16
_READ_TOGETHER = 256
_EXAMPLES = 3


def read_commits(store: ObjectStore, keys: Iterable[str]) -> Iterator[tuple[str, PartCommit]]:
    """Key and commit of each key, in their order. No more than a few hundred are held at a time.

    Raises:
        StorageError: one is missing.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        remaining = iter(keys)
        while batch := list(islice(remaining, _READ_TOGETHER)):
            for key, data in zip(batch, pool.map(store.get, batch), strict=True):
                yield key, PartCommit.from_json(data)


def commit_keys(fingerprint: str, parts: Iterable[Part]) -> Iterator[str]:
    """The keys of the parts' commits."""
    return (layout.part_commit(fingerprint, part.shard.sha256, part.index) for part in parts)


@dataclass
class Totals:
    """Commits added up, so that their number does not matter to memory.

    Attributes:
        parts_with_failures: how many commits hold rows without a vector; ``examples`` are the first few of them, with their keys.
    """

    parts: int = 0
    rows: int = 0
    failed_rows: int = 0
    tokens: int = 0
    requests: int = 0
    usd: float = 0.0
    parts_with_failures: int = 0
    examples: list[tuple[str, PartCommit]] = field(default_factory=list)

    @classmethod
    def of(cls, commits: Iterable[tuple[str, PartCommit]]) -> Totals:
        """The sum of what :func:`read_commits` gives."""
        totals = cls()
        for key, commit in commits:
            totals.parts += 1
            totals.rows, totals.failed_rows = totals.rows + commit.rows, totals.failed_rows + commit.failed_rows
            totals.tokens, totals.requests = totals.tokens + commit.tokens, totals.requests + commit.requests
            totals.usd += commit.usd
            if commit.failed_rows:
                totals.parts_with_failures += 1
                if len(totals.examples) < _EXAMPLES:
                    totals.examples.append((key, commit))
        return totals
