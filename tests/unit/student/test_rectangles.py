"""Attention over texts of any lengths in a line is what each text gets alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mtd_ray.student.rectangles import SHORT_TOKENS, Rectangles

LENGTHS = [5, 1, 40, 7, SHORT_TOKENS + 9, 2, 33, 7]


@pytest.mark.parametrize("lengths", [LENGTHS, LENGTHS[:1], [6, 6, 6], [SHORT_TOKENS + 9, 150]])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("window", [None, 3])
def test_each_text_attends_to_itself(lengths: list[int], groups: int, window: int | None) -> None:
    torch.manual_seed(0)
    offsets = torch.tensor([0, *lengths]).cumsum(0).int()
    query = torch.randn(4, sum(lengths), 8)
    key, value = torch.randn(2, 4 // groups, sum(lengths), 8)
    found = Rectangles.of(offsets).attend(query, key, value, scale=0.3, window=window)
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        q, k, v = (tensor[:, start:stop] for tensor in (query, key, value))
        places = torch.arange(stop - start)
        near = None if window is None else (places[:, None] - places).abs() <= window
        alone = F.scaled_dot_product_attention(q, k, v, near, scale=0.3, enable_gqa=groups > 1).transpose(0, 1)
        torch.testing.assert_close(found[start:stop], alone, atol=1e-5, rtol=1e-4)


def test_texts_of_like_length_share_a_rectangle() -> None:
    parts = Rectangles.of(torch.tensor([0, *LENGTHS]).cumsum(0).int()).parts
    assert [(part.rows, part.width) for part in parts] == [(1, 169), (2, 40), (3, 7), (2, 2)]
    assert parts[0].filled is None
