"""The README.md of an exported student: what it is, what it came from, on whose terms, and how to use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import yaml

from mtd_ray import __version__
from mtd_ray.config import HeadLosses, LastLayers, LayerRange, Progressive, Recipe, StageConfig, StudentConfig, Trainable
from mtd_ray.config.teachers import Teacher
from mtd_ray.licenses import NON_COMMERCIAL, most_restrictive, restriction

if TYPE_CHECKING:
    from mtd_ray.corpus import Manifest

_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Origin:
    """A model that the student came from: ``role`` is ``backbone`` or ``teacher NAME``.

    ``part`` tells what of a teacher's vectors is in the target: its size, how it came to it, its weight.
    """

    role: str
    model: str
    license: str | None
    part: str = ""


@dataclass(frozen=True)
class ModelCard:
    """Everything the card says."""

    name: str
    recipe_fingerprint: str
    student: StudentConfig
    origins: tuple[Origin, ...]
    stages: tuple[StageConfig, ...]
    stage_teachers: tuple[tuple[str, ...], ...]
    corpus_content: str
    corpus_rows: int

    @classmethod
    def of(cls, recipe: Recipe, manifest: Manifest) -> Self:
        """The card of the student that a recipe gives on a corpus."""
        student = recipe.student
        backbone = Origin("backbone", student.base_model_name or _public_name(student.model), student.license)
        teachers = (
            Origin(f"teacher {name}", _public_name(teacher.model), teacher.license, _part(teacher))
            for name, teacher in ((name, recipe.teachers[name]) for name in recipe.used_teachers)
        )
        return cls(
            name=recipe.name,
            recipe_fingerprint=recipe.fingerprint,
            student=student,
            origins=(backbone, *teachers),
            stages=recipe.stages,
            stage_teachers=tuple(recipe.stage_teachers(stage) for stage in recipe.stages),
            corpus_content=manifest.content,
            corpus_rows=manifest.rows,
        )

    @property
    def license(self) -> str | None:
        """The most restrictive licence among the origins; None when one of them states none, for its terms may be stricter."""
        return None if any(not origin.license for origin in self.origins) else self.strictest_stated

    @property
    def strictest_stated(self) -> str | None:
        """The most restrictive licence among the origins that state one; None when none does."""
        return most_restrictive(origin.license for origin in self.origins if origin.license)

    def markdown(self) -> str:
        """The whole file: YAML front matter as the Hugging Face hub reads it, then text."""
        parts = (self._front_matter(), f"# {self.name}", self._license(), self._summary(), self._sizes())
        return "\n\n".join((*parts, self._usage(), self._training())) + "\n"

    def _front_matter(self) -> str:
        backbone = self.origins[0].model
        fields: dict[str, object] = {
            "library_name": "sentence-transformers",
            "pipeline_tag": "sentence-similarity",
            "license": self.license or "other",
            "tags": ["sentence-transformers", "sentence-similarity", "feature-extraction", "knowledge-distillation", "mtd-ray"],
        }
        if "/" in backbone and not backbone.startswith("package:"):
            fields["base_model"] = backbone
        return f"---\n{yaml.safe_dump(fields, sort_keys=False).strip()}\n---"

    def _license(self) -> str:
        unstated = [origin.role for origin in self.origins if not origin.license]
        lines = []
        if strictest := self.strictest_stated:
            holders = ", ".join(origin.role for origin in self.origins if origin.license == strictest)
            among = "the origins that state one" if unstated else "this model's origins"
            lines.append(
                f"**Licence: {'at least ' if unstated else ''}{strictest}**, the most restrictive among {among} ({holders})."
            )
            if restriction(strictest) == NON_COMMERCIAL:
                lines.append("It does not allow commercial use, and that follows this model.")
        if unstated:
            lines.append(f"**Not stated:** {', '.join(unstated)}. Find out on whose terms before you use or share this model.")
        lines.append("A student learns from its teachers' vectors, so the teachers' terms apply to it.")
        table = _table(
            ("origin", "model", "part in the target", "licence"),
            [(origin.role, origin.model, origin.part, origin.license or "not stated") for origin in self.origins],
        )
        return " ".join(lines) + "\n\n" + table

    def _summary(self) -> str:
        heads = {
            "independent": "one linear head per vector size",
            "nested": "one linear head: the smaller vectors are beginnings of the largest",
        }[self.student.matryoshka]
        return (
            f"A text embedding model: {self.student.pooling} pooling, then {heads}; texts are cut at {self.student.max_tokens} "
            "tokens. Vectors are not normalised; compare them by cosine."
        )

    def _sizes(self) -> str:
        rows = [
            (str(size), str(size * _FLOAT_BYTES), f"`2_Dense_{size}`", "default" if size == self.student.export_head else "")
            for size in sorted(self.student.heads)
        ]
        return "## Vector sizes\n\n" + _table(("size", "bytes (float32)", "folder", ""), rows)

    def _usage(self) -> str:
        prompts = "\n".join(f"- `{name}`: `{prompt!r}`" for name, prompt in self.student.prompts.items())
        with_prompt = f', prompt_name="{next(iter(self.student.prompts))}"' if self.student.prompts else ""
        return (
            "## Use\n\n"
            "```python\n"
            "from sentence_transformers import SentenceTransformer\n\n"
            f'model = SentenceTransformer("FOLDER")\n'
            f'vectors = model.encode(["a text"]{with_prompt})  # shape (1, {self.student.export_head})\n'
            "```\n\n"
            f"For another size, write its folder in place of `2_Dense_{self.student.export_head}` in `modules.json`."
            + (f"\n\nPrompts:\n\n{prompts}" if prompts else " No prompts are needed.")
        )

    def _training(self) -> str:
        rows = [
            (
                stage.name,
                ", ".join(teachers),
                _trainable(stage.trainable),
                "; ".join(_losses(size, losses) for size, losses in stage.heads.items()),
                f"{stage.lr:g}",
                f"{stage.steps} × {stage.batch_size}",
            )
            for stage, teachers in zip(self.stages, self.stage_teachers, strict=True)
        ]
        return (
            f"## Training\n\nDistilled with mtd-ray {__version__} in stages (arXiv 2412.19048).\n\n"
            + _table(("stage", "teachers", "trained", "losses per head", "lr", "steps × batch"), rows)
            + f"\n\n- corpus: {self.corpus_rows:,} texts, content hash `{self.corpus_content}`"
            + f"\n- recipe fingerprint: `{self.recipe_fingerprint}`"
        )


def _public_name(model: str) -> str:
    """A model as others can know it: of a local folder only its own name, not where it lies."""
    is_folder = model.startswith(("/", ".", "~")) or Path(model).is_dir()
    return Path(model).name if is_folder else model


def _part(teacher: Teacher) -> str:
    size, whole = teacher.part_dimensions, teacher.dimensions
    shortened = "" if size == whole else f" ({'folded' if teacher.target_shorten == 'fold' else 'cut'} from {whole})"
    return f"{size} numbers{shortened}, weight {teacher.weight:g}"


def _trainable(trainable: Trainable | Progressive) -> str:
    if isinstance(trainable, Progressive):
        return ", then ".join(_trainable(part) for part in trainable.progressive)
    if isinstance(trainable, LastLayers):
        return f"heads + last {trainable.last} layers"
    if isinstance(trainable, LayerRange):
        return f"heads + layers {trainable.layers[0]} to {trainable.layers[1]}"
    return trainable


def _losses(size: int, losses: HeadLosses) -> str:
    terms = " + ".join(f"{weight:g}·{name}" for name, weight in losses.weights.items())
    return f"{size}: {terms}" + (f" (target: {losses.target})" if losses.target != "whole" else "")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
