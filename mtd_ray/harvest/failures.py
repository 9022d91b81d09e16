"""Rows without a vector: how many are borne, so that a server gone bad is not paid for the whole corpus; asking them again."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from mtd_ray import layout
from mtd_ray.harvest.plan import Plan
from mtd_ray.harvest.totals import Totals, commit_keys, read_commits
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import Part, committed_parts, decode_vectors
from mtd_ray.targets.micro import reopen_part
from mtd_ray.teachers import TeacherError

_EXAMPLES = 3


class FailureLimit:
    """Counts one teacher's failed rows, those of earlier harvests included.

    Args:
        max_share: ``harvest.max_failed_share``, a share of all the teacher's rows, not of those done by now.

    Raises:
        TeacherError: what is committed already goes over the limit.
    """

    def __init__(self, store: ObjectStore, plan: Plan, max_share: float) -> None:
        self._store, self._plan, self._max_share = store, plan, max_share
        self._rows = plan.rows
        pending = set(plan.pending)
        totals = _totals(store, plan.fingerprint, (part for part in plan.parts if part not in pending))
        require_few_failures(store, plan.name, totals, self._rows, max_share)
        self._failed = totals.failed_rows

    def passed_by(self, failed_rows: int) -> bool:
        """Count more failed rows; True when they are now too many."""
        self._failed += failed_rows
        return self._failed > self._max_share * self._rows

    def error(self) -> TeacherError:
        """What to tell a person, from all that is committed by now."""
        totals = _totals(self._store, self._plan.fingerprint, _committed(self._store, self._plan))
        return _too_many_failures(self._store, self._plan.name, totals, self._rows, self._max_share)


def reopen_failed_parts(store: ObjectStore, plan: Plan) -> int:
    """Take back the commits that hold failed rows, so that a harvest asks for these rows, and for them alone, once more.

    Returns:
        How many parts are pending now that were not.

    Raises:
        TargetError: a part's data is damaged.
    """
    # Asked of storage: of two plans for one teacher the second has nothing pending, and the first may have been reopened already.
    done = _committed(store, plan)
    reopened = 0
    for part, (_, commit) in zip(done, read_commits(store, commit_keys(plan.fingerprint, done)), strict=True):
        if commit.failed_rows:
            reopen_part(store, plan.fingerprint, part, commit)
            reopened += 1
    return reopened


def require_few_failures(store: ObjectStore, name: str, totals: Totals, rows: int, max_share: float) -> None:
    """Raise TeacherError when more than ``max_share`` of a teacher's ``rows`` are committed without a vector.

    The message shows examples and the keys of the commits that hold such rows.
    """
    if totals.failed_rows > max_share * rows:
        raise _too_many_failures(store, name, totals, rows, max_share)


def _committed(store: ObjectStore, plan: Plan) -> list[Part]:
    there = committed_parts(store, plan.fingerprint)
    return [part for part in plan.parts if (layout.short(part.shard.sha256), part.index) in there]


def _totals(store: ObjectStore, fingerprint: str, parts: Iterable[Part]) -> Totals:
    return Totals.of(read_commits(store, commit_keys(fingerprint, parts)))


def _too_many_failures(store: ObjectStore, name: str, totals: Totals, rows: int, max_share: float) -> TeacherError:
    examples = "\n".join(f"  {example}" for example in _examples(store, totals))
    keys = "\n".join(f"  {key}" for key, _ in totals.examples)
    return TeacherError(
        f"teacher {name}: {totals.failed_rows} of {rows} texts ({totals.failed_rows / rows:.1%}) have no vector, more than "
        f"harvest.max_failed_share ({max_share:.1%}); for example\n{examples}\n"
        f"if the texts are at fault, remove them from the corpus, or raise harvest.max_failed_share to train without them; "
        f"if the server was, run jobs/harvest.py with --retry-failed, which asks for these texts alone again; they are in "
        f'{totals.parts_with_failures} commits with "failed_rows" above 0, the first of them\n{keys}'
    )


def _examples(store: ObjectStore, totals: Totals) -> list[str]:
    found: list[str] = []
    for _, commit in totals.examples:
        part = decode_vectors(store.get(commit.file))
        bad = ((row, reason) for row, reason in enumerate(part.reasons) if reason is not None)
        found += [f"row {part.ids[row]}: {reason}" for row, reason in islice(bad, _EXAMPLES - len(found))]
    return found
