"""Where a model's files are: a folder, a hub name, or files that ship inside an installed Python package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from mtd_ray.encoder.cache import cache_folder
from mtd_ray.encoder.wordllama import wordllama_folder
from mtd_ray.errors import MtdError

_PACKAGE = "package:"


def locate_model(model: str) -> str:
    """The folder or hub name that loads ``model``.

    ``package:NAME/SUBFOLDER`` is a folder inside the installed package NAME, found without importing (running) the package.
    ``package:wordllama`` is the static embedding model that the ``wordllama`` package ships, turned into a sentence-transformers
    folder once per user. An existing folder becomes an absolute path; anything that can be a hub name is returned as it is.

    Raises:
        MtdError: the package is not installed, or the folder does not exist.
    """
    if model.startswith(_PACKAGE):
        return str(_in_package(model.removeprefix(_PACKAGE)))
    path = Path(model).expanduser()
    if path.is_dir():
        return str(path.resolve())
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise MtdError(
            f"model folder {model!r} does not exist on this machine; give an existing folder, a hub name, or package:NAME/SUBFOLDER"
        )
    return model


def _in_package(place: str) -> Path:
    name, _, inside = place.partition("/")
    root = _package_root(name)
    if place == "wordllama":
        return wordllama_folder(root, cache_folder())
    folder = root / inside
    if not folder.is_dir() or not folder.resolve().is_relative_to(root.resolve()):
        raise MtdError(f"model 'package:{place}': the package {name!r} has no folder {inside!r}; it is installed in {root}")
    return folder


def _package_root(name: str) -> Path:
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise MtdError(
            f"model 'package:{name}': the Python package {name!r} is not installed; install it on every node that runs this model"
        )
    return Path(next(iter(spec.submodule_search_locations)))
