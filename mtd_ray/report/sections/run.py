"""What was asked of the run, and what it was made of."""

from __future__ import annotations

from collections.abc import Sequence

from mtd_ray.config.evaluate import Requirements
from mtd_ray.numbers import count, plural
from mtd_ray.report.content import Section, Table

_GATES = "Does it meet what the recipe requires?"


def gates(unmet: Sequence[str], require: Requirements) -> Section:
    """The requirements, and by how much those were missed that were."""
    asked = _asked(require)
    if not asked and not unmet:
        return Section("gates", _GATES, absent="The recipe requires nothing (require:), so nothing was checked.")
    if unmet:
        return Section(
            "gates", _GATES, (f"{plural(len(unmet), 'requirement')} of the recipe not met.",), lines=tuple(unmet), good=False
        )
    return Section("gates", _GATES, ("All requirements of the recipe are met.",), lines=asked, good=True)


def _asked(require: Requirements) -> tuple[str, ...]:
    found = []
    if require.retained is not None:
        found.append(f"the student retains at least {100 * require.retained:g} % of the best teacher's mean score")
    if require.gap_closed is not None:
        found.append(
            f"it has gone at least {100 * require.gap_closed:g} % of the way from the untrained student to the best teacher"
        )
    found += [
        f"head {count(size)} has at least {100 * share:g} % of the largest head's mean" for size, share in require.heads.items()
    ]
    found += [f"the student scores at least {least:g} on {task}" for task, least in require.tasks.items()]
    return tuple(found)


def provenance(facts: Sequence[tuple[str, str]]) -> Section:
    """Recipe, corpus, student, teachers, licences, versions: what it takes to get the same numbers again."""
    title = "What was it made of?"
    if not facts:
        return Section("run", title, absent="Nothing is known about the run.")
    return Section("run", title, shown=(Table("Facts about the run", ("what", "which"), tuple(facts), left=2),))
