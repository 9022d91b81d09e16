"""Several teachers' vectors become one target."""

import torch
import torch.nn.functional as F

from mtd_ray.distill.fusion import fuse

ALL = torch.ones(4, dtype=torch.bool)


def blocks() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, 6, generator=generator).half(), 30 * torch.randn(4, 3, generator=generator).half()]


def cosines(block: torch.Tensor) -> torch.Tensor:
    unit = F.normalize(block.float(), dim=1)
    return unit @ unit.T


def test_a_target_cosine_is_the_weighted_mean_of_the_teachers_cosines_whatever_their_length() -> None:
    first, second = blocks()
    target = fuse([first, second], [ALL, ALL], [3.0, 1.0])
    torch.testing.assert_close(target.similarity, (3 * cosines(first) + cosines(second)) / 4)
    torch.testing.assert_close(target.vectors.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(target.vectors @ target.vectors.T, target.similarity)
    assert target.present is None


def test_equal_weights_are_the_published_concatenation() -> None:
    first, second = blocks()
    expected = F.normalize(torch.cat([F.normalize(first.float(), dim=1), F.normalize(second.float(), dim=1)], dim=1), dim=1)
    torch.testing.assert_close(fuse([first, second], [ALL, ALL], [1.0, 1.0]).vectors, expected)


def test_a_missing_teacher_leaves_the_mean_to_the_others() -> None:
    first, second = blocks()
    without = torch.tensor([True, False, True, True])
    target = fuse([first, second], [ALL, without], [1.0, 1.0])
    both = (cosines(first) + cosines(second)) / 2
    torch.testing.assert_close(target.similarity[0, 2], both[0, 2])
    torch.testing.assert_close(target.similarity[0, 1], cosines(first)[0, 1])
    torch.testing.assert_close(target.similarity.diagonal(), torch.ones(4))
    torch.testing.assert_close(target.vectors[1, :6], F.normalize(first[1].float(), dim=0))
    assert target.present is not None
    assert target.present[1].tolist() == [True] * 6 + [False] * 3


def test_two_texts_without_a_common_teacher_have_no_score() -> None:
    first, second = blocks()
    target = fuse([first, second], [torch.tensor([True, False, True, True]), torch.tensor([False, True, True, True])], [1.0, 1.0])
    assert torch.isnan(target.similarity[0, 1])
    assert torch.isnan(target.similarity).sum() == 2
    assert torch.isfinite(target.vectors).all()


def test_what_stands_in_a_row_that_is_not_valid_does_not_matter() -> None:
    first, second = blocks()
    without = torch.tensor([True, False, True, True])
    garbage = second.clone()
    garbage[1] = 7.0
    assert torch.equal(
        fuse([first, second], [ALL, without], [1.0, 1.0]).vectors, fuse([first, garbage], [ALL, without], [1.0, 1.0]).vectors
    )
