"""The types of numbers in which vectors are sent.

``float`` is what the model gives. The others are smaller. Each is made from its vector alone, so that a text's codes never depend
on the texts beside it, and is meant for vectors that are compared by their cosine or, when binary, by their Hamming distance:

- ``int8``: the vector scaled so that its largest number becomes ±127, rounded. The cosine stays, up to rounding.
- ``uint8``: ``int8`` + 128; subtract it before comparing.
- ``ubinary``: one bit per dimension, 1 where the number is positive, eight in a byte, the first in its highest bit, as numpy's
  ``packbits`` does and :mod:`mtd_ray.evaluate.measuring.forms` measures; a last byte that is not full ends with zeros.
- ``binary``: ``ubinary`` − 128.

Source: https://docs.voyageai.com/docs/flexible-dimensions-and-quantization
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

Dtype = Literal["float", "int8", "uint8", "binary", "ubinary"]
Vector = NDArray[np.float32]
Codes = NDArray[Any]

_LARGEST = 127
_OFFSET = 128


def as_dtype(vector: Vector, dtype: Dtype) -> Codes:
    """One vector (size,) as it is sent: float32, int8 or uint8 of the same size, or (size / 8, rounded up) packed bits."""
    if dtype == "float":
        return np.ascontiguousarray(vector, "<f4")
    if dtype == "int8":
        return _steps(vector)
    if dtype == "uint8":
        return (_steps(vector).astype(np.int16) + _OFFSET).astype(np.uint8)
    packed = np.packbits(vector > 0)
    return packed if dtype == "ubinary" else (packed.astype(np.int16) - _OFFSET).astype(np.int8)


def as_json(codes: Codes) -> bytes:
    """The numbers of one vector, each as short as its type allows."""
    return orjson.dumps(codes, option=orjson.OPT_SERIALIZE_NUMPY)


def as_base64(codes: Codes) -> bytes:
    """The bytes of one vector, little-endian."""
    return b64encode(codes.tobytes())


def _steps(vector: Vector) -> NDArray[np.int8]:
    largest = np.abs(vector).max()
    return np.asarray(np.rint(vector / (largest or np.float32(1)) * np.float32(_LARGEST)), np.int8)
