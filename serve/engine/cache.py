"""Vectors of texts that are asked for again."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from threading import Lock

from serve.engine.work import Key, Vector

# Of an entry beside its numbers: the array's head, the key, the place in the dictionary (measured).
_ENTRY_BYTES = 450


class Cache:
    """The vectors used last, in a bounded number of bytes. Thread-safe.

    Args:
        capacity: bytes, those of keys and bookkeeping included.
    """

    def __init__(self, capacity: int) -> None:
        self._room = capacity
        self._lock = Lock()
        self._vectors: OrderedDict[Key, Vector] = OrderedDict()

    @staticmethod
    def key(model: str, ids: Sequence[int], size: int) -> Key:
        """What a vector depends on. Ids go in as a digest that nobody can find a second text for."""
        return model, size, blake2b(array("q", ids).tobytes(), digest_size=16).digest()

    def get(self, key: Key) -> Vector | None:
        """The vector, or None."""
        with self._lock:
            vector = self._vectors.get(key)
            if vector is not None:
                self._vectors.move_to_end(key)
            return vector

    def put(self, key: Key, vector: Vector) -> Vector:
        """Keep a vector, and let go of those not used for longest. Returns the kept copy; it cannot be written to."""
        kept = vector.copy()
        kept.flags.writeable = False
        with self._lock:
            if key not in self._vectors:
                self._vectors[key] = kept
                self._room -= kept.nbytes + _ENTRY_BYTES
            while self._room < 0:
                _, old = self._vectors.popitem(last=False)
                self._room += old.nbytes + _ENTRY_BYTES
        return kept
