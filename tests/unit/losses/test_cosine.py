"""The cosine loss against the written-out formula."""

import pytest
import torch

from mtd_ray.losses import cosine_loss


def test_value_is_the_mean_of_one_minus_the_cosine() -> None:
    student, target = torch.randn(6, 5, dtype=torch.float64), torch.randn(6, 5, dtype=torch.float64)
    cosines = [float(s @ t / (s.norm() * t.norm())) for s, t in zip(student, target, strict=True)]
    assert cosine_loss(student, target).item() == pytest.approx(sum(1 - cosine for cosine in cosines) / 6)


def test_cosine_is_zero_for_equal_directions_and_two_for_opposite_ones() -> None:
    target = torch.randn(5, 7)
    assert cosine_loss(3 * target, target).item() < 1e-6
    assert abs(cosine_loss(-target, target).item() - 2) < 1e-6


def test_cosine_gradient_turns_towards_the_target() -> None:
    student = torch.randn(4, 6, requires_grad=True)
    target = torch.randn(4, 6)
    before = cosine_loss(student, target)
    before.backward()
    assert student.grad is not None
    assert cosine_loss(student - 0.1 * student.grad, target) < before


@pytest.mark.parametrize("rows", [1, 4])
def test_numeric_gradient(rows: int) -> None:
    student = torch.randn(rows, 5, dtype=torch.float64, requires_grad=True)
    target = torch.randn(rows, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: cosine_loss(s, target), (student,))


def test_a_student_row_of_zeros_counts_one_and_gets_no_gradient() -> None:
    student = torch.randn(3, 4)
    student[1] = 0
    student.requires_grad_()
    target = torch.randn(3, 4)
    cosine_loss(student, target).backward()
    assert cosine_loss(student[1:2], target[1:2]).item() == 1
    assert student.grad is not None
    assert student.grad[1].abs().max() == 0
    assert student.grad[0].abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_input_is_computed_in_float32(dtype: torch.dtype) -> None:
    student, target = torch.randn(4, 6).to(dtype), torch.randn(4, 6)
    loss = cosine_loss(student, target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, cosine_loss(student.float(), target))
    assert torch.isfinite(cosine_loss(student * 1000, target))


def test_an_empty_batch_costs_nothing() -> None:
    assert cosine_loss(torch.randn(0, 4), torch.randn(0, 4)).item() == 0
