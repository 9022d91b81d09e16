"""Harvests that are killed at every step of write and commit, under provider faults and a spending cap, and run until complete.

A run harvests a small corpus from a provider that answers slowly, rejects, fails and resets connections. At one point of
``crash_driver.POINTS`` the worker stops and one thing gets a SIGKILL: that worker, the limiter's actor, the budget's actor, the
driver, or all processes of the Ray node the worker is on. A killed driver is started again at once, while workers of the dead one
may still be at it; a killed node is replaced. In the end the store is compared with that of a harvest nobody disturbed, and the
provider's ledger tells what was paid.

Every fourth run of each victim begins under a cap of 0.6 of what the whole harvest costs: a budget that forgot at a crash what it
had granted would pass it. A budget that is reached is raised, as a person would do it: what a killed harvest had set aside for
requests counts as spent, because nobody can tell any more. After every harvest, however it ended, the provider's dollars are
compared with the cap that was in force (``over_cap``); ``struck_under_cap`` counts the runs in which the SIGKILL came while the cap
was too small. The other runs, under twice the cost, tell little about the cap.

``left_over`` are files that finished harvests did not sweep away, for instance of workers that outlived their driver; ``orphans``
are those that one more sweep left.

All combinations of points and victims come up within 40 runs. ``window_rows`` are the rows that workers may have under way
together; a killed run may pay for so many twice, and for no more. `python benchmarks/harvest_crash.py --runs 40 --seed 0`; the last
line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import signal
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from crash_driver import POINTS
from crash_judge import Verdict, key_hits, stored_hashes
from crash_run import (
    PATIENCE_S,
    ROWS,
    USD_PER_MILLION,
    WINDOW_ROWS,
    Driver,
    keep_logs,
    newest,
    some_faults,
    write_recipe,
    write_texts,
)

from mtd_ray.objects import ObjectStore
from mtd_ray.sandbox.object_server import ObjectServer
from mtd_ray.sandbox.provider_faults import Fault
from mtd_ray.sandbox.provider_server import ProviderServer
from mtd_ray.sandbox.ray_cluster import RayCluster
from mtd_ray.sandbox.ray_node import RayNode

VICTIMS = ("worker", "limiter", "budget", "driver", "node")
ACTORS = {"limiter": "QuotaActor", "budget": "BudgetActor"}
LATEST_PASS = 6
TIGHT, AMPLE = 0.6, 2.0  # caps, in shares of what an undisturbed harvest costs; a kill makes it cost up to 1.4
TIGHT_EVERY = 4
# Passes at which a tight cap is struck, of other points the first: late enough that there is something to forget, and in time.
TIGHT_PASS = {"answer before it is kept": 6, "micro-part before it is written": 2, "micro-part after it is written": 2}
ATTEMPTS = 6


class Bench:
    """The cluster, the servers, the driver that is alive now, and the judge."""

    def __init__(self, stack: ExitStack, seed: int) -> None:
        self.chance = random.Random(seed)
        self.keys = [f"canary-{secrets.token_hex(12)}" for _ in range(2)]
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crash-")))
        self.objects = stack.enter_context(ObjectServer(self.folder / "s3", secret_key=self.keys[0]))
        os.environ.update(self.objects.env)
        provider_key = {"CRASH_KEY": self.keys[1]}
        os.environ.update(provider_key)
        self.provider = stack.enter_context(ProviderServer(env=provider_key, usd_per_million_tokens=USD_PER_MILLION))
        # A dead node is noticed after a second and a half, not after fifteen.
        quick = {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "3"}
        self.cluster = stack.enter_context(RayCluster(num_cpus=1, env=self.objects.env | provider_key | quick))
        self._node = stack.enter_context(ExitStack())
        self.node = self._new_node()
        self.driver = self._new_driver()
        stack.callback(lambda: self.driver.kill())  # noqa: PLW0108 (the one that is alive then)
        write_texts(self.folder)
        self.verdict, self.turns = Verdict(), Counter[str]()

    def _new_node(self) -> RayNode:
        return self._node.enter_context(RayNode(self.cluster, num_cpus=1, env={"CRASH_NODE": "second"}))

    def _new_driver(self) -> Driver:
        return Driver(self.folder, self.cluster.env, self.folder / "driver.log")

    def reference(self) -> None:
        """A harvest that nobody disturbs: what every other must come to."""
        self._set_faults([])
        self.before, self.budget = self._paid(), 1_000.0
        outcome = self._harvest("undisturbed")
        if "receipts" not in outcome:
            raise SystemExit(f"the undisturbed harvest failed: {outcome}")
        self.usd = self._spent_usd()
        self.hashes = stored_hashes(self._recipe("undisturbed"))

    def run(self, point: str, victim: str, number: int) -> None:
        """One run: killed once, harvested until complete, judged; under a cap that is too small at first, if its turn has come."""
        name, self.before = f"run-{number}", self._paid()
        tight = self.turns[victim] % TIGHT_EVERY == 0
        self.turns[victim] += 1
        self._set_faults(some_faults(self.chance, resets=not tight))
        self.budget = (TIGHT if tight else AMPLE) * self.usd
        number_of_pass = TIGHT_PASS.get(point, 0) if tight else self.chance.randrange(LATEST_PASS)
        struck = self._strike(name, point, victim, 0 if victim == "node" else number_of_pass)
        self.verdict.runs += 1
        self.verdict.struck[victim if struck else "nobody"] += 1
        self.verdict.repaid_rows.append(self._paid()["texts"] - self.before["texts"] - ROWS)
        self.verdict.judge(self._recipe(name), self.hashes)
        print(f"{name}: {victim} killed at: {point}" if struck else f"{name}: the point was not reached", end="; ")
        print(f"{self.verdict.repaid_rows[-1]} of at most {WINDOW_ROWS} rows paid again", flush=True)

    def _strike(self, name: str, point: str, victim: str, number: int) -> bool:
        """Harvest; kill the victim when the point is passed that often; harvest until complete. False when nothing was killed."""
        notes = self.folder / name
        notes.mkdir()
        plan = {"run": name, "point": point, "pass": number} | ({"node": "second"} if victim == "node" else {})
        (self.folder / "plan.json").write_text(json.dumps(plan))
        outcome = self._harvest_to_point(name)
        while outcome and outcome.get("error") == "BudgetSpent" and not (notes / "reached").exists():
            self._raise_budget(name, outcome)
            outcome = self._harvest_to_point(name)
        struck = outcome is None
        if struck:
            self.verdict.struck_under_cap += self.budget < self.usd
            self._kill(victim, int((notes / "reached").read_text()))
        (notes / "go").touch()
        (self.folder / "plan.json").unlink()
        if struck and victim == "driver":
            self.driver = self._new_driver()
            outcome = self._harvest(name)
        self._complete(name, outcome or self._answer(name))
        return struck

    def _harvest_to_point(self, name: str) -> dict[str, Any] | None:
        """Harvest until somebody stops at the point of the plan; what came of it, when it ends before."""
        self.driver.ask(self._recipe(name))
        deadline = time.monotonic() + PATIENCE_S
        while not (self.folder / name / "reached").exists():
            if (outcome := self.driver.answer(0.02)) is not None:
                self._compare_with_cap(name)
                return outcome
            if time.monotonic() > deadline:
                raise SystemExit(f"{name}: no answer within {PATIENCE_S:.0f} s")
        return None

    def _complete(self, name: str, outcome: dict[str, Any]) -> None:
        """Harvest again until nothing is left."""
        for _ in range(ATTEMPTS):
            if "receipts" in outcome:
                return
            if outcome["error"] == "BudgetSpent":
                self._raise_budget(name, outcome)
            else:
                print(f"{name}: {outcome['error']}: {outcome['message']}", flush=True)
            outcome = self._harvest(name)
        raise SystemExit(f"{name}: not complete after {ATTEMPTS} harvests: {outcome}")

    def _raise_budget(self, name: str, outcome: dict[str, Any]) -> None:
        print(f"{name}: {outcome['message']} (the provider was paid ${self._spent_usd():.2f})", flush=True)
        self.budget = max(AMPLE * self.usd, 1.5 * self.budget)

    def _compare_with_cap(self, name: str) -> None:
        """After every harvest, however it ended."""
        if (spent := self._spent_usd()) > self.budget + 1e-6:
            self.verdict.over_cap += 1
            print(f"{name}: the provider was paid ${spent:.2f} under a cap of ${self.budget:.2f}", flush=True)

    def _kill(self, victim: str, worker: int) -> None:
        if victim == "worker":
            os.kill(worker, signal.SIGKILL)
        elif victim == "driver":
            self.driver.kill()
        elif victim == "node":
            self.node.kill()
            self.node = self._new_node()
        else:
            os.kill(newest([*self.cluster.processes(), *self.node.processes()], ACTORS[victim]).pid, signal.SIGKILL)

    def _harvest(self, run: str) -> dict[str, Any]:
        self.driver.ask(self._recipe(run))
        return self._answer(run)

    def _answer(self, run: str) -> dict[str, Any]:
        outcome = self.driver.answer(PATIENCE_S)
        if outcome is None:
            raise SystemExit(f"{run}: no answer within {PATIENCE_S:.0f} s")
        self._compare_with_cap(run)
        return outcome

    def _recipe(self, run: str) -> Path:
        """Its file, with the cap that is in force now."""
        return write_recipe(self.folder, run, self.objects.endpoint, self.provider.base_url, self.budget)

    def _set_faults(self, faults: list[Fault]) -> None:
        self.provider.set_faults(*faults, Fault(kind="stall", seconds=0.15))

    def _paid(self) -> dict[str, Any]:
        return self.provider.ledger(by_text=False)

    def _spent_usd(self) -> float:
        """What this run has cost so far, says the provider."""
        return float(self._paid()["usd"] - self.before["usd"])

    def key_hits(self) -> int:
        """Objects and files, Ray's session folder among them, that hold one of the keys."""
        files = [*self.cluster.folder.rglob("*"), *self.folder.glob("*.log"), *self.folder.glob("*.yaml")]
        return key_hits(ObjectStore(f"s3://{self.objects.bucket}"), files, self.keys)


def scenarios(runs: int, chance: random.Random) -> list[tuple[str, str]]:
    """Points and victims: every combination once in random order, then any."""
    every = [(point, victim) for point in POINTS for victim in VICTIMS]
    return [*chance.sample(every, len(every)), *chance.choices(every, k=max(0, runs - len(every)))][:runs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep-logs", type=Path, metavar="DIR", help="copy the drivers' and Ray's logs there")
    given = parser.parse_args()
    started = time.monotonic()
    with ExitStack() as stack:
        bench = Bench(stack, given.seed)
        if given.keep_logs:
            stack.callback(keep_logs, bench.cluster.folder / "ray", bench.folder / "driver.log", given.keep_logs)
        bench.reference()
        for number, (point, victim) in enumerate(scenarios(given.runs, random.Random(given.seed))):
            bench.run(point, victim, number)
        verdict, hits = bench.verdict, bench.key_hits()
    print(f"{verdict.in_words()}; {time.monotonic() - started:.0f} s")
    print(json.dumps(verdict.figures() | {"window_rows": WINDOW_ROWS, "secret_hits": hits}))


if __name__ == "__main__":
    main()
