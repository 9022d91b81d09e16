"""Whether a recipe's student can be built, found out before a teacher is asked: only its config and tokenizer are loaded."""

from __future__ import annotations

from collections.abc import Iterator

from mtd_ray.config import LastLayers, LayerRange, Progressive, Recipe, StageConfig, Trainable
from mtd_ray.student.architecture import chosen_layers, load_architecture, load_tokenizer
from mtd_ray.student.freezing import layer_range


def check_student(recipe: Recipe) -> None:
    """Check the student, and the layers that the stages train, against the model's architecture.

    Raises:
        RecipeError: the model does not exist or cannot be loaded, has no such layers, or takes fewer tokens; names the key.
    """
    architecture = load_architecture(recipe.student)
    kept = len(chosen_layers(recipe.student, architecture.num_hidden_layers))
    for index, stage in enumerate(recipe.stages):
        for key, trainable in _parts(stage):
            if isinstance(trainable, LastLayers | LayerRange):
                layer_range(trainable, kept, f"stages.{index}.{key}")
    load_tokenizer(recipe.student)


def _parts(stage: StageConfig) -> Iterator[tuple[str, Trainable]]:
    """What the stage trains, with the key that says so."""
    if not isinstance(stage.trainable, Progressive):
        yield "trainable", stage.trainable
        return
    for index, part in enumerate(stage.trainable.progressive):
        yield f"trainable.progressive.{index}", part
