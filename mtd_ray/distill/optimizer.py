"""The optimizer of a stage: the same under every engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mtd_ray.config import StageConfig


def trained(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Name and parameter, of those that the stage trains."""
    return ((name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad)


def parameter_groups(parameters: Iterable[Tensor], stage: StageConfig) -> list[dict[str, Any]]:
    """AdamW's groups: weight decay is for matrices; biases and norms are not pulled to zero."""
    every = list(parameters)
    matrices = [parameter for parameter in every if parameter.ndim >= 2]
    others = [parameter for parameter in every if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": stage.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def adamw(parameters: Iterable[Tensor], stage: StageConfig) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101) in one kernel per group, on a GPU as on a CPU."""
    return torch.optim.AdamW(parameter_groups(parameters, stage), lr=stage.lr, fused=True)
