"""The engine in plain PyTorch: what it promises beside the step's own tests."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from mtd_ray.config import StageConfig
from mtd_ray.distill.plain import PlainEngine
from mtd_ray.distill.step import Distillation


class Line(nn.Module):
    """Fits a line; a buffer stands for a backbone's frequencies."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.register_buffer("frequencies", torch.tensor([0.1234567]))

    def forward(self, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return (self.layer(batch.to(self.layer.weight.dtype)).float() - 1).square().mean(), {}


def engine(**changes: Any) -> PlainEngine:
    torch.manual_seed(0)
    stage = {"name": "one", "heads": {4: {"cosine": 1.0}}, "lr": 1e-3, "steps": 9, "batch_size": 4, "weight_decay": 0.0}
    return PlainEngine(cast(Distillation, Line()), StageConfig.model_validate(stage), **changes)


def stepped(of: PlainEngine, batch: Tensor) -> float:
    loss, _ = of.forward(cast(Any, batch))
    of.backward(loss)
    return of.step()


def test_bfloat16_adds_up_steps_too_small_for_its_own_weights() -> None:
    rounded, exact = engine(dtype="bfloat16"), engine()
    batch = torch.randn(8, 4)
    for trained in (rounded, exact):
        trained.set_learning_rate(1e-4)
        for _ in range(300):
            stepped(trained, batch)
    for name, parameter in rounded.module.named_parameters():
        assert parameter.dtype == torch.bfloat16
        torch.testing.assert_close(parameter.float(), exact.module.get_parameter(name), atol=5e-3, rtol=1e-2)
    assert torch.equal(rounded.module.get_buffer("frequencies"), torch.tensor([0.1234567]))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_gradient_that_is_not_finite_changes_nothing(dtype: Any) -> None:
    trained = engine(dtype=dtype)
    before = [parameter.clone() for parameter in trained.module.parameters()]
    assert not math.isfinite(stepped(trained, torch.full((2, 4), math.inf)))
    assert all(torch.equal(a, b) for a, b in zip(before, trained.module.parameters(), strict=True))
    assert math.isfinite(stepped(trained, torch.randn(2, 4)))


def test_the_norm_is_that_before_clipping() -> None:
    trained = engine()
    loss, _ = trained.forward(cast(Any, 100 * torch.randn(8, 4)))
    trained.backward(loss)
    norms = [parameter.grad.norm() for parameter in trained.module.parameters() if parameter.grad is not None]
    assert trained.step() == pytest.approx(float(torch.stack(norms).norm()), rel=1e-5)


def test_it_needs_neither_the_cluster_s_nor_the_encoder_s_libraries() -> None:
    blocked = ("ray", "deepspeed", "sentence_transformers", "pandas", "pyarrow")
    script = f"import sys; sys.modules.update(dict.fromkeys({blocked})); import mtd_ray.distill.plain, mtd_ray.student"
    subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[3], check=True, timeout=120)
