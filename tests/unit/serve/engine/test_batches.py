"""Which texts go through the model together."""

from __future__ import annotations

import random

import pytest

from serve.engine.batches import choose_packed, choose_padded


def test_texts_of_like_length_go_together() -> None:
    lengths = [60, 5, 58, 6, 61, 5, 4, 59] * 4
    chosen = [lengths[place] for place in choose_padded(lengths, 512)]
    assert chosen == sorted(chosen, reverse=True)
    assert len(chosen) == 512 // 61
    assert min(chosen) >= 58
    assert max(lengths[place] for place in choose_padded(lengths[1:], 512)) <= 61


def test_a_shorter_text_comes_along_where_a_pass_of_its_own_would_cost_more() -> None:
    assert set(choose_padded([60, 40], 512)) == {0, 1}
    assert set(choose_padded([60, 5], 512)) == {0}


def test_of_equals_the_first_in_line_are_taken() -> None:
    assert set(choose_padded([10] * 50, 100)) == set(range(10))
    assert set(choose_padded([10, *[11] * 50], 110)) == set(range(10))
    assert set(choose_padded([11, *[10] * 50], 110)) == set(range(10))


@pytest.mark.parametrize("choose", [choose_padded, choose_packed])
def test_a_text_longer_than_a_batch_goes_alone(choose: object) -> None:
    assert callable(choose)
    assert choose([600, 5, 600], 512) == [0]


def test_no_batch_is_over_its_budget_or_leaves_the_first_behind() -> None:
    draw = random.Random(3)
    for _ in range(300):
        lengths = [draw.choice((draw.randint(1, 20), draw.randint(1, 300))) for _ in range(draw.randint(1, 120))]
        chosen = choose_padded(lengths, 512)
        assert 0 in chosen
        assert len(set(chosen)) == len(chosen)
        assert max(lengths[place] for place in chosen) * len(chosen) <= 512
        packed = choose_packed(lengths, 512)
        assert packed[0] == 0
        assert sum(lengths[place] for place in packed) <= 512


def test_mixed_lengths_take_little_padding() -> None:
    draw = random.Random(4)
    waiting = [int(min(max(draw.lognormvariate(3.5, 0.8), 3), 256)) for _ in range(2_000)]
    tokens, padded, passes = sum(waiting), 0, 0
    while waiting:
        seen = waiting[:64]
        chosen = choose_padded(seen, 512)
        padded += max(seen[place] for place in chosen) * len(chosen)
        passes += 1
        waiting = [length for place, length in enumerate(seen) if place not in set(chosen)] + waiting[64:]
    assert tokens / padded > 0.9
    assert tokens / passes > 350
