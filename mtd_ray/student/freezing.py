"""Which of a backbone's parameters a stage trains."""

from __future__ import annotations

from typing import Any

from mtd_ray.config import LastLayers, LayerRange, Trainable
from mtd_ray.errors import RecipeError
from mtd_ray.student.backbone import transformer_layers


def layer_range(trainable: LastLayers | LayerRange, depth: int, key: str) -> range:
    """Numbers of the layers that ``trainable`` names, of a backbone of ``depth`` layers.

    Raises:
        RecipeError: there are no such layers; names ``key``, where the recipe asks for them.
    """
    if isinstance(trainable, LastLayers):
        if trainable.last > depth:
            raise RecipeError(f"{key}.last: {trainable.last} layers asked for, the student has {depth}")
        return range(depth - trainable.last, depth)
    first, last = trainable.layers
    if last >= depth:
        raise RecipeError(f"{key}.layers: the student has layers 0 to {depth - 1}, not {last}")
    return range(first, last + 1)


def trained_parameters(backbone: Any, trainable: Trainable) -> set[str]:
    """Names of the backbone's parameters that ``trainable`` names; none for ``heads``.

    Raises:
        RecipeError: the backbone has no such layers.
    """
    if trainable == "heads":
        return set()
    names = {parameter: name for name, parameter in backbone.named_parameters()}
    if trainable == "all":
        return set(names.values())
    layers = transformer_layers(backbone)
    return {
        names[parameter] for layer in layer_range(trainable, len(layers), "trainable") for parameter in layers[layer].parameters()
    }


def gradient_share(backbone: Any) -> float:
    """Share of the layers that gradients pass through: all above the lowest trained parameter; 0 when nothing is trained."""
    if not any(parameter.requires_grad for parameter in backbone.parameters()):
        return 0.0
    if any(parameter.requires_grad for parameter in backbone.get_input_embeddings().parameters()):
        return 1.0
    layers = transformer_layers(backbone)
    trained = (index for index, layer in enumerate(layers) if any(parameter.requires_grad for parameter in layer.parameters()))
    return (len(layers) - next(trained, 0)) / len(layers)
