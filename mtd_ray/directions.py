"""The directions in which vectors are strongest: what makes them shorter and keeps their dot products best.

They are the leading eigenvectors of the second moment TᵀT, and not of the covariance: of all projections to so many numbers this
one keeps the dot products T Tᵀ best (Eckart–Young), and dot products are what losses and searches compare.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce

import torch
from torch import Tensor

_EXACT_UP_TO = 2_048
_WIDTHS_IN_SIZE = 4
_ROUNDS = 9


def fit_basis(targets: Iterable[Tensor], size: int) -> Tensor:
    """Leading eigenvectors of TᵀT.

    Exactly, up to D = 2,048 or where ``size`` is more than 2/5 of D. Else by the randomised block Krylov method (arXiv 1504.05477,
    algorithm 2), seeded: no D × D matrix, and beside the targets matrices of 2.5 · size columns. 16,384 targets of D = 12,288 and
    size = 1,024 are 0.8 GB and take 4·10¹² operations.

    Args:
        targets: the rows of T in blocks ``(n, D)`` float32, all on one device; together at least ``size`` of them.
        size: at most D.

    Returns:
        ``(D, size)`` float32, orthonormal columns, strongest first; the largest number of each is positive.
    """
    blocks = list(targets)
    dimensions, width = blocks[0].shape[1], -(-size // _WIDTHS_IN_SIZE)
    if dimensions <= max(_EXACT_UP_TO, width * (_ROUNDS + 1)):
        directions = _strongest(torch.linalg.eigh(_moment(blocks)).eigenvectors, size)
    else:
        subspace = _krylov_subspace(blocks, width)
        inside = torch.linalg.eigh(_moment(block @ subspace for block in blocks)).eigenvectors
        directions = subspace.double() @ _strongest(inside, size)
    return _signed(directions).float()


def _strongest(eigenvectors: Tensor, size: int) -> Tensor:
    """They come in ascending order of strength."""
    return eigenvectors.flip(-1)[:, :size]


def _moment(blocks: Iterable[Tensor]) -> Tensor:
    """TᵀT in float64."""
    return reduce(torch.add, (wide.T @ wide for wide in (block.double() for block in blocks)))


def _krylov_subspace(blocks: Sequence[Tensor], width: int) -> Tensor:
    """Orthonormal columns that span ``[X, MX, …, M⁹X]`` with M = TᵀT and a random X of ``width`` columns."""
    start = torch.randn(blocks[0].shape[1], width, generator=torch.Generator().manual_seed(0)).to(blocks[0].device)
    newest: Tensor = torch.linalg.qr(start).Q
    basis = newest
    for _ in range(_ROUNDS):
        pushed = torch.zeros_like(newest)
        for block in blocks:
            pushed.addmm_(block.T, block @ newest)
        for _ in range(2):  # once leaves rounding errors that grow from round to round
            pushed = torch.linalg.qr(pushed - basis @ (basis.T @ pushed)).Q
        newest, basis = pushed, torch.cat([basis, pushed], dim=-1)
    # With little more rows than directions the last rounds add only rounding noise, which need not be orthogonal to what is there.
    orthonormal: Tensor = torch.linalg.qr(basis).Q
    return orthonormal


def _signed(directions: Tensor) -> Tensor:
    """An eigenvector is as good as its opposite: of the two, the one whose largest number is positive."""
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    return directions * torch.where(largest < 0, -1.0, 1.0)
