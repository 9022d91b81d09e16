"""What a part of a stage is trained with, built the same on every worker: device, student, target, engine, meter."""

from __future__ import annotations

import os

import torch

from mtd_ray.config import Recipe, StageConfig, TrainConfig
from mtd_ray.corpus import Manifest
from mtd_ray.distill.basis import load_or_fit
from mtd_ray.distill.checkpoints.checkpoint import Checkpoint, Checkpoints
from mtd_ray.distill.engine import DeepSpeedEngine
from mtd_ray.distill.fusion import TargetSpec, needed_bases
from mtd_ray.distill.numbers.flops import step_flops
from mtd_ray.distill.numbers.meter import Meter
from mtd_ray.distill.numbers.peak import peak_flops
from mtd_ray.distill.parts import Part
from mtd_ray.distill.step import Distillation
from mtd_ray.errors import TrainingError
from mtd_ray.objects import ObjectStore
from mtd_ray.student import Student


def part_student(recipe: Recipe, part: Part, checkpoints: Checkpoints, checkpoint: Checkpoint | None) -> Student:
    """The student as the checkpoint before the part's next step left it, frozen for the part. On the CPU."""
    student = Student.build(recipe.student, recipe.seed)
    if checkpoint is not None:
        checkpoints.load_student(checkpoint, student)
    student.freeze(part.trainable, list(recipe.stages[part.stage].heads))
    return student


def part_engine(recipe: Recipe, part: Part, student: Student, target: TargetSpec) -> DeepSpeedEngine:
    """An engine with a new optimizer; it takes the student."""
    stage = recipe.stages[part.stage]
    return DeepSpeedEngine(Distillation(student, stage, target, recipe.train.micro_batch_tokens), stage, recipe.train)


def stage_target(store: ObjectStore, recipe: Recipe, manifest: Manifest, stage: StageConfig) -> TargetSpec:
    """How the stage's target is made; finds the target's principal directions first where a head needs them."""
    device = training_device(recipe.train)
    bases = {size: load_or_fit(store, recipe, manifest, stage, size, device=device) for size in needed_bases(recipe, stage)}
    return TargetSpec.of(recipe, stage, bases)


def stage_meter(recipe: Recipe, stage: StageConfig, student: Student) -> Meter:
    """A meter for a student that no engine has yet."""
    peak = peak_flops(training_device(recipe.train), getattr(torch, recipe.train.dtype))
    return Meter(stage.name, stage.steps, flops=step_flops(student) if peak is not None else None, peak=peak)


def training_device(train: TrainConfig) -> torch.device:
    """The device that this worker trains on: what the recipe asks for, whatever else the machine has.

    Ray does not hide a machine's GPUs from a worker that asked for none.

    Raises:
        TrainingError: the recipe asks for GPUs, and PyTorch finds none here.
    """
    if not train.num_gpus:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise TrainingError(
            f"train.num_gpus is {train.num_gpus:g}, but PyTorch finds no GPU on this worker's machine: install PyTorch for CUDA "
            "and a driver that it can use on every node, or write train.num_gpus: 0 to train on CPUs"
        )
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
