"""What a model folder may make this process run.

A sentence-transformers folder names Python classes: every module in ``modules.json``, the activation in a Dense's config. Loading
it imports and calls them. Only the library's own plain modules and torch's activations pass here, and only safetensors weights.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mtd_ray.errors import MtdError

_LIBRARY = re.compile(r"^sentence_transformers\.(?:models|(?:base|sentence_transformer)\.modules)(?:\.[a-z_]+)?\.([A-Za-z]+)$")
_MODULES = frozenset({"Transformer", "StaticEmbedding", "Pooling", "Dense", "Normalize", "LayerNorm", "Dropout"})
_ACTIVATION = re.compile(r"^torch\.nn\.modules\.(linear\.Identity|activation\.[A-Za-z]+)$")
_WITH_WEIGHTS = frozenset({"StaticEmbedding", "Dense", "LayerNorm"})


def check_modules(model: str, revision: str | None) -> None:
    """Refuse a model whose files name code outside the known set, or hold weights that are not safetensors.

    Args:
        model: a folder or a hub name; of a hub model only the few JSON files concerned are fetched.

    Raises:
        MtdError: naming the model, the file and the offending entry.
    """
    for module in read_json(model, "modules.json", revision) or ():
        kind = _known(model, module["type"])
        if kind == "Dense":
            check_dense(model, module["path"], revision)
        elif kind in _WITH_WEIGHTS:
            _check_weights(model, module["path"])


def check_dense(model: str, path: str, revision: str | None) -> None:
    """Refuse a linear layer in the folder ``path`` of a model as :func:`check_modules` does.

    Raises:
        MtdError: naming the model, the file and the offending entry.
    """
    _check_activation(model, f"{path}/config.json".lstrip("/"), revision)
    _check_weights(model, path)


def read_json(model: str, file: str, revision: str | None) -> Any:
    """A JSON file of a model, which is a folder or a hub name; None where it has no such file.

    Raises:
        MtdError: the file is not valid JSON.
    """
    from sentence_transformers.util import load_file_path

    path = load_file_path(model, file, revision=revision, local_files_only=Path(model).is_dir())
    try:
        return json.loads(Path(path).read_text(encoding="utf-8")) if path else None
    except ValueError as error:
        raise MtdError(f"model {model}: {file} is not valid JSON: {error}") from None


def _check_weights(model: str, path: str) -> None:
    if Path(model).is_dir() and not Path(model, path, "model.safetensors").is_file():
        missing = f"{path}/model.safetensors".lstrip("/")
        raise MtdError(f"model {model}: {missing} is missing; other weight formats are not loaded, convert it")


def _known(model: str, type_name: str) -> str:
    match = _LIBRARY.match(type_name)
    if match is None or match[1] not in _MODULES:
        raise MtdError(
            f"model {model}: modules.json names the class {type_name!r}, which is not one of the modules loaded here "
            f"({', '.join(sorted(_MODULES))}); set trust_remote_code with a pinned revision if you have read that code"
        )
    return match[1]


def _check_activation(model: str, file: str, revision: str | None) -> None:
    name = (read_json(model, file, revision) or {}).get("activation_function")
    if name is not None and not _ACTIVATION.match(str(name)):
        raise MtdError(
            f"model {model}: {file} names the activation {name!r}, which is not a torch.nn activation; it would be imported and run"
        )
