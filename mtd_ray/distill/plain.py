"""The engine of a step in plain PyTorch: one worker, no process group.

Beside torch it needs transformers, numpy, pydantic and PyYAML, but nothing of the cluster, the storage or the encoder's libraries.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from mtd_ray.config import StageConfig
from mtd_ray.distill.data.batch import Batch
from mtd_ray.distill.optimizer import adamw, trained
from mtd_ray.distill.step import Distillation


class PlainEngine:
    """One stage's module with AdamW, on one device.

    In bfloat16 the module's weights are rounded copies of float32 masters, as under ZeRO: the masters are what AdamW updates.

    Args:
        module: student (frozen for the stage) and losses, in float32; it is moved to the device.
        stage: learning rate, weight decay and clipping.
        device: where to train; None leaves the module where it is.
        dtype: of the forward and backward pass.
    """

    def __init__(
        self,
        module: Distillation,
        stage: StageConfig,
        *,
        device: str | torch.device | None = None,
        dtype: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        self.module = module if device is None else module.to(device)
        self._clip_norm = stage.clip_norm
        self._weights: list[Tensor] = [parameter for _, parameter in trained(module)]
        self._masters = self._weights
        if dtype == "bfloat16":
            self._masters = [weight.detach().clone().requires_grad_() for weight in self._weights]
            _round(module)
        self._optimizer = adamw(self._masters, stage)

    @property
    def device(self) -> torch.device:
        """Where the module lives."""
        return next(self.module.parameters()).device

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its parts (:meth:`Distillation.forward`)."""
        result: tuple[Tensor, dict[str, Tensor]] = self.module(batch)
        return result

    def backward(self, loss: Tensor) -> None:
        """Gradients of the loss."""
        torch.autograd.backward(loss)

    def step(self) -> float:
        """Clip, update, forget the gradients.

        Returns:
            Norm of all gradients before clipping; when it is not finite, no weight was changed.
        """
        rounded = self._masters is not self._weights
        if rounded:
            self._hand_gradients_to_masters()
        norm = float(nn.utils.clip_grad_norm_(self._masters, self._clip_norm))
        if math.isfinite(norm):
            self._optimizer.step()
            if rounded:
                self._round_masters_to_weights()
        self._optimizer.zero_grad()
        return norm

    def set_learning_rate(self, rate: float) -> None:
        """For the next step."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def _hand_gradients_to_masters(self) -> None:
        for weight, master in zip(self._weights, self._masters, strict=True):
            master.grad = None if weight.grad is None else weight.grad.to(torch.float32)
            weight.grad = None

    @torch.no_grad()
    def _round_masters_to_weights(self) -> None:
        torch._foreach_copy_(self._weights, self._masters)


def _round(module: nn.Module) -> None:
    """Parameters to bfloat16; buffers, such as the frequencies of rotary positions, keep their precision."""
    for parameter in module.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
