"""How a student was trained: on which texts, in which stages, with what."""

from __future__ import annotations

from dataclasses import dataclass

from mtd_ray import __version__
from mtd_ray.card.origins import public_name
from mtd_ray.config import HeadLosses, HuggingFaceSource, LastLayers, LayerRange, Progressive, Recipe, StageConfig, Trainable
from mtd_ray.markdown import escaped, table


@dataclass(frozen=True)
class Dataset:
    """Texts that training saw, or that the student was measured on. ``sha256`` is of the content, not of a file's bytes."""

    name: str
    rows: int | None
    sha256: str


@dataclass(frozen=True)
class Training:
    """What the card says of the training. ``seconds`` is None where nobody told."""

    stages: tuple[StageConfig, ...]
    stage_teachers: tuple[tuple[str, ...], ...]
    datasets: tuple[Dataset, ...]
    recipe_fingerprint: str
    hardware: str
    seconds: float | None

    def markdown(self) -> str:
        """The section."""
        facts = [f"hardware: {self.hardware}"]
        if self.seconds is not None:
            facts.append(f"training time: {_duration(self.seconds)}")
        facts.append(f"recipe fingerprint: `{self.recipe_fingerprint}`")
        return (
            f"## Training\n\nDistilled with mtd-ray {__version__} in stages (arXiv 2412.19048).\n\n"
            + self._stages()
            + "\n\n"
            + "\n".join(f"- {fact}" for fact in facts)
            + "\n\n"
            + self._datasets()
        )

    def _stages(self) -> str:
        rows = [
            (
                escaped(stage.name),
                escaped(", ".join(teachers)),
                _trainable(stage.trainable),
                "; ".join(_losses(size, losses) for size, losses in stage.heads.items()),
                f"{stage.lr:g}",
                f"{stage.steps} × {stage.batch_size}",
            )
            for stage, teachers in zip(self.stages, self.stage_teachers, strict=True)
        ]
        return table(("stage", "teachers", "trained", "losses per head", "lr", "steps × batch"), rows)

    def _datasets(self) -> str:
        rows = [(escaped(data.name), "" if data.rows is None else f"{data.rows:,}", f"`{data.sha256}`") for data in self.datasets]
        return table(("texts", "rows", "content hash (sha256)"), rows)


def hardware_of(recipe: Recipe) -> str:
    """The machines that training asks for."""
    train = recipe.train
    each = f"{train.num_gpus:g} GPU" if train.num_gpus else f"{train.num_cpus:g} CPU cores"
    workers = f"{train.workers} worker{'s' if train.workers > 1 else ''}"
    return f"{workers} with {each} each, {train.dtype}, DeepSpeed ZeRO stage {train.zero_stage}"


def public_datasets(recipe: Recipe) -> list[str]:
    """Names of the hub's data sets among the corpus's sources."""
    sources = (recipe.corpus.source, *recipe.corpus.additions)
    found = [source.path for source in sources if isinstance(source, HuggingFaceSource)]
    return list(dict.fromkeys(path for path in found if public_name(path) == path))


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


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
