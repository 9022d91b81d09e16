"""The directions in which fused targets are strongest: what a head smaller than the target can be compared with.

:mod:`mtd_ray.directions` finds them on a sample of targets; here they are stored, for the losses of every worker and every run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mtd_ray import layout
from mtd_ray.config import Recipe, StageConfig, fingerprint, teacher_fingerprint
from mtd_ray.corpus import Manifest, Shard
from mtd_ray.directions import fit_basis
from mtd_ray.distill.fusion import TargetSpec, fuse, needed_bases
from mtd_ray.errors import TargetError
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import TargetStore

_ROWS = 16_384
_SHARDS = 4
_PARALLEL_READS = 8
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
    gets the same numbers, until one of the sample's parts is harvested again. Every worker of the process group, where there is
    one, calls it; worker 0 finds them while the others wait.

    Args:
        stage: whose teachers' fused target it is.
        size: a head that :func:`mtd_ray.distill.fusion.needed_bases` names.
        device: where to compute; the CPU when left out.

    Returns:
        ``(D, size)`` float32 on the CPU, orthonormal columns, strongest first; D is the size of the fused target.

    Raises:
        TargetError: the targets cannot be read or are not finite, too few texts have a vector of every teacher, or the stored
            directions are damaged.
    """
    names = recipe.stage_teachers(stage)
    largest = _largest_size(recipe, names, size)
    sample, teachers = _sample(manifest), _target_stores(store, recipe, names)
    key = layout.target_basis(_identity(recipe, names, sample, _contents(teachers, sample), largest))
    if _is_first_worker() and not store.exists(key):
        targets = list(_targets(TargetSpec.of_teachers(recipe, names), teachers, sample, device or torch.device("cpu")))
        _check_rows(sum(map(len, targets)), names, largest)
        store.create(key, save({"basis": _finite(fit_basis(targets, largest)).cpu().contiguous()}))
    if dist.is_initialized():
        dist.barrier()
    return _load(store, key, (recipe.target_dimensions(names), largest))[:, :size].contiguous()


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


def _target_stores(store: ObjectStore, recipe: Recipe, names: Sequence[str]) -> list[TargetStore]:
    teachers = [recipe.teachers[name] for name in names]
    return [TargetStore(store, teacher_fingerprint(t), recipe.harvest.part_rows, t.dimensions) for t in teachers]


def _contents(teachers: Sequence[TargetStore], sample: Sequence[tuple[Shard, int]]) -> list[str]:
    """Digests of the sampled shards' parts, teacher by teacher, as their commits state them."""
    parts = [(targets, part) for targets in teachers for shard, _ in sample for part in targets.parts(shard)]
    with ThreadPoolExecutor(_PARALLEL_READS) as pool:
        return list(pool.map(lambda pair: pair[0].read_commit(pair[1]).sha256, parts))


def _identity(recipe: Recipe, names: Sequence[str], sample: Sequence[tuple[Shard, int]], contents: Sequence[str], size: int) -> str:
    """Digest of everything that changes the directions."""
    teachers = [recipe.teachers[name] for name in names]
    return fingerprint(
        {
            "method": _METHOD,
            "teachers": [[teacher_fingerprint(t), t.weight, t.part_dimensions, t.target_shorten] for t in teachers],
            "sample": [[shard.sha256, rows] for shard, rows in sample],
            "targets": list(contents),
            "size": size,
        }
    )


def _targets(
    spec: TargetSpec, teachers: Sequence[TargetStore], sample: Sequence[tuple[Shard, int]], device: torch.device
) -> Iterator[Tensor]:
    """The sample's fused targets, shard by shard, of the rows that every teacher has."""
    for shard, count in sample:
        rows = np.arange(count) * shard.rows // count
        read = [(vectors[rows], valid[rows]) for vectors, valid in (targets.read_shard(shard) for targets in teachers)]
        complete = np.logical_and.reduce([valid for _, valid in read])
        blocks = [torch.from_numpy(vectors[complete]).to(device) for vectors, _ in read]
        fused = fuse(spec, blocks, torch.ones(int(complete.sum()), len(blocks), dtype=torch.bool))
        for row, column in (~fused.finite).nonzero().tolist():
            raise _not_finite(spec.teachers[column], teachers[column], shard, int(rows[complete][row]))
        yield fused.whole


def _not_finite(teacher: str, targets: TargetStore, shard: Shard, row: int) -> TargetError:
    part = next(part for part in targets.parts(shard) if part.start <= row < part.stop)
    what = f"its vector of row {row} of the shard is not one of finite numbers"
    return TargetError(f"teacher {teacher!r}: {targets.problem(part, what)}")


def _check_rows(rows: int, names: Sequence[str], size: int) -> None:
    if rows < size:
        raise TargetError(
            f"target: pca for a head of size {size} needs at least as many texts that have a vector of each of {', '.join(names)}; "
            f"there are {rows}. Use a larger corpus, a smaller head, or only similarity and ranking for it"
        )


def _finite(directions: Tensor) -> Tensor:
    if not torch.isfinite(directions).all():
        raise TargetError(
            f"the directions for target: pca that were computed on {directions.device} are not finite, though all targets are; "
            "nothing was stored. Start the run again; if it comes back, look for a fault of that device"
        )
    return directions


def _is_first_worker() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0


def _load(store: ObjectStore, key: str, shape: tuple[int, int]) -> Tensor:
    try:
        basis = load(store.get(key))["basis"]
    except (SafetensorError, KeyError):
        basis = torch.empty(0)
    if basis.shape != shape or basis.dtype != torch.float32 or not torch.isfinite(basis).all():
        raise TargetError(f"{store.url}/{key} is damaged: delete it, and it is computed again")
    return basis
