"""Two workers that share a batch compute the losses and gradients of one worker that has it all."""

from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from mtd_ray.distill.gather import gather_rows, largest

SHARES = [np.array([4, 0]), np.array([1, 3, 2])]


def model() -> tuple[nn.Linear, nn.Linear]:
    torch.manual_seed(0)
    return nn.Linear(3, 4), nn.Linear(4, 2)


def loss_of(pooled: Tensor, head: nn.Linear) -> Tensor:
    output = head(pooled)
    return ((output @ output.T) * torch.arange(25).reshape(5, 5)).mean()


def inputs() -> Tensor:
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(1))


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    backbone, head = model()
    gathered = gather_rows(backbone(inputs()[SHARES[rank]]), SHARES)
    loss = loss_of(gathered, head)
    loss.backward()
    gradients = [parameter.grad for layer in (backbone, head) for parameter in layer.parameters()]
    for gradient in gradients:
        dist.all_reduce(gradient)
    result = {
        "loss": loss.detach(),
        "gradients": [gradient / 2 for gradient in gradients],
        "largest": largest(10 * rank, torch.device("cpu")),
    }
    torch.save(result, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_loss_and_mean_gradient_are_those_of_a_single_process(tmp_path: Path) -> None:
    mp.spawn(worker, (str(tmp_path),), nprocs=2)
    backbone, head = model()
    loss = loss_of(backbone(inputs()), head)
    loss.backward()
    expected = [parameter.grad for layer in (backbone, head) for parameter in layer.parameters()]
    for rank in range(2):
        result = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(result["loss"], loss.detach())
        torch.testing.assert_close(result["gradients"], expected)
        assert result["largest"] == 10


def test_a_single_worker_gets_its_rows_back_in_batch_order() -> None:
    rows = torch.arange(6.0).reshape(3, 2)
    assert torch.equal(gather_rows(rows, [np.array([2, 0, 1])]), rows[[1, 2, 0]])
