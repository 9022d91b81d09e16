"""Models that are published with code of their own. It is not run: transformers' own classes compute the same, or say that not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Transformer

from mtd_ray.encoder.cache import built_once, cache_folder
from mtd_ray.encoder.files import local_copy
from mtd_ray.encoder.trusted import read_json
from mtd_ray.errors import MtdError
from mtd_ray.student.backbone import attends_both_ways
from mtd_ray.student.gte import PUBLISHED_TYPE, gte_config

_CONFIG = "config.json"


def with_known_config(place: str, revision: str | None) -> str:
    """The folder or hub name as it is or, of a gte-v1.5 model (Stella's 400M among them), a folder whose config transformers knows.

    That folder is in the user's cache, and all but its config are links to the model's files.

    Raises:
        MtdError: the model's config asks for something that only its own code can do.
    """
    published = read_json(place, _CONFIG, revision) or {}
    if published.get("model_type") != PUBLISHED_TYPE:
        return place
    folder = local_copy(place, revision)
    files = [path for path in sorted(folder.iterdir()) if path.name != _CONFIG]
    content = json.dumps([published, [str(path) for path in files]], sort_keys=True)
    known = cache_folder() / f"gte-{hashlib.sha256(content.encode()).hexdigest()[:24]}"
    return str(built_once(known, lambda built: _link(files, gte_config(published), built)))


def check_attention(loaded: SentenceTransformer, place: str, revision: str | None) -> None:
    """Refuse a decoder that leaves to code of its own whether a token sees those behind it, where transformers' class does not.

    Raises:
        MtdError: saying what to write into its config.
    """
    published = read_json(place, _CONFIG, revision) or {}
    leaves_open = "AutoModel" in published.get("auto_map", {}) and "is_causal" not in published
    if leaves_open and isinstance(loaded[0], Transformer) and not attends_both_ways(loaded[0].auto_model):
        code, kind = published["auto_map"]["AutoModel"], published["model_type"]
        raise MtdError(
            f"model {place}: its config.json names code of its own ({code}), which is not run, and with transformers' {kind} "
            "a token sees only those before it. If it sees all of them with that code, as in Stella and gte-Qwen2, name a copy of "
            'the folder with "is_causal": false in config.json; if not, one with "is_causal": true'
        )


def _link(files: list[Path], config: Any, folder: Path) -> None:
    folder.mkdir()
    for path in files:
        (folder / path.name).symlink_to(path)
    config.save_pretrained(folder)
