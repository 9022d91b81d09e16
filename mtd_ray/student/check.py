"""Whether a recipe's student can be built, found out before a teacher is asked: only its config and tokenizer are loaded."""

from __future__ import annotations

from mtd_ray.config import LastLayers, Recipe
from mtd_ray.errors import RecipeError
from mtd_ray.student.architecture import chosen_layers, load_architecture, load_tokenizer


def check_student(recipe: Recipe) -> None:
    """Check the student and the stages' ``trainable.last`` against the model's architecture.

    Raises:
        RecipeError: the model does not exist or cannot be loaded, has no such layers, or takes fewer tokens; names the key.
    """
    architecture = load_architecture(recipe.student)
    kept = len(chosen_layers(recipe.student, architecture.num_hidden_layers))
    for index, stage in enumerate(recipe.stages):
        if isinstance(stage.trainable, LastLayers) and stage.trainable.last > kept:
            raise RecipeError(f"stages.{index}.trainable.last: {stage.trainable.last} layers asked for, the student has {kept}")
    load_tokenizer(recipe.student)
