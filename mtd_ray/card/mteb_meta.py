"""A student's entry for mteb's leaderboard: the module that a pull request adds to ``mteb/models/model_implementations``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mtd_ray.card.origins import is_on_a_hub, public_name
from mtd_ray.config import ExportDtype, StudentConfig
from mtd_ray.licenses import mteb_license

_BYTES: Mapping[ExportDtype, int] = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class LeaderboardEntry:
    """What mteb's ``ModelMeta`` asks for.

    Attributes:
        name: ``owner/name`` on the hub, where the weights must lie.
        revision: the hub's commit that was measured.
        released: date, ``YYYY-MM-DD``.
        parameters: of the transformer and the default head.
        languages: ISO 639-3 with script, such as ``eng-Latn``.
        dtype: in which the weights are stored.
        trained_on: names of mteb's tasks whose training data the student or its teachers saw; None where nobody knows.
    """

    name: str
    revision: str
    released: str
    student: StudentConfig
    license: str | None
    parameters: int
    languages: tuple[str, ...] = ("eng-Latn",)
    trained_on: tuple[str, ...] | None = None
    task_prompts: Mapping[str, str] | None = None
    dtype: ExportDtype = "float32"

    def fields(self) -> dict[str, Any]:
        """``ModelMeta``'s fields but its loader, as JSON values."""
        backbone = self.student.base_model_name or public_name(self.student.model)
        return {
            "name": self.name,
            "revision": self.revision,
            "release_date": self.released,
            "languages": list(self.languages),
            "n_parameters": self.parameters,
            "memory_usage_mb": round(_BYTES[self.dtype] * self.parameters / 2**20),
            "max_tokens": self.student.max_tokens,
            "embed_dim": self.student.export_head,
            "license": mteb_license(self.license) or f"https://huggingface.co/{self.name}",
            "open_weights": True,
            "public_training_code": None,
            "public_training_data": None,
            "framework": ["Sentence Transformers", "PyTorch", "safetensors"],
            "reference": f"https://huggingface.co/{self.name}",
            "similarity_fn_name": "cosine",
            "use_instructions": bool(self.student.prompts),
            "training_datasets": None if self.trained_on is None else sorted(self.trained_on),
            "adapted_from": backbone if is_on_a_hub(backbone) else None,
        }

    def python(self) -> str:
        """A module that defines the entry; what is not known of it stands there as None, to be filled in by hand."""
        fields = self.fields()
        datasets = fields.pop("training_datasets")
        lines = [f"    {key}={_literal(value)}," for key, value in fields.items()]
        lines.append(f"    training_datasets={'None' if datasets is None else _set(datasets)},")
        prompts = dict(self.task_prompts or {})
        loader = f'    loader_kwargs={{"model_prompts": {_literal(prompts)}}},\n' if prompts else ""
        return (
            "from mteb.models.model_meta import ModelMeta\n"
            "from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper\n\n"
            f"{_identifier(self.name)} = ModelMeta(\n"
            "    loader=SentenceTransformerEncoderWrapper,\n" + loader + "\n".join(lines) + "\n)\n"
        )


def _identifier(name: str) -> str:
    word = re.sub(r"\W+", "_", name.rpartition("/")[2]).lower()
    return f"model_{word}" if word[:1].isdigit() else word


def _literal(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _set(names: list[str]) -> str:
    return f"{{{', '.join(json.dumps(name) for name in names)}}}" if names else "set()"
