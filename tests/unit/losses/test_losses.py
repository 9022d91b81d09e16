"""Cosine and similarity losses against the written-out formulas."""

import torch

from mtd_ray.losses import cosine_loss, similarity_loss


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


def test_bfloat16_input_is_computed_in_float32() -> None:
    student = torch.randn(4, 6).bfloat16()
    assert cosine_loss(student, torch.randn(4, 6)).dtype == torch.float32
    assert similarity_loss(student, torch.eye(4)).dtype == torch.float32


def test_similarity_is_the_mean_squared_difference_of_all_entries() -> None:
    student = torch.randn(6, 9, dtype=torch.float64)
    target = torch.nn.functional.normalize(torch.randn(6, 4, dtype=torch.float64), dim=1)
    unit = torch.nn.functional.normalize(student, dim=1)
    expected = torch.nn.functional.mse_loss(unit @ unit.T, target @ target.T)
    torch.testing.assert_close(similarity_loss(student, target @ target.T), expected)


def test_pairs_that_no_teacher_scores_do_not_count() -> None:
    student = torch.randn(3, 4, requires_grad=True)
    known = torch.eye(3)
    unknown = known.clone()
    unknown[0, 1] = unknown[1, 0] = float("nan")
    loss = similarity_loss(student, unknown)
    loss.backward()
    unit = torch.nn.functional.normalize(student.detach(), dim=1)
    expected = ((unit @ unit.T)[0, 2].square() + (unit @ unit.T)[1, 2].square()) * 2 / 7
    torch.testing.assert_close(loss.detach(), expected)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
