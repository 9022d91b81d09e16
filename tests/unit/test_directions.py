"""The strongest directions of vectors: how good, and always the same."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtd_ray import directions as module
from mtd_ray.directions import fit_basis


def targets(rows: int, size: int, rank: int) -> Tensor:
    """Unit rows around a common direction whose strength falls off, in a space of ``rank`` dimensions."""
    generator = torch.Generator().manual_seed(7)
    strengths = torch.arange(1, rank + 1) ** -0.7
    mixed = (torch.randn(rows, rank, generator=generator) + 0.3) * strengths
    return F.normalize(mixed @ torch.linalg.qr(torch.randn(size, rank, generator=generator)).Q.T, dim=1)


@pytest.fixture(params=["exact", "iterated"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "iterated":
        monkeypatch.setattr(module, "_EXACT_UP_TO", 0)
    return str(request.param)


@pytest.mark.usefixtures("how")
def test_what_has_no_more_directions_than_the_head_is_kept_exactly() -> None:
    whole = targets(200, 60, rank=12)
    basis = fit_basis(torch.split(whole, 70), 12)
    projected = whole @ basis
    torch.testing.assert_close(projected @ projected.T, whole @ whole.T, atol=1e-5, rtol=0)
    torch.testing.assert_close(projected @ basis.T, whole, atol=2e-5, rtol=0)


@pytest.mark.usefixtures("how")
def test_no_other_directions_keep_the_dot_products_better() -> None:
    whole = targets(300, 60, rank=60)
    basis = fit_basis(torch.split(whole, 100), 10)
    torch.testing.assert_close(basis.T @ basis, torch.eye(10), atol=1e-5, rtol=0)
    squares = torch.linalg.svdvals(whole)[:10] ** 2
    torch.testing.assert_close((whole @ basis).square().sum(dim=0), squares, rtol=1e-3, atol=0)


@pytest.mark.usefixtures("how")
def test_directions_stay_orthogonal_with_hardly_more_rows_than_directions() -> None:
    whole = targets(50, 200, rank=50)
    basis = fit_basis(torch.split(whole, 20), 45)
    torch.testing.assert_close(basis.T @ basis, torch.eye(45), atol=1e-5, rtol=0)
    best = (torch.linalg.svdvals(whole)[:45] ** 2).sum()
    torch.testing.assert_close((whole @ basis).square().sum(), best, rtol=1e-3, atol=0)


@pytest.mark.usefixtures("how")
def test_the_same_targets_give_the_same_directions_with_a_fixed_sign() -> None:
    blocks = torch.split(targets(300, 60, rank=60), 100)
    first, second = fit_basis(blocks, 10), fit_basis(list(blocks), 10)
    assert torch.equal(first, second)
    assert (first.gather(0, first.abs().argmax(dim=0, keepdim=True)) > 0).all()
    torch.testing.assert_close(fit_basis([-block for block in blocks], 10), first, atol=1e-5, rtol=0)
