"""The gte-v1.5 models (arXiv 2407.19669; the backbone of Stella's 400M student) without the code that ships with them.

They are published as ``model_type: new`` with remote code. transformers has the same architecture as ``gte`` and renames the
published weights itself; what is missing there is the published config's way to scale rotary positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import transformers

from mtd_ray.errors import RecipeError

if TYPE_CHECKING:
    from transformers import GteConfig

PUBLISHED_TYPE = "new"

# What the published code can do besides, and transformers' GteModel cannot.
_REQUIRED = {
    "position_embedding_type": "rope",
    "layer_norm_type": "layer_norm",
    "pack_qkv": True,
    "logn_attention_scale": False,
}


def gte_config(published: Mapping[str, Any]) -> GteConfig:
    """The published ``config.json`` as the config of transformers' own implementation, which computes the same.

    Raises:
        RecipeError: the installed transformers does not have these models.
        ValueError: the config asks for something that transformers' implementation does not have.
    """
    architecture = _gte_config_class()
    for key, wanted in _REQUIRED.items():
        if published.get(key, wanted) != wanted:
            raise ValueError(f"{key} {published[key]!r} of its config needs the code that ships with it, which is never run")
    names = {field.name for field in fields(architecture)} - {"rope_parameters", "dtype"}
    kept = {key: value for key, value in published.items() if key in names}
    return architecture(**kept, rope_parameters=_rope(published))


def _gte_config_class() -> type[GteConfig]:
    # Here, so that a machine with an older transformers can have every other student.
    try:
        from transformers import GteConfig
    except ImportError:
        raise RecipeError(
            f"student.model: a gte-v1.5 model needs transformers 5.23 or newer, and this machine has {transformers.__version__}: "
            "pip install 'transformers>=5.23', or choose another student"
        ) from None
    architecture: type[GteConfig] = GteConfig
    return architecture


def _rope(published: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary positions with the frequencies ``(factor·θ)^(-2i/d) / factor^(2/d)`` of "fixed NTK" scaling.

    They are those of linear scaling by ``factor^(2/d)`` with base ``factor·θ``, which transformers has.
    """
    theta, scaling = float(published["rope_theta"]), published.get("rope_scaling")
    if scaling is None:
        return {"rope_type": "default", "rope_theta": theta}
    if scaling.get("type") != "ntk" or scaling.get("mixed_b") is not None:
        raise ValueError(f"rope_scaling {scaling} of its config needs the code that ships with it, which is never run")
    factor = float(scaling["factor"])
    size = published["hidden_size"] // published["num_attention_heads"]
    return {"rope_type": "linear", "rope_theta": factor * theta, "factor": factor ** (2 / size)}
