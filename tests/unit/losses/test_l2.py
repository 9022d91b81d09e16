"""The L2 loss against the written-out formula."""

import pytest
import torch

from mtd_ray.losses import cosine_loss, l2_loss


def test_value_is_the_mean_squared_distance_of_unit_vectors() -> None:
    student, target = torch.randn(6, 5, dtype=torch.float64), torch.randn(6, 5, dtype=torch.float64)
    distances = [float((s / s.norm() - t / t.norm()).pow(2).sum()) for s, t in zip(student, target, strict=True)]
    assert l2_loss(student, target).item() == pytest.approx(sum(distances) / 6)


def test_it_is_twice_the_cosine_loss_and_exact_where_that_one_rounds_to_zero() -> None:
    student, target = torch.randn(6, 5), torch.randn(6, 5)
    torch.testing.assert_close(l2_loss(student, target), 2 * cosine_loss(student, target))
    assert l2_loss(torch.tensor([[1.0, 1e-5]]), torch.tensor([[1.0, 0.0]])).item() == pytest.approx(1e-10)


@pytest.mark.parametrize("rows", [1, 4])
def test_numeric_gradient(rows: int) -> None:
    student = torch.randn(rows, 5, dtype=torch.float64, requires_grad=True)
    target = torch.randn(rows, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: l2_loss(s, target), (student,))


def test_a_student_row_of_zeros_counts_one_and_gets_no_gradient() -> None:
    student = torch.zeros(1, 4, requires_grad=True)
    loss = l2_loss(student, torch.eye(4)[:1])
    loss.backward()
    assert loss.item() == 1
    assert student.grad is not None
    assert student.grad.abs().max() == 0


def test_bfloat16_is_computed_in_float32() -> None:
    student, target = torch.randn(4, 6).bfloat16(), torch.randn(4, 6)
    torch.testing.assert_close(l2_loss(student, target), l2_loss(student.float(), target))
