"""Tensors to the device and back; with a GPU neither side waits for the other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def to_device(features: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The features with their tensors on the device; from pinned memory to a GPU, where they arrive before what is queued next."""
    if device.type != "cuda":
        return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in features.items()}
    return {
        name: value.pin_memory().to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in features.items()
    }


def to_host(tensor: Tensor) -> Tensor:
    """The tensor in float32 on the host. From a GPU it is on its way: wait for the stream before it is read."""
    if tensor.device.type != "cuda":
        return tensor.float()
    return torch.empty(tensor.shape, pin_memory=True).copy_(tensor, non_blocking=True)
