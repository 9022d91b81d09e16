"""The service that ``serve_chaos.py`` strikes: two Ray nodes on this machine, several replicas behind HAProxy."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import time
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
from serve_chaos_student import MODEL

from mtd_ray.sandbox.ports import free_port
from mtd_ray.sandbox.ray_cluster import RayCluster, connected
from mtd_ray.sandbox.ray_node import RayNode
from serve.proxy import KEEP_ALIVE_S, private_variables, variables

REPLICAS = 3
HEAD_CPUS, SECOND_CPUS = 9, 5  # room for all replicas twice, during a roll-over and when the other node is gone
PATIENCE_S = 180.0
MB = 1024 * 1024
# A dead node is noticed after a second and a half, not after fifteen.
QUICK = {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "3"}
APPLICATION, KEY = "embeddings", "CHAOS_KEY"
DRAINING = "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"


class Service:
    """Starts it; kills what it is told to; rolls versions over.

    A replica must be reached from another node and so listens on every interface: clients need a key.

    Attributes:
        url: where clients ask.
        headers: with the key.
        deadline_s: of requests.
    """

    def __init__(self, stack: ExitStack, folders: dict[str, Path], deadline_s: float, seed: int) -> None:
        self._folders, self.deadline_s = folders, deadline_s
        key = secrets.token_hex(16)
        self.headers = {"authorization": f"Bearer {key}"}
        self._chance = random.Random(seed)
        draining = {DRAINING: variables()[DRAINING]}  # as on a real cluster; a private one is in more of a hurry
        env = QUICK | {KEY: key} | stack.enter_context(private_variables()) | draining
        os.environ.update(env)  # Ray's library reads them too, when it is imported
        self._cluster = stack.enter_context(RayCluster(num_cpus=HEAD_CPUS, env=env))
        self._node = stack.enter_context(RayNode(self._cluster, num_cpus=SECOND_CPUS))
        stack.enter_context(connected(self._cluster))
        from ray import serve

        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        serve.start(proxy_location="HeadOnly", http_options={"host": "0.0.0.0", "port": port, "keep_alive_timeout_s": KEEP_ALIVE_S})
        stack.callback(serve.shutdown)

    def deploy(self, version: str) -> None:
        """Serve a version; returns when all replicas serve it."""
        from ray import serve

        from serve.app import Embeddings
        from serve.engine.limits import Limits
        from serve.options import ModelOptions, Options, VersionOptions

        served = VersionOptions(name=version, folder=str(self._folders[version]))
        options = Options(
            models=(ModelOptions(name=MODEL, versions=(served,)),),
            limits=Limits(deadline_s=self.deadline_s),
            keys=f"env:{KEY}",
        )
        before = {replica["replica_id"] for replica in self._replicas()}
        target = serve.RunTarget(Embeddings.options(num_replicas=REPLICAS).bind(options), name=APPLICATION)
        # Waiting here would end with an error at the first replica that is killed, though Serve goes on.
        serve.run_many([target], wait_for_applications_running=False)
        self.settle(before)

    def settle(self, before: Collection[str] = ()) -> None:
        """Wait until all replicas run, none of those of before is left, and no other is starting or stopping."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._settled(before):
            if time.monotonic() > deadline:
                raise SystemExit(f"not all replicas run after {PATIENCE_S:.0f} s: {self._application()}")
            time.sleep(0.5)

    def _settled(self, before: Collection[str]) -> bool:
        replicas = self._replicas()
        running = [replica["state"] for replica in replicas] == ["RUNNING"] * REPLICAS
        return running and not any(replica["replica_id"] in before for replica in replicas)

    def kill_replica(self) -> str | None:
        """SIGKILL one of the head's running replicas; None when only one is left, as without any nobody can be answered."""
        running = {replica.get("pid"): replica["replica_id"] for replica in self._replicas() if replica["state"] == "RUNNING"}
        elsewhere = {process.pid for process in self._node.processes()}
        here = {process.pid: process for process in self._cluster.processes() if process.pid not in elsewhere}
        victims = [pid for pid in running if pid in here]
        if not victims or len(victims) + len(elsewhere & running.keys()) < 2:
            return None
        victim = self._chance.choice(victims)
        here[victim].kill()
        return running[victim]

    def remove_node(self) -> int:
        """SIGKILL all of the node that is not the head; returns how many replicas were there."""
        ours = {process.pid for process in self._node.processes()}
        lost = sum(replica.get("pid") in ours for replica in self._replicas())
        self._node.kill()
        return lost

    def memory_mb(self) -> dict[int, float]:
        """Process id of each replica → its proportional set size."""
        held = {}
        for pid in [replica["pid"] for replica in self._replicas() if replica.get("pid")]:
            with contextlib.suppress(psutil.NoSuchProcess):
                held[pid] = psutil.Process(pid).memory_full_info().pss / MB
        return held

    def _replicas(self) -> list[dict[str, Any]]:
        return [replica for deployment in self._application().values() for replica in deployment["replicas"]]

    def _application(self) -> dict[str, Any]:
        """Its deployments."""
        from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

        details = ServeSubmissionClient(self._cluster.dashboard_url).get_serve_details()
        deployments: dict[str, Any] = details["applications"].get(APPLICATION, {}).get("deployments", {})
        return deployments
