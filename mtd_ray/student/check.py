"""Whether a recipe's student can be built, found out before a teacher is asked: its weights are not loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from mtd_ray.config import LastLayers, LayerRange, Progressive, Recipe, StageConfig, StudentConfig, Trainable
from mtd_ray.errors import RecipeError
from mtd_ray.student.architecture import chosen_layers, load_architecture, load_tokenizer, locate_student
from mtd_ray.student.freezing import layer_range


def check_student(recipe: Recipe) -> None:
    """Check the student, and the layers that the stages train, against the model's architecture.

    Raises:
        RecipeError: the model does not exist, cannot be loaded or has no weights, has no such layers, or takes fewer tokens; names
            the key.
    """
    architecture = load_architecture(recipe.student)
    kept = len(chosen_layers(recipe.student, architecture.num_hidden_layers))
    for index, stage in enumerate(recipe.stages):
        for key, trainable in _parts(stage):
            if isinstance(trainable, LastLayers | LayerRange):
                layer_range(trainable, kept, f"stages.{index}.{key}")
    load_tokenizer(recipe.student)
    if recipe.student.init == "pretrained":
        _find_weights(recipe.student)


def _find_weights(student: StudentConfig) -> None:
    """Look for the weights of a model in a folder. A hub that does not answer says nothing about a model, so it is not asked."""
    folder = Path(locate_student(student))
    if folder.is_dir() and not any((folder / name).is_file() for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)):
        raise RecipeError(
            f"student.model: {student.model} has no {SAFE_WEIGHTS_NAME}, and weights in other formats are not read; choose a "
            "model that has it, or write init: random"
        )


def _parts(stage: StageConfig) -> Iterator[tuple[str, Trainable]]:
    """What the stage trains, with the key that says so."""
    if not isinstance(stage.trainable, Progressive):
        yield "trainable", stage.trainable
        return
    for index, part in enumerate(stage.trainable.progressive):
        yield f"trainable.progressive.{index}", part
