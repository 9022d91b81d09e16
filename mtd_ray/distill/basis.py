"""The directions in which fused targets are strongest: what a head smaller than the target can be compared with.

They are the leading eigenvectors of the second moment TᵀT of a sample of targets, and not of the covariance: of all projections to
so many numbers this one keeps the dot products T Tᵀ best (Eckart–Young), and the losses compare dot products.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce

import numpy as np
import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mtd_ray import layout
from mtd_ray.config import Recipe, StageConfig, fingerprint, teacher_fingerprint
from mtd_ray.corpus import Manifest, Shard
from mtd_ray.distill.fusion import TargetSpec, fuse, needed_bases
from mtd_ray.errors import TargetError
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import TargetStore

_ROWS = 16_384
_SHARDS = 4
_EXACT_UP_TO = 2_048
_WIDTHS_IN_SIZE = 4
_ROUNDS = 9
_METHOD = 1  # part of every key: raise it when the same targets would give other directions


def load_or_fit(
    store: ObjectStore,
    recipe: Recipe,
    manifest: Manifest,
    stage: StageConfig,
    size: int,
    *,
    device: torch.device | None = None,
) -> Tensor:
    """The ``size`` strongest directions of a stage's targets.

    They are found once, on a sample of the corpus, and stored: every worker, every resumed run and every stage with these teachers
    gets the same numbers. Every worker of the process group, where there is one, calls it; worker 0 finds them while the others
    wait.

    Args:
        stage: whose teachers' fused target it is.
        size: a head that :func:`mtd_ray.distill.fusion.needed_bases` names.
        device: where to compute; the CPU when left out.

    Returns:
        ``(D, size)`` float32 on the CPU, orthonormal columns, strongest first; D is the size of the fused target.

    Raises:
        TargetError: the targets cannot be read, too few texts have a vector of every teacher, or the stored directions are damaged.
    """
    names = recipe.stage_teachers(stage)
    largest = _largest_size(recipe, names, size)
    sample = _sample(manifest)
    key = layout.target_basis(_identity(recipe, names, sample, largest))
    if _is_first_worker() and not store.exists(key):
        targets = list(_targets(store, recipe, names, sample, device or torch.device("cpu")))
        _check_rows(sum(map(len, targets)), names, largest)
        store.create(key, save({"basis": fit_basis(targets, largest).cpu().contiguous()}))
    if dist.is_initialized():
        dist.barrier()
    return _load(store, key, (recipe.target_dimensions(names), largest))[:, :size].contiguous()


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
    return basis


def _signed(directions: Tensor) -> Tensor:
    """An eigenvector is as good as its opposite: of the two, the one whose largest number is positive."""
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    return directions * torch.where(largest < 0, -1.0, 1.0)


def _largest_size(recipe: Recipe, names: Sequence[str], size: int) -> int:
    """The largest of the recipe's heads along these teachers' directions: the smaller ones are its first columns."""
    heads = (head for stage in recipe.stages if recipe.stage_teachers(stage) == names for head in needed_bases(recipe, stage))
    return max(heads, default=size)


def _sample(manifest: Manifest) -> list[tuple[Shard, int]]:
    """Shards in an order that says nothing of their texts, and how many rows of each."""
    shards = sorted(manifest.shards, key=lambda shard: shard.sha256)
    most = max(_ROWS // _SHARDS, -(-_ROWS // len(shards)))
    sample, left = [], _ROWS
    for shard in shards:
        sample.append((shard, min(shard.rows, most, left)))
        left -= sample[-1][1]
        if left == 0:
            break
    return sample


def _identity(recipe: Recipe, names: Sequence[str], sample: Sequence[tuple[Shard, int]], size: int) -> str:
    """Digest of everything that changes the directions."""
    teachers = [recipe.teachers[name] for name in names]
    return fingerprint(
        {
            "method": _METHOD,
            "teachers": [[teacher_fingerprint(t), t.weight, t.part_dimensions, t.target_shorten] for t in teachers],
            "sample": [[shard.sha256, rows] for shard, rows in sample],
            "size": size,
        }
    )


def _targets(
    store: ObjectStore, recipe: Recipe, names: Sequence[str], sample: Sequence[tuple[Shard, int]], device: torch.device
) -> Iterator[Tensor]:
    """The sample's fused targets, shard by shard, of the rows that every teacher has."""
    spec = TargetSpec.of_teachers(recipe, names)
    stores = [
        TargetStore(store, teacher_fingerprint(teacher), recipe.harvest.part_rows, teacher.dimensions)
        for teacher in (recipe.teachers[name] for name in names)
    ]
    for shard, count in sample:
        rows = np.arange(count) * shard.rows // count
        read = [(vectors[rows], valid[rows]) for vectors, valid in (targets.read_shard(shard) for targets in stores)]
        complete = np.logical_and.reduce([valid for _, valid in read])
        blocks = [torch.from_numpy(vectors[complete]).to(device) for vectors, _ in read]
        yield fuse(spec, blocks, torch.ones(int(complete.sum()), len(blocks), dtype=torch.bool)).whole


def _check_rows(rows: int, names: Sequence[str], size: int) -> None:
    if rows < size:
        raise TargetError(
            f"target: pca for a head of size {size} needs at least as many texts that have a vector of each of {', '.join(names)}; "
            f"there are {rows}. Use a larger corpus, a smaller head, or only similarity and ranking for it"
        )


def _is_first_worker() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0


def _load(store: ObjectStore, key: str, shape: tuple[int, int]) -> Tensor:
    try:
        basis = load(store.get(key))["basis"]
    except (SafetensorError, KeyError):
        basis = torch.empty(0)
    if basis.shape != shape or basis.dtype != torch.float32:
        raise TargetError(f"{store.url}/{key} is damaged: delete it, and it is computed again")
    return basis
