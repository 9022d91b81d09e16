"""The README.md of an exported student: what it is, what it came from, on whose terms, what it scored, and how to use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import yaml

from mtd_ray.card.origins import Origin, is_on_a_hub, license_of, license_section, origins_of
from mtd_ray.card.training import Dataset, Training, hardware_of, public_datasets
from mtd_ray.card.usage import usage_section
from mtd_ray.config import Recipe, StudentConfig
from mtd_ray.config.rules_evaluation import HELDOUT
from mtd_ray.licenses import hub_license
from mtd_ray.markdown import escaped, table

if TYPE_CHECKING:
    from mtd_ray.corpus import Manifest
    from mtd_ray.evaluate.results import Results
    from mtd_ray.evaluate.scores import TaskScore

_FLOAT_BYTES = 4
_TAGS = ("sentence-transformers", "sentence-similarity", "feature-extraction", "knowledge-distillation", "mtd-ray")


@dataclass(frozen=True)
class ModelCard:
    """Everything the card says.

    ``index`` is the front matter's ``model-index``; it and ``results`` are empty until the student is measured.
    """

    name: str
    student: StudentConfig
    origins: tuple[Origin, ...]
    training: Training
    public_datasets: tuple[str, ...] = ()
    results: str = ""
    index: list[Any] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        manifest: Manifest,
        results: Results | None = None,
        *,
        scores: Mapping[str, TaskScore] | None = None,
        seconds: float | None = None,
    ) -> Self:
        """The card of the student that a recipe gives on a corpus.

        Args:
            results: of the evaluation; None before it.
            scores: of the student at its default size, by task.
            seconds: that training took.
        """
        told, index = ("", []) if results is None else _told(recipe, results, scores or {})
        training = Training(
            stages=recipe.stages,
            stage_teachers=tuple(recipe.stage_teachers(stage) for stage in recipe.stages),
            datasets=(
                Dataset("corpus", manifest.rows, manifest.content),
                *(Dataset(f"evaluation pairs {name}", None, digest) for name, digest in manifest.pairs_sha256.items()),
            ),
            recipe_fingerprint=recipe.fingerprint,
            hardware=hardware_of(recipe),
            seconds=seconds,
        )
        return cls(recipe.name, recipe.student, origins_of(recipe), training, tuple(public_datasets(recipe)), told, index)

    @property
    def license(self) -> str | None:
        """The most restrictive licence among the origins; None when one of them states none, for its terms may be stricter."""
        return license_of(self.origins)

    def markdown(self) -> str:
        """The whole file: YAML front matter as the Hugging Face hub reads it, then text."""
        parts = (
            self._front_matter(),
            f"# {escaped(self.name)}",
            license_section(self.origins),
            self._summary(),
            self._sizes(),
            self.results,
            usage_section(self.student, self.name),
            self.training.markdown(),
        )
        return "\n\n".join(part for part in parts if part) + "\n"

    def _front_matter(self) -> str:
        known, named = hub_license(self.license)
        fields: dict[str, object] = {
            "library_name": "sentence-transformers",
            "pipeline_tag": "sentence-similarity",
            "license": known,
        }
        if named is not None:
            fields["license_name"] = named
        fields["tags"] = [*_TAGS, *(("mteb",) if self.index else ())]
        if is_on_a_hub(self.origins[0].model):
            fields["base_model"] = self.origins[0].model
        if self.public_datasets:
            fields["datasets"] = list(self.public_datasets)
        if self.index:
            fields["model-index"] = self.index
        return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True).strip()}\n---"

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
        return "## Vector sizes\n\n" + table(("size", "bytes (float32)", "folder", ""), rows)


def _told(recipe: Recipe, results: Results, scores: Mapping[str, TaskScore]) -> tuple[str, list[Any]]:
    # Before an evaluation this room needs nothing of its.
    from mtd_ray.card.results import model_index, mteb_sources, results_section

    names = {task.name for task in results.tasks} if recipe.evaluate.tasks or recipe.evaluate.benchmarks else set()
    public = names - recipe.evaluate.own.keys() - recipe.evaluate.pairs.keys() - {HELDOUT}
    sources = mteb_sources(public) if public else {}
    return results_section(results, recipe.export.dtype), model_index(recipe.name, results, scores, sources)
