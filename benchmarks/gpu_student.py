"""The training step at true size on one GPU: tokens/s and share of its peak, by stage, against a padded Hugging Face loop.

A student of Qwen2's 1.5B shape with random weights, texts of mixed lengths up to 512 tokens (only their lengths are like real ones;
ids and teachers' vectors are random), bfloat16 with float32 masters, the real step: targets fused on the device, all losses, AdamW.
Stages: everything trained (the published third stage), the last three layers (the second), the first head on the trunk's cached
outputs (the first). The peer is the plain loop: the same backbone, batches padded to their longest text, sdpa, bfloat16 weights
without masters, fused AdamW, a cosine loss on each micro-batch; so it does less. FLOPs are counted on real tokens, and not again
where activations are computed again. Needs torch, transformers, numpy, pydantic and PyYAML in the versions that pyproject.toml
names; no Ray, no DeepSpeed, no sentence-transformers. ``--tiny`` shrinks everything and runs on a CPU too. The last line is one
JSON object.

On a new kind of GPU try first: ``--compile`` (fuses what is between the matrix products), then the largest ``--micro-batch-tokens``
that fits, so that a batch of 128 is one pass and nothing is computed again.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch
import transformers
from gpu_student_parts import TINY, TRUE, Size, batch_of, build_student, peer_step, stages, target_of

from mtd_ray.config import StageConfig
from mtd_ray.distill.data.batch import Batch
from mtd_ray.distill.numbers.flops import StepFlops, step_flops
from mtd_ray.distill.numbers.peak import peak_flops
from mtd_ray.distill.plain import PlainEngine
from mtd_ray.distill.step import Distillation, training_step
from mtd_ray.student import Student
from mtd_ray.student.backbone import transformer_layers

KINDS = 3


@dataclass(frozen=True)
class Setting:
    """What is the same for every measurement."""

    size: Size
    device: torch.device
    micro_batch_tokens: int
    steps: int


def seconds_per_step(setting: Setting, step: Callable[[Batch], object], batches: Sequence[Batch]) -> tuple[float, list[Batch]]:
    """Mean of the timed steps, after one warm-up step with each batch; and the batches that were timed."""
    turns = cycle(batches)
    for batch in islice(turns, len(batches)):
        step(batch)
    timed = list(islice(turns, setting.steps))
    _wait(setting.device)
    started = time.perf_counter()
    for batch in timed:
        step(batch)
    _wait(setting.device)
    return (time.perf_counter() - started) / setting.steps, timed


def measure_stage(
    setting: Setting, student: Student, stage: StageConfig, flops: StepFlops, batches: Sequence[Batch]
) -> dict[str, Any]:
    """Speed of the engine's own step."""
    _forget(setting.device)
    _start(student, stage)
    module = Distillation(student, stage, target_of(setting.size), setting.micro_batch_tokens)
    engine = PlainEngine(module, stage, device=setting.device, dtype="bfloat16")
    seconds, timed = seconds_per_step(setting, lambda batch: training_step(engine, batch, stage.name), batches)
    peak = peak_flops(setting.device, torch.bfloat16)
    spent = sum(flops.of_batch(batch) for batch in timed) / setting.steps / seconds
    return {
        "seconds_per_step": round(seconds, 4),
        "samples_per_second": round(len(batches[0].ids) / seconds, 1),
        "tokens_per_second": round(_tokens(timed) / setting.steps / seconds),
        "tflops": round(spent / 1e12, 2),
        "share_of_peak": round(spent / peak, 4) if peak else None,
        "memory_gb": round(torch.cuda.max_memory_allocated(setting.device) / 1e9, 1) if setting.device.type == "cuda" else None,
    }


def measure_peer(setting: Setting, batches: Sequence[Batch]) -> dict[str, Any]:
    """Speed of the plain loop, in micro-batches of as many rows as fit when each has the maximum of tokens."""
    rows = max(1, setting.micro_batch_tokens // setting.size.max_tokens)
    seconds, timed = seconds_per_step(setting, peer_step(setting.size, setting.device, rows), batches)
    return {"seconds_per_step": round(seconds, 4), "tokens_per_second": round(_tokens(timed) / setting.steps / seconds)}


def measured_stages(setting: Setting, given: argparse.Namespace, batches: dict[int, list[Batch]]) -> Iterator[tuple[str, int, Any]]:
    """Stage, rows of a batch, figures."""
    student = build_student(setting.size, setting.device)
    wanted = {name: stage for name, stage in stages(setting.size).items() if name in given.stages}
    # Counted before the layers are compiled: the count needs hooks, which compiled code would keep.
    flops = {name: step_flops(_start(student, stage)) for name, stage in wanted.items()}
    if given.compile:
        for layer in transformer_layers(student.backbone):
            layer.compile(dynamic=True)
    rng = np.random.default_rng(1)
    for name, stage in wanted.items():
        for rows, some in batches.items():
            cached = [batch_of(setting.size, rows, rng, cached=True) for _ in some]
            use = cached if name == "cached_trunk" else some
            yield name, rows, measure_stage(setting, student, stage, flops[name], use)


def _start(student: Student, stage: StageConfig) -> Student:
    """The student in float32, frozen as the stage says; none of the stages is progressive."""
    ((_, trainable),) = stage.parts
    student.float().freeze(trainable, stage.heads)
    return student


def _tokens(batches: Sequence[Batch]) -> int:
    return sum(len(ids) for batch in batches for ids in batch.token_ids)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _forget(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a small student, to see that everything runs")
    parser.add_argument("--compile", action="store_true", help="compile the backbone's layers, once for all lengths")
    parser.add_argument("--micro-batch-tokens", type=int, default=32_768)
    parser.add_argument("--steps", type=int, default=8, help="timed steps of each measurement")
    parser.add_argument("--stages", nargs="+", default=["everything", "last_3", "cached_trunk"])
    return parser.parse_args()


def main() -> None:
    given = arguments()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    setting = Setting(TINY if given.tiny else TRUE, device, given.micro_batch_tokens, given.steps)
    rng = np.random.default_rng(0)
    batches = {rows: [batch_of(setting.size, rows, rng, cached=False) for _ in range(KINDS)] for rows in setting.size.batches}
    first, *_ = batches.values()
    peer = measure_peer(setting, first)
    print(f"{'padded loop':16}{len(first[0].ids):>6} rows{'':24}{peer['tokens_per_second']:>10,} tokens/s")

    figures: dict[str, dict[int, Any]] = {}
    for name, rows, found in measured_stages(setting, given, batches):
        figures.setdefault(name, {})[rows] = found
        print(
            f"{name:16}{rows:>6} rows{found['samples_per_second']:>14,} samples/s{found['tokens_per_second']:>10,} tokens/s", end=""
        )
        print(f"   share of peak {found['share_of_peak']}, {found['memory_gb']} GB")
    about = {
        "benchmark": "gpu_student",
        "tiny": given.tiny,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "compiled": given.compile,
        "micro_batch_tokens": given.micro_batch_tokens,
        "tokens_mean": round(_tokens(first) / sum(len(batch.ids) for batch in first), 1),
    }
    rows = len(first[0].ids)
    print(json.dumps(about | compared(peer, {name: found[rows] for name, found in figures.items()}) | {"stages": figures}))


def compared(peer: dict[str, Any], stages: dict[str, Any]) -> dict[str, Any]:
    """The figures with a bar; None where a stage was left out."""
    whole, cached = stages.get("everything"), stages.get("cached_trunk")
    return {
        "share_of_peak": whole and whole["share_of_peak"],
        "tokens_per_second": whole and whole["tokens_per_second"],
        "vs_padded_hugging_face": whole and round(whole["tokens_per_second"] / peer["tokens_per_second"], 2),
        "cached_vs_everything": whole and cached and round(cached["samples_per_second"] / whole["samples_per_second"], 1),
        "padded_hugging_face": peer,
    }


if __name__ == "__main__":
    main()
