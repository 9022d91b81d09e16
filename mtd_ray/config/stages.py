"""The stages of a recipe: what each trains, and towards what."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from mtd_ray.config.base import Frozen, Name, PositiveFloat, PositiveInt, Weight

POINTWISE = ("cosine", "angular", "l2")


class HeadLosses(Frozen):
    """Weights of one head's losses (arXiv 2412.19048: cosine 10, similarity 200, ranking 20).

    ``cosine``, ``angular`` and ``l2`` compare a vector with its target, number by number. ``target`` says with which numbers:
    ``whole`` wants a head as large as the target; ``cut`` takes the same share of each teacher's first numbers, for teachers that
    were trained to be cut; ``pca`` the target's strongest directions, found once on a sample and then fixed.
    ``similarity`` and ``ranking`` compare only cosines between texts and work at any size. ``spread`` pushes the vectors of
    different texts apart, whatever the target.
    """

    cosine: Weight = 0.0
    angular: Weight = 0.0
    l2: Weight = 0.0
    similarity: Weight = 0.0
    ranking: Weight = 0.0
    spread: Weight = 0.0
    target: Literal["whole", "cut", "pca"] = "whole"

    @property
    def weights(self) -> dict[str, float]:
        """Weight by loss, of the losses that count."""
        names = (*POINTWISE, "similarity", "ranking", "spread")
        return {name: getattr(self, name) for name in names if getattr(self, name) > 0}

    @property
    def is_pointwise(self) -> bool:
        """Whether a vector is compared with its target number by number."""
        return any(name in POINTWISE for name in self.weights)


class LastLayers(Frozen):
    """Train the heads and the last ``last`` layers of the backbone."""

    last: PositiveInt


class LayerRange(Frozen):
    """Train the heads and the backbone's layers from the first to the second number, both included; 0 is the lowest."""

    layers: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]

    @model_validator(mode="after")
    def _in_order(self) -> LayerRange:
        if self.layers[0] > self.layers[1]:
            raise ValueError(f"layers: the first layer, {self.layers[0]}, comes after the last one, {self.layers[1]}")
        return self


_FORMS = ("last", "layers", "progressive")


def _form(value: Any) -> str | None:
    """The form of ``trainable`` that a value has, or by its nearest key was meant to have: only that form's faults are told."""
    if isinstance(value, str):
        return "{word}"
    keys = type(value).model_fields if isinstance(value, Frozen) else value
    names = [name for key in keys for name in difflib.get_close_matches(str(key), _FORMS, n=1)] if isinstance(keys, Mapping) else []
    return f"{{{names[0]}}}" if len(names) == 1 else None


_Word = Annotated[Literal["heads", "all"], Tag("{word}")]
_Last = Annotated[LastLayers, Tag("{last}")]
_Range = Annotated[LayerRange, Tag("{layers}")]
Trainable = Annotated[
    _Word | _Last | _Range,
    Discriminator(_form, custom_error_type="trainable", custom_error_message="Write heads, all, {last: 3} or {layers: [4, 7]}"),
]


class Progressive(Frozen):
    """Train one part after the other: the stage's steps are divided evenly, and each part starts with a new optimizer."""

    progressive: Annotated[tuple[Trainable, ...], Field(min_length=2)]


_AnyTrainable = Annotated[
    _Word | _Last | _Range | Annotated[Progressive, Tag("{progressive}")],
    Discriminator(
        _form,
        custom_error_type="trainable",
        custom_error_message=(
            "Write heads, all, {last: 3}, {layers: [4, 7]}, or {progressive: [...]} with several of these, one after the other"
        ),
    ),
]


class StageConfig(Frozen):
    """One stage: which teachers, what is trainable, which heads and losses, for how long.

    ``trainable``: ``heads``, ``all``, ``{last: 3}``, ``{layers: [4, 7]}``, or ``{progressive: [heads, {last: 3}, all]}``.
    """

    name: Name
    teachers: tuple[str, ...] | None = None
    trainable: _AnyTrainable = "all"
    heads: dict[int, HeadLosses] = Field(min_length=1)
    ranking_margin: Weight = 0.015
    lr: PositiveFloat
    steps: PositiveInt
    batch_size: Annotated[int, Field(ge=2)]
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    weight_decay: Weight = 0.01
    clip_norm: PositiveFloat = 1.0

    @property
    def parts(self) -> tuple[tuple[int, Trainable], ...]:
        """What is trainable from which step on: one entry, or one for each part of a progressive stage."""
        if not isinstance(self.trainable, Progressive):
            return ((0, self.trainable),)
        count = len(self.trainable.progressive)
        return tuple((self.steps * index // count, part) for index, part in enumerate(self.trainable.progressive))
