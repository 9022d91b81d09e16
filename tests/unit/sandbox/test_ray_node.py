"""A node that is only a shell, so that no Ray is needed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from mtd_ray.sandbox.ray_cluster import RayCluster
from mtd_ray.sandbox.ray_node import RayNode


class Shells:
    """Stands in for a cluster."""

    address = "nowhere:1"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def launch(self, ray_start: Sequence[str], log: Path, env: Any = None) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            return subprocess.Popen(["sh", "-c", "echo Ray runtime started; sleep 60"], stdout=output, start_new_session=True)


def test_a_killed_node_never_kills_who_has_its_number_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RayNode(cast(RayCluster, Shells(tmp_path))) as node:
        assert node.processes()
        number = os.getsid(node.processes()[0].pid)
        node.kill()
        stranger = subprocess.Popen(["sleep", "60"])
        sessions = os.getsid
        monkeypatch.setattr(os, "getsid", lambda pid: number if pid == stranger.pid else sessions(pid))
        node.kill()
    try:
        assert node.processes() == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
