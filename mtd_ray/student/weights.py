"""A student's weights as one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mtd_ray.errors import TrainingError


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Name → parameter; a tensor that two modules share stands once, under its first name."""
    return dict(module.named_parameters())


def save_weights(student: nn.Module, path: Path) -> None:
    """Write every parameter, in its own type."""
    save_tensors({name: tensor.detach() for name, tensor in weights_of(student).items()}, path)


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write named tensors; they may live on any device and be views."""
    save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, path)


def load_weights(student: nn.Module, path: Path) -> None:
    """Fill a student from a file that :func:`save_weights` wrote.

    Raises:
        TrainingError: the file is damaged, or is of another student.
    """
    try:
        stored = load_file(path)
    except (SafetensorError, OSError) as error:
        raise TrainingError(f"weights {path} cannot be read: {error}") from error
    own = weights_of(student)
    wrong = sorted(set(own) ^ set(stored)) or [name for name in own if own[name].shape != stored[name].shape]
    if wrong:
        raise TrainingError(f"weights {path} are of another student: {len(wrong)} tensors differ, the first is {wrong[0]}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(stored[name])
