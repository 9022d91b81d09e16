"""What a frozen trunk makes of the corpus, kept in storage: pooled states shard by shard, computed once for all steps and runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
import xxhash
from torch import nn

from mtd_ray import layout
from mtd_ray.config import StudentConfig, fingerprint
from mtd_ray.corpus import Shard
from mtd_ray.errors import TrainingError
from mtd_ray.objects import ObjectStore
from mtd_ray.student import Student

_DTYPE = np.dtype("<f4")
_DIGEST_BYTES = 16
_METHOD = 1  # part of every key: raise it when the same trunk would give other states, as after a change of pooling or packing
# What decides a text's tokens and their places, and does not stand in the tokenizer's own file.
_TOKENIZER_STATE = ("truncation_side", "padding_side", "split_special_tokens", "pad_token_id", "eos_token_id")
# What a saved config says of the file it came from, and the number format, which is told apart.
_NOT_THE_ARCHITECTURE = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")


class TrunkCache:
    """Pooled states of one trunk.

    A shard's object is the 128-bit XXH3 of what follows, then the states as little-endian float32, row by row; its key holds the
    shard's content hash. It is created put-if-absent, whole, so that a worker that dies leaves nothing behind.

    Args:
        store: where the objects are.
        trunk: fingerprint of everything that changes the states (:func:`describe_trunk`).
        hidden_size: size of a state.
    """

    def __init__(self, store: ObjectStore, trunk: str, hidden_size: int) -> None:
        self._store, self._trunk = store, trunk
        self.hidden_size = hidden_size

    @classmethod
    def open(cls, store: ObjectStore, student: Student, dtype: str) -> Self:
        """The cache of a student's trunk as it is now: before an engine divides its weights or rounds them.

        Args:
            dtype: the number format in which the trunk will run.
        """
        description = describe_trunk(student, dtype)
        trunk = fingerprint(description)
        store.create(layout.trunk_description(trunk), (json.dumps(description, indent=1, sort_keys=True) + "\n").encode())
        return cls(store, trunk, student.hidden_size)

    def missing(self, shards: Sequence[Shard]) -> list[Shard]:
        """Those of the shards that have no states. One LIST: objects of a wrong size are deleted, and no bytes are looked at."""
        sizes = {info.key: info.size for info in self._store.list(layout.trunk(self._trunk))}
        missing = [shard for shard in shards if sizes.get(self._key(shard)) != self._object_bytes(shard)]
        for shard in missing:
            if self._key(shard) in sizes:
                self._store.delete(self._key(shard))
        return missing

    def read_shard(self, shard: Shard) -> npt.NDArray[np.float32]:
        """A shard's states ``(rows, hidden_size)``.

        Raises:
            TrainingError: there are none, or they were damaged; damaged ones have then been deleted.
        """
        key = self._key(shard)
        data = self._store.find_view(key)
        if data is None or not self._is_whole(data, shard):
            if data is not None:
                self._store.delete(key)
            raise TrainingError(
                f"{self._store.url}/{key}: the states of the frozen trunk for shard {shard.index} are gone, or were damaged and "
                "have been deleted: start the run again, and only this shard's are computed again"
            )
        return np.frombuffer(data[_DIGEST_BYTES:], dtype=_DTYPE).reshape(shard.rows, self.hidden_size)

    def write(self, shard: Shard, states: npt.NDArray[np.float32]) -> None:
        """Keep a shard's states, unless they are kept already."""
        data = np.ascontiguousarray(states, dtype=_DTYPE).data.cast("B")
        self._store.create(self._key(shard), b"".join([_digest(data), data]))

    def _key(self, shard: Shard) -> str:
        return layout.trunk_states(self._trunk, shard.sha256)

    def _is_whole(self, data: memoryview, shard: Shard) -> bool:
        return len(data) == self._object_bytes(shard) and _digest(data[_DIGEST_BYTES:]) == data[:_DIGEST_BYTES]

    def _object_bytes(self, shard: Shard) -> int:
        return _DIGEST_BYTES + shard.rows * self.hidden_size * _DTYPE.itemsize


def describe_trunk(student: Student, dtype: str) -> dict[str, Any]:
    """Everything that changes a trunk's pooled states: weights, architecture, tokens, pooling and number format, not the heads."""
    config: StudentConfig = student.config
    return {
        "method": _METHOD,
        "weights": weights_digest(student.backbone),
        "architecture": _architecture(student.backbone.config),
        "tokenizer": _tokenizer_digest(student.tokenizer),
        "pooling": config.pooling,
        "max_tokens": config.max_tokens,
        "prompts": config.prompts,
        "dtype": dtype,
    }


def weights_digest(module: nn.Module) -> str:
    """128-bit XXH3 over the name, shape, type and bytes of every weight, 32 hex digits."""
    digest = xxhash.xxh3_128()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(memoryview(flat.view(torch.uint8).numpy()))
    return digest.hexdigest()


def _architecture(config: Any) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return {key: value for key, value in tree.items() if key not in _NOT_THE_ARCHITECTURE}


def _tokenizer_digest(tokenizer: Any) -> str:
    tree = json.loads(tokenizer.backend_tokenizer.to_str())
    # Where to cut and pad is set by each call.
    rules = {key: value for key, value in tree.items() if key not in {"truncation", "padding"}}
    return fingerprint({"rules": rules} | {name: getattr(tokenizer, name) for name in _TOKENIZER_STATE})


def _digest(data: memoryview) -> bytes:
    return xxhash.xxh3_128_digest(data)
