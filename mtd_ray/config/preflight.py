"""What can be known to be missing before anything starts: secrets, and the storage itself."""

from __future__ import annotations

from mtd_ray.config.recipe import Recipe
from mtd_ray.config.secret import resolve_secret
from mtd_ray.config.teachers import ApiTeacher
from mtd_ray.errors import RecipeError


def check_secrets(recipe: Recipe) -> None:
    """Resolve every teacher's key once on this machine and forget it.

    Raises:
        RecipeError: one line per missing secret: key of the recipe, reference, what to do. Values never appear.
    """
    faults = []
    for name, teacher in recipe.teachers.items():
        if isinstance(teacher, ApiTeacher):
            try:
                resolve_secret(teacher.api_key)
            except RecipeError as error:
                faults.append(f"teachers.{name}.api_key: {error}")
    if faults:
        raise RecipeError("\n".join(faults))
