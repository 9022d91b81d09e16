"""The similarity loss against the written-out formula."""

import torch
import torch.nn.functional as F

from mtd_ray.losses import similarity_loss


def test_similarity_is_the_mean_squared_difference_of_all_entries() -> None:
    student = torch.randn(6, 9, dtype=torch.float64)
    target = F.normalize(torch.randn(6, 4, dtype=torch.float64), dim=1)
    unit = F.normalize(student, dim=1)
    expected = F.mse_loss(unit @ unit.T, target @ target.T)
    torch.testing.assert_close(similarity_loss(student, target @ target.T), expected)


def test_pairs_that_no_teacher_scores_do_not_count() -> None:
    student = torch.randn(3, 4, requires_grad=True)
    unknown = torch.eye(3)
    unknown[0, 1] = unknown[1, 0] = float("nan")
    loss = similarity_loss(student, unknown)
    loss.backward()
    unit = F.normalize(student.detach(), dim=1)
    expected = ((unit @ unit.T)[0, 2].square() + (unit @ unit.T)[1, 2].square()) * 2 / 7
    torch.testing.assert_close(loss.detach(), expected)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_nothing_known_costs_nothing() -> None:
    student = torch.randn(3, 4, requires_grad=True)
    loss = similarity_loss(student, torch.full((3, 3), float("nan")))
    loss.backward()
    assert loss.item() == 0
    assert student.grad is not None
    assert student.grad.abs().max() == 0


def test_numeric_gradient_with_unknown_pairs_and_repeated_texts() -> None:
    target = F.normalize(torch.randn(4, 3, dtype=torch.float64), dim=1)[[0, 1, 2, 2]]
    similarity = target @ target.T
    similarity[0, 1] = similarity[1, 0] = float("nan")
    student = torch.randn(4, 5, dtype=torch.float64)[[0, 1, 2, 2]].requires_grad_()
    assert torch.autograd.gradcheck(lambda s: similarity_loss(s, similarity), (student,))


def test_one_row_and_a_row_of_zeros_are_finite() -> None:
    assert similarity_loss(torch.randn(1, 4), torch.ones(1, 1)).item() < 1e-12
    student = torch.zeros(2, 4, requires_grad=True)
    similarity_loss(student, torch.eye(2)).backward()
    assert student.grad is not None
    assert student.grad.abs().max() == 0


def test_bfloat16_is_computed_in_float32() -> None:
    student = torch.randn(4, 6).bfloat16()
    torch.testing.assert_close(similarity_loss(student, torch.eye(4)), similarity_loss(student.float(), torch.eye(4)))
