"""What can compute a model, by the name that options have for it."""

from __future__ import annotations

from typing import Literal, get_args

Backend = Literal["torch", "openvino-int8"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
