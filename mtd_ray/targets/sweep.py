"""Deleting what interrupted attempts left in a target store.

A commit without failed rows is final: nothing takes it back, so no other file of its part can ever be committed. Of such parts all
other files go at once. A part that may still be committed, because it was not yet or because its failed rows may be asked again,
keeps its files for a day, longer than any attempt lies between writing its data and committing it. Micro-parts of uncommitted parts
are paid for and will be read: they stay.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta

from mtd_ray import layout
from mtd_ray.errors import MtdError
from mtd_ray.objects import ObjectInfo, ObjectStore
from mtd_ray.targets.commit import PartCommit, committed_parts

_log = logging.getLogger(__name__)

_LONGEST_ATTEMPT = timedelta(days=1)

_PartName = tuple[str, int]


def sweep(store: ObjectStore, teacher_fp: str, *, now: datetime | None = None) -> int:
    """Delete data files that no commit points to, and micro-parts of committed parts.

    May run beside harvests of the same teacher. Takes three LISTs, and a read for each part that has something left over. Storage
    that refuses is logged and no error: the harvest is complete without this.

    Args:
        now: the present time; only files written long before it are deleted where a part is not final.

    Returns:
        How many objects were deleted.
    """
    try:
        return sum(1 for _ in _swept(store, teacher_fp, now or datetime.now(UTC)))
    except MtdError as error:
        _log.warning("left-over files were not all removed: %s", error)
        return 0


def _swept(store: ObjectStore, teacher_fp: str, now: datetime) -> Iterator[str]:
    # Files first, commits second: the part of a file that was committed between the two is then known as committed.
    data = _by_part(store.list(layout.parts_data(teacher_fp)), layout.part_of_data)
    micro = _by_part(store.list(layout.parts_micro(teacher_fp)), layout.part_of_micro)
    commits = committed_parts(store, teacher_fp)
    for part in data.keys() | micro.keys():
        commit = None
        files = data.get(part, [])
        if part in commits:
            if len(files) < 2 and part not in micro:
                continue  # the one file is the commit's, or one of an attempt that came too late and deletes it itself
            commit = PartCommit.from_json(store.get(commits[part]))
            files = [*(info for info in files if info.key != commit.file), *micro.get(part, [])]
        final = commit is not None and commit.failed_rows == 0
        for info in files:
            if final or now - info.modified > _LONGEST_ATTEMPT:
                store.delete(info.key)
                yield info.key


def _by_part(found: Iterable[ObjectInfo], part_of: Callable[[str], _PartName]) -> dict[_PartName, list[ObjectInfo]]:
    parts: dict[_PartName, list[ObjectInfo]] = defaultdict(list)
    for info in found:
        parts[part_of(info.key)].append(info)
    return parts
