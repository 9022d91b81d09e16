"""How many threads a process computes with."""

from __future__ import annotations


def limit_threads(num_cpus: float) -> None:
    """Compute with as many threads as the worker was given CPUs; each worker taking all of them makes all slow."""
    import torch

    torch.set_num_threads(max(1, round(num_cpus)))
