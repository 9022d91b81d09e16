"""The angular loss: exact and with a bounded gradient where arccos itself has an infinite slope."""

import math

import pytest
import torch
import torch.nn.functional as F

from mtd_ray.losses import angular_loss


def test_value_is_the_mean_angle_over_pi() -> None:
    student, target = torch.randn(6, 5, dtype=torch.float64), torch.randn(6, 5, dtype=torch.float64)
    angles = [math.acos(float(s @ t / (s.norm() * t.norm()))) for s, t in zip(student, target, strict=True)]
    assert angular_loss(student, target).item() == pytest.approx(sum(angles) / (6 * math.pi))


@pytest.mark.parametrize("degrees", [1e-4, 0.01, 1.0, 90.0, 179.0, 179.99])
def test_small_and_large_angles_are_exact_in_float32(degrees: float) -> None:
    turned = torch.tensor([[math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]])
    assert angular_loss(turned, torch.tensor([[2.0, 0.0]])).item() == pytest.approx(degrees / 180, rel=1e-3)


@pytest.mark.parametrize("noise", [0.0, 1e-9, 1e-7, 1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_gradient_is_never_longer_than_stated(noise: float, sign: int) -> None:
    torch.manual_seed(0)
    target = F.normalize(torch.randn(50, 8), dim=1)
    student = (sign * 3 * (target + noise * torch.randn(50, 8))).requires_grad_()
    angular_loss(student, target).backward()
    assert student.grad is not None
    limit = 1 / (math.pi * 50 * student.detach().norm(dim=1))
    assert bool((student.grad.norm(dim=1) <= limit * 1.001).all())


def test_equal_and_opposite_vectors_get_no_gradient() -> None:
    target = torch.eye(3)
    for student, value in ((target.clone(), 0.0), (-target, 1.0)):
        loss = angular_loss(student.requires_grad_(), target)
        loss.backward()
        assert loss.item() == pytest.approx(value)
        assert student.grad is not None
        assert student.grad.abs().max() == 0


@pytest.mark.parametrize("rows", [1, 4])
def test_numeric_gradient(rows: int) -> None:
    student = torch.randn(rows, 5, dtype=torch.float64, requires_grad=True)
    target = torch.randn(rows, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: angular_loss(s, target), (student,))


def test_rows_of_zeros_stay_finite() -> None:
    student = torch.zeros(2, 4, requires_grad=True)
    target = torch.zeros(2, 4)
    target[0, 0] = 1
    loss = angular_loss(student, target)
    loss.backward()
    assert loss.item() == pytest.approx(0.25)
    assert student.grad is not None
    assert student.grad.abs().max() == 0


def test_bfloat16_is_computed_in_float32() -> None:
    student, target = torch.randn(4, 6).bfloat16(), torch.randn(4, 6)
    torch.testing.assert_close(angular_loss(student, target), angular_loss(student.float(), target))
