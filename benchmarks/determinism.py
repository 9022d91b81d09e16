"""Training is the same on any number of workers, and after any number of crashes.

A small run (a head alone, progressive unfreezing, everything with two heads; three losses; two teachers, one with gaps) is trained
by 1, 2 and 4 processes of the training loop under DeepSpeed. Every step's loss is compared with that of one process
(``max_rel_loss_diff``), and the final weights (``max_weight_diff``, absolute, without the biases of keys, which have no gradient;
``weights_moved`` is how far training moved them).

Then a run of 2 processes gets a SIGKILL at one step after the other, at half of them while a checkpoint is being uploaded
(``kills_during_upload``), and is started again each time: ``resume_identical`` says whether every weight is bit for bit that of the
run that nobody disturbed. In ``elastic_rel_loss_diff`` the run goes on with another number of processes after every kill.

`python benchmarks/determinism.py`; the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from determinism_run import SlowStore, prepare, work
from torch import Tensor

from mtd_ray import layout
from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.distill import final_student, initial_student
from mtd_ray.distill.loop import TrainingJob
from mtd_ray.objects import ObjectStore

EVERY = 5
UPLOAD_S = 1.0
Losses = dict[tuple[str, int], float]


@dataclass(frozen=True)
class Bench:
    """A run to be trained, each time in a folder of its own."""

    folder: Path
    recipe: Recipe
    manifest: Manifest

    def store(self, name: str) -> ObjectStore:
        """A copy of corpus and targets."""
        place = self.folder / name
        if not place.exists():
            shutil.copytree(self.folder / "store", place)
        return ObjectStore(str(place))

    def train(self, name: str, workers: int, kill_at: tuple[str, int] | None = None, *, delay_s: float = 0.0) -> None:
        """Train to the end, or until worker 0 dies; then the others are killed too."""
        store = SlowStore(self.store(name).url, delay_s)
        context = multiprocessing.get_context("forkserver")
        rendezvous = str(self.folder / f"rendezvous-{time.monotonic_ns()}")
        processes = [
            context.Process(target=work, args=(rank, workers, rendezvous, TrainingJob(store, self.recipe, self.manifest), kill_at))
            for rank in range(workers)
        ]
        for process in processes:
            process.start()
        processes[0].join()
        if processes[0].exitcode != 0:
            for process in processes[1:]:
                process.kill()
        for process in processes:
            process.join()
        if (processes[0].exitcode == -signal.SIGKILL) != (kill_at is not None):
            raise SystemExit(f"worker 0 of {name} ended with {processes[0].exitcode}")

    def losses(self, name: str) -> Losses:
        """Loss by stage and step."""
        lines = self.store(name).get(layout.run_metrics(self.recipe.run_name)).splitlines()
        return {(line["stage"], line["step"]): line["loss"] for line in map(json.loads, lines) if "loss" in line}

    def weights(self, name: str) -> dict[str, Tensor]:
        """Of the trained student."""
        return dict(final_student(self.store(name), self.recipe).state_dict())

    def uncommitted(self, name: str) -> bool:
        """Whether a checkpoint has been begun and not been committed."""
        keys = [info.key.split("/") for info in self.store(name).list(layout.run_checkpoints(self.recipe.run_name))]
        return {key[3] for key in keys} > {key[3] for key in keys if key[-1] == "commit.json"}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--zero-stage", type=int, default=2, choices=(0, 1, 2, 3))
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "DS_ACCELERATOR": "cpu"}
    multiprocessing.get_context("forkserver").set_forkserver_preload(["determinism_run", "deepspeed"])
    with tempfile.TemporaryDirectory(prefix="determinism-") as folder:
        prepared = prepare(
            Path(folder), workers=2, zero_stage=options.zero_stage, dtype=options.dtype, steps=options.steps, every=EVERY
        )
        bench = Bench(Path(folder), *prepared)
        result = {"zero_stage": options.zero_stage, "dtype": options.dtype, "steps": options.steps, "workers": options.workers}
        for part in (lambda: by_workers(bench, options.workers), lambda: killed(bench), lambda: elastic(bench)):
            found = part()
            print(", ".join(f"{name}: {value}" for name, value in found.items()))
            result |= found
    print(json.dumps(result))


def by_workers(bench: Bench, counts: Sequence[int]) -> dict[str, float]:
    """The same run on every number of workers, against the first."""
    for count in counts:
        began = time.monotonic()
        bench.train(f"on-{count}", count)
        print(f"{count} workers: {time.monotonic() - began:.1f} s, last loss {list(bench.losses(f'on-{count}').values())[-1]:.6f}")
    first, *others = (f"on-{count}" for count in counts)
    start = initial_student(bench.recipe).state_dict()
    return {
        "max_rel_loss_diff": max(_loss_difference(bench.losses(first), bench.losses(name)) for name in others),
        "max_weight_diff": max(_weight_difference(bench.weights(first), bench.weights(name)) for name in others),
        "weights_moved": _weight_difference(start, bench.weights(first)),
    }


def killed(bench: Bench) -> dict[str, object]:
    """Two workers, killed at steps all over the run; half of them right after a checkpoint was begun."""
    during = 0
    points = _points(bench.recipe)
    for point in points:
        bench.train("killed", 2, point, delay_s=UPLOAD_S)
        begun = bench.uncommitted("killed")
        during += begun
        print(f"killed at stage {point[0]}, step {point[1]}" + (", during an upload" if begun else ""))
    bench.train("killed", 2)
    wanted, got = bench.weights("on-2"), bench.weights("killed")
    return {
        "kills": len(points),
        "kills_during_upload": during,
        "resume_identical": all(torch.equal(wanted[name], got[name]) for name in wanted),
        "resumed_losses_identical": bench.losses("on-2") == bench.losses("killed"),
    }


def elastic(bench: Bench) -> dict[str, float]:
    """Another number of workers after every kill; Adam's moments go along."""
    for count, point in zip((2, 3, 1), _points(bench.recipe)[1::2], strict=False):
        bench.train("elastic", count, point)
        print(f"{count} workers until stage {point[0]}, step {point[1]}")
    bench.train("elastic", 4)
    return {"elastic_rel_loss_diff": _loss_difference(bench.losses("on-1"), bench.losses("elastic"))}


def _points(recipe: Recipe) -> list[tuple[str, int]]:
    """In every stage a step right after a checkpoint was begun, and one in the middle between two."""
    return [point for stage in recipe.stages for point in ((stage.name, EVERY + 1), (stage.name, stage.steps - 1))]


def _loss_difference(wanted: Losses, got: Losses) -> float:
    if wanted.keys() != got.keys():
        raise SystemExit(f"steps differ: {sorted(wanted.keys() ^ got.keys())}")
    return max(abs(got[step] - loss) / abs(loss) for step, loss in wanted.items())


def _weight_difference(wanted: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> float:
    # A bias of all keys changes no attention: its gradient is nothing but rounding, which Adam makes as large as any other.
    return max(float((wanted[name] - got[name]).abs().max()) for name in wanted if not name.endswith("key.bias"))


if __name__ == "__main__":
    main()
