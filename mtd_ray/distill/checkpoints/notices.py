"""How a training worker under Ray hears that it is about to be stopped."""

from __future__ import annotations

import logging
from typing import Any

from ray.train.backend import Backend
from ray.train.torch import TorchConfig

from mtd_ray.distill.checkpoints.preemption import notice_sigterm

_LOG = logging.getLogger(__name__)


class NoticedTorch(TorchConfig):
    """Ray Train's set-up for PyTorch, whose workers take SIGTERM as a notice.

    A signal's handler can only be set in the main thread, where Ray Train runs what a backend asks for, but not the training.
    """

    @property
    def backend_cls(self) -> type[Backend]:
        return _noticed(super().backend_cls)


def _noticed(backend: Any) -> type[Backend]:
    class Noticed(backend):
        def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
            try:
                worker_group.execute(notice_sigterm)
            except Exception as error:
                _LOG.warning("training goes on without notices by SIGTERM: %s: %s", type(error).__name__, error)
            super().on_start(worker_group, backend_config)

    return Noticed


def node_drains() -> str | None:
    """Whether Ray is emptying a node of this run, as it does when the node's own process gets a SIGTERM (Kubernetes, autoscaler).

    ``ray.train.get_preemption_info`` tells the same, but waits for all workers, which agree among themselves here.

    Raises:
        ImportError, AttributeError: this version of Ray keeps the notice elsewhere.
    """
    # Ray promises nothing about this module: a version without it must cost these notices, not the training.
    from ray.train.v2._internal.execution.context import get_train_context

    info = get_train_context().preemption_context.preemption_info
    return None if info is None else f"Ray drains the nodes {', '.join(info.preempted_node_ids)}"
