"""What a run of ``harvest_crash.py`` is made of: texts, recipe, the provider's faults, and the processes that harvest."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

from mtd_ray.sandbox.provider_faults import Fault

ROWS, SHARD_ROWS, PART_ROWS, DIM = 160, 64, 16, 64
WORKERS, PARTS_IN_FLIGHT = 2, 2
WINDOW_ROWS = WORKERS * PARTS_IN_FLIGHT * PART_ROWS
USD_PER_MILLION = 10_000.0
PATIENCE_S = 120.0

RECIPE = """
name: crash
storage: {{url: "s3://mtd-ray/{run}", endpoint: "{endpoint}"}}
corpus: {{source: {{format: jsonl, path: {texts}}}, shard_rows: {shard_rows}}}
teachers:
  paid:
    provider: openai
    model: hash-{dim}
    base_url: {base_url}
    api_key: env:CRASH_KEY
    dimensions: {dim}
    max_inputs: 4
    usd_per_million_tokens: {price}
    quota: {{requests_per_minute: 6000}}
    workers: {workers}
    parts_in_flight: {parts_in_flight}
    requests_in_flight: 2
    num_cpus: 1
    timeout_s: 5
harvest: {{part_rows: {part_rows}, budget_usd: {budget}}}
student: {{model: none, heads: [{dim}]}}
evaluate: {{heldout: false}}
stages: [{{name: one, heads: {{{dim}: {{cosine: 1}}}}, lr: 1.0e-4, steps: 1, batch_size: 2}}]
"""


def write_texts(folder: Path) -> None:
    """The corpus of every run."""
    texts = [f"text {row} tells of topic {row % 7} in {row * 31 % 97} words" for row in range(ROWS)]
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def write_recipe(folder: Path, run: str, endpoint: str, base_url: str, budget: float) -> Path:
    """A run's recipe, which spends at most so many dollars."""
    path = folder / f"{run}.yaml"
    places = {"texts": folder / "texts.jsonl", "endpoint": endpoint, "base_url": base_url}
    sizes = {"shard_rows": SHARD_ROWS, "part_rows": PART_ROWS, "dim": DIM, "workers": WORKERS}
    figures = {"parts_in_flight": PARTS_IN_FLIGHT, "price": USD_PER_MILLION, "budget": budget}
    path.write_text(RECIPE.format(run=run, **places, **sizes, **figures))
    return path


def some_faults(chance: random.Random, *, resets: bool) -> list[Fault]:
    """Some of the first requests are rejected, fail, are reset or come slowly; none of these is paid and lost.

    A client cannot know that a reset request was not paid. Under a tight cap there are none: what they count for would leave
    room for money that was forgotten.
    """
    at = chance.sample(range(2, ROWS // 4), 8)
    faults = [
        Fault(kind="status", status=429, retry_after=0.3, at=tuple(at[:2])),
        Fault(kind="status", status=500, at=tuple(at[2:4])),
        Fault(kind="slow", seconds=0.5, at=tuple(at[4:6])),
    ]
    return [*faults, Fault(kind="reset", at=tuple(at[6:]))] if resets else faults


class Driver:
    """A process of ``crash_driver.py``, which harvests what it is told to."""

    def __init__(self, folder: Path, env: dict[str, str], log: Path) -> None:
        command = [sys.executable, str(Path(__file__).with_name("crash_driver.py")), str(folder)]
        pipe = subprocess.PIPE
        with log.open("ab") as errors:
            self.process = subprocess.Popen(command, env=os.environ | env, stdin=pipe, stdout=pipe, stderr=errors, text=True)
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.answer(PATIENCE_S)

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._answers.put(line)

    def ask(self, recipe: Path) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{recipe}\n")
        self.process.stdin.flush()

    def answer(self, patience_s: float) -> dict[str, Any] | None:
        """What it says next; None when it says nothing for so long."""
        try:
            return json.loads(self._answers.get(timeout=patience_s))  # type: ignore[no-any-return]
        except queue.Empty:
            if self.process.poll() is not None:
                raise SystemExit("the driver ended by itself; see its log") from None
            return None

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def newest(processes: Iterable[psutil.Process], actor: str) -> psutil.Process:
    """Of the processes of an actor's class, the one that was started last."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if any(actor in word for word in process.cmdline()):
                found.append((process.create_time(), process))
    return max(found, key=lambda pair: pair[0])[1]


def keep_logs(ray: Path, driver: Path, folder: Path) -> None:
    """Copy Ray's and the drivers' logs into a folder."""
    shutil.copytree(ray, folder / "ray", ignore=_no_sockets, dirs_exist_ok=True)
    shutil.copy(driver, folder)


def _no_sockets(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if not (Path(folder) / name).is_file() and not (Path(folder) / name).is_dir()}
