"""The limit on rows without a vector, kept while a teacher is harvested: a server gone bad is not paid for the whole corpus."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from mtd_ray import layout
from mtd_ray.harvest.plan import Plan
from mtd_ray.harvest.receipt import read_commits
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import PartCommit, committed_parts, decode_vectors
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
        commits = read_commits(store, plan.fingerprint, [part for part in plan.parts if part not in pending])
        require_few_failures(store, plan.name, commits, self._rows, max_share)
        self._failed = sum(commit.failed_rows for commit in commits.values())

    def passed_by(self, failed_rows: int) -> bool:
        """Count more failed rows; True when they are now too many."""
        self._failed += failed_rows
        return self._failed > self._max_share * self._rows

    def error(self) -> TeacherError:
        """What to tell a person, from all that is committed by now."""
        there = committed_parts(self._store, self._plan.fingerprint)
        parts = [part for part in self._plan.parts if (layout.short(part.shard.sha256), part.index) in there]
        commits = read_commits(self._store, self._plan.fingerprint, parts)
        return _too_many_failures(self._store, self._plan.name, commits, self._rows, self._max_share)


def require_few_failures(store: ObjectStore, name: str, commits: Mapping[str, PartCommit], rows: int, max_share: float) -> None:
    """Raise TeacherError when more than ``max_share`` of a teacher's ``rows`` are committed without a vector.

    The message shows examples and the keys of the commits that hold such rows.
    """
    if sum(commit.failed_rows for commit in commits.values()) > max_share * rows:
        raise _too_many_failures(store, name, commits, rows, max_share)


def _too_many_failures(
    store: ObjectStore, name: str, commits: Mapping[str, PartCommit], rows: int, max_share: float
) -> TeacherError:
    affected = {key: commit for key, commit in commits.items() if commit.failed_rows}
    failed = sum(commit.failed_rows for commit in affected.values())
    examples = "\n".join(f"  {example}" for example in _examples(store, affected))
    keys = "\n".join(f"  {key}" for key in islice(affected, _EXAMPLES))
    return TeacherError(
        f"teacher {name}: {failed} of {rows} texts ({failed / rows:.1%}) have no vector, more than harvest.max_failed_share "
        f"({max_share:.1%}); for example\n{examples}\n"
        f"if the texts are at fault, remove them from the corpus, or raise harvest.max_failed_share to train without them; "
        f"if the server was, delete the commits of their parts, which has these parts asked again: "
        f'{len(affected)} objects with "failed_rows" above 0, the first of them\n{keys}'
    )


def _examples(store: ObjectStore, affected: Mapping[str, PartCommit]) -> list[str]:
    found: list[str] = []
    for commit in islice(affected.values(), _EXAMPLES):
        part = decode_vectors(store.get(commit.file))
        bad = ((row, reason) for row, reason in enumerate(part.reasons) if reason is not None)
        found += [f"row {part.ids[row]}: {reason}" for row, reason in islice(bad, _EXAMPLES - len(found))]
    return found
