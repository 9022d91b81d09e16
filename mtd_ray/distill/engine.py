"""DeepSpeed behind the few calls that training needs. The same code drives GPUs (NCCL) and CPUs (gloo)."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mtd_ray.config import StageConfig, TrainConfig
from mtd_ray.distill.checkpoints.optimizer_state import copied_state, restore_state, set_masters
from mtd_ray.distill.data.batch import Batch
from mtd_ray.distill.optimizer import adamw, trained
from mtd_ray.distill.step import Distillation


class DeepSpeedEngine:
    """One stage's module under ZeRO, with AdamW. The process group exists already; every worker calls every method.

    Args:
        module: student (frozen for the stage) and losses, in float32.
        stage: learning rate, weight decay and clipping.
        train: ZeRO stage, number format, and whether there is a GPU. bfloat16 needs ZeRO: without it, DeepSpeed keeps the float32
            masters where nobody can save them.
    """

    def __init__(self, module: Distillation, stage: StageConfig, train: TrainConfig) -> None:
        self._deepspeed = deepspeed = _import_deepspeed(on_gpu=train.num_gpus > 0)
        self.module = module
        self._clip_norm = stage.clip_norm
        # Without ZeRO in float32, DeepSpeed clips but does not tell the norm.
        self._clips_itself = train.zero_stage == 0 and train.dtype == "float32"
        self._rounds = train.dtype == "bfloat16"
        exact = {name: parameter.detach().clone() for name, parameter in trained(module)} if self._rounds else {}
        # DeepSpeed rounds frozen weights too, and keeps nothing else of them.
        self._frozen = _frozen(module.student) if self._rounds and dist.get_rank() == 0 else {}
        self._adam = adamw([parameter for _, parameter in trained(module)], stage)
        self._engine, self._optimizer, _, _ = deepspeed.initialize(
            model=module, optimizer=self._adam, config=_config(stage, train, clips_itself=self._clips_itself)
        )
        if self._clips_itself and dist.get_world_size() == 1:
            # There is nobody to share gradients with: copying them to one buffer and back is 3 to 5 % of a small student's step.
            self._engine.enable_backward_allreduce = False
        if self._rounds:
            # DeepSpeed makes its float32 masters from weights that it has already rounded to bfloat16.
            set_masters(module, self._adam, exact)

    @property
    def device(self) -> torch.device:
        """Where the module lives."""
        return torch.device(self._engine.device)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its parts (:meth:`Distillation.forward`)."""
        result: tuple[Tensor, dict[str, Tensor]] = self._engine(batch)
        return result

    def backward(self, loss: Tensor) -> None:
        """Gradients of the loss, averaged over workers."""
        self._engine.backward(loss)

    def step(self) -> float:
        """Clip, update, forget the gradients.

        Returns:
            Norm of all gradients before clipping; when it is not finite, no weight was changed.
        """
        if self._clips_itself:
            norm = float(nn.utils.clip_grad_norm_([p for _, p in trained(self.module)], self._clip_norm))
            if not math.isfinite(norm):
                return norm
        self._engine.step()
        return norm if self._clips_itself else float(self._engine.get_global_grad_norm())

    def set_learning_rate(self, rate: float) -> None:
        """For the next step."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def optimizer_state(self) -> dict[str, Tensor]:
        """This worker's share of the optimizer's state, copied to the CPU (:mod:`mtd_ray.distill.checkpoints.optimizer_state`)."""
        return copied_state(self.module, self._adam)

    def restore_optimizer(self, files: Iterable[Path]) -> None:
        """Continue with the optimizer's state that any number of workers saved. TrainingError when the files do not hold it."""
        restore_state(self.module, self._adam, files)

    def weights(self) -> dict[str, Tensor]:
        """The student's whole float32 weights by name, on the CPU; filled on worker 0, empty on the others."""
        deepspeed = self._deepspeed
        collected: dict[str, Tensor] = {}
        for name, parameter in self.module.student.named_parameters():
            if self._rounds and not parameter.requires_grad:
                continue
            divided = hasattr(parameter, "ds_id")
            # In float32, ZeRO-1 and 2 leave every worker the exact weights: nothing needs to be gathered.
            has_master = parameter.requires_grad and (self._rounds or divided)
            full = deepspeed.utils.safe_get_full_fp32_param(parameter) if has_master else None
            partitioned = full is None and divided
            with deepspeed.zero.GatheredParameters([parameter]) if partitioned else nullcontext():
                if dist.get_rank() == 0:
                    value = parameter if full is None else full
                    collected[name] = value.detach().to("cpu", torch.float32, copy=True)
        return collected | self._frozen

    def close(self) -> None:
        """Release hooks and buffers; the module is of no further use."""
        self._engine.destroy()


def _import_deepspeed(*, on_gpu: bool) -> Any:
    # Left alone, DeepSpeed takes a GPU that it sees, also where the recipe asks for none.
    os.environ["DS_ACCELERATOR"] = "cuda" if on_gpu else "cpu"
    import deepspeed

    if not on_gpu:
        # A kernel for inference that is compiled at start-up: it would need a compiler on every node and is never called here.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    # DeepSpeed still calls collectives by names that this PyTorch deprecates.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed\.c10d_logger")
    return deepspeed


def _frozen(module: nn.Module) -> dict[str, Tensor]:
    """Copies on the CPU, whole: made before DeepSpeed divides and rounds the module."""
    frozen = ((name, parameter) for name, parameter in module.named_parameters() if not parameter.requires_grad)
    return {name: parameter.detach().to("cpu", torch.float32, copy=True) for name, parameter in frozen}


def _config(stage: StageConfig, train: TrainConfig, *, clips_itself: bool) -> dict[str, Any]:
    return {
        # DeepSpeed wants a number; batches are made elsewhere and this one reaches only its own sample counter.
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 0.0 if clips_itself else stage.clip_norm,
        "bf16": {"enabled": train.dtype == "bfloat16"},
        "communication_data_type": "fp32",
        "zero_optimization": {"stage": train.zero_stage},
        "steps_per_print": None,
    }
