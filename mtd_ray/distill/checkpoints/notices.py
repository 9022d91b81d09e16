"""How a training worker under Ray hears that it is about to be stopped."""

from __future__ import annotations

from typing import Any

from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend
from ray.train.v2._internal.execution.context import get_train_context

from mtd_ray.distill.checkpoints.preemption import notice_sigterm


class NoticedTorch(TorchConfig):
    """Ray Train's set-up for PyTorch, whose workers take SIGTERM as a notice.

    A signal's handler can only be set in the main thread, where Ray Train runs what a backend asks for, but not the training.
    """

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        return _NoticedBackend


class _NoticedBackend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        worker_group.execute(notice_sigterm)
        super().on_start(worker_group, backend_config)


def node_drains() -> str | None:
    """Whether Ray is emptying a node of this run, as it does when the node's own process gets a SIGTERM (Kubernetes, autoscaler).

    ``ray.train.get_preemption_info`` tells the same, but waits for all workers, which agree among themselves here.
    """
    info = get_train_context().preemption_context.preemption_info
    return None if info is None else f"Ray drains the nodes {', '.join(info.preempted_node_ids)}"
