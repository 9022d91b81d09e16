"""Heads of the published Stella layout: one folder ``2_Dense_SIZE`` per size, of which ``modules.json`` names one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import torch
from safetensors import SafetensorError
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense
from torch import nn

from mtd_ray.encoder.trusted import check_dense, read_json
from mtd_ray.errors import MtdError

_HEAD = re.compile(r"^2_Dense_(\d+)$")


def head_sizes(folder: Path) -> tuple[int, ...]:
    """Sizes of the heads in a folder, ascending."""
    return tuple(sorted(int(match[1]) for path in folder.glob("2_Dense_*") if (match := _HEAD.match(path.name))))


def place_of_head(model: str, revision: str | None = None) -> int | None:
    """Number of the module that is a head, by ``modules.json``; None where it names none.

    Args:
        model: a folder or a hub name.
    """
    return next((place for place, _ in _heads_named(read_json(model, "modules.json", revision) or ())), None)


def default_size(model: str, revision: str | None = None) -> int | None:
    """Size of the head that ``modules.json`` names, which a plain load of the folder gives; None where it names none.

    Args:
        model: a folder or a hub name.
    """
    return size_of_head(read_json(model, "modules.json", revision) or ())


def size_of_head(modules: Iterable[Mapping[str, Any]]) -> int | None:
    """Size of the head among the entries of a ``modules.json``; None where there is none."""
    return next((size for _, size in _heads_named(modules)), None)


def _heads_named(modules: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, int]]:
    """Place and size of each head among the entries of a ``modules.json``."""
    for place, module in enumerate(modules):
        if match := _HEAD.match(str(module["path"])):
            yield place, int(match[1])


def load_head(model: str, size: int, revision: str | None = None) -> Dense:
    """The head of one size, in float32 on the CPU.

    Raises:
        MtdError: it is not there, damaged, of another size, or names code or weights that are not trusted.
    """
    name = f"2_Dense_{size}"
    check_dense(model, name, revision)
    try:
        head = Dense.load(model, subfolder=name, revision=revision, local_files_only=Path(model).is_dir())
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise MtdError(f"head {model}/{name} cannot be loaded: {type(error).__name__}: {error}") from error
    if head.out_features != size:
        raise MtdError(f"head {model}/{name} gives vectors of {head.out_features} numbers; the folder's name says {size}")
    return head.eval()


def take_head(loaded: SentenceTransformer, model: str, size: int, revision: str | None, dtype: torch.dtype) -> None:
    """Put the head of this size into the place of the one that ``modules.json`` names, where there is such a head.

    Raises:
        MtdError: the head cannot be loaded.
    """
    place = place_of_head(model, revision)
    if (
        place is None
        or loaded.get_embedding_dimension() == size
        or read_json(model, f"2_Dense_{size}/config.json", revision) is None
    ):
        return
    loaded[place] = load_head(model, size, revision).to(loaded.device, dtype)


def are_nested(heads: Mapping[int, nn.Module]) -> bool:
    """Whether each head is the first rows of every larger one, so that any prefix of a vector is one of the trained map.

    A folder does not say so: weights and biases are compared, number by number. One head alone says nothing.
    """
    layers = [layer.linear for _, layer in sorted(heads.items()) if _is_linear(layer)]
    if len(layers) < max(len(heads), 2):
        return False
    *smaller, largest = layers
    return all(_begins_with(largest.weight, layer.weight) and _begins_with(largest.bias, layer.bias) for layer in smaller)


def _is_linear(layer: nn.Module) -> TypeGuard[Dense]:
    return isinstance(layer, Dense) and isinstance(layer.activation_function, nn.Identity) and not layer.use_residual


def _begins_with(rows: torch.Tensor | None, first: torch.Tensor | None) -> bool:
    if rows is None or first is None:
        return rows is first
    return torch.equal(rows[: len(first)], first)
