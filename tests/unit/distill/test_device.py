"""The recipe decides the device, and not what the machine happens to have."""

from __future__ import annotations

import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from mtd_ray.config import TrainConfig
from mtd_ray.distill.engine import _import_deepspeed
from mtd_ray.distill.stage import training_device
from mtd_ray.errors import TrainingError


def test_a_recipe_without_gpus_trains_on_the_cpu_of_a_machine_that_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert training_device(TrainConfig()) == torch.device("cpu")
    assert training_device(TrainConfig(num_gpus=1)) == torch.device("cuda", 3)


def test_a_recipe_with_gpus_never_trains_on_a_cpu_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match=r"train\.num_gpus is 1, but PyTorch finds no GPU.*train\.num_gpus: 0"):
        training_device(TrainConfig(num_gpus=1))


@pytest.mark.parametrize(("on_gpu", "accelerator"), [(False, "cpu"), (True, "cuda")])
def test_deepspeed_is_told_the_device_whatever_it_sees(monkeypatch: pytest.MonkeyPatch, on_gpu: bool, accelerator: str) -> None:
    told: Any = ModuleType("deepspeed")
    told.ops = SimpleNamespace(__compatible_ops__={})
    monkeypatch.setitem(sys.modules, "deepspeed", told)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: not on_gpu)
    monkeypatch.setenv("DS_ACCELERATOR", "of somebody else")
    _import_deepspeed(on_gpu=on_gpu)
    assert os.environ["DS_ACCELERATOR"] == accelerator


@pytest.mark.parametrize("gpus", [0.5, 1.25])
def test_workers_do_not_share_a_gpu(gpus: float) -> None:
    with pytest.raises(ValidationError, match=r"would let training workers share a GPU.*write 1, or 0 to train on CPUs"):
        TrainConfig(num_gpus=gpus)
