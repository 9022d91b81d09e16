"""Adam's moments by parameter name, wherever the engine keeps them: what a checkpoint holds besides the weights.

ZeRO divides the moments among the workers. Each worker saves the pieces that it has, each with its place in its parameter, and
takes from what any number of workers saved the pieces that it needs: their number and the ZeRO stage may change in between.
Weights need no saving here: an engine starts from the whole float32 weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mtd_ray.distill.optimizer import trained
from mtd_ray.errors import TrainingError

_MOMENTS = ("exp_avg", "exp_avg_sq")
_UPDATES = "updates"


@dataclass(frozen=True)
class _Piece:
    """Numbers ``start … start + length − 1`` of a flattened parameter stand from ``offset`` on in the flattened ``flat``, which is
    the tensor that the optimizer knows. ``shared``: every worker has the same piece."""

    name: str
    start: int
    length: int
    flat: Tensor
    offset: int
    shared: bool

    def of(self, moment: Tensor) -> Tensor:
        """The piece's numbers in a moment of ``flat``, as a view."""
        return moment.view(-1)[self.offset : self.offset + self.length]


@torch.no_grad()
def set_masters(module: nn.Module, optimizer: torch.optim.Optimizer, exact: Mapping[str, Tensor]) -> None:
    """Put whole float32 weights, by parameter name, into the masters that this worker's optimizer updates."""
    for piece in _pieces(module, optimizer):
        weights = exact[piece.name].view(-1)[piece.start : piece.start + piece.length]
        piece.of(piece.flat).copy_(weights)


def copied_state(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """This worker's pieces of the state, on the CPU: ``moment/start/parameter`` → ``(length,)``, and how many updates made it."""
    copied: dict[str, Tensor] = {}
    for piece in _pieces(module, optimizer):
        state = optimizer.state[piece.flat]
        if not state or (piece.shared and dist.get_rank() != 0):
            continue
        copied[_UPDATES] = torch.as_tensor(state["step"]).detach().to("cpu", copy=True)
        for moment in _MOMENTS:
            copied[f"{moment}/{piece.start}/{piece.name}"] = piece.of(state[moment]).detach().to("cpu", copy=True)
    return copied


def restore_state(module: nn.Module, optimizer: torch.optim.Optimizer, files: Iterable[Path]) -> None:
    """Fill this worker's pieces from files of :func:`copied_state`; no more of them are asked for than it takes.

    Raises:
        TrainingError: a file is damaged, or the files together do not hold every number.
    """
    wanted = {(piece.name, moment): piece for piece in _pieces(module, optimizer) for moment in _MOMENTS}
    missing = {key: piece.length for key, piece in wanted.items()}
    source = iter(files)
    while missing:
        path = next(source, None)
        if path is None:
            name, moment = next(iter(missing))
            raise TrainingError(f"the checkpoint's optimizer state lacks {moment} of {name}; it is of another recipe or damaged")
        for (name, moment, start), numbers, updates in _stored(path):
            piece = wanted.get((name, moment))
            if piece is None:
                continue
            copied = _copy(piece, _state(optimizer, piece.flat, updates)[moment], start, numbers)
            missing[name, moment] = missing.get((name, moment), 0) - copied
        missing = {key: count for key, count in missing.items() if count > 0}


def _copy(piece: _Piece, moment: Tensor, start: int, numbers: Tensor) -> int:
    """Copy what a stored run of numbers and a piece have in common; how many they are."""
    begin, end = max(start, piece.start), min(start + len(numbers), piece.start + piece.length)
    if begin >= end:
        return 0
    piece.of(moment)[begin - piece.start : end - piece.start] = numbers[begin - start : end - start].to(moment.device)
    return end - begin


def _stored(path: Path) -> Iterator[tuple[tuple[str, str, int], Tensor, Tensor]]:
    """(parameter, moment, start), the numbers, and the number of updates."""
    try:
        with safe_open(path, framework="pt") as file:
            for key in list(file.keys()):
                if key != _UPDATES:
                    moment, start, name = key.split("/", 2)
                    yield (name, moment, int(start)), file.get_tensor(key), file.get_tensor(_UPDATES)
    except (SafetensorError, ValueError) as error:
        raise TrainingError(f"the checkpoint's optimizer state {path.name} cannot be read: {error}") from error


def _state(optimizer: torch.optim.Optimizer, flat: Tensor, updates: Tensor) -> dict[str, Any]:
    """The optimizer's state of a tensor, made as AdamW makes it before its first update where there is none yet."""
    state: dict[str, Any] = optimizer.state[flat]
    if not state:
        fused = bool(optimizer.param_groups[0].get("fused"))
        state["step"] = updates.to(flat.device if fused else "cpu", copy=True)
        state |= {moment: torch.zeros_like(flat, memory_format=torch.preserve_format) for moment in _MOMENTS}
    return state


def _pieces(module: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[_Piece]:
    """What of each trained parameter this worker's optimizer updates."""
    for name, parameter in trained(module):
        piece: _Piece | None
        if hasattr(parameter, "ds_id"):
            piece = _zero3_piece(name, parameter)
        elif hasattr(parameter, "_hp_mapping"):
            piece = _zero_piece(name, parameter, optimizer)
        else:
            piece = _Piece(name, 0, parameter.numel(), parameter, 0, shared=True)
        if piece is not None and piece.length > 0:
            yield piece


def _zero_piece(name: str, parameter: Any, optimizer: torch.optim.Optimizer) -> _Piece | None:
    """ZeRO-1 and 2: a group's parameters are one long tensor, of which each worker has a part."""
    mapping = parameter._hp_mapping
    if mapping is None:
        return None
    flat = optimizer.param_groups[mapping.param_group_index]["params"][0]
    inside, outside = mapping.lp_fragment_address, mapping.hp_fragment_address
    return _Piece(name, inside.start, inside.numel, flat, outside.start, shared=False)


def _zero3_piece(name: str, parameter: Any) -> _Piece:
    """ZeRO-3: every worker has an equal part of every parameter, the last ones filled up with zeros."""
    zero = parameter._z3_optimizer
    group, offset, count = zero.grad_position[zero.get_param_id(parameter)]
    start = count * zero._get_param_partition_rank(parameter)
    length = min(count, parameter.ds_numel - start)
    return _Piece(name, start, length, zero.fp32_partitioned_groups_flat[group], offset, shared=False)
