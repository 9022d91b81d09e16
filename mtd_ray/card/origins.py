"""Where a student comes from: its backbone and its teachers, each with its revision and on whose terms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtd_ray.config import Recipe
from mtd_ray.config.teachers import Teacher
from mtd_ray.licenses import NON_COMMERCIAL, most_restrictive, restriction
from mtd_ray.markdown import escaped, table

# An absolute folder, one relative to here or home, a drive, or a URL.
_PLACE = re.compile(r"[/\\.~]|[A-Za-z]:[/\\]|\w+://")
_ON_A_HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*")


@dataclass(frozen=True)
class Origin:
    """A model that the student came from: ``role`` is ``backbone`` or ``teacher NAME``.

    ``part`` tells what of a teacher's vectors is in the target: its size, how it came to it, its weight.
    """

    role: str
    model: str
    license: str | None
    revision: str | None = None
    part: str = ""


def origins_of(recipe: Recipe) -> tuple[Origin, ...]:
    """The backbone, then the teachers that at least one stage learns from."""
    student = recipe.student
    named = student.base_model_name or public_name(student.model)
    backbone = Origin("backbone", named, student.license, student.revision)
    used = ((name, recipe.teachers[name]) for name in recipe.used_teachers)
    return backbone, *(
        Origin(f"teacher {name}", public_name(teacher.model), teacher.license, teacher.revision, _part(teacher))
        for name, teacher in used
    )


def license_of(origins: Sequence[Origin]) -> str | None:
    """The most restrictive licence among the origins; None when one of them states none, for its terms may be stricter."""
    return None if any(not origin.license for origin in origins) else _strictest_stated(origins)


def license_section(origins: Sequence[Origin]) -> str:
    """On whose terms the student is, before anything else is said of it."""
    unstated = [origin.role for origin in origins if not origin.license]
    lines = []
    if strictest := _strictest_stated(origins):
        holders = ", ".join(origin.role for origin in origins if origin.license == strictest)
        among = "the origins that state one" if unstated else "this model's origins"
        lines.append(
            f"**Licence: {'at least ' if unstated else ''}{escaped(strictest)}**, the most restrictive among {among} ({holders})."
        )
        if restriction(strictest) == NON_COMMERCIAL:
            lines.append("It does not allow commercial use, and that follows this model.")
    if unstated:
        lines.append(f"**Not stated:** {', '.join(unstated)}. Find out on whose terms before you use or share this model.")
    lines.append("A student learns from its teachers' vectors, so the teachers' terms apply to it.")
    rows = [
        tuple(map(escaped, (origin.role, origin.model, origin.revision or "", origin.part, origin.license or "not stated")))
        for origin in origins
    ]
    return " ".join(lines) + "\n\n" + table(("origin", "model", "revision", "part in the target", "licence"), rows)


def public_name(model: str) -> str:
    """A model, or a folder of data, as others can know it: of one in a folder or bucket only its own name, not where it lies."""
    return re.split(r"[/\\]", model.rstrip("/\\"))[-1] if _is_place(model) else model


def is_on_a_hub(model: str) -> bool:
    """Whether a model is named as on a hub, ``owner/name``, and that is no folder here."""
    return _ON_A_HUB.fullmatch(model) is not None and not _is_place(model)


def _is_place(model: str) -> bool:
    return _PLACE.match(model) is not None or Path(model).is_dir()


def _strictest_stated(origins: Sequence[Origin]) -> str | None:
    return most_restrictive(origin.license for origin in origins if origin.license)


def _part(teacher: Teacher) -> str:
    size, whole = teacher.part_dimensions, teacher.dimensions
    shortened = "" if size == whole else f" ({'folded' if teacher.target_shorten == 'fold' else 'cut'} from {whole})"
    return f"{size} numbers{shortened}, weight {teacher.weight:g}"
