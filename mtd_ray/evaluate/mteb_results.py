"""Results in the folders that mteb's leaderboard takes: ``results/<model>/<revision>/<task>.json`` beside ``model_meta.json``.

``mteb.ResultCache("…/report/mteb")`` loads them, and its ``submit_results`` makes a pull request of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mtd_ray import layout

if TYPE_CHECKING:
    from mtd_ray.evaluate.kept_scores import KeptScore
    from mtd_ray.evaluate.models.base import About
    from mtd_ray.evaluate.views import View
    from mtd_ray.objects import ObjectStore


def model_meta(about: About) -> dict[str, Any]:
    """A model as mteb describes one; what only its makers know (release date, training data) is left open for them to fill in."""
    from mteb.models import ModelMeta  # takes seconds, and only those who have measured need it
    from pydantic import ValidationError

    known: dict[str, Any] = {
        "name": about.name, "revision": about.revision, "max_tokens": about.max_tokens, "n_parameters": about.parameters,
        "use_instructions": any(about.prompts.values()), "similarity_fn_name": "cosine",
    }  # fmt: skip
    empty = ModelMeta.create_empty().model_dump() | known
    try:
        meta = ModelMeta.model_validate(empty | {"license": about.license})
    except ValidationError:  # a licence that mteb has no name for
        meta = ModelMeta.model_validate(empty)
    plain: dict[str, Any] = json.loads(_json(meta.to_dict()))
    return plain


def write_mteb(store: ObjectStore, run: str, kept: Mapping[str, KeptScore], view: View) -> None:
    """Write one model's results in one view, by task name, below the run's report."""
    for task, score in kept.items():
        if view in score.scores:
            folder = score.meta["name"].replace("/", "__").replace(" ", "_"), score.meta["revision"]
            store.put(layout.run_mteb(run, *folder, f"{task}.json"), _json(score.scores[view].mteb))
            store.put(layout.run_mteb(run, *folder, "model_meta.json"), _json(score.meta | {"embed_dim": view.size}))


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2, default=str).encode()
