"""Results in mteb's own folders: ``results/<model>/<revision>/<task>.json`` beside ``model_meta.json``.

``mteb.ResultCache("…/report/mteb")`` loads them, and its ``submit_results`` makes a pull request of them to the public leaderboard.
So only tasks whose data is the hub's lie there; those of one's own data lie beside it, below ``report/mteb-local``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mtd_ray import layout
from mtd_ray.licenses import mteb_license

if TYPE_CHECKING:
    from mtd_ray.evaluate.kept_scores import KeptScore
    from mtd_ray.evaluate.models.base import About, Published
    from mtd_ray.evaluate.tasks.task import Task
    from mtd_ray.evaluate.views import View
    from mtd_ray.objects import ObjectStore

_META = "model_meta.json"
# What is no matter of the model's content, and stated where results are written.
_STATED = ("name", "revision", "license", "embed_dim")


def described(about: About) -> dict[str, Any]:
    """A model as mteb describes one (``ModelMeta.to_dict()``), without name, revision, licence and size: its content tells none.

    What only its makers know (release date, training data) is left open for them to fill in.
    """
    from mteb.models import ModelMeta  # takes seconds, and only those who have measured need it

    known: dict[str, Any] = {
        "max_tokens": about.max_tokens, "n_parameters": about.parameters, "use_instructions": any(about.prompts.values()),
        "similarity_fn_name": "cosine",
    }  # fmt: skip
    meta = ModelMeta.model_validate(ModelMeta.create_empty().model_dump() | known).to_dict()
    plain: dict[str, Any] = json.loads(_json(meta))
    return {key: value for key, value in plain.items() if key not in _STATED}


def write_mteb(store: ObjectStore, run: str, published: Published, kept: Iterable[tuple[Task, KeptScore]], view: View) -> None:
    """Write one model's results in one view below the run's report, under the name that it is published by."""
    folder = published.name.replace("/", "__").replace(" ", "_"), published.revision
    stated = dict(zip(_STATED, (published.name, published.revision, mteb_license(published.license), view.size), strict=True))
    for task, score in kept:
        if view in score.scores:
            result, meta = (layout.run_mteb(run, *folder, file, from_hub=task.from_hub) for file in (f"{task.name}.json", _META))
            store.put(result, _json(score.scores[view].mteb))
            store.put(meta, _json(stated | score.meta))


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2, default=str).encode()
