"""The spread-out regulariser against the written-out formula."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from mtd_ray.losses import spread_loss


def test_value_is_the_mean_squared_cosine_of_different_texts() -> None:
    student = torch.randn(7, 5, dtype=torch.float64)
    unit = F.normalize(student, dim=1)
    squares = [float(unit[i] @ unit[j]) ** 2 for i, j in itertools.permutations(range(7), 2)]
    assert spread_loss(student).item() == pytest.approx(sum(squares) / 42)


def test_orthogonal_vectors_cost_nothing_equal_ones_one_and_random_ones_one_over_their_size() -> None:
    torch.manual_seed(0)
    assert spread_loss(torch.eye(4)).item() == 0
    assert spread_loss(torch.ones(4, 4)).item() == pytest.approx(1)
    assert spread_loss(torch.randn(500, 64)).item() == pytest.approx(1 / 64, rel=0.05)


def test_one_text_has_nothing_to_be_spread_from() -> None:
    student = torch.randn(1, 4, requires_grad=True)
    loss = spread_loss(student)
    loss.backward()
    assert loss.item() == 0
    assert student.grad is not None
    assert student.grad.abs().max() == 0


def test_numeric_gradient_with_a_repeated_text() -> None:
    student = torch.randn(4, 5, dtype=torch.float64)[[0, 1, 2, 2]].requires_grad_()
    assert torch.autograd.gradcheck(spread_loss, (student,))


def test_a_repeated_text_is_not_pushed_from_itself() -> None:
    student = torch.randn(1, 5).repeat(2, 1).requires_grad_()
    spread_loss(student).backward()
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-6


def test_a_row_of_zeros_and_bfloat16_are_finite() -> None:
    student = torch.randn(3, 4).bfloat16()
    student[0] = 0
    student.requires_grad_()
    loss = spread_loss(student)
    loss.backward()
    assert loss.dtype == torch.float32
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
