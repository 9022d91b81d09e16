"""Adam's moments find their way from any division among workers to any other."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mtd_ray.distill.checkpoints.optimizer_state import copied_state, restore_state
from mtd_ray.errors import TrainingError

pytestmark = pytest.mark.usefixtures("single_process_group")


def trained_net(updates: int) -> tuple[nn.Module, torch.optim.AdamW]:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(updates):
        optimizer.zero_grad()
        net(torch.ones(2, 3)).square().sum().backward()
        optimizer.step()
    return net, optimizer


def divided(workers: int, rank: int) -> tuple[nn.Module, torch.optim.AdamW]:
    """As under ZeRO-2: all parameters end to end in one tensor, of which a worker's optimizer has an equal part."""
    net, _ = trained_net(0)
    total = sum(parameter.numel() for parameter in net.parameters())
    size = -(-total // workers)
    flat = torch.zeros(size, requires_grad=True)
    begin, place = rank * size, 0
    for parameter in net.parameters():
        first, last = max(place, begin), min(place + parameter.numel(), begin + size)
        mapping = SimpleNamespace(
            param_group_index=0,
            lp_fragment_address=SimpleNamespace(start=first - place, numel=last - first),
            hp_fragment_address=SimpleNamespace(start=first - begin, numel=last - first),
        )
        with_mapping: Any = parameter
        with_mapping._hp_mapping = mapping if first < last else None
        place += parameter.numel()
    return net, torch.optim.AdamW([flat], lr=1e-2)


def saved(net: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> Path:
    save_file(copied_state(net, optimizer), path)
    return path


def moments(net: nn.Module, optimizer: torch.optim.Optimizer, name: str) -> Tensor:
    return torch.cat([optimizer.state[parameter][name].flatten() for parameter in net.parameters()])


def test_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    net, optimizer = trained_net(3)
    path = saved(net, optimizer, tmp_path / "one")
    again, fresh = trained_net(0)
    restore_state(again, fresh, iter([path]))
    again.load_state_dict(net.state_dict())
    for module, adam in ((net, optimizer), (again, fresh)):
        adam.zero_grad()
        module(torch.ones(2, 3)).square().sum().backward()
        adam.step()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_one_worker_becomes_three_become_two_become_one(tmp_path: Path) -> None:
    net, optimizer = trained_net(3)
    files = [saved(net, optimizer, tmp_path / "whole")]
    for workers in (3, 2):
        parts = [divided(workers, rank) for rank in range(workers)]
        for part in parts:
            restore_state(*part, iter(files))
        files = [saved(*part, tmp_path / f"{workers}-{rank}") for rank, part in enumerate(parts)]
    again, fresh = trained_net(0)
    restore_state(again, fresh, iter(files))
    for name in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(moments(again, fresh, name), moments(net, optimizer, name))
    assert {float(state["step"]) for state in fresh.state.values()} == {3.0}


def test_as_many_workers_as_before_read_a_file_each(tmp_path: Path) -> None:
    net, optimizer = trained_net(2)
    whole = saved(net, optimizer, tmp_path / "whole")
    parts = [divided(2, rank) for rank in range(2)]
    for part in parts:
        restore_state(*part, iter([whole]))
    own, other = (saved(*part, tmp_path / f"part-{rank}") for rank, part in enumerate(parts))
    left = iter([own, other])
    restore_state(*divided(2, 0), left)
    assert list(left) == [other]


def test_an_optimizer_before_its_first_update_has_nothing_to_save(tmp_path: Path) -> None:
    assert copied_state(*trained_net(0)) == {}


def test_numbers_that_are_missing_and_files_that_are_damaged_are_refused(tmp_path: Path) -> None:
    parts = [divided(2, rank) for rank in range(2)]
    net, optimizer = trained_net(2)
    whole = saved(net, optimizer, tmp_path / "whole")
    restore_state(*parts[0], iter([whole]))
    half = saved(*parts[0], tmp_path / "half")
    with pytest.raises(TrainingError, match=r"lacks exp_avg(_sq)? of"):
        restore_state(*trained_net(0), iter([half]))
    whole.write_bytes(b"nonsense")
    with pytest.raises(TrainingError, match="whole cannot be read"):
        restore_state(*trained_net(0), iter([whole]))
