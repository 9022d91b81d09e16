"""Which of the waiting texts go through the model together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# What one more forward pass costs, as a share of a full one. Measured on two cores (all-MiniLM-L6-v2, passes of 512 tokens): passes
# of 256 take 8 % longer for the same tokens, so a pass costs as much as 44 of 512.
_PASS = 1 / 12


def choose_padded(lengths: Sequence[int], budget: int) -> list[int]:
    """A batch that a model pads to a rectangle: the texts that give most tokens for their time, the first text among them.

    Time is that of the padded tokens and of starting a pass. So texts of like length go together; a shorter one comes along where
    its padding costs less than another pass.

    Args:
        lengths: in tokens, by falling claim to be computed. Of equal lengths earlier ones are taken.
        budget: padded tokens of the batch. The first text is taken whatever its length.

    Returns:
        Places in ``lengths``, by falling length.
    """
    first = lengths[0]
    if len(lengths) == 1:
        return [0]
    # Around the first text earlier ones are the nearer ones, among equals.
    order = sorted(range(len(lengths)), key=lambda place: (lengths[place], place if lengths[place] > first else -place))
    sizes = np.array([lengths[place] for place in order])
    sums = np.concatenate(([0], np.cumsum(sizes)))
    anchor = order.index(0)
    fixed = budget * _PASS
    best, low, high = -1.0, anchor, anchor
    for end in range(anchor, len(order)):
        width = int(sizes[end])
        rows = max(budget // max(width, 1), 1)
        if end - anchor >= rows:
            break
        is_last = end + 1 == len(order) or end + 1 - anchor >= max(budget // int(sizes[end + 1]), 1)
        if not is_last and sizes[end + 1] == width:
            continue
        starts = np.arange(max(end + 1 - rows, 0), anchor + 1)
        gain = (sums[end + 1] - sums[starts]) / (fixed + (end + 1 - starts) * width)
        place = int(gain.argmax())
        if gain[place] > best:
            best, low, high = float(gain[place]), int(starts[place]), end
    return order[low : high + 1][::-1]


def choose_packed(lengths: Sequence[int], budget: int) -> list[int]:
    """A batch for a model that packs texts one behind the other: in the order of their claim, as many as fit.

    Args and result as in :func:`choose_padded`.
    """
    chosen, room = [0], budget - lengths[0]
    for place in range(1, len(lengths)):
        if lengths[place] <= room:
            chosen.append(place)
            room -= lengths[place]
    return chosen
